//! Media types of OCI (image-spec, media-types.md) and Docker image manifest v2 schema 2.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A media type; any text is allowed, since artifacts choose their own.
///
/// Kept as it is written. What kind it is does not depend on upper and lower case (RFC 9110,
/// section 8.3.1); `==` compares the text, [`MediaType::is_same`] the media types.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MediaType(String);

/// `application/vnd.oci.image.manifest.v1+json`
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// `application/vnd.oci.image.index.v1+json`
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// `application/vnd.oci.image.config.v1+json`
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// `application/vnd.oci.image.layer.v1.tar`
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// `application/vnd.oci.image.layer.v1.tar+gzip`
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// `application/vnd.oci.image.layer.v1.tar+zstd`
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// `application/vnd.docker.distribution.manifest.v2+json`
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// `application/vnd.docker.distribution.manifest.list.v2+json`
pub const DOCKER_MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// `application/vnd.docker.container.image.v1+json`
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// `application/vnd.docker.image.rootfs.diff.tar`
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// `application/vnd.docker.image.rootfs.diff.tar.gzip`
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker's foreign layers: their bytes live elsewhere, at the descriptor's URLs.
pub const DOCKER_LAYER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
/// What the media types of layers begin with that need not be distributed.
const NON_DISTRIBUTABLE: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
/// The artifact manifest that never was released: known only in order to be refused politely.
pub(crate) const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
/// Schema 1, unsigned: known only in order to be refused politely.
const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// Schema 1, signed: known only in order to be refused politely.
pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// What a client sends as `Accept` when it asks for a manifest of any kind we can read.
pub const MANIFEST_ACCEPT: [&str; 4] = [
    OCI_MANIFEST,
    OCI_INDEX,
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
];

/// How a layer's tar is compressed, as told by its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayerCompression {
    /// A plain tar.
    None,
    /// gzip, possibly of several members.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl MediaType {
    /// A media type from its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both name the same media type, however they are written.
    pub fn is_same(&self, other: &Self) -> bool {
        self.is_any(&[other.as_str()])
    }

    fn is_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.0.eq_ignore_ascii_case(name))
    }

    /// An image manifest, OCI or Docker.
    pub fn is_manifest(&self) -> bool {
        self.is_any(&[OCI_MANIFEST, DOCKER_MANIFEST])
    }

    /// An index or manifest list.
    pub fn is_index(&self) -> bool {
        self.is_any(&[OCI_INDEX, DOCKER_MANIFEST_LIST])
    }

    /// An image configuration that a container can be run from.
    pub fn is_image_config(&self) -> bool {
        self.is_any(&[OCI_CONFIG, DOCKER_CONFIG])
    }

    /// Schema 1, which nobody should use any more.
    pub fn is_schema1(&self) -> bool {
        self.is_any(&[DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED])
    }

    /// A layer whose bytes a registry need not hold.
    pub fn is_non_distributable(&self) -> bool {
        let begin = self.0.get(..NON_DISTRIBUTABLE.len());
        self.is_any(&[DOCKER_LAYER_FOREIGN])
            || begin.is_some_and(|b| b.eq_ignore_ascii_case(NON_DISTRIBUTABLE))
    }

    /// The compression of a layer; `None` when this is no layer that we know.
    pub fn layer_compression(&self) -> Option<LayerCompression> {
        match self.0.to_ascii_lowercase().as_str() {
            OCI_LAYER
            | DOCKER_LAYER
            | "application/vnd.oci.image.layer.nondistributable.v1.tar" => {
                Some(LayerCompression::None)
            }
            OCI_LAYER_GZIP
            | DOCKER_LAYER_GZIP
            | DOCKER_LAYER_FOREIGN
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip" => {
                Some(LayerCompression::Gzip)
            }
            OCI_LAYER_ZSTD
            | "application/vnd.docker.image.rootfs.diff.tar.zstd"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd" => {
                Some(LayerCompression::Zstd)
            }
            _ => None,
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl From<&str> for MediaType {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl PartialEq<str> for MediaType {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for MediaType {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}
