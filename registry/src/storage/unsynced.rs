//! Small files that get their names before they are durable.
//!
//! Their content is in the database by the time somebody is told of them, and all of them are
//! synced at once later: a sync for each would cost more than all else that a small push does.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use bytes::Bytes;
use oci::Digest;
use rustix::fs::{CWD, RenameFlags, renameat_with, syncfs};
use rustix::io::Errno;

use super::blobs::BlobFiles;
use super::error::{Context, StorageError};
use super::files::create_new;

/// Bytes up to which content may be kept in the database until its file is durable.
pub const SMALL: u64 = 64 << 10;

impl BlobFiles {
    /// Gives a complete file its name, which may be lost in a power cut until [`BlobFiles::sync`].
    /// A file that has the name already stays where it holds the same: it may be durable. Hold
    /// [`BlobFiles::arriving`].
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub(super) fn adopt_unsynced(
        &self,
        staged: &Path,
        digest: &Digest,
        content: &[u8],
    ) -> Result<(), StorageError> {
        let path = self.path(digest);
        let rename = || renameat_with(CWD, staged, CWD, &path, RenameFlags::NOREPLACE);
        let renamed = match (rename(), path.parent()) {
            (Err(Errno::NOENT), Some(dir)) => {
                self.make_shard(dir)?;
                rename()
            }
            (done, _) => done,
        };
        match renamed {
            Err(Errno::EXIST) if self.holds(&path, content)? => {
                fs::remove_file(staged).context("remove", staged)
            }
            // Another file is there, a damaged one; or the file system knows no such rename.
            Err(Errno::EXIST | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                let file = File::open(staged).context("open", staged)?;
                file.sync_all().context("sync", staged)?;
                self.adopt(staged, digest)
            }
            done => done.map_err(Into::into).context("rename to", &path),
        }
    }

    /// Writes a whole small blob as [`BlobFiles::adopt_unsynced`] does.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn write_unsynced(&self, digest: &Digest, content: &[u8]) -> Result<(), StorageError> {
        if self.holds(&self.path(digest), content)? {
            return Ok(());
        }
        let staged = self.stage();
        create_new(staged.path())
            .and_then(|mut file| file.write_all(content))
            .context("write", staged.path())?;
        self.adopt_unsynced(staged.path(), digest, content)
    }

    /// Makes everything durable that was given a name until now.
    ///
    /// # Errors
    /// [`StorageError::Io`]: any of it may be lost, though it can still be read.
    pub fn sync(&self) -> Result<(), StorageError> {
        syncfs(&*self.file_system)
            .map_err(Into::into)
            .context("sync", &self.root)
    }

    /// Writes content again, durably: what its file holds is not to be relied on.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn write_again(&self, digest: &Digest, content: &[u8]) -> Result<(), StorageError> {
        let staged = self.stage();
        create_new(staged.path())
            .and_then(|mut file| {
                file.write_all(content)?;
                file.sync_all()
            })
            .context("write", staged.path())?;
        self.adopt(staged.path(), digest)
    }

    /// Writes content again where its file does not hold it; whether it did not. Content that is
    /// not what its digest says is left alone.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn mend(&self, digest: &Digest, content: &Bytes) -> Result<bool, StorageError> {
        if self.holds(&self.path(digest), content)? || digest.algorithm().digest(content) != *digest
        {
            return Ok(false);
        }
        self.write_again(digest, content)?;
        Ok(true)
    }

    /// Whether a file holds this.
    fn holds(&self, path: &Path, content: &[u8]) -> Result<bool, StorageError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e).context("open", path),
        };
        let mut bytes = Vec::with_capacity(content.len() + 1);
        let most = content.len() as u64 + 1;
        // A file that cannot be read is as good as another one.
        let read = file.take(most).read_to_end(&mut bytes);
        Ok(read.is_ok() && bytes == content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> (tempfile::TempDir, BlobFiles) {
        let dir = tempfile::tempdir().unwrap();
        let files = BlobFiles::open(dir.path()).unwrap();
        (dir, files)
    }

    fn inode(files: &BlobFiles, digest: &Digest) -> u64 {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(files.path(digest)).unwrap().ino()
    }

    #[test]
    fn a_file_that_holds_the_same_stays_and_another_one_goes() {
        let (_dir, files) = files();
        let digest = Digest::sha256(b"same");
        files.write_unsynced(&digest, b"same").unwrap();
        let first = inode(&files, &digest);
        files.write_unsynced(&digest, b"same").unwrap();
        let staged = files.staging.join("other");
        fs::write(&staged, "same").unwrap();
        files.adopt_unsynced(&staged, &digest, b"same").unwrap();
        assert_eq!(inode(&files, &digest), first);
        for damaged in ["", "sam", "samE", "samey"] {
            fs::write(files.path(&digest), damaged).unwrap();
            files.write_unsynced(&digest, b"same").unwrap();
            assert_eq!(fs::read(files.path(&digest)).unwrap(), b"same");
        }
        assert_eq!(fs::read_dir(&files.staging).unwrap().count(), 0);
        files.sync().unwrap();
    }

    #[test]
    fn what_a_power_cut_took_from_a_file_comes_back() {
        let (_dir, files) = files();
        let (digest, content) = (Digest::sha256(b"content"), Bytes::from_static(b"content"));
        assert!(files.mend(&digest, &content).unwrap());
        assert!(!files.mend(&digest, &content).unwrap());
        fs::write(files.path(&digest), b"\0\0\0\0\0\0\0").unwrap();
        // Content that is wrong itself mends nothing.
        assert!(!files.mend(&digest, &Bytes::from_static(b"wrong")).unwrap());
        assert!(files.mend(&digest, &content).unwrap());
        assert_eq!(fs::read(files.path(&digest)).unwrap(), b"content");
        assert_eq!(fs::read_dir(&files.staging).unwrap().count(), 0);
    }
}
