//! Upload sessions in an object store.
//!
//! Between two requests nothing of a session is in memory but that it is known: whatever goes on
//! with it reads its object. A small blob that comes in one request is written once, when it is
//! verified.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use object_store::GetRange;
use object_store::path::Path;
use oci::{Algorithm, Digest};
use tokio::sync::OwnedRwLockReadGuard;

use super::filling::{Ended, Filling, hashed, load, save};
use super::reading::ObjectStream;
use super::session::{DATA, REST, SESSION, Session, Tail};
use super::store::Store;
use crate::clock::now;
use crate::name::{RepositoryName, UploadId};
use crate::storage::blobs::BlobFiles;
use crate::storage::error::{StorageError, UploadError};
use crate::storage::pipeline::Progress;
use crate::storage::sessions::{Sessions, State, Upload};
use crate::storage::unsynced::SMALL;
use crate::storage::uploads::{ChunkRange, Finished, Unfinished};
use crate::sync::lock;

/// Sessions that are known in memory.
const IN_MEMORY: usize = 4096;
/// Bytes that are read of a session's object at first.
const START: u64 = 64 << 10;
/// The longest line that such an object begins with.
const LINE: u64 = 4 << 20;
/// Sessions that are read at once.
const AT_ONCE: usize = 16;

/// All upload sessions.
#[derive(Clone, Debug)]
pub(in crate::storage) struct ObjectUploads {
    store: Store,
    open: Arc<Mutex<Sessions>>,
    /// Whether other processes may go on with them.
    shared: bool,
}

