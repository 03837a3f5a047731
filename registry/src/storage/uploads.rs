//! Upload sessions: a staging file each, hashed as it grows.
//!
//! The hash's state stays in memory between requests, the file is open only within one. After a
//! restart, and where many more sessions were used since, the state is made again from the file,
//! once, when the session is next used. The file's place says whose it is:
//! `uploads/<repository>/<id>.<algorithm>`, with `+` for the slashes of the repository's name.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::Stream;
use oci::digest::Hasher;
use oci::{Algorithm, Digest};
use tokio::sync::OwnedRwLockReadGuard;

use super::blobs::BlobFiles;
use super::error::{Context, StorageError, UploadError};
use super::files::{create_new, make_dir};
use super::pipeline::{Ended, Progress, Sink, receive};
use super::pool::Pool;
use super::sessions::{Sessions, State, Upload};
use super::unsynced::SMALL;
use crate::name::{RepositoryName, UploadId};
use crate::sync::{blocking, lock};

/// Buffers that all uploads share, and their size: large enough that system calls do not count,
/// small enough that the bytes are still in the processor's cache when they are hashed.
const BUFFERS: usize = 64;
const BUFFER: usize = 128 << 10;

/// Sessions kept in memory; past that, those that were not used for longest are only in their
/// files.
const IN_MEMORY: usize = 4096;

/// The bytes that a chunk says it is, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRange {
    /// The first byte.
    pub start: u64,
    /// The last byte.
    pub end: u64,
}

impl ChunkRange {
    pub(super) fn len(self) -> u64 {
        (self.end - self.start).saturating_add(1)
    }
}

/// An upload that is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// The session's ID.
    pub id: UploadId,
    /// The repository that it belongs to.
    pub repository: RepositoryName,
    /// Bytes that have come.
    pub size: u64,
}

/// An upload that is finished: its content has the blob's name.
#[derive(Debug)]
pub struct Finished {
    /// Bytes.
    pub size: u64,
    /// The content of a small blob, whose file may not be durable.
    pub content: Option<Bytes>,
    /// [`BlobFiles::arriving`]: hold it until the blob's row is committed.
    pub arriving: OwnedRwLockReadGuard<()>,
}

/// All upload sessions, in files.
#[derive(Clone, Debug)]
pub(super) struct FileUploads {
    dir: Arc<Path>,
    open: Arc<Mutex<Sessions>>,
    buffers: Pool,
}

