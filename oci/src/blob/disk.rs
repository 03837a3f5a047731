//! Blobs as files.
//!
//! ```text
//! root/blobs/sha256/<hex>     one file a blob, immutable
//! root/blobs/sha512/<hex>
//! root/staging/               being written; nothing here is a blob yet
//! ```
//!
//! The directory is not sharded: it is then the `blobs` directory of an OCI image layout
//! (image-spec, image-layout.md), ext4 and xfs look names up in a tree anyway, and a commit has
//! exactly one directory to make durable.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;
use tempfile::TempPath;

use super::store::{BlobError, BlobRead, BlobStore, BlobWriter, Expected};
use crate::digest::{Algorithm, Digest, Hasher};

const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];
/// Staging files of [`DiskBlobs::writer`] begin with this; anything else there is left alone.
const WRITER_PREFIX: &str = "write-";
const COPY_BUFFER: usize = 256 << 10;

/// A blob store in a directory; several processes may use the same one at once.
#[derive(Clone, Debug)]
pub struct DiskBlobs {
    blobs: PathBuf,
    staging: PathBuf,
}

fn failed(what: &str, path: &Path) -> impl FnOnce(io::Error) -> BlobError {
    let what = format!("{what} {}", path.display());
    move |cause| BlobError::Io { what, cause }
}

fn sync_dir(path: &Path) -> Result<(), BlobError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(failed("syncing directory", path))
}

