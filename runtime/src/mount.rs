//! Mounts besides the standard ones.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::hidden::Hidden;

/// One mount besides the standard ones.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path in the container, resolved inside its root; made when missing and removed
    /// again afterwards.
    pub target: String,
    /// What is mounted there.
    pub kind: MountKind,
}

/// What a [`Mount`] shows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum MountKind {
    /// A file or directory of the host.
    Bind {
        /// The host's path; a final symbolic link is followed.
        source: PathBuf,
        /// What of the source is shown, resolved inside it; empty for all of it.
        below: String,
        /// How it is bound.
        options: BindOptions,
    },
    /// A file or directory the caller has open (with `O_PATH` at least) or a detached mount:
    /// nothing can be swapped below it.
    #[serde(skip)]
    Tree {
        /// The open file, directory or detached mount.
        tree: Arc<OwnedFd>,
        /// What of the tree is shown, resolved inside it; empty for all of it. Anything else
        /// takes the tree itself to be a mount.
        below: String,
        /// Forbids writing.
        readonly: bool,
    },
    /// A file that is in memory only, read-only, and gone with the container.
    File {
        /// What is in it.
        content: Hidden,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Permission bits.
        mode: u32,
    },
    /// An empty memory file system.
    Tmpfs {
        /// Size limit in bytes.
        size: Option<u64>,
        /// Further options of tmpfs(5); `mode` in place of what it is otherwise.
        options: Vec<(String, String)>,
        /// What it allows.
        flags: MountFlags,
    },
    /// A file system of the kernel's, as mount(8) mounts it.
    Made {
        /// Its type.
        fs: String,
        /// What it is mounted from.
        source: String,
        /// Its own options; those without a value are flags.
        options: Vec<(String, Option<String>)>,
        /// What of it is shown, resolved inside it; empty for all of it.
        below: String,
        /// What it allows.
        flags: MountFlags,
    },
    /// Layers, read-only.
    Layers {
        /// Their directories, topmost first.
        lowers: Vec<PathBuf>,
        /// What of them is shown, resolved inside; empty for all.
        below: String,
    },
}

/// How a path of the host is bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindOptions {
    /// Forbids writing.
    pub readonly: bool,
    /// What is mounted below it can be written to in spite of that.
    pub writable_below: bool,
    /// What is mounted below it is left out.
    pub alone: bool,
    /// Whether mounts that are made later are seen on the other side.
    pub propagation: Propagation,
    /// The same holds for what is mounted below it.
    pub propagates_below: bool,
}

/// Whether mounts below a mount are seen elsewhere too (mount_namespaces(7), "SHARED SUBTREES").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// Neither way.
    #[default]
    Private,
    /// The host's are seen in the container.
    Slave,
    /// Both ways.
    Shared,
}

/// What a mount allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountFlags {
    /// Nothing can be written.
    pub readonly: bool,
    /// Set-user-ID bits mean nothing.
    pub nosuid: bool,
    /// Device nodes do not work.
    pub nodev: bool,
    /// Programs cannot be executed.
    pub noexec: bool,
}

impl Mount {
    /// Binds a path of the host, with what is mounted below it.
    pub fn bind(source: impl Into<PathBuf>, target: impl Into<String>, readonly: bool) -> Self {
        Self {
            target: target.into(),
            kind: MountKind::Bind {
                source: source.into(),
                below: String::new(),
                options: BindOptions {
                    readonly,
                    propagates_below: true,
                    ..BindOptions::default()
                },
            },
        }
    }

    /// Binds what the caller has open.
    pub fn tree(tree: Arc<OwnedFd>, target: impl Into<String>, readonly: bool) -> Self {
        Self {
            target: target.into(),
            kind: MountKind::Tree {
                tree,
                below: String::new(),
                readonly,
            },
        }
    }

    /// Mounts a memory file system, with the mode of the directory that it covers, 1777 where
    /// there is none.
    pub fn tmpfs(target: impl Into<String>, size: Option<u64>) -> Self {
        Self {
            target: target.into(),
            kind: MountKind::Tmpfs {
                size,
                options: Vec::new(),
                flags: MountFlags {
                    nosuid: true,
                    nodev: true,
                    ..MountFlags::default()
                },
            },
        }
    }
}
