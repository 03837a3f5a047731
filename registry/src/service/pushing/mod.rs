//! What clients bring: uploads, blobs, manifests, and room for them.

mod blobs;
mod manifests;
mod needs;
mod quota;
mod undelete;
mod uploads;

pub use manifests::{Push, Pushed};
pub(super) use needs::needs;
pub use quota::Intake;
pub use undelete::Restored;