impl ObjectUploads {
    pub(in crate::storage) fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            open: Arc::new(Mutex::new(Sessions::new(IN_MEMORY))),
            shared: false,
        }
    }

    pub(in crate::storage) fn share(self) -> Self {
        Self {
            shared: true,
            ..self
        }
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        lock(&self.open)
    }

    pub(in crate::storage) fn len(&self) -> usize {
        self.sessions().by_id.len()
    }

    fn upload(
        &self,
        id: UploadId,
        repository: &RepositoryName,
        session: &Session,
        state: State,
    ) -> Arc<Upload> {
        let key = self.store.of_upload(id, DATA);
        let upload = Upload::new(
            id,
            repository.clone(),
            session.algorithm,
            self.store.place(&key).into(),
            Progress::new(session.received),
            state,
        );
        self.sessions().add(Arc::new(upload))
    }

    /// Begins a session; `named` when a client will know of it.
    pub(in crate::storage) async fn create(
        &self,
        repository: &RepositoryName,
        algorithm: Algorithm,
        named: bool,
    ) -> Result<Arc<Upload>, StorageError> {
        let id = UploadId::random();
        let mut session = Session::new(Some(repository.clone()), algorithm);
        session.named = named;
        if named {
            save(&self.store, id, &session, Bytes::new()).await?;
            return Ok(self.upload(id, repository, &session, State::Cold));
        }
        let held = State::Held(Box::new(session.clone()));
        Ok(self.upload(id, repository, &session, held))
    }

    pub(in crate::storage) async fn get(
        &self,
        repository: &RepositoryName,
        id: UploadId,
    ) -> Result<Arc<Upload>, UploadError> {
        let known = self.sessions().get(id);
        let upload = match known {
            Some(upload) => {
                if self.shared {
                    self.look_again(&upload).await?;
                }
                upload
            }
            None => {
                let session = self.read(id).await?.ok_or(UploadError::Unknown)?;
                // Nobody goes on with what only has to be cleaned up.
                let whose = session.repository.as_ref().ok_or(UploadError::Unknown)?;
                self.upload(id, whose, &session, State::Cold)
            }
        };
        match upload.repository() == repository {
            true => Ok(upload),
            false => Err(UploadError::Unknown),
        }
    }

    /// Finds out how far a session is that another process may have gone on with.
    async fn look_again(&self, upload: &Upload) -> Result<(), UploadError> {
        let resting = |state: &State| matches!(state, State::Cold);
        if !upload.lock().is_ok_and(|state| resting(&state)) {
            return Ok(());
        }
        let session = self.read(upload.id()).await?;
        let Ok(mut state) = upload.lock() else {
            return Ok(());
        };
        match session {
            _ if !resting(&state) => Ok(()),
            Some(session) => {
                upload.progress.set(session.received);
                Ok(())
            }
            None => {
                *state = State::Gone;
                self.sessions().by_id.remove(&upload.id());
                Err(UploadError::Unknown)
            }
        }
    }

    /// A session as its object has it.
    async fn read(&self, id: UploadId) -> Result<Option<Session>, StorageError> {
        let key = self.store.of_upload(id, SESSION);
        for end in [START, LINE] {
            let found = self.store.get(&key, Some(GetRange::Bounded(0..end))).await;
            let found = found.map_err(self.store.failed("read", &key))?;
            let Some(found) = found else {
                return Ok(None);
            };
            let range = found.range.clone();
            let start = match found.bytes().await {
                Ok(start) if start.len() as u64 == range.end - range.start => start,
                // It broke off: once more, from where it did.
                _ => {
                    let stream =
                        ObjectStream::new(&self.store, key.clone(), range.start, range.end);
                    stream.all().await.map_err(|e| self.unreachable(&key, &e))?
                }
            };
            if let Some(session) = Session::read(&start) {
                return Ok(session);
            }
        }
        Ok(None)
    }

    fn unreachable(&self, key: &Path, why: &impl ToString) -> StorageError {
        StorageError::Unreachable {
            place: self.store.place(key),
            why: why.to_string(),
        }
    }

    /// Takes a locked session.
    async fn take(&self, upload: &Upload, state: &mut State) -> Result<Session, UploadError> {
        let session = match std::mem::replace(state, State::Cold) {
            State::Held(session) => *session,
            State::Gone => {
                *state = State::Gone;
                return Err(UploadError::Unknown);
            }
            State::Cold | State::Ready(_) => {
                let session = self.read(upload.id()).await?;
                session.ok_or(UploadError::Unknown)?
            }
        };
        upload.progress.set(session.received);
        Ok(session)
    }

    pub(in crate::storage) async fn append<S, E>(
        &self,
        upload: &Upload,
        body: S,
        range: Option<ChunkRange>,
    ) -> Result<u64, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::fmt::Display,
    {
        let mut state = upload.lock()?;
        let session = self.take(upload, &mut state).await?;
        let start = session.received;
        if let Some(range) = range
            && range.start != start
        {
            if !session.saved {
                *state = State::Held(Box::new(session));
            }
            return Err(UploadError::OutOfOrder { offset: start });
        }
        let (store, progress) = (&self.store, &*upload.progress);
        let mut filling = Filling::new(store, upload.id(), progress, session, range.is_some());
        let ended = match filling.fill(body).await {
            Ok(ended) => ended,
            Err(e) => {
                filling.give_up().await;
                upload.progress.set(start);
                return Err(e.into());
            }
        };
        let now = filling.session.received;
        if let (Ended::Complete, Some(range)) = (&ended, range)
            && range.len() != now - start
        {
            filling.give_up().await;
            upload.progress.set(start);
            return Err(UploadError::Size {
                expected: range.len(),
                actual: now - start,
            });
        }
        let held = filling
            .end(SMALL)
            .await
            .inspect_err(|_| upload.progress.set(start))?;
        if let Some(held) = held {
            *state = State::Held(Box::new(held));
        }
        upload.progress.set(now);
        match ended {
            Ended::Complete => Ok(now),
            Ended::Client(e) => Err(UploadError::Body(e)),
        }
    }

    pub(in crate::storage) async fn finish(
        &self,
        upload: &Upload,
        digest: &Digest,
        files: &BlobFiles,
    ) -> Result<Finished, UploadError> {
        let mut state = upload.lock()?;
        let session = self.take(upload, &mut state).await?;
        let size = session.received;
        let done = match session.parts.is_empty() {
            true => self.finish_small(upload.id(), session, digest, files).await,
            false => self.finish_large(upload.id(), session, digest, files).await,
        };
        // What the store did not do can be asked for again.
        if !matches!(done, Err(UploadError::Storage(_))) {
            *state = State::Gone;
            self.sessions().by_id.remove(&upload.id());
        }
        Ok(Finished {
            size,
            content: None,
            arriving: done?,
        })
    }

    /// All of it fits into a part: it is written under its name.
    async fn finish_small(
        &self,
        id: UploadId,
        session: Session,
        digest: &Digest,
        files: &BlobFiles,
    ) -> Result<OwnedRwLockReadGuard<()>, UploadError> {
        let content = match &session.tail {
            Tail::Here(bytes) => bytes.clone(),
            tail => {
                let mut buffer = self.store.slot().await;
                load(&self.store, id, tail.clone(), &mut buffer).await?;
                buffer.freeze()
            }
        };
        let hasher = digest.algorithm().hasher();
        let actual = hashed(hasher, content.clone()).await?.finish();
        if actual != *digest {
            self.forget(id, &session).await;
            return Err(UploadError::Digest { actual });
        }
        let arriving = files.arriving(digest).await;
        self.store.put(&self.store.blob(digest), [content]).await?;
        self.forget(id, &session).await;
        Ok(arriving)
    }

    /// Its parts become an object, which is copied to its name.
    async fn finish_large(
        &self,
        id: UploadId,
        mut session: Session,
        digest: &Digest,
        files: &BlobFiles,
    ) -> Result<OwnedRwLockReadGuard<()>, UploadError> {
        let key = self.store.of_upload(id, DATA);
        let begun = session.upload.clone().ok_or(UploadError::Unknown)?;
        let same = session.algorithm == digest.algorithm();
        if same {
            let actual = session.hasher.clone().finish();
            if actual != *digest {
                self.forget(id, &session).await;
                return Err(UploadError::Digest { actual });
            }
        }
        if session.tail.len() > 0 {
            let mut buffer = self.store.slot().await;
            load(&self.store, id, session.tail.clone(), &mut buffer).await?;
            let number = session.parts.len();
            let part = self.store.put_part(&key, &begun, number, buffer.freeze());
            match part.await {
                Ok(part) => session.parts.push(part),
                // An earlier try may have come further.
                Err(e) => match self.store.head(&key).await {
                    Ok(Some(found)) if found.size == session.received => {}
                    _ => return Err(e.into()),
                },
            }
        }
        let size = session.received;
        self.store
            .complete(&key, &begun, &session.parts, size)
            .await?;
        session.upload = None;
        if !same {
            // The digest's algorithm was not announced when the upload began.
            let actual = self.digest_of(&key, size, digest.algorithm()).await?;
            if actual != *digest {
                self.forget(id, &session).await;
                return Err(UploadError::Digest { actual });
            }
        }
        let arriving = files.arriving(digest).await;
        let to = self.store.blob(digest);
        self.store.copy_whole(&key, &to, size).await?;
        self.forget(id, &session).await;
        Ok(arriving)
    }

    async fn digest_of(
        &self,
        key: &Path,
        size: u64,
        algorithm: Algorithm,
    ) -> Result<Digest, StorageError> {
        let mut stream = ObjectStream::new(&self.store, key.clone(), 0, size);
        let mut hasher = algorithm.hasher();
        loop {
            let next = stream.next().await;
            match next.map_err(|e| self.unreachable(key, &e))? {
                Some(bytes) => hasher = hashed(hasher, bytes).await?,
                None => return Ok(hasher.finish()),
            }
        }
    }

    /// Takes away what there is of a session.
    async fn remove(&self, id: UploadId, session: &Session) -> Result<(), StorageError> {
        if let Some(begun) = &session.upload {
            let key = match &session.key {
                Some(key) => Path::from(key.as_str()),
                None => self.store.of_upload(id, DATA),
            };
            self.store.abort(&key, begun).await?;
        }
        let names = [DATA, REST, SESSION].map(|name| self.store.of_upload(id, name));
        self.store.remove(names.into()).await
    }

    /// The same where it does not matter yet: what stays expires.
    async fn forget(&self, id: UploadId, session: &Session) {
        if session.saved
            && let Err(e) = self.remove(id, session).await
        {
            tracing::warn!(error = %e, %id, "what is left of an upload stays until it expires");
        }
    }

    pub(in crate::storage) async fn cancel(&self, upload: &Upload) -> Result<(), UploadError> {
        let mut state = upload.lock()?;
        let session = self.take(upload, &mut state).await?;
        if session.saved {
            self.remove(upload.id(), &session).await?;
        }
        *state = State::Gone;
        self.sessions().by_id.remove(&upload.id());
        Ok(())
    }

    /// Every upload that has objects, and when the last of those was written, in seconds since
    /// 1970.
    async fn all(&self) -> Result<HashMap<UploadId, i64>, StorageError> {
        let prefix = self.store.key("uploads");
        let (mut all, mut after) = (HashMap::new(), None);
        loop {
            let page = self.store.list(&prefix, after.as_ref()).await?;
            let Some(last) = page.last() else {
                return Ok(all);
            };
            after = Some(last.location.clone());
            for found in page {
                let id = found.location.parts().rev().nth(1);
                // What is not ours is not touched.
                let Some(id) = id.and_then(|id| id.as_ref().parse().ok()) else {
                    continue;
                };
                let written = found.last_modified.timestamp();
                let newest = all.entry(id).or_insert(written);
                *newest = written.max(*newest);
            }
        }
    }

    pub(in crate::storage) async fn unfinished(&self) -> Result<Vec<Unfinished>, StorageError> {
        let all = self.all().await?;
        let read = stream::iter(all.into_keys()).map(|id| async move {
            let session = self.read(id).await?;
            Ok::<_, StorageError>(session.and_then(|session| {
                Some(Unfinished {
                    id,
                    repository: session.repository?,
                    size: session.received,
                })
            }))
        });
        let found: Vec<_> = read.buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    pub(in crate::storage) async fn expire(
        &self,
        age: Duration,
    ) -> Result<Vec<UploadId>, StorageError> {
        let age = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
        let cutoff = now().saturating_sub(age);
        let mut expired = Vec::new();
        for (id, written) in self.all().await? {
            if written > cutoff {
                continue;
            }
            let known = self.sessions().by_id.get(&id).cloned();
            let guard = match &known {
                Some(upload) => match upload.lock() {
                    Ok(guard) => Some(guard),
                    Err(_) => continue,
                },
                None => None,
            };
            // It may have been used since it was found, and until it was locked.
            let key = self.store.of_upload(id, SESSION);
            let used = self.store.head(&key).await?;
            if used.is_some_and(|found| found.last_modified.timestamp() > cutoff) {
                continue;
            }
            let session = self.read(id).await?;
            let session = session.unwrap_or_else(|| Session::new(None, Algorithm::Sha256));
            self.remove(id, &session).await?;
            if let Some(mut state) = guard {
                *state = State::Gone;
            }
            self.sessions().by_id.remove(&id);
            expired.push(id);
        }
        Ok(expired)
    }
}
