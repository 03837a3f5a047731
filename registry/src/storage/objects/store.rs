//! The store: keys, requests, and the bound on memory.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::ready;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, PutOptions,
    PutPayload,
};
use oci::Digest;

use super::settings::{ObjectSettings, Service};
use crate::name::UploadId;
use crate::storage::error::StorageError;
use crate::storage::pool::{Buffer, Pool};

/// The object that says which registry's store it is.
pub(super) const OBJECT: &str = "registry";
/// Bytes of a part: as few as S3 takes of any but the last.
pub(super) const PART: usize = 5 << 20;
/// Parts that are in memory at once, of all uploads together: 60 MiB.
const SLOTS: usize = 12;
/// Parts that an object may have.
pub(super) const MOST_PARTS: usize = 10_000;
/// Times that is asked where answers cannot be read, the pause in between, and how long it takes at
/// most to see that one cannot be.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(50);
const AT_ONCE: Duration = Duration::from_secs(5);
/// Keys that one answer of a listing has.
pub(super) const PAGE: usize = 1000;

/// One store, as what it can do.
pub(super) struct Stores {
    objects: Arc<dyn ObjectStore>,
    parts: Arc<dyn MultipartStore>,
    signer: Arc<dyn Signer>,
}

impl Stores {
    pub(super) fn of<S: ObjectStore + MultipartStore + Signer>(store: Arc<S>) -> Self {
        Self {
            objects: Arc::clone(&store) as Arc<dyn ObjectStore>,
            parts: Arc::clone(&store) as Arc<dyn MultipartStore>,
            signer: store,
        }
    }
}

/// A store in use.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    stores: Stores,
    settings: ObjectSettings,
    root: String,
    slots: Pool,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.0.root).finish()
    }
}

impl Store {
    pub(super) fn new(stores: Stores, settings: &ObjectSettings) -> Self {
        Self(Arc::new(Inner {
            stores,
            root: settings.root(),
            settings: settings.clone(),
            slots: Pool::lending(SLOTS, PART),
        }))
    }

    /// Where its keys begin, for people.
    pub(super) fn root(&self) -> &str {
        &self.0.root
    }

    pub(super) fn settings(&self) -> &ObjectSettings {
        &self.0.settings
    }

    pub(super) fn is_s3(&self) -> bool {
        self.0.settings.service == Service::S3
    }

    pub(super) fn signer(&self) -> &dyn Signer {
        &*self.0.stores.signer
    }

    /// A buffer for a part, once there is one.
    pub(super) async fn slot(&self) -> Buffer {
        self.0.slots.take().await
    }

    /// Whether somebody waits for a buffer.
    pub(super) fn is_short(&self) -> bool {
        self.0.slots.is_short()
    }

    /// The key of what belongs to the registry.
    pub(super) fn key(&self, name: &str) -> Path {
        Path::from(format!("{}{name}", self.0.settings.prefix))
    }

    /// The key of a blob.
    pub(super) fn blob(&self, digest: &Digest) -> Path {
        let (algorithm, hex) = (digest.algorithm(), digest.hex());
        self.key(&format!("blobs/{algorithm}/{}/{hex}", &hex[..2]))
    }

    /// A key of what belongs to an upload.
    pub(super) fn of_upload(&self, id: UploadId, name: &str) -> Path {
        self.key(&format!("uploads/{id}/{name}"))
    }

    /// Where an object is, for people.
    pub(crate) fn place(&self, key: &Path) -> PathBuf {
        let inside = key.as_ref();
        let inside = inside
            .strip_prefix(&self.0.settings.prefix)
            .unwrap_or(inside);
        format!("{}{inside}", self.0.root).into()
    }

