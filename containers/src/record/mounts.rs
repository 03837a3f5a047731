//! What is mounted in a container: as it was asked for, and as it was settled.

use std::collections::BTreeMap;

use oci::{ChainId, Digest};
use serde::{Deserialize, Serialize};

/// `--mount`, as docker's API has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MountRule {
    /// `bind`, `volume`, `tmpfs` or `image`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// A path of this machine, a volume's name or an image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// The path in the container.
    pub target: String,
    /// Forbids writing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// Of use on other systems only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub consistency: String,
    /// Of a bind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_options: Option<BindRule>,
    /// Of a volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_options: Option<VolumeRule>,
    /// Of an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_options: Option<ImageRule>,
    /// Of a memory file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmpfs_options: Option<TmpfsRule>,
}

/// How a path of this machine is bound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct BindRule {
    /// `rprivate` and its kin.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub propagation: String,
    /// Mounts below are left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub non_recursive: bool,
    /// Mounts below can be written to, though this one is read-only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only_non_recursive: bool,
    /// It is an error when mounts below cannot be made read-only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only_force_recursive: bool,
}

/// How a volume is mounted, and made when it is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeRule {
    /// An empty one does not get the image's files.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_copy: bool,
    /// The labels of a new one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What of it is shown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subpath: String,
    /// How a new one is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_config: Option<DriverRule>,
}

/// How a volume is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DriverRule {
    /// `local`, or nothing for that.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `type`, `device` and `o`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// How an image is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageRule {
    /// What of it is shown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subpath: String,
}

/// How a memory file system is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TmpfsRule {
    /// Bytes; 0 for half of this machine's memory.
    #[serde(skip_serializing_if = "is_zero")]
    pub size_bytes: u64,
    /// Permission bits; 0 for the usual ones.
    #[serde(skip_serializing_if = "is_zero")]
    pub mode: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A mount of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// Where it is in the container: absolute, without `.` and `..`.
    pub target: String,
    /// Forbids writing.
    pub readonly: bool,
    /// What stood behind the target of `-v`.
    pub mode: String,
    /// What is mounted.
    pub source: MountSource,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum MountSource {
    /// A path of this machine.
    Bind {
        /// The path.
        path: String,
        /// It is made when it is missing.
        makes: bool,
        /// How it is bound; the propagation is never empty.
        rule: BindRule,
    },
    /// A volume.
    Volume {
        /// Its name; empty until one is found.
        name: String,
        /// It has no name of its own, and goes with the container.
        anonymous: bool,
        /// While it is empty it gets the image's files.
        copies: bool,
        /// What of it is shown; empty for all.
        subpath: String,
        /// The labels of a new one.
        labels: BTreeMap<String, String>,
        /// `type`, `device` and `o`.
        options: BTreeMap<String, String>,
    },
    /// Memory.
    Tmpfs {
        /// Options as mount(8) has them, with commas.
        options: String,
        /// `inspect` tells of it: it was asked for with `--mount`.
        told: bool,
    },
    /// An image.
    Image {
        /// As it was typed.
        name: String,
        /// What of it is shown; empty for all.
        subpath: String,
        /// The image; nothing until it is found.
        id: Option<Digest>,
        /// Its layers; nothing when it has none.
        chain_id: Option<ChainId>,
    },
}

impl MountPoint {
    /// The volume that is mounted here.
    pub fn volume(&self) -> Option<&str> {
        match &self.source {
            MountSource::Volume { name, .. } => Some(name),
            _ => None,
        }
    }

    /// What docker calls it: a volume's or an image's name, or the path of this machine.
    pub fn name(&self) -> &str {
        match &self.source {
            MountSource::Volume { name, .. } | MountSource::Image { name, .. } => name,
            MountSource::Bind { path, .. } => path,
            MountSource::Tmpfs { .. } => "",
        }
    }

    /// Whether `inspect` tells of it.
    pub fn is_told(&self) -> bool {
        !matches!(self.source, MountSource::Tmpfs { told: false, .. })
    }
}
