//! Content on disk: blobs by digest, and uploads on their way there.
//!
//! Synchronous file work runs on blocking threads; nothing here knows HTTP or SQL.

mod blobs;
mod error;
mod files;
mod filling;
mod incoming;
mod listings;
mod objects;
mod opened;
mod partial;
mod parts;
mod pipeline;
mod pool;
mod read;
mod sessions;
mod shard;
mod stored;
mod unsynced;
mod uploading;
mod uploads;

pub(crate) use blobs::LISTINGS;
pub use blobs::{BlobFiles, Flaw, Staged};
pub(crate) use error::Context;
pub use error::{StorageError, UploadError};
pub(crate) use files::{create, create_new, keep_private, make_dir, sync_dir};
pub use filling::Filling;
pub use incoming::{Incoming, Received, read_incoming};
pub use objects::{Identity, ObjectSettings, Service, Standing};
pub use opened::{Reading, Served};
pub use read::{Segment, read_segments};
pub use sessions::Upload;
pub use shard::{Listed, Shard};
pub use stored::{Backend, Blobs};
pub use unsynced::SMALL;
pub use uploading::Uploads;
pub use uploads::{ChunkRange, Finished, Unfinished};
