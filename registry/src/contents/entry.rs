//! One file of a layer, and the listing of all.

use std::io::{self, Read, Write};

use oci::layer::compression::{CompressOptions, Compressor, decompress};
use oci::media_type::LayerCompression;
use serde::{Deserialize, Serialize};

use super::packages::Database;

/// The form of listings; those of another are made again.
const VERSION: u32 = 1;

/// What a path of a layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A regular file.
    #[serde(rename = "f")]
    File,
    /// Another name of a file of the same layer.
    #[serde(rename = "h")]
    HardLink,
    /// A symbolic link.
    #[serde(rename = "l")]
    Symlink,
    /// A directory.
    #[serde(rename = "d")]
    Directory,
    /// A directory that hides all that lower layers have in it.
    #[serde(rename = "o")]
    Opaque,
    /// What lower layers have here is gone (layer.md, "Whiteouts").
    #[serde(rename = "w")]
    Whiteout,
    /// A device or a pipe.
    #[serde(rename = "s")]
    Special,
}

/// One path of a layer. Names are as short as they are because there are many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// The path, without a slash at either end. Bytes that are no UTF-8 are replaced.
    #[serde(rename = "p")]
    pub path: String,
    /// What it is.
    #[serde(rename = "k")]
    pub kind: Kind,
    /// Permissions, setuid, setgid and sticky bit.
    #[serde(rename = "m")]
    pub mode: u32,
    /// Owner.
    #[serde(rename = "u", default, skip_serializing_if = "is_zero")]
    pub uid: u32,
    /// Group.
    #[serde(rename = "g", default, skip_serializing_if = "is_zero")]
    pub gid: u32,
    /// Bytes of content that the layer holds for it: none for a hard link.
    #[serde(rename = "s", default, skip_serializing_if = "is_none")]
    pub size: u64,
    /// Where a link leads.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The beginning of the SHA-256 of its content, in hex.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Where in the archive its content begins, and how long it is; `None` when it has none, or
    /// has holes.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub at: Option<(u64, u64)>,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

fn is_none(n: &u64) -> bool {
    *n == 0
}

impl FileEntry {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory | Kind::Opaque)
    }
}

/// All that a layer holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    version: u32,
    /// Its paths, in byte order, each once: what the archive says last.
    pub entries: Vec<FileEntry>,
    /// Databases of package managers.
    pub packages: Vec<Database>,
    /// Why there is more in the layer than is listed, or nothing that could be.
    pub problem: Option<String>,
}

impl Listing {
    pub(super) fn new(
        entries: Vec<FileEntry>,
        packages: Vec<Database>,
        problem: Option<String>,
    ) -> Self {
        Self {
            version: VERSION,
            entries,
            packages,
            problem,
        }
    }

    /// As it is kept.
    ///
    /// # Errors
    /// When it cannot be written as JSON or compressed, which is a bug.
    pub fn encode(&self) -> io::Result<Vec<u8>> {
        let options = CompressOptions::default();
        let mut out = Compressor::new(LayerCompression::Zstd, Vec::new(), &options)?;
        out.write_all(&serde_json::to_vec(self)?)?;
        out.finish()
    }

    /// From what is kept; `None` when it is damaged or of another version.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut text = Vec::new();
        decompress(bytes).ok()?.1.read_to_end(&mut text).ok()?;
        let listing: Self = serde_json::from_slice(&text).ok()?;
        (listing.version == VERSION).then_some(listing)
    }

    /// The entry of a path.
    pub fn get(&self, path: &str) -> Option<&FileEntry> {
        let at = self
            .entries
            .binary_search_by(|entry| entry.path.as_str().cmp(path));
        at.ok().map(|at| &self.entries[at])
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).sum()
    }
}
