//! The bytes of an upload on their way into parts.
//!
//! A part has to be in memory before it can be sent. There are so many buffers for all uploads, and
//! whoever has none waits. Nobody waits for another one while keeping one that only a client could
//! fill: a client that makes others wait has its bytes put aside in the store.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use oci::digest::Hasher;
use tokio::task::JoinHandle;

use super::reading::ObjectStream;
use super::session::{DATA, REST, SESSION, Session, Tail};
use super::store::Store;
use crate::name::UploadId;
use crate::storage::error::StorageError;
use crate::storage::pipeline::Progress;
use crate::storage::pool::Buffer;
use crate::sync::blocking;

/// How long a client may send nothing while others wait for its buffer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Parts of one upload that are on their way at once.
const AHEAD: usize = 3;
/// Parts after which a session is saved, while more come.
const SAVE_EVERY: usize = 16;

/// How a body ended.
#[derive(Debug)]
pub(super) enum Ended {
    Complete,
    /// The client failed.
    Client(String),
}

/// An upload that is being filled.
pub(super) struct Filling<'a> {
    store: &'a Store,
    id: UploadId,
    progress: &'a Progress,
    pub(super) session: Session,
    /// As its object has it, where it has to stay so until the end.
    before: Option<Session>,
    buffer: Option<Buffer>,
    /// Bytes at the beginning of the buffer that were hashed.
    hashed: usize,
    sending: VecDeque<JoinHandle<Result<String, StorageError>>>,
    saved_parts: usize,
}

impl<'a> Filling<'a> {
    /// Goes on with a session. `whole`: what comes is kept as a whole, or not at all.
    pub(super) fn new(
        store: &'a Store,
        id: UploadId,
        progress: &'a Progress,
        session: Session,
        whole: bool,
    ) -> Self {
        Self {
            store,
            id,
            progress,
            before: whole.then(|| session.clone()),
            saved_parts: session.parts.len(),
            session,
            buffer: None,
            hashed: 0,
            sending: VecDeque::new(),
        }
    }

    /// Takes a body to its end.
    ///
    /// # Errors
    /// [`StorageError`]; what the session's object says counts then.
    pub(super) async fn fill<S, E>(&mut self, mut body: S) -> Result<Ended, StorageError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::fmt::Display,
    {
        let start = self.session.received;
        loop {
            let item = match tokio::time::timeout(PATIENCE, body.next()).await {
                Ok(item) => item,
                Err(_) => {
                    if self.buffer.is_some() && self.store.is_short() {
                        self.put_aside().await?;
                    }
                    continue;
                }
            };
            let mut bytes = match item {
                None => return Ok(Ended::Complete),
                Some(Err(e)) => return Ok(Ended::Client(e.to_string())),
                Some(Ok(bytes)) => bytes,
            };
            while !bytes.is_empty() {
                let before = bytes.len();
                let full = {
                    let buffer = self.buffer().await?;
                    buffer.fill(&mut bytes);
                    buffer.is_full()
                };
                self.session.received += (before - bytes.len()) as u64;
                self.progress
                    .wait(usize::try_from(self.session.received - start).unwrap_or(usize::MAX));
                if full {
                    self.send().await?;
                }
            }
        }
    }

    /// A buffer with the tail in it.
    async fn buffer(&mut self) -> Result<&mut Buffer, StorageError> {
        let buffer = match self.buffer.take() {
            Some(buffer) => buffer,
            None => {
                let mut buffer = self.store.slot().await;
                let tail = std::mem::replace(&mut self.session.tail, Tail::Here(Bytes::new()));
                load(self.store, self.id, tail, &mut buffer).await?;
                self.hashed = buffer.len();
                buffer
            }
        };
        Ok(self.buffer.insert(buffer))
    }

    /// Hashes what came into the buffer since.
    async fn hash(&mut self, bytes: &Bytes) -> Result<(), StorageError> {
        let new = bytes.slice(self.hashed..);
        self.hashed = bytes.len();
        self.session.hasher = hashed(self.session.hasher.clone(), new).await?;
        Ok(())
    }

