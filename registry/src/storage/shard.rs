//! What is found where blobs are kept, a part at a time.

use oci::{Algorithm, Digest};

/// A part of all blobs: those whose digests begin alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// By which algorithm their digests are.
    pub(super) algorithm: Algorithm,
    /// The hex digits that they begin with, or another name of a directory.
    pub(super) name: String,
}

impl Shard {
    /// The number that their digests begin with.
    pub fn number(&self) -> usize {
        usize::from_str_radix(&self.name, 16).unwrap_or(0)
    }
}

/// A blob that was found where blobs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What it is called.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// When it got its name, in seconds since 1970.
    pub named: i64,
}
