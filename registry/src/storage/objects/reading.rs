//! Content as a stream that goes on where it broke, and ends with an error rather than early.

use std::io::{self, Read, Seek, SeekFrom};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::GetRange;
use object_store::path::Path;

use super::store::Store;
use crate::storage::error::StorageError;
use crate::sync::waiting;

/// Times that a read is gone on with without a byte in between.
const ATTEMPTS: u32 = 4;
/// The pause before the second time; each later one is twice as long.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a store may say nothing in the middle of an answer.
const SILENCE: Duration = Duration::from_secs(30);

/// A part of an object, as it comes.
pub struct ObjectStream {
    store: Store,
    key: Path,
    at: u64,
    end: u64,
    body: Option<BoxStream<'static, object_store::Result<Bytes>>>,
    failed: u32,
}

impl std::fmt::Debug for ObjectStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} from {} to {}", self.key, self.at, self.end)
    }
}

impl ObjectStream {
    /// The bytes from `at` up to `end` of an object, which is that long at least.
    pub(super) fn new(store: &Store, key: Path, at: u64, end: u64) -> Self {
        Self {
            store: store.clone(),
            key,
            at,
            end,
            body: None,
            failed: 0,
        }
    }

    /// Asks the store, so that what can be said at once is known; whether the object is there.
    ///
    /// # Errors
    /// [`StorageError::Store`].
    pub async fn open(&mut self) -> Result<bool, StorageError> {
        if self.at == self.end || self.body.is_some() {
            return Ok(true);
        }
        let range = Some(GetRange::Bounded(self.at..self.end));
        let found = self.store.get(&self.key, range).await;
        let found = found.map_err(self.store.failed("read", &self.key))?;
        self.body = found.map(|found| found.into_stream());
        Ok(self.body.is_some())
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// When the store does not give all of them, however often it is asked.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while self.at < self.end {
            let why = match self.step().await {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(why) => why,
            };
            self.body = None;
            self.failed += 1;
            if self.failed >= ATTEMPTS {
                let place = self.store.place(&self.key);
                return Err(io::Error::other(format!("{}: {why}", place.display())));
            }
            tracing::debug!(key = %self.key, at = self.at, "reading broke off, going on: {why}");
            tokio::time::sleep(PAUSE * 2u32.pow(self.failed)).await;
        }
        Ok(None)
    }

    async fn step(&mut self) -> Result<Bytes, String> {
        if !self.open().await.map_err(|e| e.to_string())? {
            return Err("it is gone".to_owned());
        }
        let Some(body) = &mut self.body else {
            return Err("it is gone".to_owned());
        };
        let bytes = match tokio::time::timeout(SILENCE, body.next()).await {
            Ok(Some(Ok(bytes))) => bytes,
            Ok(Some(Err(e))) => return Err(e.to_string()),
            Ok(None) => return Err("it ended early".to_owned()),
            Err(_) => return Err("the store says nothing more".to_owned()),
        };
        if bytes.len() as u64 > self.end - self.at {
            return Err("more came than was asked for".to_owned());
        }
        if !bytes.is_empty() {
            self.at += bytes.len() as u64;
            self.failed = 0;
        }
        Ok(bytes)
    }

    /// All of it, which fits into memory.
    ///
    /// # Errors
    /// As [`ObjectStream::next`].
    pub(super) async fn all(mut self) -> io::Result<Bytes> {
        let mut all = Vec::with_capacity(usize::try_from(self.end - self.at).unwrap_or(0));
        while let Some(bytes) = self.next().await? {
            all.extend_from_slice(&bytes);
        }
        Ok(all.into())
    }
}

/// An object that is read on a thread that may block.
#[derive(Debug)]
pub(in crate::storage) struct ObjectReader {
    store: Store,
    key: Path,
    size: u64,
    at: u64,
    stream: Option<ObjectStream>,
    /// What came and was not asked for yet.
    ahead: Bytes,
}

impl ObjectReader {
    pub(super) fn new(store: &Store, key: Path, size: u64) -> Self {
        Self {
            store: store.clone(),
            key,
            size,
            at: 0,
            stream: None,
            ahead: Bytes::new(),
        }
    }

    pub(in crate::storage) fn size(&self) -> u64 {
        self.size
    }
}

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.ahead.is_empty() && self.at < self.size {
            let (store, key) = (&self.store, &self.key);
            let stream = self
                .stream
                .get_or_insert_with(|| ObjectStream::new(store, key.clone(), self.at, self.size));
            match waiting(stream.next())? {
                Some(bytes) => self.ahead = bytes,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let n = buffer.len().min(self.ahead.len());
        buffer[..n].copy_from_slice(&self.ahead.split_to(n));
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for ObjectReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        let to = to.ok_or(io::ErrorKind::InvalidInput)?;
        if to != self.at {
            self.at = to;
            self.stream = None;
            self.ahead = Bytes::new();
        }
        Ok(to)
    }
}
