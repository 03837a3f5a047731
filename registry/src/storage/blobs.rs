//! Blob files: `blobs/<algorithm>/<first two hex digits>/<hex>`, one copy of each.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use oci::digest::Hashing;
use oci::{Algorithm, Digest};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use super::error::{Context, StorageError};
use super::files::{create_new, make_dir, sync_dir};
use super::parts;
use super::shard::{Listed, Shard};
use crate::name::UploadId;
use crate::sync::blocking;

/// Locks between those who bring a file and its row, and those who take both away.
const LOCKS: usize = 64;

/// Where listings are, in a registry's directory.
pub(crate) const LISTINGS: &str = "listings";

/// Where what belongs to a digest is kept below `root`.
pub(super) fn place(root: &Path, digest: &Digest) -> PathBuf {
    let mut path = root.join(digest.algorithm().as_str());
    path.push(&digest.hex()[..2]);
    path.push(digest.hex());
    path
}

/// What is wrong with a blob's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is not there.
    Missing,
    /// It holds something else.
    Damaged(String),
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("its file is missing"),
            Self::Damaged(why) => f.write_str(why),
        }
    }
}

/// A file that holds what its digest says, durably, and has no name yet; it goes when it is
/// dropped.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    size: u64,
    leftover: Leftover,
}

/// What becomes of a file that is dropped before it has a name.
#[derive(Debug)]
pub(super) enum Leftover {
    /// It goes.
    Remove,
    /// It is kept as the part of a blob.
    Keep(PathBuf),
    /// It stays where it is until the registry starts again: somebody may still write to it.
    Leave,
}

impl Staged {
    /// A file at a place.
    pub(super) fn at(path: PathBuf, leftover: Leftover) -> Self {
        let size = 0;
        Self {
            path,
            size,
            leftover,
        }
    }

    /// Says what becomes of it when it is dropped; what would have.
    pub(super) fn leaving(&mut self, leftover: Leftover) -> Leftover {
        std::mem::replace(&mut self.leftover, leftover)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes in it, once it is known to be durable.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The same, known to be durable and to hold so many bytes.
    pub(super) fn holding(mut self, size: u64) -> Self {
        self.size = size;
        self
    }

    /// Itself, durable and with its size; `None` when it is not what the digest says.
    fn verified(mut self, digest: &Digest) -> Result<Option<Self>, StorageError> {
        let file = File::open(&self.path).context("open", &self.path)?;
        let mut hashing = Hashing::with(&file, digest.algorithm());
        std::io::copy(&mut hashing, &mut std::io::sink()).context("read", &self.path)?;
        let (_, actual, size) = hashing.finish();
        if actual != *digest {
            return Ok(None);
        }
        file.sync_all().context("sync", &self.path)?;
        self.size = size;
        Ok(Some(self))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        match &self.leftover {
            // Gone already, unless something failed, or both names were links to one file.
            Leftover::Remove => {
                let _ = fs::remove_file(&self.path);
            }
            Leftover::Keep(place) => parts::keep(&self.path, place),
            Leftover::Leave => {}
        }
    }
}

/// The blob files of one registry.
#[derive(Clone, Debug)]
pub struct BlobFiles {
    pub(super) root: Arc<Path>,
    /// The file system that they are on: open from before the first of them is written, so that no
    /// failure to write one goes unseen.
    pub(super) file_system: Arc<File>,
    /// What layers hold, beside them and as long as them.
    pub(super) listings: Arc<Path>,
    pub(super) staging: Arc<Path>,
    /// Blobs of which a part came.
    pub(super) partial: Arc<Path>,
    locks: Arc<[Arc<RwLock<()>>]>,
}

impl BlobFiles {
    /// Opens `data_dir/blobs`, made when needed; files on their way there are made in
    /// `data_dir/staging`, emptied now: what came of other registries' blobs is kept in
    /// `data_dir/partial`.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn open(data_dir: &Path) -> Result<Self, StorageError> {
        let root = data_dir.join("blobs");
        make_dir(&root)?;
        make_shards(&root)?;
        let on = root.clone();
        Self::with_root(data_dir, root, &on)
    }

