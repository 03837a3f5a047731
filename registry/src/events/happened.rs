//! What happens to images, and which request made it happen.

use std::sync::Arc;

use oci::Digest;
use serde::{Deserialize, Serialize};

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// A manifest or blob came.
    Push,
    /// A manifest or blob was read.
    Pull,
    /// A blob of another repository is shown.
    Mount,
    /// A manifest, tag or blob went.
    Delete,
}

/// Which request made something happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The request's ID.
    pub id: String,
    /// The client's address and port.
    pub addr: String,
    /// The host that the client asked.
    pub host: String,
    /// The request's method.
    pub method: String,
    /// What the client calls itself.
    pub user_agent: String,
    /// The user; empty for nobody.
    pub actor: String,
    /// Scheme and host, before the path of a URL.
    pub base: String,
}

/// Which request asks for something; none when nobody is to be told about it.
pub type RequestOrigin = Option<Arc<Origin>>;

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
pub struct Happened<'a> {
    /// What.
    pub action: Action,
    /// In which repository.
    pub repository: &'a str,
    /// To what.
    pub target: Target<'a>,
}

/// What something happened to.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// A manifest that is there.
    Manifest {
        /// Its digest.
        digest: &'a Digest,
        /// Its media type.
        media_type: &'a str,
        /// Its size in bytes.
        size: u64,
        /// The tag that it was asked for by.
        tag: Option<&'a str>,
        /// What it names, where that is known.
        references: &'a [oci::Descriptor],
    },
    /// A blob that is there.
    Blob {
        /// Its digest.
        digest: &'a Digest,
        /// Its size in bytes.
        size: u64,
        /// The repository that it was mounted from.
        from: Option<&'a str>,
    },
    /// A manifest or blob that went.
    Gone(&'a Digest),
    /// A tag that went.
    Tag(&'a str),
}

/// The media type that blobs have in events: theirs is only known to manifests.
const BLOB: &str = "application/octet-stream";

impl<'a> Target<'a> {
    /// Its media type; empty for what went.
    pub(super) fn media_type(&self) -> &'a str {
        match self {
            Self::Manifest { media_type, .. } => media_type,
            Self::Blob { .. } => BLOB,
            Self::Gone(_) | Self::Tag(_) => "",
        }
    }
}
