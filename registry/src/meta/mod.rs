//! All SQL: what the registry knows about its content.
//!
//! SQLite in WAL mode. One `writer` commits whatever changes are waiting as one transaction
//! (concurrent pushes share the fsync), readers have a pool of their own. Every change that
//! touches several rows is one job, and so one transaction. This layer calls nobody back.

mod changes;
mod check;
mod collect;
mod damage;
mod database;
mod error;
mod events;
mod export;
mod links;
mod listing;
mod manifests;
mod precondition;
mod readers;
mod retention;
mod salvage;
mod sql;
mod usage;
mod writer;

pub use changes::{Admit, Watch};
pub use check::KnownBlob;
pub use collect::{StaleLink, UnusedBlob};
pub use database::Meta;
pub use error::MetaError;
pub use events::QueuedEvent;
pub use export::Exportable;
pub use listing::{Page, Usage};
pub use manifests::{Delete, Deleted, ManifestRow, NewManifest, Put, Referrer};
pub use precondition::{Listed, Precondition};
pub use salvage::{Health, NamedManifest, health, salvage};
pub use usage::{RepositoryUsage, WrongUsage};
