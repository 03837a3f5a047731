//! What the build cache remembers of a step.

use oci::{ChainId, DiffId, Digest};

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRecord {
    /// The step's key.
    pub key: Digest,
    /// The stack of layers after the step; its snapshot is there. `None` when the step left
    /// everything as it was.
    pub chain_id: Option<ChainId>,
    /// The layer that the step made, if it made one.
    pub diff_id: Option<DiffId>,
    /// When the step ran, as its history entry says it: RFC 3339.
    pub created: String,
    /// The step in the user's words.
    pub description: String,
    /// Bytes of files in the layer.
    pub size: u64,
    /// When the record was made, in seconds since the epoch.
    pub created_at: i64,
    /// When it was last used, in seconds since the epoch, to about a minute.
    pub last_used: i64,
    /// How often it was used; uses within a minute count once.
    pub uses: u64,
    /// What it is a record of.
    pub kind: RecordKind,
}

/// What a cache record is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordKind {
    /// A step's layer.
    #[default]
    Regular,
    /// A directory of `RUN --mount=type=cache`; it has no layer.
    CacheMount,
}

impl RecordKind {
    /// As BuildKit calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Regular => "regular",
            Self::CacheMount => "exec.cachemount",
        }
    }
}

/// A record to be stored.
#[derive(Clone, Debug)]
pub struct NewCacheRecord {
    /// The step's key.
    pub key: Digest,
    /// The stack of layers after the step, which must have been committed; `None` when the step
    /// left everything as it was.
    pub chain_id: Option<ChainId>,
    /// The layer that the step made, if it made one.
    pub diff_id: Option<DiffId>,
    /// When the step ran: RFC 3339.
    pub created: String,
    /// The step in the user's words.
    pub description: String,
    /// Bytes of files in the layer.
    pub size: u64,
}
