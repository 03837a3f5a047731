//! What a registry shows: blobs, manifests, lists, how much there is.

mod blobs;
mod described;
mod image;
mod listing;
mod manifests;
mod search;
mod usage;

pub use blobs::Content;
pub use image::{Child, Config, Image, Layer, Preview, ReferrerEntry, Step};
pub use listing::{MAX_PAGE, Referrers};
pub use usage::UsageReport;
