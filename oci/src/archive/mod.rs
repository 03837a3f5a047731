//! Images as files: what `docker save` writes and `docker load` reads, and the OCI image layout
//! (image-spec, image-layout.md), as a directory or as a tar.
//!
//! [`write`] makes archives that are both at once, as today's `docker save` does: tools that look
//! for `manifest.json` and tools that look for `index.json` find what they want. [`read`] takes
//! either kind from anyone, and believes nothing in it that it has not checked. [`raw`] takes a
//! layout as blobs and an index, whatever they are.

mod files;
mod layout;
pub mod pick;
pub mod raw;
pub mod read;
mod share;
pub mod write;

use std::io;

use crate::blob::BlobError;
use crate::manifest::ManifestError;
use crate::{Digest, layer::reader::ReadError};

pub use raw::{LayoutReader, LayoutWriter};
pub use read::{ArchivedImage, ArchivedLayer, ImageArchive};
pub use write::{Format, ImageSource, LayerSource};

/// The file that says that a directory is an OCI image layout.
const OCI_LAYOUT: &str = "oci-layout";
/// The OCI image layout's entry point.
const INDEX: &str = "index.json";
/// The docker archive's entry point.
const MANIFEST: &str = "manifest.json";
/// Names and tags, for tools older than `manifest.json`.
const REPOSITORIES: &str = "repositories";
/// Full image name of an index entry, as containerd and docker write it.
pub const IMAGE_NAME: &str = "io.containerd.image.name";
/// Tag of an index entry (image-spec, annotations.md); podman puts the full name here.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Annotation of attestations, which are listed beside the images that they are about.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// Why an archive cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file system failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The tar cannot be read.
    #[error(transparent)]
    Tar(#[from] ReadError),
    /// Neither kind of archive.
    #[error(
        "this is no image archive: it has neither manifest.json (docker save) nor index.json and \
         oci-layout (OCI image layout); a root filesystem is brought in with import"
    )]
    NotAnArchive,
    /// No OCI image layout, where only that will do.
    #[error("this is no OCI image layout: it lacks oci-layout or index.json")]
    NotALayout {
        /// It is what an older `docker save` writes.
        docker: bool,
    },
    /// A directory that holds something else.
    #[error("{} is not empty, and no OCI image layout: choose another directory", .0.display())]
    Occupied(std::path::PathBuf),
    /// From before Docker 1.10.
    #[error("the archive is from a Docker before 1.10, which is not supported: save it again")]
    TooOld,
    /// The archive refers to a file that it does not have.
    #[error("the archive has no {0}")]
    Missing(String),
    /// A file that leads elsewhere.
    #[error("the archive's {0} is no regular file in it")]
    NotAFile(String),
    /// A file that is too large for what it is.
    #[error("the archive's {name} is larger than {max} bytes")]
    TooLarge {
        /// The file's name in the archive.
        name: String,
        /// How large it may be.
        max: u64,
    },
    /// A JSON document that is none.
    #[error("the archive's {name} is not valid: {source}")]
    Json {
        /// The file's name in the archive.
        name: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A manifest or index that cannot be trusted.
    #[error("the archive's {name} is not valid: {source}")]
    Manifest {
        /// The file's name in the archive.
        name: String,
        /// What is wrong.
        source: ManifestError,
    },
    /// Something that contradicts itself.
    #[error("the archive's {name} is not valid: {problem}")]
    Invalid {
        /// The file's name in the archive.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// Content that is not what its digest says.
    #[error("the archive's {name} should have the digest {expected}, but has {actual}")]
    DigestMismatch {
        /// The file's name in the archive.
        name: String,
        /// As referred to.
        expected: Digest,
        /// Of what is there.
        actual: Digest,
    },
    /// A blob to be written whose file in the store is not what its digest says.
    #[error("blob {digest} is damaged: {} {problem}", .path.display())]
    Damaged {
        /// The blob.
        digest: Digest,
        /// Its file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The layout has no image of that tag or digest, or several and none was chosen.
    #[error("the layout has no image {wanted}; it has {}", listed(.names))]
    NoSuchImage {
        /// What was asked for.
        wanted: String,
        /// The tags that there are.
        names: Vec<String>,
    },
    /// The image is for other platforms.
    #[error("the layout's image is not for {wanted}, but for {}", listed(.found))]
    NoPlatform {
        /// What was asked for.
        wanted: String,
        /// What there is.
        found: Vec<String>,
    },
    /// A layer source that did not give what it promised.
    #[error("layer {digest}: {source}")]
    Layer {
        /// The layer's digest.
        digest: Digest,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was written is not what its descriptor says.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "none with a name".to_owned(),
        names => names.join(", "),
    }
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> ArchiveError {
    let what = what.into();
    move |source| ArchiveError::Io { what, source }
}

fn invalid(name: impl Into<String>, problem: impl Into<String>) -> ArchiveError {
    ArchiveError::Invalid {
        name: name.into(),
        problem: problem.into(),
    }
}

/// Where a blob is in an OCI image layout.
fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

#[cfg(test)]
mod tests;