impl FileUploads {
    /// Opens `data_dir/uploads`, made when needed.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn open(data_dir: &Path) -> Result<Self, StorageError> {
        let dir = data_dir.join("uploads");
        make_dir(&dir)?;
        Ok(Self {
            dir: dir.into(),
            open: Arc::new(Mutex::new(Sessions::new(IN_MEMORY))),
            buffers: Pool::new(BUFFERS, BUFFER),
        })
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        lock(&self.open)
    }

    fn path(&self, repository: &RepositoryName, id: UploadId, algorithm: Algorithm) -> PathBuf {
        let mut path = self.dir.join(repository.as_str().replace('/', "+"));
        path.push(format!("{id}.{algorithm}"));
        path
    }

    /// How many sessions are in memory.
    pub fn len(&self) -> usize {
        self.sessions().by_id.len()
    }

    /// Begins a session.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn create(
        &self,
        repository: &RepositoryName,
        algorithm: Algorithm,
    ) -> Result<Arc<Upload>, StorageError> {
        let id = UploadId::random();
        let path = self.path(repository, id, algorithm);
        let data = path.clone().into();
        blocking(move || {
            match create_new(&path) {
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    if let Some(dir) = path.parent() {
                        make_dir(dir)?;
                    }
                    create_new(&path)
                }
                opened => opened,
            }
            .context("create", &path)
            .map(drop)
        })
        .await?;
        let state = State::Ready(Box::new(algorithm.hasher()));
        let progress = Progress::default();
        let upload = Upload::new(id, repository.clone(), algorithm, data, progress, state);
        Ok(self.sessions().add(Arc::new(upload)))
    }

    /// The session `id`, when it belongs to `repository`.
    ///
    /// # Errors
    /// [`UploadError::Unknown`], [`UploadError::Storage`].
    pub async fn get(
        &self,
        repository: &RepositoryName,
        id: UploadId,
    ) -> Result<Arc<Upload>, UploadError> {
        let known = self.sessions().get(id);
        let upload = match known {
            Some(upload) => upload,
            None => self.revive(repository, id).await?,
        };
        if upload.repository == *repository {
            Ok(upload)
        } else {
            Err(UploadError::Unknown)
        }
    }

    /// A session that is only in its file.
    async fn revive(
        &self,
        repository: &RepositoryName,
        id: UploadId,
    ) -> Result<Arc<Upload>, UploadError> {
        let candidates = [Algorithm::Sha256, Algorithm::Sha512]
            .map(|algorithm| (algorithm, self.path(repository, id, algorithm)));
        let found = blocking(move || {
            for (algorithm, path) in candidates {
                match fs::metadata(&path) {
                    Ok(meta) => return Ok(Some((algorithm, path, meta.len()))),
                    Err(e) if e.kind() == ErrorKind::NotFound => {}
                    Err(e) => return Err(e).context("look at", &path),
                }
            }
            Ok(None)
        })
        .await?;
        let (algorithm, data, len) = found.ok_or(UploadError::Unknown)?;
        let (repository, progress) = (repository.clone(), Progress::new(len));
        let data = data.into();
        let upload = Upload::new(id, repository, algorithm, data, progress, State::Cold);
        // Two requests may come at once; the first one's session is the session.
        Ok(self.sessions().add(Arc::new(upload)))
    }

    /// Takes the hash out of a locked session, making it from the file where it is not in memory.
    async fn hasher(&self, upload: &Upload, state: &mut State) -> Result<Hasher, UploadError> {
        match std::mem::replace(state, State::Cold) {
            State::Ready(hasher) => Ok(*hasher),
            State::Gone => {
                *state = State::Gone;
                Err(UploadError::Unknown)
            }
            State::Cold | State::Held(_) => {
                let path = Arc::clone(&upload.data);
                let algorithm = upload.algorithm;
                let found = blocking(move || {
                    let mut file = match File::open(&path) {
                        Ok(file) => file,
                        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
                        Err(e) => return Err(e).context("open", &path),
                    };
                    hash(&mut file, algorithm).map(Some).context("read", &path)
                })
                .await?;
                let (hasher, len) = found.ok_or(UploadError::Unknown)?;
                upload.progress.set(len);
                Ok(hasher)
            }
        }
    }

    /// Appends a chunk; how many bytes there are now.
    ///
    /// The caller must drive this to its end: run it as a task of its own.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn append<S, E>(
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
        let hasher = self.hasher(upload, &mut state).await?;
        let start = upload.received();
        if let Some(range) = range
            && range.start != start
        {
            *state = State::Ready(Box::new(hasher));
            return Err(UploadError::OutOfOrder { offset: start });
        }
        let before = hasher.clone();
        let sink = Sink {
            path: Arc::clone(&upload.data),
            hasher,
        };
        let (sink, ended) =
            receive(sink, body, Arc::clone(&upload.progress), &self.buffers).await?;
        let now = upload.received();
        let error = match ended {
            Ended::Complete => match range {
                Some(range) if range.len() != now - start => UploadError::Size {
                    expected: range.len(),
                    actual: now - start,
                },
                _ => {
                    *state = State::Ready(Box::new(sink.hasher));
                    return Ok(now);
                }
            },
            Ended::Client(e) => {
                *state = State::Ready(Box::new(sink.hasher));
                return Err(UploadError::Body(e));
            }
            Ended::Disk(cause) => UploadError::Storage(StorageError::Io {
                what: "write",
                path: upload.data.to_path_buf(),
                cause,
            }),
        };
        // Back to where the chunk began.
        upload.progress.set(start);
        *state = match rewind(Arc::clone(&upload.data), start).await {
            Ok(()) => State::Ready(Box::new(before)),
            Err(_) => State::Cold,
        };
        Err(error)
    }

    /// Verifies a complete upload and gives its file the name of its digest: durably, or with its
    /// content where it is small. An upload that is not what its digest says is gone.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn finish(
        &self,
        upload: &Upload,
        digest: &Digest,
        blobs: &BlobFiles,
    ) -> Result<Finished, UploadError> {
        let mut state = upload.lock()?;
        let hasher = self.hasher(upload, &mut state).await?;
        let done = if upload.received() <= SMALL {
            finish_small(upload, digest, blobs).await
        } else {
            finish_large(upload, hasher, digest, blobs).await
        };
        *state = State::Gone;
        self.sessions().by_id.remove(&upload.id);
        done
    }

    /// Gives a session up.
    ///
    /// # Errors
    /// [`UploadError::Busy`], [`UploadError::Unknown`], [`UploadError::Storage`].
    pub async fn cancel(&self, upload: &Upload) -> Result<(), UploadError> {
        let mut state = upload.lock()?;
        if matches!(*state, State::Gone) {
            return Err(UploadError::Unknown);
        }
        let data = Arc::clone(&upload.data);
        *state = State::Gone;
        self.sessions().by_id.remove(&upload.id);
        blocking(move || fs::remove_file(&data).context("remove", &data)).await?;
        Ok(())
    }

    /// Every upload that is not finished.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn unfinished(&self) -> Result<Vec<Unfinished>, StorageError> {
        let unfinished = files(&self.dir)?
            .into_iter()
            .filter_map(|(id, path, meta)| {
                let dir = path.parent()?.file_name()?.to_str()?;
                Some(Unfinished {
                    id,
                    repository: dir.replace('+', "/").parse().ok()?,
                    size: meta.len(),
                })
            });
        Ok(unfinished.collect())
    }

    /// Removes sessions that nobody has written to for `age`; which ones.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn expire(&self, age: Duration) -> Result<Vec<UploadId>, StorageError> {
        let dir = Arc::clone(&self.dir);
        let stale = blocking(move || stale(&dir, age)).await?;
        let mut expired = Vec::new();
        for (id, data) in stale {
            let session = self.sessions().by_id.get(&id).cloned();
            let guard = match &session {
                Some(upload) => match upload.lock() {
                    Ok(guard) => Some(guard),
                    Err(_) => continue,
                },
                None => None,
            };
            let gone = blocking(move || {
                // It may have been used since it was found, and until it was locked.
                let modified = fs::metadata(&data).and_then(|meta| meta.modified());
                if modified.is_ok_and(|modified| !is_older(modified, age)) {
                    return Ok(false);
                }
                let _ = fs::remove_file(&data);
                // Fails, as it should, when there are others.
                if let Some(dir) = data.parent() {
                    let _ = fs::remove_dir(dir);
                }
                Ok::<_, StorageError>(true)
            })
            .await?;
            if !gone {
                continue;
            }
            if let Some(mut state) = guard {
                *state = State::Gone;
            }
            self.sessions().by_id.remove(&id);
            expired.push(id);
        }
        Ok(expired)
    }
}

