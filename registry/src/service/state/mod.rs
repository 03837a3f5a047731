//! One registry while it runs: its directory, and what it keeps in memory beside that.

mod cached;
mod gap;
mod leases;
mod ledger;
mod looking;
mod mending;
mod moving;
mod open_uploads;
mod pulls;
mod registry;
mod settling;
mod stop;

pub use cached::{Blob, StoredManifest};
pub(super) use cached::{MANIFEST_WEIGHT, key};
pub(super) use leases::Claim;
pub(super) use ledger::SharedLedger;
pub(super) use looking::Progress;
pub use open_uploads::UploadLimits;
pub use registry::Registry;
pub(super) use registry::{DATABASE, lock};
