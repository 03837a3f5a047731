//! What the tests of this module share.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use tempfile::TempDir;

use super::header::{Header, Kind, padding};
use super::unpack::{Ownership, UnpackError, UnpackOptions, Unpacked, layer};
use super::{TarOptions, diff, open_dir};

/// Whether the test may go on: what it does needs root.
pub(crate) fn root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: {test} needs root");
    }
    root
}

/// Options with which anybody can unpack.
pub(crate) fn anybody() -> UnpackOptions {
    UnpackOptions {
        ownership: Ownership::Current,
        user_xattrs: true,
        ..UnpackOptions::default()
    }
}

/// Builds an archive, hostile ones too.
#[derive(Default)]
pub(crate) struct Tar(pub Vec<u8>);

impl Tar {
    pub(crate) fn entry(mut self, header: &Header<'_>, content: &[u8]) -> Self {
        header.encode(&mut self.0);
        self.0.extend_from_slice(content);
        let padded = self.0.len() + padding(content.len() as u64);
        self.0.resize(padded, 0);
        self
    }

    pub(crate) fn file(self, path: impl AsRef<[u8]>, content: &str) -> Self {
        let header = Header {
            size: content.len() as u64,
            ..header(path.as_ref(), Kind::File)
        };
        self.entry(&header, content.as_bytes())
    }

    pub(crate) fn dir(self, path: impl AsRef<[u8]>, mode: u32) -> Self {
        let header = Header {
            mode,
            ..header(path.as_ref(), Kind::Directory)
        };
        self.entry(&header, b"")
    }

    pub(crate) fn link(self, kind: Kind, path: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Self {
        let header = Header {
            link: to.as_ref(),
            ..header(path.as_ref(), kind)
        };
        self.entry(&header, b"")
    }

    pub(crate) fn symlink(self, path: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Self {
        self.link(Kind::Symlink, path, to)
    }

    pub(crate) fn hard_link(self, path: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Self {
        self.link(Kind::HardLink, path, to)
    }

    /// Unpacks as a layer into a new directory.
    pub(crate) fn layer(&self) -> (Tree, Result<Unpacked, UnpackError>) {
        let tree = Tree::new();
        let result = layer(&self.0[..], tree.fd(), &anybody());
        (tree, result)
    }

    /// Unpacks as a layer, which must work.
    pub(crate) fn unpacked(&self) -> Tree {
        let (tree, result) = self.layer();
        result.unwrap();
        tree
    }

    /// Why it is not unpacked.
    pub(crate) fn refusal(&self) -> String {
        self.layer().1.unwrap_err().to_string()
    }
}

pub(crate) fn header(path: &[u8], kind: Kind) -> Header<'_> {
    Header {
        path,
        kind,
        link: b"",
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: 1_000_000_000,
        size: 0,
        device: (0, 0),
        xattrs: &[],
    }
}

/// A directory that goes away with the test.
pub(crate) struct Tree(pub TempDir);

impl Tree {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn fd(&self) -> OwnedFd {
        open_dir(self.0.path()).unwrap()
    }

    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(path)
    }

    pub(crate) fn read(&self, path: impl AsRef<Path>) -> String {
        std::fs::read_to_string(self.path(path)).unwrap()
    }

    pub(crate) fn mode(&self, path: impl AsRef<Path>) -> u32 {
        std::fs::symlink_metadata(self.path(path)).unwrap().mode() & 0o7777
    }

    pub(crate) fn mtime(&self, path: impl AsRef<Path>) -> i64 {
        std::fs::symlink_metadata(self.path(path)).unwrap().mtime()
    }

    /// The names in a directory.
    pub(crate) fn names(&self, path: impl AsRef<Path>) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.path(path))
            .unwrap()
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// The layer tar of this directory.
    pub(crate) fn tar(&self) -> Vec<u8> {
        let mut tar = Vec::new();
        diff::write_tar(self.fd(), &TarOptions::default(), &mut tar).unwrap();
        tar
    }

    /// The layer tar's entries, a line each: type, mode, path, link target.
    pub(crate) fn listing(&self) -> String {
        listing(&self.tar())
    }
}

pub(crate) fn listing(tar: &[u8]) -> String {
    let mut reader = super::reader::Reader::new(tar);
    let mut lines = String::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        use super::reader::EntryKind as E;
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let (kind, link) = match &entry.kind {
            E::File => ('-', String::new()),
            E::HardLink(to) => ('h', format!(" = {}", text(to))),
            E::Symlink(to) => ('l', format!(" -> {}", text(to))),
            E::Directory => ('d', String::new()),
            E::Fifo => ('p', String::new()),
            E::Char(major, minor) => ('c', format!(" {major}:{minor}")),
            E::Block(major, minor) => ('b', format!(" {major}:{minor}")),
        };
        // A link's own mode means nothing, and differs between systems.
        let mode = if kind == 'l' { 0 } else { entry.mode };
        lines += &format!("{kind} {mode:04o} {}{link}\n", text(&entry.path));
    }
    lines
}
