//! Content-addressed blobs: the trait, and its disk and memory implementations.
//!
//! Nothing is visible until it is committed, and a commit verifies: the digest and size of what
//! was written are compared with what was promised before the blob gets its name.

pub mod conformance;
pub mod disk;
pub mod memory;
mod store;

pub use disk::DiskBlobs;
pub use memory::MemoryBlobs;
pub use store::{BlobError, BlobRead, BlobStore, BlobWriter, Expected};
