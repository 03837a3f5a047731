//! What a registry shows: blobs, manifests, lists, how much there is.

mod blobs;
mod described;
mod image;
mod inside;
mod listing;
mod manifests;
mod search;
mod usage;

pub use blobs::{Content, lost};
pub use image::{Child, Config, Image, Layer, Preview, ReferrerEntry, Step};
pub use inside::Look;
pub use listing::{MAX_PAGE, Referrers};
pub use usage::UsageReport;
