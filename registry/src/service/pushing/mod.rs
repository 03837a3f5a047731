//! What clients bring: uploads, blobs, manifests, and room for them.

mod blobs;
mod manifests;
mod needs;
mod quota;
mod restore;
mod uploads;

pub use manifests::{Push, Pushed};
pub(super) use needs::needs;
pub use quota::Intake;
pub use restore::Restored;
