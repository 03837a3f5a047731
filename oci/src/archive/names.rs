//! The files of an archive, and the annotations that give an image its name.

use crate::Digest;

/// The file that says that a directory is an OCI image layout.
pub(super) const OCI_LAYOUT: &str = "oci-layout";
/// The OCI image layout's entry point.
pub(super) const INDEX: &str = "index.json";
/// The docker archive's entry point.
pub(super) const MANIFEST: &str = "manifest.json";
/// Names and tags, for tools older than `manifest.json`.
pub(super) const REPOSITORIES: &str = "repositories";
/// Full image name of an index entry, as containerd and docker write it.
pub const IMAGE_NAME: &str = "io.containerd.image.name";
/// Tag of an index entry (image-spec, annotations.md); podman puts the full name here.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Annotation of attestations, which are listed beside the images that they are about.
pub(super) const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// Where a blob is in an OCI image layout.
pub(super) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}
