//! The blobs of a registry, wherever their bytes are: what the service knows of storage.
//!
//! What comes from elsewhere (imports, mirrored blobs) is made in files of the registry's directory
//! first, whatever holds the blobs.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use oci::Digest;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard};

use super::blobs::{BlobFiles, Flaw, Staged};
use super::error::{Context, StorageError};
use super::files::create_new;
use super::incoming::Incoming;
use super::objects::{
    Identity, ObjectSettings, Prepared, Standing, Store, claim, connect, in_store, is_on_disk,
    prepare, shards,
};
use super::opened::{From, InFile, Reading, Served, ServedObject};
use super::shard::{Listed, Shard};
use super::unsynced::SMALL;
use crate::sync::{blocking, waiting};

/// Where a registry's blobs are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// In files of its directory.
    #[default]
    Disk,
    /// In an object store.
    Objects(Box<ObjectSettings>),
}

/// The blobs of a registry.
#[derive(Clone, Debug)]
pub struct Blobs {
    files: BlobFiles,
    /// Where they are, if they are not files.
    objects: Option<Store>,
}

/// A verified file on its way to its name.
#[derive(Debug)]
pub struct Ready(On);

#[derive(Debug)]
enum On {
    Disk(Staged),
    Objects(Prepared),
}

impl Blobs {
    /// Opens the blobs of a directory; what is in an object store is reached, and nothing is asked
    /// of it yet.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn open(data_dir: &Path, backend: &Backend) -> Result<Self, StorageError> {
        let dir = data_dir.to_owned();
        let (files, objects) = match backend {
            Backend::Disk => {
                let open = move || {
                    is_on_disk(&dir)?;
                    BlobFiles::open(&dir)
                };
                (blocking(open).await?, None)
            }
            Backend::Objects(settings) => {
                let store = connect(settings)?;
                (
                    blocking(move || BlobFiles::beside(&dir)).await?,
                    Some(store),
                )
            }
        };
        Ok(Self { files, objects })
    }

    /// Makes sure that the directory and the object store belong together, where there is one;
    /// whose that is. What the database says of it (`known`) counts before what the directory says.
    ///
    /// # Errors
    /// [`StorageError::Elsewhere`], [`StorageError::Store`].
    pub async fn claim(
        &self,
        data_dir: &Path,
        known: Option<Identity>,
        standing: Standing,
    ) -> Result<Option<Identity>, StorageError> {
        match (&self.objects, known) {
            (Some(store), known) => Ok(Some(claim(store, data_dir, known, standing).await?)),
            (None, Some(known)) => Err(in_store(data_dir, &known)),
            (None, None) => Ok(None),
        }
    }

    /// Whether there is any blob.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn are_any(&self, data_dir: &Path) -> Result<bool, StorageError> {
        if let Some(store) = &self.objects {
            return store.has_blobs().await;
        }
        let dir = data_dir.to_owned();
        blocking(move || BlobFiles::are_in(&dir)).await
    }

    /// Whether blobs can be had.
    ///
    /// # Errors
    /// [`StorageError::Store`].
    pub async fn ping(&self) -> Result<(), StorageError> {
        match &self.objects {
            Some(store) => store.ping().await,
            None => Ok(()),
        }
    }

    pub(super) fn store(&self) -> Option<&Store> {
        self.objects.as_ref()
    }

    /// The files of the registry's directory, where content from elsewhere is made ready.
    pub fn local(&self) -> &BlobFiles {
        &self.files
    }

    /// Where files are made, on their way here; emptied at the next start.
    pub fn staging(&self) -> &Path {
        self.files.staging()
    }

    /// Where a blob is, as people are told.
    pub fn place(&self, digest: &Digest) -> PathBuf {
        match &self.objects {
            Some(store) => store.place_of(digest),
            None => self.files.path(digest),
        }
    }

    /// Held from before a blob gets its name until its row is committed: meanwhile nobody removes
    /// it for having no row.
    pub async fn arriving(&self, digest: &Digest) -> OwnedRwLockReadGuard<()> {
        self.files.arriving(digest).await
    }

    /// Held while a blob without a row is removed.
    pub async fn leaving(&self, digest: &Digest) -> OwnedRwLockWriteGuard<()> {
        self.files.leaving(digest).await
    }

    /// Keeps a whole blob that is small enough for memory; whether it is durable. If it is not, its
    /// content belongs into the transaction of its row, until [`Blobs::sync`]. Hold
    /// [`Blobs::arriving`].
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn keep(&self, digest: &Digest, bytes: &Bytes) -> Result<bool, StorageError> {
        if let Some(store) = &self.objects {
            store.put_blob(digest, bytes).await?;
            return Ok(true);
        }
        if bytes.len() as u64 > SMALL {
            self.files.write(digest, bytes.clone()).await?;
            return Ok(true);
        }
        let (files, name, content) = (self.files.clone(), digest.clone(), bytes.clone());
        blocking(move || files.write_unsynced(&name, &content)).await?;
        Ok(false)
    }

    /// Brings a staged file to where blobs are, without its name: nobody waits meanwhile.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn ready(&self, staged: Staged, digest: &Digest) -> Result<Ready, StorageError> {
        Ok(Ready(match &self.objects {
            Some(store) => On::Objects(prepare(store, staged, digest).await?),
            None => On::Disk(staged),
        }))
    }

    /// Gives it its name, durably; its size. Hold [`Blobs::arriving`].
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn adopt(&self, ready: Ready, digest: &Digest) -> Result<u64, StorageError> {
        match (ready.0, &self.objects) {
            (On::Objects(prepared), Some(store)) => store.adopt(prepared, digest).await,
            (On::Objects(prepared), None) => {
                let place = self.place(digest);
                drop(prepared);
                let why = "it was made ready for an object store".to_owned();
                Err(StorageError::Unreachable { place, why })
            }
            (On::Disk(staged), _) => {
                let (files, digest) = (self.files.clone(), digest.clone());
                blocking(move || files.adopt_staged(staged, &digest)).await
            }
        }
    }

    /// Reads a whole small blob; `None` when there is none.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn read(&self, digest: &Digest) -> Result<Option<Bytes>, StorageError> {
        match &self.objects {
            Some(store) => store.read_blob(digest, u64::MAX).await,
            None => self.files.read(digest).await,
        }
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
        match &self.objects {
            Some(store) => store.read_blob(digest, most).await,
            None => self.files.read_up_to(digest, most).await,
        }
    }

    /// Opens a blob to be served; `None` when there is none, as far as that is known.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn serve(&self, digest: &Digest) -> Result<Option<Served>, StorageError> {
        if let Some(store) = &self.objects {
            return Ok(Some(Served::Object(ServedObject {
                store: store.clone(),
                digest: digest.clone(),
            })));
        }
        let (files, digest) = (self.files.clone(), digest.clone());
        let file = blocking(move || files.open_file(&digest)).await?;
        Ok(file.map(Served::File))
    }

    /// A URL where a client may read a blob by itself, where clients are to.
    ///
    /// # Errors
    /// [`StorageError::Store`].
    pub async fn elsewhere(&self, digest: &Digest) -> Result<Option<String>, StorageError> {
        match &self.objects {
            Some(store) => store.sign(digest).await,
            None => Ok(None),
        }
    }

    /// Opens a blob to be read on a thread that may block; `None` when there is none.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn open_on_thread(&self, digest: &Digest) -> Result<Option<Reading>, StorageError> {
        if let Some(store) = &self.objects {
            let found = waiting(store.open_blob(digest))?;
            return Ok(found.map(|reader| Reading(From::Object(reader))));
        }
        let Some(file) = self.files.open_file(digest)? else {
            return Ok(None);
        };
        let found = file.metadata().context("look at", &self.place(digest))?;
        Ok(Some(Reading(From::File(file, found.len()))))
    }

    /// A blob in a file, on a thread that may block; `None` when there is none.
    ///
    /// # Errors
    /// [`StorageError`], also when a copy of it would not be what its digest says.
    pub fn in_file(&self, digest: &Digest) -> Result<Option<InFile>, StorageError> {
        if self.objects.is_none() {
            let path = self.files.path(digest);
            return Ok(path.exists().then_some(InFile { path, _copy: None }));
        }
        let Some(mut reading) = self.open_on_thread(digest)? else {
            return Ok(None);
        };
        let Some(copy) = self.files.import_from(&mut reading, digest)? else {
            let place = self.place(digest);
            let why = "its content is not what its digest says".to_owned();
            return Err(StorageError::Unreachable { place, why });
        };
        Ok(Some(InFile {
            path: copy.path().to_owned(),
            _copy: Some(copy),
        }))
    }

    /// The size of a blob, as it is stored; `None` when there is none.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn size(&self, digest: &Digest) -> Result<Option<u64>, StorageError> {
        let (this, digest) = (self.clone(), digest.clone());
        blocking(move || Ok(this.open_on_thread(&digest)?.map(|open| open.size()))).await
    }

    /// What is wrong with a stored blob, if anything; its content is only read when `deep`.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn verify(
        &self,
        digest: &Digest,
        size: u64,
        deep: bool,
    ) -> Result<Option<Flaw>, StorageError> {
        if let Some(store) = &self.objects {
            return store.verify(digest, size, deep).await;
        }
        let (files, digest) = (self.files.clone(), digest.clone());
        blocking(move || files.verify(&digest, size, deep)).await
    }

    /// The parts that hold blobs.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn shards(&self) -> Result<Vec<Shard>, StorageError> {
        if self.objects.is_some() {
            return Ok(shards());
        }
        let files = self.files.clone();
        blocking(move || files.shards()).await
    }

    /// Some blobs of a shard: those after `after`, or the first ones. None are left when none come.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn list(
        &self,
        shard: &Shard,
        after: Option<&Digest>,
    ) -> Result<Vec<Listed>, StorageError> {
        if let Some(store) = &self.objects {
            return store.list_blobs(shard, after).await;
        }
        if after.is_some() {
            // A directory is read at once.
            return Ok(Vec::new());
        }
        let (files, shard) = (self.files.clone(), shard.clone());
        blocking(move || files.list(&shard)).await
    }

    /// Removes blobs, and the listings of what they hold; those that are gone are fine.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn remove(&self, digests: Vec<Digest>) -> Result<(), StorageError> {
        let files = self.files.clone();
        if let Some(store) = &self.objects {
            // First, so that no crash in between leaves a listing that nobody looks for.
            let all = digests.clone();
            let gone = move || {
                all.iter()
                    .try_for_each(|digest| files.remove_listing(digest))
            };
            blocking(gone).await?;
            return store.remove_blobs(&digests).await;
        }
        blocking(move || digests.iter().try_for_each(|digest| files.remove(digest))).await
    }

    /// Moves what is stored under a name, and is not what the name says, to a file.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn move_aside(&self, digest: &Digest, target: PathBuf) -> Result<(), StorageError> {
        if let Some(store) = &self.objects {
            let (this, wanted) = (self.clone(), digest.clone());
            blocking(move || {
                let Some(mut reading) = this.open_on_thread(&wanted)? else {
                    return Ok(());
                };
                create_new(&target)
                    .and_then(|mut file| {
                        io::copy(&mut reading, &mut file)?;
                        file.sync_all()
                    })
                    .context("write", &target)
            })
            .await?;
            return store.remove_blobs(std::slice::from_ref(digest)).await;
        }
        let from = self.files.path(digest);
        blocking(move || std::fs::rename(from, &target).context("rename to", &target)).await
    }

    /// Makes everything durable that was given a name until now.
    ///
    /// # Errors
    /// [`StorageError`]: any of it may be lost, though it can still be read.
    pub async fn sync(&self) -> Result<(), StorageError> {
        if self.objects.is_some() {
            return Ok(());
        }
        let files = self.files.clone();
        blocking(move || files.sync()).await
    }

    /// Writes content again, durably: what is stored of it is not to be relied on.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn write_again(&self, digest: &Digest, content: &Bytes) -> Result<(), StorageError> {
        if let Some(store) = &self.objects {
            return store.put_blob(digest, content).await;
        }
        let (files, digest, content) = (self.files.clone(), digest.clone(), content.clone());
        blocking(move || files.write_again(&digest, &content)).await
    }

    /// Writes content again where it is not stored; whether it was not. Content that is not what
    /// its digest says is left alone.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn mend(&self, digest: &Digest, content: &Bytes) -> Result<bool, StorageError> {
        if let Some(store) = &self.objects {
            let flaw = store.verify(digest, content.len() as u64, true).await?;
            if flaw.is_none() || digest.algorithm().digest(content) != *digest {
                return Ok(false);
            }
            store.put_blob(digest, content).await?;
            return Ok(true);
        }
        let (files, digest, content) = (self.files.clone(), digest.clone(), content.clone());
        blocking(move || files.mend(&digest, &content)).await
    }

    /// A file for a blob that is about to come, with what came of it before.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn incoming(&self, digest: &Digest) -> Result<Incoming, StorageError> {
        self.files.incoming(digest).await
    }

    /// Removes parts of blobs that nobody went on with for `age`.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn expire_parts(&self, age: Duration) -> Result<u64, StorageError> {
        let files = self.files.clone();
        blocking(move || files.expire_parts(age)).await
    }

    /// Keeps a listing durably, for as long as its blob. Hold [`Blobs::arriving`]; whether the blob
    /// is still there.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn write_listing(
        &self,
        digest: &Digest,
        bytes: Vec<u8>,
    ) -> Result<bool, StorageError> {
        if self.size(digest).await?.is_none() {
            return Ok(false);
        }
        let (files, digest) = (self.files.clone(), digest.clone());
        blocking(move || files.write_listing(&digest, &bytes)).await?;
        Ok(true)
    }

    /// The listing of a blob; `None` when there is none.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn read_listing(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StorageError> {
        let (files, digest) = (self.files.clone(), digest.clone());
        blocking(move || files.read_listing(&digest)).await
    }
}