    pub(super) fn failed<'a>(
        &self,
        what: &'static str,
        key: &'a Path,
    ) -> impl FnOnce(Error) -> StorageError + use<'a> {
        let place = self.place(key);
        move |cause| StorageError::Store {
            what,
            place,
            cause: Box::new(cause),
        }
    }

    /// What is known of an object; `None` when there is none.
    ///
    /// # Errors
    /// [`StorageError::Store`], as everything here.
    pub(super) async fn head(&self, key: &Path) -> Result<Option<ObjectMeta>, StorageError> {
        let asked = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        let head = || self.0.stores.objects.get_opts(key, asked.clone());
        match again(head).await {
            Ok(found) => Ok(Some(found.meta)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(self.failed("look at", key)(e)),
        }
    }

    /// Begins to read a part of an object; the whole of it where there is none.
    pub(super) async fn get(
        &self,
        key: &Path,
        range: Option<GetRange>,
    ) -> object_store::Result<Option<GetResult>> {
        let asked = GetOptions {
            range,
            ..GetOptions::default()
        };
        let get = || self.0.stores.objects.get_opts(key, asked.clone());
        match again(get).await {
            Ok(found) => Ok(Some(found)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Writes an object.
    pub(super) async fn put(
        &self,
        key: &Path,
        content: impl IntoIterator<Item = Bytes>,
    ) -> Result<(), StorageError> {
        let payload = PutPayload::from_iter(content);
        let objects = &self.0.stores.objects;
        let put = || objects.put_opts(key, payload.clone(), PutOptions::default());
        again(put)
            .await
            .map(drop)
            .map_err(self.failed("write", key))
    }

    /// Whether the store answers, and lets us in.
    pub(in crate::storage) async fn ping(&self) -> Result<(), StorageError> {
        self.head(&self.key(OBJECT)).await.map(drop)
    }

    /// Removes objects; those that are gone are fine.
    pub(super) async fn remove(&self, keys: Vec<Path>) -> Result<(), StorageError> {
        let first = keys.first().cloned().unwrap_or_default();
        let remove = || async {
            let keys = stream::iter(keys.clone().into_iter().map(Ok)).boxed();
            let mut removed = self.0.stores.objects.delete_stream(keys);
            while let Some(done) = removed.next().await {
                match done {
                    Ok(_) | Err(Error::NotFound { .. }) => {}
                    Err(e) => return Err(e),
                }
            }
            Ok(())
        };
        again(remove).await.map_err(self.failed("remove", &first))
    }

    /// One page of the objects below `prefix`, from after `after` on.
    pub(super) async fn list(
        &self,
        prefix: &Path,
        after: Option<&Path>,
    ) -> Result<Vec<ObjectMeta>, StorageError> {
        let objects = &self.0.stores.objects;
        let list = || {
            let listed = match after {
                Some(after) if self.is_s3() => objects.list_with_offset(Some(prefix), after),
                // What would begin a listing there is not heeded by all that speak Azure's
                // protocol: it would never end.
                Some(after) => {
                    let after = after.clone();
                    let listed = objects.list(Some(prefix));
                    listed
                        .try_filter(move |found| ready(found.location > after))
                        .boxed()
                }
                None => objects.list(Some(prefix)),
            };
            listed.take(PAGE).try_collect()
        };
        again(list).await.map_err(self.failed("list", prefix))
    }

    /// Copies an object within the store: at once, or not at all.
    pub(super) async fn copy(&self, from: &Path, to: &Path) -> Result<(), StorageError> {
        let objects = &self.0.stores.objects;
        let copy = || objects.copy_opts(from, to, CopyOptions::default());
        again(copy).await.map_err(self.failed("copy to", to))
    }

    /// Begins an object that comes in parts; what it is called until it is complete.
    pub(super) async fn begin(&self, key: &Path) -> Result<String, StorageError> {
        let begin = || self.0.stores.parts.create_multipart(key);
        again(begin).await.map_err(self.failed("begin", key))
    }

    /// Writes a part; what the store calls it.
    pub(super) async fn put_part(
        &self,
        key: &Path,
        id: &str,
        number: usize,
        content: Bytes,
    ) -> Result<String, StorageError> {
        if number >= MOST_PARTS {
            return Err(StorageError::TooLarge((MOST_PARTS * PART) as u64));
        }
        let (id, payload) = (id.to_owned(), PutPayload::from(content));
        let parts = &self.0.stores.parts;
        let put = || parts.put_part(key, &id, number, payload.clone());
        match again(put).await {
            Ok(part) => Ok(part.content_id),
            Err(e) => Err(self.failed("write a part of", key)(e)),
        }
    }

    /// Makes an object of its parts.
    pub(super) async fn complete(
        &self,
        key: &Path,
        id: &str,
        parts: &[String],
        size: u64,
    ) -> Result<(), StorageError> {
        let ids = parts.iter().map(|content_id| PartId {
            content_id: content_id.clone(),
        });
        let (id, ids) = (id.to_owned(), ids.collect());
        let Err(e) = self.0.stores.parts.complete_multipart(key, &id, ids).await else {
            return Ok(());
        };
        // It may be complete, by a request of which no answer came.
        match self.head(key).await {
            Ok(Some(found)) if found.size == size => Ok(()),
            _ => Err(self.failed("complete", key)(e)),
        }
    }

    /// Gives up an object that comes in parts.
    pub(super) async fn abort(&self, key: &Path, id: &str) -> Result<(), StorageError> {
        match self
            .0
            .stores
            .parts
            .abort_multipart(key, &id.to_owned())
            .await
        {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(self.failed("give up", key)(e)),
        }
    }
}

/// Asks once more where an answer could not be read. What the store refused, or did not answer in
/// all the time that the client below had, is not asked for again.
async fn again<T, F>(ask: impl Fn() -> F) -> object_store::Result<T>
where
    F: Future<Output = object_store::Result<T>>,
{
    let mut tried = 0;
    loop {
        let begun = Instant::now();
        let answer = ask().await;
        tried += 1;
        let unreadable = matches!(answer, Err(Error::Generic { .. }));
        if !unreadable || tried == ATTEMPTS || begun.elapsed() > AT_ONCE {
            return answer;
        }
        tokio::time::sleep(PAUSE * tried).await;
    }
}
