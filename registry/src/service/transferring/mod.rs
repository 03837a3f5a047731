//! Images from and to other places: layouts, archives, the volume of Docker's registry, backups.

mod archive;
mod backup;
mod distribution;
mod export;
mod imported;
mod layout;
mod migrate;
mod names;
mod restore;
mod staging;
mod taking;

pub use backup::{BackedUp, BackupOptions};
pub use export::{ExportOptions, Exported, Selection};
pub use imported::Imported;
pub use layout::ImportOptions;
pub use migrate::Migrated;
pub use restore::RestoreOptions;
