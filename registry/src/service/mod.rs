//! The rules of a registry: what may be pushed, what is shown, what a deletion takes away.
//!
//! No HTTP and no SQL here. Order of every push: content durable in its file first, then the row
//! that shows it; a crash in between leaves a file that nobody sees.
//!
//! All is done by [`Registry`]; each room gives it the methods of one job. A room uses only those
//! below it.
//!
//! | room | what it holds |
//! |---|---|
//! | `transferring` | images from and to layouts, archives, backups and the volume of Docker's registry |
//! | `repairing` | check, copy of the database, rebuild |
//! | `mirroring` | what comes from other registries, and what of it goes again |
//! | `pushing` | uploads, blobs and manifests that come or come back, and room for them |
//! | `keeping` | deletions, garbage, rules for tags, files that nobody knows |
//! | `reading` | blobs, manifests and lists as they are shown |
//! | `events` | what webhooks are told |
//! | `replicating` | what replication keeps and reads |
//! | `state` | the registry itself, and what it keeps in memory |
//! | `error` | why something was not done |

mod error;
mod events;
mod keeping;
mod mirroring;
mod pushing;
mod reading;
mod repairing;
mod replicating;
mod state;
mod transferring;

pub use error::ServiceError;
pub use keeping::{CollectOptions, Collected, RulesOf};
pub use mirroring::Evicted;
pub use pushing::{Intake, Push, Pushed, Restored};
pub use reading::{
    Child, Config, Content, Image, Layer, Look, MAX_PAGE, Preview, ReferrerEntry, Referrers, Step,
    UsageReport, lost,
};
pub use repairing::{CheckOptions, Checked, Problem, Rebuilt};
pub use state::{Blob, Registry, StoredManifest, UploadLimits};
pub use transferring::{
    BackedUp, BackupOptions, ExportOptions, Exported, ImportOptions, Imported, Migrated,
    RestoreOptions, Selection,
};
