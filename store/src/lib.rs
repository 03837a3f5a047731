//! The builder's local store: images and tags, unpacked layers, build-cache records.
//!
//! A directory with an SQLite database beside the content; no daemon. Any number of processes
//! may use it at once, and any of them may be killed at any instant.
//!
//! | module | what it holds |
//! |---|---|
//! | [`store`] | the [`Store`] handle, and how a store is opened |
//! | [`root`] | where it is and how its directory is laid out |
//! | [`snapshot`] | unpacked layers, and making them durable |
//! | [`image`] | images and their tags |
//! | [`index`] | indexes of images, and what names lead to |
//! | [`resolve`] | finding the image that a text means |
//! | [`remove`] | `rmi` |
//! | [`share`] | one layer on several stacks |
//! | [`containers`] | containers: their rows and directories |
//! | [`volumes`] | volumes: their rows and directories, and whose they are |
//! | [`networks`] | networks that containers are on: their rows |
//! | [`claim`] | who does a step that several are about to do |
//! | [`layers`] | the blobs of layers, and where else they are |
//! | [`cache`] | build-cache records |
//! | [`mounts`] | directories of cache mounts |
//! | [`prune`] | freeing what is not used, and disk usage |
//! | [`check`] | what `fsck` looks at and takes away |
//! | [`lock`] | leases, which hold removal back |
//! | [`reserve`] | space put aside for removing on a full disk |
//! | [`read_only`] | opening a store that cannot be written |
//!
//! # Crashes
//! Content comes first and its row last; removal is the other way round. A step of a build is
//! committed without any fsync and can be used at once, because the page cache outlives every
//! process. [`Store::make_durable`] then puts all steps on disk with one `syncfs`. Rows carry the
//! boot in which they were written until then, and opening the store in another boot drops them.

pub mod cache;
pub mod check;
pub mod claim;
mod collect;
pub mod containers;
mod db;
mod downloads;
pub mod error;
pub mod image;
mod images;
pub mod index;
mod indexes;
pub mod layers;
pub mod lock;
pub mod mounts;
pub mod networks;
pub mod prune;
mod read_only;
pub mod record;
pub mod remove;
mod reserve;
pub mod resolve;
pub mod root;
pub mod share;
pub mod snapshot;
pub mod store;
mod trash;
pub mod volumes;

pub use claim::Claim;
pub use containers::{NewContainer, StoredContainer};
pub use error::{Error, Result};
pub use image::{Image, ImageLine, NewImage, RawManifest};
pub use index::{Content, IndexEntry, NewIndex, StoredIndex};
pub use lock::Lease;
pub use mounts::{CacheDir, CacheName, CacheOffer, CacheSharing, NewCacheDir};
pub use networks::StoredNetwork;
pub use prune::{DiskUsage, Kept, PruneOptions, PruneReport, Usage};
pub use record::{CacheRecord, NewCacheRecord, RecordKind};
pub use remove::Removal;
pub use root::default_root;
pub use snapshot::{Snapshot, StagedSnapshot};
pub use store::Store;
pub use volumes::{HeldVolume, NewVolume, StoredVolume};

#[cfg(test)]
mod tests;
