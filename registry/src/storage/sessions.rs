//! Upload sessions in memory, as many as are worth it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use oci::Algorithm;
use oci::digest::Hasher;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::error::UploadError;
use super::objects::Session;
use super::pipeline::Progress;
use crate::name::{RepositoryName, UploadId};

/// The sessions in memory. Whoever uses one has it from here, so that nobody else can have another
/// of the same file.
#[derive(Debug)]
pub(super) struct Sessions {
    pub(super) by_id: HashMap<UploadId, Arc<Upload>>,
    /// How often a session was used.
    uses: u64,
    /// How many are kept.
    limit: usize,
}

/// One upload session.
#[derive(Debug)]
pub struct Upload {
    pub(super) id: UploadId,
    pub(super) repository: RepositoryName,
    pub(super) algorithm: Algorithm,
    pub(super) data: Arc<Path>,
    pub(super) progress: Arc<Progress>,
    pub(super) state: Arc<AsyncMutex<State>>,
    /// When it was last used, as [`Sessions::uses`] counted then.
    pub(super) used: AtomicU64,
}

/// How far a session is, in memory.
#[derive(Debug)]
pub(super) enum State {
    /// From before a restart, or not used for long: to be hashed when it is next written to, or
    /// read from the object store.
    Cold,
    Ready(Box<Hasher>),
    /// In an object store, of which nobody knows yet.
    Held(Box<Session>),
    /// Finished or cancelled.
    Gone,
}

impl Upload {
    pub(super) fn new(
        id: UploadId,
        repository: RepositoryName,
        algorithm: Algorithm,
        data: Arc<Path>,
        progress: Progress,
        state: State,
    ) -> Self {
        Self {
            id,
            repository,
            algorithm,
            data,
            progress: Arc::new(progress),
            state: Arc::new(AsyncMutex::new(state)),
            used: AtomicU64::default(),
        }
    }

    /// The session's ID.
    pub fn id(&self) -> UploadId {
        self.id
    }

    /// The repository that it belongs to.
    pub fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    /// How many bytes have come and been written.
    pub fn received(&self) -> u64 {
        self.progress.written()
    }

    /// How many bytes have come, those included that a request is sending right now.
    pub fn arrived(&self) -> u64 {
        self.progress.arrived()
    }

    /// To be alone with it.
    pub(super) fn lock(&self) -> Result<OwnedMutexGuard<State>, UploadError> {
        Arc::clone(&self.state)
            .try_lock_owned()
            .map_err(|_| UploadError::Busy)
    }
}

impl Sessions {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            by_id: HashMap::new(),
            uses: 0,
            limit,
        }
    }

    /// The session `id`, used now.
    pub(super) fn get(&mut self, id: UploadId) -> Option<Arc<Upload>> {
        let upload = self.by_id.get(&id)?;
        self.uses += 1;
        upload.used.store(self.uses, Relaxed);
        Some(Arc::clone(upload))
    }

    /// Adds a session, unless it is there already; the one that is there now.
    pub(super) fn add(&mut self, upload: Arc<Upload>) -> Arc<Upload> {
        self.uses += 1;
        upload.used.store(self.uses, Relaxed);
        let upload = Arc::clone(self.by_id.entry(upload.id).or_insert(upload));
        if self.by_id.len() > self.limit {
            self.forget_oldest();
        }
        upload
    }

    /// Forgets a quarter of what may be kept, of those that no request has.
    fn forget_oldest(&mut self) {
        let mut idle: Vec<(u64, UploadId)> = self
            .by_id
            .values()
            .filter(|upload| Arc::strong_count(upload) == 1)
            .map(|upload| (upload.used.load(Relaxed), upload.id))
            .collect();
        idle.sort_unstable_by_key(|(used, _)| *used);
        for (_, id) in idle.iter().take((self.limit / 4).max(1)) {
            self.by_id.remove(id);
        }
    }
}
