//! All SQL: what the registry knows about its content.
//!
//! SQLite in WAL mode. One `writer` commits whatever changes are waiting as one transaction
//! (concurrent pushes share the fsync), readers have a pool of their own. Every change that
//! touches several rows is one job, and so one transaction. This layer calls nobody back.

mod activity;
mod changes;
mod check;
mod check_lists;
mod collect;
mod collection;
mod copied;
mod damage;
mod database;
mod described;
mod engine;
mod error;
mod events;
mod export;
mod file;
mod fill;
mod image;
mod leader;
mod links;
mod listing;
mod manifests;
mod mirrored;
mod moving;
mod needed;
mod past;
mod place;
mod precondition;
mod remove;
mod replication;
mod retention;
mod salvage;
mod search;
mod server;
mod session;
mod snapshot;
mod sql;
mod store;
mod tally;
mod unsettled;
mod usage;
mod writer;

pub use activity::{ActivityQuery, Happening};
pub use changes::{Admit, Watch};
pub use check::KnownBlob;
pub use check_lists::WrongList;
pub use collect::{LinkKey, StaleLink, UnusedBlob};
pub use collection::{Collection, Slice};
pub use database::Meta;
pub use described::{Cursor, ListQuery, Listing, ManifestEntry, RepositoryEntry, Sort, TagEntry};
pub use error::MetaError;
pub use events::QueuedEvent;
pub use export::Exportable;
pub use fill::{Fill, Undescribed};
pub use image::Going;
pub use links::{NewBlob, Unlink};
pub use listing::{Page, Usage};
pub use manifests::{Delete, Deleted, Keeps, ManifestRow, NewManifest, Put, Referrer};
pub use mirrored::{Dropped, Idle};
pub use moving::Announced;
pub use past::TagPast;
pub use place::{Company, Place, Server};
pub use precondition::{Listed, Precondition};
pub use remove::Removed;
pub use replication::{Changed, Job, Known, RuleSetup, RuleState};
pub use retention::{Expired, TagPush};
pub use salvage::{Health, NamedManifest, health, salvage};
pub use search::{SearchQuery, Within};
pub use session::Doubt;
pub use snapshot::{Snapshot, StoredBlob};
pub use store::StoreRow;
pub use unsettled::{Unsettled, salvage_content};
pub use usage::{RepositoryUsage, WrongUsage};
