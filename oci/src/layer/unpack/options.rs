//! How to unpack, and what was unpacked.

/// What stops an archive that unpacks to more than anyone wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files together, holes included.
    pub max_bytes: u64,
    /// Entries.
    pub max_entries: u64,
}

impl Default for Limits {
    /// 256 GiB, ten million entries.
    fn default() -> Self {
        Self {
            max_bytes: 256 << 30,
            max_entries: 10_000_000,
        }
    }
}

/// Whose the unpacked files are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    /// As the archive says, by number.
    #[default]
    Archive,
    /// All the same owner (`--chown`).
    Fixed {
        /// User ID.
        uid: u32,
        /// Group ID.
        gid: u32,
    },
    /// Whoever unpacks: owners in the archive are not heeded. For unprivileged users.
    Current,
}

/// How to unpack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnpackOptions {
    /// When to stop.
    pub limits: Limits,
    /// Whose the files are.
    pub ownership: Ownership,
    /// Mark opaque directories by `user.overlay.opaque`, for overlays mounted with `userxattr`.
    pub user_xattrs: bool,
    /// What is there stays a directory, or something else: an entry of the other kind is
    /// [`Problem::IsDirectory`](super::Problem::IsDirectory) or its counterpart.
    pub keep_kinds: bool,
}

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Entries in the archive.
    pub entries: u64,
    /// Bytes of all files together, holes included.
    pub bytes: u64,
    /// The layer hides everything below it. Overlay does not look at the mark on a lower
    /// directory's root, so that whoever stacks snapshots has to leave the lower ones out.
    pub opaque_root: bool,
}
