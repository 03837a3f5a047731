//! Why an archive cannot be read or written.

use std::io;

use crate::Digest;
use crate::blob::BlobError;
use crate::layer::reader::ReadError;
use crate::manifest::ManifestError;

/// Why an archive cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file system failed.
    #[error("{what}: {cause}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// Why it failed.
        cause: io::Error,
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
    #[error("the archive's {name} is not valid: {cause}")]
    Json {
        /// The file's name in the archive.
        name: String,
        /// What is wrong.
        cause: serde_json::Error,
    },
    /// A manifest or index that cannot be trusted.
    #[error("the archive's {name} is not valid: {cause}")]
    Manifest {
        /// The file's name in the archive.
        name: String,
        /// What is wrong.
        cause: ManifestError,
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
    #[error("layer {digest}: {cause}")]
    Layer {
        /// The layer's digest.
        digest: Digest,
        /// What went wrong.
        cause: Box<dyn std::error::Error + Send + Sync>,
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

pub(super) fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> ArchiveError {
    let what = what.into();
    move |cause| ArchiveError::Io { what, cause }
}

pub(super) fn invalid(name: impl Into<String>, problem: impl Into<String>) -> ArchiveError {
    ArchiveError::Invalid {
        name: name.into(),
        problem: problem.into(),
    }
}
