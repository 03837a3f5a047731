//! All SQL: what the registry knows about its content.
//!
//! SQLite in WAL mode. One `writer` commits whatever changes are waiting as one transaction
//! (concurrent pushes share the fsync), readers have a pool of their own. Every change that
//! touches several rows is one job, and so one transaction. This layer calls nobody back.

mod changes;
mod check;
mod collect;
mod collection;
mod damage;
mod database;
mod error;
mod events;
mod export;
mod links;
mod listing;
mod manifests;
mod mirrored;
mod needed;
mod precondition;
mod readers;
mod retention;
mod salvage;
mod sql;
mod usage;
mod writer;

pub use changes::{Admit, Watch};
pub use check::KnownBlob;
pub use collect::{LinkKey, StaleLink, UnusedBlob};
pub use collection::{Collection, Slice};
pub use database::Meta;
pub use error::MetaError;
pub use events::QueuedEvent;
pub use export::Exportable;
pub use links::Unlink;
pub use listing::{Page, Usage};
pub use manifests::{Delete, Deleted, Keeps, ManifestRow, NewManifest, Put, Referrer};
pub use mirrored::{Dropped, Idle};
pub use precondition::{Listed, Precondition};
pub use retention::{Expired, TagPush};
pub use salvage::{Health, NamedManifest, health, salvage};
pub use usage::{RepositoryUsage, WrongUsage};
