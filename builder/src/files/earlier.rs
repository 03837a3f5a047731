//! What an earlier COPY of the same sources made: files that have not changed since are linked to
//! it instead of being copied once more.
//!
//! A layer's files never change, so that two layers can share one. Both then show a link more than
//! they have names; everything else of the file is compared before. Both have it at the same path,
//! so that no container sees the file twice, whatever lies on what.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci::ChainId;
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat};

use super::rootfs::{Owner, Rootfs, file_type};
use super::select::bytes;
use super::table::Table;
use super::transfer::mtime;

const MAGIC: &[u8; 8] = b"rcopies2";

/// The content of the files that a copy made, by their paths in the layer.
#[derive(Debug, Default)]
pub struct Record {
    files: Table<[u8; 32]>,
}

impl Record {
    /// Remembers a file.
    pub(super) fn put(&mut self, path: &Path, content: [u8; 32]) {
        self.files.push(bytes(path), content);
    }

    /// Reads what [`save`](Self::save) wrote, and the layer of which it tells. What is missing or
    /// damaged only costs copying.
    pub fn load(path: &Path) -> Option<(ChainId, Self)> {
        parse(&std::fs::read(path).ok()?)
    }

    /// Keeps it for the next copy, as what the layer `chain` holds.
    ///
    /// # Errors
    /// The file system's.
    pub fn save(&mut self, chain: &ChainId, path: &Path) -> io::Result<()> {
        self.files.sort();
        let chain = chain.to_string();
        let mut data = Vec::with_capacity(self.files.len() * 96);
        data.extend_from_slice(MAGIC);
        push(&mut data, chain.as_bytes());
        for (name, content) in self.files.iter() {
            push(&mut data, name);
            data.extend_from_slice(content);
        }
        let dir = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(dir)?;
        // Renamed into place without fsync: losing it costs only work.
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(&data)?;
        file.persist(path)?;
        Ok(())
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.files.len() == 0
    }
}

fn push(data: &mut Vec<u8>, text: &[u8]) {
    data.extend_from_slice(&(text.len() as u32).to_le_bytes());
    data.extend_from_slice(text);
}

fn parse(data: &[u8]) -> Option<(ChainId, Record)> {
    let mut rest = data.strip_prefix(MAGIC)?;
    let chain = std::str::from_utf8(text(&mut rest)?).ok()?.parse().ok()?;
    let mut files = Table::with_capacity(rest.len() / 64);
    while !rest.is_empty() {
        let name = text(&mut rest)?;
        let (content, tail) = rest.split_first_chunk::<32>()?;
        files.push(name, *content);
        rest = tail;
    }
    files.is_sorted().then_some((chain, Record { files }))
}

fn text<'d>(rest: &mut &'d [u8]) -> Option<&'d [u8]> {
    let (len, tail) = rest.split_first_chunk::<4>()?;
    let (text, tail) = tail.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    *rest = tail;
    Some(text)
}

/// What a file has to be for one of an earlier layer to stand for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'w> {
    /// In the layer.
    pub path: &'w Path,
    pub content: [u8; 32],
    /// Of the source.
    pub stat: &'w Stat,
    pub owner: Owner,
    pub mode: u32,
}

/// An earlier layer, and what is known of its files.
#[derive(Debug)]
pub struct Earlier {
    tree: Rootfs,
    record: Record,
}

impl Earlier {
    /// The layer in the directory `fs`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(fs: &Path, mut record: Record) -> io::Result<Self> {
        record.files.sort();
        Ok(Self {
            tree: Rootfs::open(fs)?,
            record,
        })
    }

    /// A directory of it.
    pub(super) fn dir(&self, path: &Path) -> Option<OwnedFd> {
        self.tree.open_real(path)
    }

    /// Makes `name` in `to` a link to the file of that name in `dir`, a directory of the earlier
    /// layer, when that is what is wanted. Whatever speaks against it is no failure: the file is
    /// then copied.
    pub(super) fn link(
        &self,
        dir: BorrowedFd<'_>,
        wanted: &Wanted<'_>,
        to: BorrowedFd<'_>,
        name: &std::ffi::OsStr,
    ) -> bool {
        let files = &self.record.files;
        let made = files.find(bytes(wanted.path), usize::MAX);
        if made.and_then(|at| files.get(at)) != Some(&wanted.content) {
            return false;
        }
        let Ok(found) = fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else {
            return false;
        };
        let same = file_type(&found) == FileType::RegularFile
            && found.st_size == wanted.stat.st_size
            && mtime(&found) == mtime(wanted.stat)
            && (found.st_uid, found.st_gid) == (wanted.owner.uid, wanted.owner.gid)
            && found.st_mode & 0o7777 == wanted.mode;
        same && fs::linkat(dir, name, to, name, AtFlags::empty()).is_ok()
    }
}

/// The directory `name` in one of an earlier layer.
pub(super) fn below(dir: Option<&OwnedFd>, name: &std::ffi::OsStr) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(dir?.as_fd(), name, flags, Mode::empty()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::Digest;

    #[test]
    fn survives_a_round_trip_and_damage_is_nothing_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/record");
        let chain = ChainId(Digest::sha256(b"chain"));
        let mut record = Record::default();
        record.put(Path::new("c"), [2; 32]);
        record.put(Path::new("a/b"), [3; 32]);
        // What is copied to one place twice is there as the last one.
        record.put(Path::new("a/b"), [1; 32]);
        record.save(&chain, &path).unwrap();
        let (found, loaded) = Record::load(&path).unwrap();
        assert_eq!(found, chain);
        let all: Vec<_> = loaded.files.iter().map(|(n, c)| (n, *c)).collect();
        assert_eq!(all, [(&b"a/b"[..], [1; 32]), (b"c", [2; 32])]);
        let whole = std::fs::read(&path).unwrap();
        for len in [0, 7, 12, 40, whole.len() - 1] {
            assert!(parse(&whole[..len]).is_none(), "{len}");
        }
    }
}