impl DiskBlobs {
    /// Opens the store under `root`, making its directories where they are missing.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, BlobError> {
        let root = root.into();
        let store = Self {
            blobs: root.join("blobs"),
            staging: root.join("staging"),
        };
        let wanted = ALGORITHMS
            .map(|algorithm| store.blobs.join(algorithm.as_str()))
            .into_iter()
            .chain([store.staging.clone()]);
        let mut made = false;
        for dir in wanted {
            if !dir.is_dir() {
                fs::create_dir_all(&dir).map_err(failed("creating directory", &dir))?;
                made = true;
            }
        }
        if made {
            sync_dir(&store.blobs)?;
            sync_dir(&root)?;
        }
        Ok(store)
    }

    /// The store under `root` as it is, where nothing can be made.
    pub fn open_existing(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self {
            blobs: root.join("blobs"),
            staging: root.join("staging"),
        }
    }

    /// Where a blob of this digest is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.blobs
            .join(digest.algorithm().as_str())
            .join(digest.hex())
    }

    /// Opens a blob as a plain file, for callers that serve ranges or use `sendfile`.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], [`BlobError::Io`].
    pub fn open_file(&self, digest: &Digest) -> Result<File, BlobError> {
        let path = self.path(digest);
        match File::open(&path) {
            Ok(file) => Ok(file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Err(BlobError::NotFound(digest.clone()))
            }
            Err(e) => Err(failed("opening", &path)(e)),
        }
    }

    /// Makes a file that the caller has written and **verified** a blob: syncs it, renames it
    /// into place and syncs the directory. The file must be on the same file system; names in
    /// `staging` that begin with `write-` are the store's own. A blob that is there already is
    /// kept and the file is removed. On failure the file stays where it was.
    ///
    /// # Errors
    /// [`BlobError::SizeMismatch`] when the file is not `size` bytes long, [`BlobError::Io`].
    pub fn adopt(&self, staged_file: &Path, digest: &Digest, size: u64) -> Result<(), BlobError> {
        let file = OpenOptions::new()
            .write(true)
            .open(staged_file)
            .map_err(failed("opening", staged_file))?;
        let actual = file
            .metadata()
            .map_err(failed("reading the size of", staged_file))?
            .len();
        if actual != size {
            return Err(BlobError::SizeMismatch {
                expected: size,
                actual,
            });
        }
        file.sync_all().map_err(failed("syncing", staged_file))?;
        self.publish(staged_file, digest)
    }

    /// Starts writing a blob that others read while it grows: the file is what they read it from,
    /// and stays so when the blob gets its name.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn growing(&self) -> Result<(Box<dyn BlobWriter>, File), BlobError> {
        let writer = self.staged()?;
        let reader = File::open(&writer.path).map_err(failed("opening", &writer.path))?;
        Ok((Box::new(writer), reader))
    }

    fn staged(&self) -> Result<DiskWriter, BlobError> {
        let (file, path) = tempfile::Builder::new()
            .prefix(WRITER_PREFIX)
            .rand_bytes(16)
            .tempfile_in(&self.staging)
            .map_err(failed("creating a file in", &self.staging))?
            .into_parts();
        // Held until the file is closed, whatever becomes of this process: `clean_staging` of
        // another one sees by it that the writer lives.
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|e| failed("locking", &path)(e.into()))?;
        Ok(DiskWriter {
            store: self.clone(),
            file,
            path,
            hasher: Algorithm::Sha256.hasher(),
            len: 0,
        })
    }

    /// Removes staging files of writers that died: not touched for `older_than`, and with nobody
    /// holding their lock. Returns how many went.
    ///
    /// # Errors
    /// [`BlobError::Io`] when the staging directory cannot be read.
    pub fn clean_staging(&self, older_than: Duration) -> Result<usize, BlobError> {
        let mut removed = 0;
        for (path, _) in self.abandoned(older_than)? {
            removed += usize::from(fs::remove_file(&path).is_ok());
        }
        Ok(removed)
    }

    /// Bytes that [`clean_staging`](Self::clean_staging) would free.
    ///
    /// # Errors
    /// As it.
    pub fn staging_size(&self, older_than: Duration) -> Result<u64, BlobError> {
        let found = self.abandoned(older_than)?;
        Ok(found.iter().map(|(_, size)| size).sum())
    }

    /// Staging files of writers that died, with their sizes in bytes.
    fn abandoned(&self, older_than: Duration) -> Result<Vec<(PathBuf, u64)>, BlobError> {
        let entries = fs::read_dir(&self.staging).map_err(failed("reading", &self.staging))?;
        let now = SystemTime::now();
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed("reading", &self.staging))?;
            let ours = entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(WRITER_PREFIX));
            if !ours {
                continue;
            }
            let path = entry.path();
            // Whatever cannot be looked at here was finished or removed meanwhile.
            let Ok(file) = File::open(&path) else {
                continue;
            };
            let Ok(metadata) = file.metadata() else {
                continue;
            };
            let age = metadata.modified().map(|at| now.duration_since(at));
            let old = age.is_ok_and(|age| age.unwrap_or_default() >= older_than);
            if old && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                found.push((path, metadata.len()));
            }
        }
        Ok(found)
    }

    /// Gives a synced staging file its name as a blob. When the name is taken the file is
    /// removed, but the directory is synced all the same: the other writer may have renamed and
    /// not synced yet, and what we return from here is an acknowledgement.
    fn publish(&self, staged: &Path, digest: &Digest) -> Result<(), BlobError> {
        let path = self.path(digest);
        match rename_no_replace(staged, &path) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(staged).map_err(failed("removing", staged))?;
            }
            Err(e) => return Err(failed("renaming into place", &path)(e)),
        }
        sync_dir(&self.blobs.join(digest.algorithm().as_str()))
    }
}

/// `rename` that fails where the target exists, on file systems without `RENAME_NOREPLACE` too.
fn rename_no_replace(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        other => Ok(other?),
    }
}

impl BlobStore for DiskBlobs {
    fn size(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        let path = self.path(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed("reading the size of", &path)(e)),
        }
    }

    fn open(&self, digest: &Digest) -> Result<Box<dyn BlobRead>, BlobError> {
        Ok(Box::new(self.open_file(digest)?))
    }

    fn writer(&self) -> Result<Box<dyn BlobWriter>, BlobError> {
        Ok(Box::new(self.staged()?))
    }

    fn remove(&self, digest: &Digest) -> Result<(), BlobError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("removing", &path)(e)),
            _ => Ok(()),
        }
    }

    fn list(&self) -> Result<Vec<Digest>, BlobError> {
        let mut all = Vec::new();
        for algorithm in ALGORITHMS {
            let dir = self.blobs.join(algorithm.as_str());
            for entry in fs::read_dir(&dir).map_err(failed("reading", &dir))? {
                let name = entry.map_err(failed("reading", &dir))?.file_name();
                // What is not named as a blob is not ours.
                all.extend(
                    name.to_str()
                        .and_then(|hex| Digest::new(algorithm, hex).ok()),
                );
            }
        }
        Ok(all)
    }
}

