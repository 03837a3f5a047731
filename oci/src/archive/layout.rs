//! Where the files of an archive go: into a tar, or into a directory.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::{ArchiveError, failed};
use super::held::holds;
use super::names::blob_path;
use crate::Digest;
use crate::blob::Expected;
use crate::digest::Hashing;
use crate::layer::header::{Header, Kind, padding};

/// Writes a blob's content.
pub(super) type Produce<'p> = &'p mut dyn FnMut(&mut dyn Write) -> Result<(), ArchiveError>;

/// A place for files.
pub(super) trait Layout {
    /// Puts a blob there, unless it is there already. What `produce` writes is verified.
    fn blob(
        &mut self,
        digest: &Digest,
        size: u64,
        produce: Produce<'_>,
    ) -> Result<(), ArchiveError>;

    /// Puts a file of this name there.
    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError>;
}

/// Stops a producer that writes more than it promised, before that spoils the archive.
struct Bounded<W> {
    inner: Hashing<W>,
    size: u64,
}

impl<W: Write> Write for Bounded<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.inner.len() + buf.len() as u64 > self.size {
            return Err(io::Error::other(format!(
                "more than the {} bytes that were promised",
                self.size
            )));
        }
        self.inner.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

pub(super) fn verified<W: Write>(
    out: W,
    digest: &Digest,
    size: u64,
    produce: Produce<'_>,
) -> Result<(), ArchiveError> {
    let mut bounded = Bounded {
        inner: Hashing::with(out, digest.algorithm()),
        size,
    };
    produce(&mut bounded)?;
    let (_, actual, written) = bounded.inner.finish();
    let expected = Expected {
        digest: Some(digest.clone()),
        size: Some(size),
    };
    expected.check_size(written)?;
    expected.check_digest(&actual)?;
    Ok(())
}

/// A tar with nothing in it that changes from one time to the next.
#[derive(Debug)]
pub(super) struct TarLayout<W> {
    out: W,
    blobs: HashSet<Digest>,
    directories: HashSet<String>,
}

impl<W: Write> TarLayout<W> {
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            blobs: HashSet::new(),
            directories: HashSet::new(),
        }
    }

    fn header(&mut self, path: &str, kind: Kind, size: u64) -> Result<(), ArchiveError> {
        let mut bytes = Vec::new();
        Header {
            path: path.as_bytes(),
            kind,
            link: b"",
            mode: if kind == Kind::Directory {
                0o755
            } else {
                0o644
            },
            uid: 0,
            gid: 0,
            mtime: 0,
            size,
            device: (0, 0),
            xattrs: &[],
        }
        .encode(&mut bytes);
        self.put(&bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.out
            .write_all(bytes)
            .map_err(failed("writing the archive"))
    }

    fn pad(&mut self, size: u64) -> Result<(), ArchiveError> {
        self.put(&[0; 512][..padding(size)])
    }

    pub(super) fn finish(mut self) -> Result<W, ArchiveError> {
        self.put(&[0; 1024])?;
        self.out.flush().map_err(failed("writing the archive"))?;
        Ok(self.out)
    }
}

impl<W: Write> Layout for TarLayout<W> {
    fn blob(
        &mut self,
        digest: &Digest,
        size: u64,
        produce: Produce<'_>,
    ) -> Result<(), ArchiveError> {
        if !self.blobs.insert(digest.clone()) {
            return Ok(());
        }
        for directory in [
            "blobs/".to_owned(),
            format!("blobs/{}/", digest.algorithm()),
        ] {
            if self.directories.insert(directory.clone()) {
                self.header(&directory, Kind::Directory, 0)?;
            }
        }
        self.header(&blob_path(digest), Kind::File, size)?;
        verified(&mut self.out, digest, size, produce)?;
        self.pad(size)
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.header(name, Kind::File, bytes.len() as u64)?;
        self.put(bytes)?;
        self.pad(bytes.len() as u64)
    }
}

/// A directory; every file appears whole or not at all.
#[derive(Debug)]
pub(super) struct DirLayout {
    root: PathBuf,
}

impl DirLayout {
    pub(super) fn new(root: &Path) -> Result<Self, ArchiveError> {
        fs::create_dir_all(root).map_err(failed(format!("creating {}", root.display())))?;
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// Where a file of this name is.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Makes a file that appears whole, or not at all.
    pub(super) fn place(
        &self,
        path: &Path,
        write: impl FnOnce(&mut File) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        let dir = path.parent().unwrap_or(&self.root);
        let what = format!("writing {}", path.display());
        fs::create_dir_all(dir).map_err(failed(what.as_str()))?;
        let mut file = tempfile::Builder::new()
            .prefix(".write-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(dir)
            .map_err(failed(what.as_str()))?;
        write(file.as_file_mut())?;
        let sync = |file: &File| file.sync_all();
        sync(file.as_file()).map_err(failed(what.as_str()))?;
        file.persist(path)
            .map_err(|e| failed(what.as_str())(e.error))?;
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(failed(what))
    }
}

impl Layout for DirLayout {
    fn blob(
        &mut self,
        digest: &Digest,
        size: u64,
        produce: Produce<'_>,
    ) -> Result<(), ArchiveError> {
        let path = self.path(&blob_path(digest));
        if holds(&path, digest, size) {
            return Ok(());
        }
        self.place(&path, |file| verified(file, digest, size, produce))
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.place(&self.root.join(name), |file| {
            file.write_all(bytes)
                .map_err(failed(format!("writing {name}")))
        })
    }
}