    /// The same without a place for blobs, which are elsewhere.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub(super) fn beside(data_dir: &Path) -> Result<Self, StorageError> {
        make_dir(data_dir)?;
        Self::with_root(data_dir, data_dir.join("blobs"), data_dir)
    }

    fn with_root(data_dir: &Path, root: PathBuf, on: &Path) -> Result<Self, StorageError> {
        let staging = data_dir.join("staging");
        let partial = data_dir.join("partial");
        for dir in [&staging, &partial] {
            make_dir(dir)?;
        }
        // Leftovers of a crash: never acknowledged, known to nobody.
        parts::sort(&staging, &partial)?;
        sync_dir(data_dir)?;
        let file_system = File::open(on).context("open", on)?;
        Ok(Self {
            file_system: Arc::new(file_system),
            root: root.into(),
            listings: data_dir.join(LISTINGS).into(),
            staging: staging.into(),
            partial: partial.into(),
            locks: (0..LOCKS).map(|_| Arc::default()).collect(),
        })
    }

    /// Whether `data_dir` holds any blob.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn are_in(data_dir: &Path) -> Result<bool, StorageError> {
        let root = data_dir.join("blobs");
        for shard in shards(&root)? {
            if !list(&root, &shard)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where files are made, on their way here; emptied at the next start.
    pub fn staging(&self) -> &Path {
        &self.staging
    }

    /// Where a blob's file is in a registry's directory.
    pub fn path_inside(digest: &Digest) -> PathBuf {
        place(Path::new("blobs"), digest)
    }

    /// Where a blob's file is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        place(&self.root, digest)
    }

    /// Held from before a file gets its name until its row is committed: meanwhile nobody removes
    /// the file for having no row.
    pub async fn arriving(&self, digest: &Digest) -> OwnedRwLockReadGuard<()> {
        Arc::clone(self.lock_of(digest)).read_owned().await
    }

    /// Held while a file without a row is removed.
    pub async fn leaving(&self, digest: &Digest) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(self.lock_of(digest)).write_owned().await
    }

    fn lock_of(&self, digest: &Digest) -> &Arc<RwLock<()>> {
        let shard = usize::from_str_radix(&digest.hex()[..2], 16).unwrap_or(0);
        &self.locks[shard % LOCKS]
    }

    /// Gives a complete and synced file its name, durably. An older file of that name is replaced:
    /// its content is the same, or was damaged.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn adopt(&self, staged: &Path, digest: &Digest) -> Result<(), StorageError> {
        let path = self.path(digest);
        let Some(dir) = path.parent() else {
            return Ok(());
        };
        match fs::rename(staged, &path) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                self.make_shard(dir)?;
                fs::rename(staged, &path)
            }
            done => done,
        }
        .context("rename to", &path)?;
        sync_dir(dir)
    }

    /// Gives a staged file its name, durably; its size. Hold [`BlobFiles::arriving`].
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn adopt_staged(&self, staged: Staged, digest: &Digest) -> Result<u64, StorageError> {
        self.adopt(&staged.path, digest)?;
        Ok(staged.size)
    }

    pub(super) fn make_shard(&self, dir: &Path) -> Result<(), StorageError> {
        make_dir(dir)?;
        if let Some(parent) = dir.parent() {
            sync_dir(parent)?;
        }
        sync_dir(&self.root)
    }

    /// Writes a whole small blob durably.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn write(&self, digest: &Digest, bytes: Bytes) -> Result<(), StorageError> {
        let (this, digest) = (self.clone(), digest.clone());
        blocking(move || {
            let staged = this.staging.join(UploadId::random().to_string());
            let written = create_new(&staged).and_then(|mut file| {
                file.write_all(&bytes)?;
                file.sync_all()
            });
            let done = written
                .context("write", &staged)
                .and_then(|()| this.adopt(&staged, &digest));
            if done.is_err() {
                let _ = fs::remove_file(&staged);
            }
            done
        })
        .await
    }

    /// Takes over a file from elsewhere under a second name (a hard link): who writes into it there
    /// changes the blob. Copied where links cannot be. `None` when it is not what the digest says.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn link(&self, source: &Path, digest: &Digest) -> Result<Option<Staged>, StorageError> {
        let staged = self.stage();
        let plain = fs::symlink_metadata(source).is_ok_and(|m| m.is_file());
        if !plain || fs::hard_link(source, &staged.path).is_err() {
            // Another file system, or one without links.
            return self.import(source, digest);
        }
        staged.verified(digest)
    }

    /// Takes over a file from elsewhere, as a file of its own; `None` when it is not what the
    /// digest says.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn import(&self, source: &Path, digest: &Digest) -> Result<Option<Staged>, StorageError> {
        let file = File::open(source).context("open", source)?;
        match self.import_shared(&file, digest)? {
            Some(done) => Ok(done),
            None => self.import_from(&mut &file, digest),
        }
    }

    /// Takes over a file by sharing its blocks: later changes of it are not seen here. The outer
    /// `None` when the file system cannot do that, the inner one when the file is not what the
    /// digest says.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn import_shared(
        &self,
        source: &File,
        digest: &Digest,
    ) -> Result<Option<Option<Staged>>, StorageError> {
        let staged = self.stage();
        let file = create_new(&staged.path).context("create", &staged.path)?;
        match rustix::fs::ioctl_ficlone(&file, source) {
            Ok(()) => staged.verified(digest).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Takes over what a reader gives; `None` when it is not what the digest says.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn import_from(
        &self,
        source: &mut dyn Read,
        digest: &Digest,
    ) -> Result<Option<Staged>, StorageError> {
        let mut staged = self.stage();
        let file = create_new(&staged.path).context("create", &staged.path)?;
        let mut hashing = Hashing::with(&file, digest.algorithm());
        std::io::copy(source, &mut hashing).context("copy to", &staged.path)?;
        let (_, actual, size) = hashing.finish();
        if actual != *digest {
            return Ok(None);
        }
        file.sync_all().context("sync", &staged.path)?;
        staged.size = size;
        Ok(Some(staged))
    }

    /// A name for a file on its way here.
    pub(super) fn stage(&self) -> Staged {
        let path = self.staging.join(UploadId::random().to_string());
        Staged::at(path, Leftover::Remove)
    }

    /// Opens a blob's file; `None` when there is none.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn open_file(&self, digest: &Digest) -> Result<Option<File>, StorageError> {
        let path = self.path(digest);
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).context("open", &path),
        }
    }

    /// Reads a whole small blob; `None` when there is none.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn read(&self, digest: &Digest) -> Result<Option<Bytes>, StorageError> {
        let path = self.path(digest);
        blocking(move || match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).context("read", &path),
        })
        .await
    }

    /// Reads a whole blob unless it is larger than `most` bytes; `None` when it is, or there is
    /// none.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn read_up_to(
        &self,
        digest: &Digest,
        most: u64,
    ) -> Result<Option<Bytes>, StorageError> {
        let path = self.path(digest);
        blocking(move || {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(e).context("open", &path),
            };
            let mut bytes = Vec::new();
            let read = file.take(most.saturating_add(1)).read_to_end(&mut bytes);
            read.context("read", &path)?;
            Ok((bytes.len() as u64 <= most).then(|| bytes.into()))
        })
        .await
    }

    /// What is wrong with a blob's file, if anything; its content is only read when `deep`.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn verify(
        &self,
        digest: &Digest,
        size: u64,
        deep: bool,
    ) -> Result<Option<Flaw>, StorageError> {
        let path = self.path(digest);
        let Some(file) = self.open_file(digest)? else {
            return Ok(Some(Flaw::Missing));
        };
        let actual = file.metadata().context("look at", &path)?.len();
        if actual != size {
            return Ok(Some(Flaw::Damaged(format!(
                "the file has {actual} bytes instead of {size}"
            ))));
        }
        if deep {
            let mut hashing = Hashing::with(file, digest.algorithm());
            std::io::copy(&mut hashing, &mut std::io::sink()).context("read", &path)?;
            let (_, actual, _) = hashing.finish();
            if actual != *digest {
                return Ok(Some(Flaw::Damaged(format!(
                    "the file's digest is {actual}"
                ))));
            }
        }
        Ok(None)
    }

    /// The directories that hold files.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn shards(&self) -> Result<Vec<Shard>, StorageError> {
        shards(&self.root)
    }

    /// The files of one shard. What is not named by a digest is not ours.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn list(&self, shard: &Shard) -> Result<Vec<Listed>, StorageError> {
        list(&self.root, shard)
    }

    /// Removes a blob's file, and the listing of what it holds; none is fine.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn remove(&self, digest: &Digest) -> Result<(), StorageError> {
        // First, so that no crash in between leaves a listing that nobody looks for.
        self.remove_listing(digest)?;
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e).context("remove", &path),
            _ => Ok(()),
        }
    }
}

