//! Blobs of which a part came: kept for whoever asks for them again, so that only the rest comes.
//!
//! While a blob comes, its file is `staging/<id>.<algorithm>-<hex>`; when it broke off, or its
//! process ended, `partial/<algorithm>-<hex>`. What was written last may be lost or wrong by then:
//! only the digest of all of it says whether it is what it should be.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use oci::digest::Hasher;
use oci::{Algorithm, Digest};

use super::blobs::{BlobFiles, Leftover, Staged};
use super::error::{Context, StorageError};
use super::parts::name;
use crate::clock::now;
use crate::name::UploadId;

impl BlobFiles {
    fn part(&self, digest: &Digest) -> PathBuf {
        self.partial.join(name(digest))
    }

    /// A name for a blob on its way here, whose part is kept when it breaks off.
    pub(super) fn stage_for(&self, digest: &Digest) -> Staged {
        let file = format!("{}.{}", UploadId::random(), name(digest));
        let kept = Leftover::Keep(self.part(digest));
        Staged::at(self.staging.join(file), kept)
    }

    /// Gives the part that is kept of a blob this name, if there is one: its hash, and how long it
    /// is. Its last byte is left away, so that there is a rest to ask for.
    pub(super) fn take_up(
        &self,
        digest: &Digest,
        staged: &Staged,
    ) -> Result<Option<(Hasher, u64)>, StorageError> {
        let path = staged.path();
        match fs::rename(self.part(digest), path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            renamed => renamed.context("take up", path)?,
        }
        let file = OpenOptions::new().read(true).write(true).open(path);
        let mut file = file.context("open", path)?;
        let size = file.metadata().context("look at", path)?.len();
        let size = size.saturating_sub(1);
        file.set_len(size).context("shorten", path)?;
        let hasher = hash(&mut file, digest.algorithm()).context("read", path)?;
        Ok(Some((hasher, size)))
    }

    /// Removes parts that nobody went on with for `age`.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn expire_parts(&self, age: Duration) -> Result<u64, StorageError> {
        let age = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
        let cutoff = now().saturating_sub(age);
        let mut gone = 0;
        for entry in fs::read_dir(&self.partial).context("list", &self.partial)? {
            let path = entry.context("list", &self.partial)?.path();
            let modified = fs::metadata(&path).map(|found| found.mtime());
            if modified.is_ok_and(|modified| modified <= cutoff) {
                gone += u64::from(fs::remove_file(&path).is_ok());
            }
        }
        Ok(gone)
    }
}

fn hash(file: &mut File, algorithm: Algorithm) -> io::Result<Hasher> {
    let mut hasher = algorithm.hasher();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(hasher);
        }
        hasher.update(&buffer[..n]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn size(path: &Path) -> Option<u64> {
        fs::metadata(path).ok().map(|found| found.len())
    }

    #[test]
    fn a_part_is_taken_up_by_one_and_goes_when_nobody_does() {
        let dir = tempfile::tempdir().unwrap();
        let files = BlobFiles::open(dir.path()).unwrap();
        let content = vec![7; 100_000];
        let digest = Digest::sha256(&content);
        fs::write(files.part(&digest), &content[..70_000]).unwrap();
        let staged = files.stage_for(&digest);
        let (mut hasher, len) = files.take_up(&digest, &staged).unwrap().unwrap();
        assert_eq!(len, 69_999);
        let other = files.stage_for(&digest);
        assert!(files.take_up(&digest, &other).unwrap().is_none());
        // The rest makes it whole.
        hasher.update(&content[69_999..]);
        assert_eq!(hasher.finish(), digest);
        drop(staged);
        assert_eq!(size(&files.part(&digest)), Some(69_999));
        assert_eq!(files.expire_parts(Duration::from_secs(3600)).unwrap(), 0);
        assert_eq!(files.expire_parts(Duration::ZERO).unwrap(), 1);
        assert_eq!(size(&files.part(&digest)), None);
    }
}
