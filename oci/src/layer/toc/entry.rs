//! One entry of a table of contents. Both formats have the same fields, by the same names.

use std::collections::BTreeMap;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::archive::refused;
use crate::layer::reader::{Entry, EntryKind};

/// What stands in a table for an entry, or for a later piece of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TocEntry {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) link_name: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) mode: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) uid: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) gid: u64,
    #[serde(rename = "modtime", skip_serializing_if = "Option::is_none")]
    pub(super) modified: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) dev_major: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) dev_minor: u64,
    /// By name, base64.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) xattrs: BTreeMap<String, String>,
    /// Of the whole file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<String>,
    /// Where in the blob the content or piece begins.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) offset: u64,
    /// Where in the blob the file's content ends.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) end_offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) chunk_size: u64,
    /// Where in the file the piece begins.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) chunk_offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) chunk_digest: Option<String>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A whole table.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Toc {
    pub(super) version: u32,
    pub(super) entries: Vec<TocEntry>,
    /// Of the tar-split data in front of the footer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tar_split_digest: Option<String>,
}

impl TocEntry {
    /// All that an archive says of an entry but its content.
    ///
    /// # Errors
    /// When JSON has no word for it.
    pub(super) fn new(entry: &Entry) -> io::Result<Self> {
        let text = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_owned());
            text.map_err(|_| refused(entry, "has a name that is no UTF-8"))
        };
        let mut found = Self {
            name: text(&entry.path)?,
            mode: entry.mode.into(),
            size: entry.size,
            uid: entry.uid.into(),
            gid: entry.gid.into(),
            modified: Some(time(entry)?),
            ..Self::default()
        };
        found.kind = match &entry.kind {
            EntryKind::File => "reg",
            EntryKind::Directory => "dir",
            EntryKind::Fifo => "fifo",
            EntryKind::HardLink(target) | EntryKind::Symlink(target) => {
                found.link_name = text(target)?;
                match &entry.kind {
                    EntryKind::HardLink(_) => "hardlink",
                    _ => "symlink",
                }
            }
            EntryKind::Char(major, minor) | EntryKind::Block(major, minor) => {
                (found.dev_major, found.dev_minor) = ((*major).into(), (*minor).into());
                match &entry.kind {
                    EntryKind::Char(..) => "char",
                    _ => "block",
                }
            }
        };
        for (name, value) in &entry.xattrs {
            found.xattrs.insert(text(name)?, STANDARD.encode(value));
        }
        Ok(found)
    }

    /// A later piece of this file.
    pub(super) fn piece(&self, offset_in_file: u64) -> Self {
        Self {
            kind: "chunk",
            name: self.name.clone(),
            chunk_offset: offset_in_file,
            ..Self::default()
        }
    }
}

/// RFC 3339, in UTC.
fn time(entry: &Entry) -> io::Result<String> {
    let (seconds, nanoseconds) = entry.mtime;
    let nanoseconds = i32::try_from(nanoseconds).unwrap_or_default();
    let time = jiff::Timestamp::new(seconds, nanoseconds);
    let time = time.map_err(|_| refused(entry, "is dated to no year"))?;
    Ok(time.to_string())
}