/// The sessions that nobody has written to for `age`.
fn stale(dir: &Path, age: Duration) -> Result<Vec<(UploadId, PathBuf)>, StorageError> {
    let stale = files(dir)?.into_iter().filter_map(|(id, path, meta)| {
        let modified = meta.modified().ok()?;
        is_older(modified, age).then_some((id, path))
    });
    Ok(stale.collect())
}

/// The files of all sessions.
fn files(dir: &Path) -> Result<Vec<(UploadId, PathBuf, Metadata)>, StorageError> {
    let mut files = Vec::new();
    for repository in fs::read_dir(dir).context("list", dir)? {
        let repository = repository.context("list", dir)?.path();
        for entry in fs::read_dir(&repository).context("list", &repository)? {
            let path = entry.context("list", &repository)?.path();
            let id = path.file_stem().and_then(|s| s.to_str());
            // What is not ours is not touched; what goes meanwhile was just finished.
            if let Some(id) = id.and_then(|s| s.parse().ok())
                && let Ok(meta) = fs::metadata(&path)
            {
                files.push((id, path, meta));
            }
        }
    }
    Ok(files)
}

fn is_older(time: SystemTime, age: Duration) -> bool {
    SystemTime::now()
        .duration_since(time)
        .is_ok_and(|past| past >= age)
}