    /// Sends what is in the buffer as a part.
    async fn send(&mut self) -> Result<(), StorageError> {
        let Some(buffer) = self.buffer.take() else {
            return Ok(());
        };
        let (bytes, known) = (buffer.freeze(), self.hashed);
        let key = self.store.of_upload(self.id, DATA);
        let upload = match &self.session.upload {
            Some(upload) => upload.clone(),
            None => {
                let upload = self.store.begin(&key).await?;
                // Written down, so that whoever finds it later can give it up.
                let mut begun = match &self.before {
                    Some(before) => before.clone(),
                    None => Session {
                        received: known as u64,
                        ..self.session.clone()
                    },
                };
                begun.upload = Some(upload.clone());
                let tail = usize::try_from(begun.received).unwrap_or(0).min(known);
                save(self.store, self.id, &begun, bytes.slice(..tail)).await?;
                self.session.upload = Some(upload.clone());
                self.session.saved = true;
                upload
            }
        };
        let number = self.session.parts.len() + self.sending.len();
        let (store, part) = (self.store.clone(), bytes.clone());
        self.sending.push_back(tokio::spawn(async move {
            store.put_part(&key, &upload, number, part).await
        }));
        self.hash(&bytes).await?;
        drop(bytes);
        while self.sending.len() >= AHEAD {
            self.sent().await?;
        }
        let due = self.session.parts.len() + self.sending.len() >= self.saved_parts + SAVE_EVERY;
        if due && self.before.is_none() {
            self.all_sent().await?;
            save(self.store, self.id, &self.session, Bytes::new()).await?;
            self.saved_parts = self.session.parts.len();
        }
        Ok(())
    }

    /// Waits for the oldest part on its way.
    async fn sent(&mut self) -> Result<(), StorageError> {
        if let Some(sending) = self.sending.pop_front() {
            let part = sending.await??;
            self.session.parts.push(part);
        }
        Ok(())
    }

    async fn all_sent(&mut self) -> Result<(), StorageError> {
        while !self.sending.is_empty() {
            self.sent().await?;
        }
        Ok(())
    }

    /// Lets others have the buffer until the client goes on.
    async fn put_aside(&mut self) -> Result<(), StorageError> {
        let Some(buffer) = self.buffer.take() else {
            return Ok(());
        };
        let bytes = buffer.freeze();
        self.hash(&bytes).await?;
        let key = self.store.of_upload(self.id, REST);
        let len = bytes.len() as u64;
        self.store.put(&key, [bytes]).await?;
        self.session.tail = Tail::There {
            object: REST,
            at: 0,
            len,
        };
        Ok(())
    }

    /// Has all of it in the store, so that others can go on with it. A small one that nobody knows
    /// of is given back instead, to be kept in memory.
    pub(super) async fn end(mut self, small: u64) -> Result<Option<Session>, StorageError> {
        self.all_sent().await?;
        if let Some(buffer) = self.buffer.take() {
            let bytes = buffer.freeze();
            self.hash(&bytes).await?;
            self.session.tail = Tail::Here(bytes);
        }
        let tail = match self.session.tail.clone() {
            Tail::Here(bytes) if !self.session.saved && !self.session.named => {
                if bytes.len() as u64 <= small {
                    // The buffer goes back.
                    self.session.tail = Tail::Here(Bytes::copy_from_slice(&bytes));
                    return Ok(Some(self.session));
                }
                bytes
            }
            Tail::Here(bytes) => bytes,
            // It is there already.
            Tail::There {
                object: SESSION, ..
            } => return Ok(None),
            // Put aside, and nothing came since.
            tail => {
                let mut buffer = self.store.slot().await;
                load(self.store, self.id, tail, &mut buffer).await?;
                buffer.freeze()
            }
        };
        save(self.store, self.id, &self.session, tail).await?;
        Ok(None)
    }

    /// Waits for what is on its way: nothing of it may arrive after what comes next.
    pub(super) async fn give_up(mut self) {
        for sending in self.sending.drain(..) {
            // Why it failed was said already.
            let _ = sending.await;
        }
    }
}

/// Writes the object of a session with this tail.
pub(super) async fn save(
    store: &Store,
    id: UploadId,
    session: &Session,
    tail: Bytes,
) -> Result<(), StorageError> {
    let mut told = session.clone();
    told.tail = Tail::Here(tail.clone());
    let key = store.of_upload(id, SESSION);
    store.put(&key, [told.line(), tail]).await
}

/// Reads a tail into an empty buffer.
pub(super) async fn load(
    store: &Store,
    id: UploadId,
    tail: Tail,
    buffer: &mut Buffer,
) -> Result<(), StorageError> {
    match tail {
        Tail::Here(mut bytes) => buffer.fill(&mut bytes),
        Tail::There { object, at, len } => {
            let key = store.of_upload(id, object);
            let mut stream = ObjectStream::new(store, key.clone(), at, at + len);
            loop {
                let next = stream.next().await;
                let next = next.map_err(|e| StorageError::Unreachable {
                    place: store.place(&key),
                    why: e.to_string(),
                })?;
                match next {
                    Some(mut bytes) => buffer.fill(&mut bytes),
                    None => break,
                }
            }
        }
    }
    Ok(())
}

/// A hash with more bytes in it.
pub(super) async fn hashed(mut hasher: Hasher, bytes: Bytes) -> Result<Hasher, StorageError> {
    /// So few cost less than a change of threads.
    const FEW: usize = 16 << 10;
    if bytes.len() <= FEW {
        hasher.update(&bytes);
        return Ok(hasher);
    }
    blocking(move || {
        hasher.update(&bytes);
        Ok(hasher)
    })
    .await
}