/// Makes every directory of blobs by SHA-256, so that no push waits until one is durable.
fn make_shards(root: &Path) -> Result<(), StorageError> {
    let all = root.join(Algorithm::Sha256.as_str());
    make_dir(&all)?;
    let mut made = false;
    for number in 0..=u8::MAX {
        let shard = all.join(format!("{number:02x}"));
        if fs::symlink_metadata(&shard).is_err() {
            make_dir(&shard)?;
            made = true;
        }
    }
    if made {
        sync_dir(&all)?;
        sync_dir(root)?;
    }
    Ok(())
}

fn shards(root: &Path) -> Result<Vec<Shard>, StorageError> {
    let mut shards = Vec::new();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let dir = root.join(algorithm.as_str());
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            Err(e) => return Err(e).context("list", &dir),
        };
        for entry in entries {
            let name = entry.context("list", &dir)?.file_name();
            // What is not named like ours is not ours.
            if let Ok(name) = name.into_string() {
                shards.push(Shard { algorithm, name });
            }
        }
    }
    Ok(shards)
}

fn list(root: &Path, shard: &Shard) -> Result<Vec<Listed>, StorageError> {
    let dir = &root.join(shard.algorithm.as_str()).join(&shard.name);
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).context("list", dir)? {
        let entry = entry.context("list", dir)?;
        let name = entry.file_name();
        let digest = name
            .to_str()
            .and_then(|hex| Digest::new(shard.algorithm, hex).ok());
        if let Some(digest) = digest {
            let found = match entry.metadata() {
                // It was just collected.
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                found => found.context("look at", &entry.path())?,
            };
            files.push(Listed {
                digest,
                size: found.len(),
                // A link to a file from elsewhere has that one's time of modification.
                named: found.ctime(),
            });
        }
    }
    Ok(files)
}