fn hash(file: &mut File, algorithm: Algorithm) -> std::io::Result<(Hasher, u64)> {
    let mut hasher = algorithm.hasher();
    let mut buffer = vec![0; 256 << 10];
    let mut len = 0;
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok((hasher, len));
        }
        hasher.update(&buffer[..n]);
        len += n as u64;
    }
}

async fn finish_small(
    upload: &Upload,
    digest: &Digest,
    blobs: &BlobFiles,
) -> Result<Finished, UploadError> {
    let (data, wanted) = (Arc::clone(&upload.data), digest.clone());
    let content = blocking(move || {
        // These are the bytes that will be durable.
        let content: Bytes = fs::read(&data).context("read", &data)?.into();
        let actual = wanted.algorithm().digest(&content);
        if actual != wanted {
            let _ = fs::remove_file(&data);
            return Err(UploadError::Digest { actual });
        }
        Ok(content)
    })
    .await?;
    let arriving = blobs.arriving(digest).await;
    let (data, digest, blobs) = (Arc::clone(&upload.data), digest.clone(), blobs.clone());
    let bytes = content.clone();
    blocking(move || blobs.adopt_unsynced(&data, &digest, &bytes)).await?;
    Ok(Finished {
        size: content.len() as u64,
        content: Some(content),
        arriving,
    })
}

/// Nobody waits for [`BlobFiles::arriving`] while the file is read and synced.
async fn finish_large(
    upload: &Upload,
    hasher: Hasher,
    digest: &Digest,
    blobs: &BlobFiles,
) -> Result<Finished, UploadError> {
    let size = upload.received();
    let (data, wanted) = (Arc::clone(&upload.data), digest.clone());
    let same_algorithm = upload.algorithm == digest.algorithm();
    blocking(move || {
        let mut file = File::open(&data).context("open", &data)?;
        let hasher = if same_algorithm {
            hasher
        } else {
            // The digest's algorithm was not announced when the upload began.
            hash(&mut file, wanted.algorithm())
                .context("read", &data)?
                .0
        };
        let actual = hasher.finish();
        if actual != wanted {
            let _ = fs::remove_file(&data);
            return Err(UploadError::Digest { actual });
        }
        file.sync_all().context("sync", &data)?;
        Ok(())
    })
    .await?;
    let arriving = blobs.arriving(digest).await;
    let (data, digest, blobs) = (Arc::clone(&upload.data), digest.clone(), blobs.clone());
    blocking(move || blobs.adopt(&data, &digest)).await?;
    Ok(Finished {
        size,
        content: None,
        arriving,
    })
}

async fn rewind(path: Arc<Path>, len: u64) -> Result<(), StorageError> {
    blocking(move || {
        OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_len(len))
            .context("truncate", &path)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sessions_that_were_not_used_for_longest_are_only_in_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let mut uploads = FileUploads::open(dir.path()).unwrap();
        uploads.open = Arc::new(Mutex::new(Sessions::new(8)));
        let blobs = BlobFiles::open(dir.path()).unwrap();
        let name: RepositoryName = "app".parse().unwrap();
        let chunk = |text: &'static str| {
            futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(
                text.as_bytes(),
            ))])
        };
        let busy = uploads.create(&name, Algorithm::Sha256).await.unwrap();
        let mut ids = Vec::new();
        for _ in 0..50 {
            let upload = uploads.create(&name, Algorithm::Sha256).await.unwrap();
            uploads
                .append(&upload, chunk("hello "), None)
                .await
                .unwrap();
            ids.push(upload.id());
            assert!(uploads.len() <= 9);
        }
        // One that is in use stays what it is.
        let same = uploads.get(&name, busy.id()).await.unwrap();
        assert!(Arc::ptr_eq(&busy, &same));
        for id in ids {
            let upload = uploads.get(&name, id).await.unwrap();
            assert_eq!(upload.received(), 6);
            uploads.append(&upload, chunk("world"), None).await.unwrap();
            let digest = Digest::sha256(b"hello world");
            let finished = uploads.finish(&upload, &digest, &blobs).await.unwrap();
            assert_eq!(finished.size, 11);
            assert_eq!(finished.content.as_deref(), Some(&b"hello world"[..]));
        }
        assert_eq!(uploads.len(), 1);
    }
}