struct DiskWriter {
    store: DiskBlobs,
    file: File,
    /// Removes the staging file when dropped.
    path: TempPath,
    hasher: Hasher,
    len: u64,
}

impl Write for DiskWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.file.write(buf)?;
        self.hasher.update(&buf[..n]);
        self.len += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for DiskWriter {
    fn commit(mut self: Box<Self>, expected: &Expected) -> Result<(Digest, u64), BlobError> {
        expected.check_size(self.len)?;
        let algorithm = expected
            .digest
            .as_ref()
            .map_or(Algorithm::Sha256, Digest::algorithm);
        let digest = match algorithm {
            Algorithm::Sha256 => self.hasher.finish(),
            // Rare enough to read the file once more, rather than hash everything twice.
            other => {
                hash_file(&mut self.file, other).map_err(failed("reading back", &self.path))?
            }
        };
        expected.check_digest(&digest)?;
        self.file
            .sync_all()
            .map_err(failed("syncing", &self.path))?;
        self.store.publish(&self.path, &digest)?;
        Ok((digest, self.len))
    }
}

fn hash_file(file: &mut File, algorithm: Algorithm) -> io::Result<Digest> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = algorithm.hasher();
    let mut buffer = vec![0; COPY_BUFFER];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::conformance;

    fn staged(store: &DiskBlobs) -> usize {
        fs::read_dir(&store.staging).unwrap().count()
    }

    #[test]
    fn conforms() {
        let dir = tempfile::tempdir().unwrap();
        let mut n = 0;
        conformance::check(|| {
            n += 1;
            DiskBlobs::open(dir.path().join(n.to_string()))
        })
        .unwrap();
    }

    #[test]
    fn a_writer_that_fails_or_is_dropped_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let store = DiskBlobs::open(dir.path()).unwrap();
        let mut writer = store.writer().unwrap();
        writer.write_all(b"hello").unwrap();
        assert_eq!(staged(&store), 1);
        drop(writer);
        assert_eq!(staged(&store), 0);
        let mut writer = store.writer().unwrap();
        writer.write_all(b"hello").unwrap();
        let expected = Expected {
            digest: Some(Digest::empty()),
            size: None,
        };
        writer.commit(&expected).unwrap_err();
        assert_eq!(staged(&store), 0);
        for _ in 0..2 {
            let mut writer = store.writer().unwrap();
            writer.write_all(b"hello").unwrap();
            writer.commit(&Expected::default()).unwrap();
            assert_eq!(staged(&store), 0);
        }
    }

    #[test]
    fn adopts_a_verified_file_and_keeps_the_blob_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let store = DiskBlobs::open(dir.path()).unwrap();
        let digest = Digest::sha256(b"hello");
        for _ in 0..2 {
            let file = store.staging.join("upload-1");
            fs::write(&file, b"hello").unwrap();
            assert!(matches!(
                store.adopt(&file, &digest, 4),
                Err(BlobError::SizeMismatch {
                    expected: 4,
                    actual: 5
                })
            ));
            assert!(file.exists());
            store.adopt(&file, &digest, 5).unwrap();
            assert!(!file.exists());
            assert_eq!(fs::read(store.path(&digest)).unwrap(), b"hello");
        }
    }

    #[test]
    fn cleaning_spares_living_writers_and_files_of_others() {
        let dir = tempfile::tempdir().unwrap();
        let store = DiskBlobs::open(dir.path()).unwrap();
        let living = store.writer().unwrap();
        fs::write(store.staging.join("write-dead"), b"x").unwrap();
        fs::write(store.staging.join("upload-1"), b"x").unwrap();
        assert_eq!(store.clean_staging(Duration::from_secs(3600)).unwrap(), 0);
        assert_eq!(store.clean_staging(Duration::ZERO).unwrap(), 1);
        assert_eq!(staged(&store), 2);
        living.commit(&Expected::default()).unwrap();
    }

    #[test]
    fn foreign_files_are_not_listed() {
        let dir = tempfile::tempdir().unwrap();
        let store = DiskBlobs::open(dir.path()).unwrap();
        fs::write(dir.path().join("blobs/sha256/lost+found"), b"x").unwrap();
        assert!(store.list().unwrap().is_empty());
    }
}
