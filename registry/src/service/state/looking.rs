//! Layers that are being looked into: each once, however many ask, and one at a time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use oci::Digest;
use tokio::sync::{Semaphore, watch};

use crate::contents::Listing;
use crate::sync::lock;

/// Files that are read out of layers at once.
const READERS: usize = 2;

/// What came of it: the listing, or why there is none.
type Outcome = Result<Arc<Listing>, String>;

/// Layers that are being looked into.
#[derive(Debug)]
pub(in crate::service) struct Looking {
    under_way: Mutex<HashMap<Digest, Arc<Progress>>>,
    /// Reading a layer is a processor's work: the rest of the registry has the others.
    pub(in crate::service) turn: Semaphore,
    /// So is reading a file out of one.
    pub(in crate::service) readers: Semaphore,
}

impl Default for Looking {
    fn default() -> Self {
        Self {
            under_way: Mutex::default(),
            turn: Semaphore::new(1),
            readers: Semaphore::new(READERS),
        }
    }
}

/// How far one is.
#[derive(Debug)]
pub(in crate::service) struct Progress {
    /// Bytes of the blob that were read.
    pub(in crate::service) read: AtomicU64,
    outcome: watch::Sender<Option<Outcome>>,
}

impl Looking {
    /// The work on a layer, and whether it is for the caller to begin it.
    pub(in crate::service) fn join(&self, digest: &Digest) -> (Arc<Progress>, bool) {
        let mut under_way = lock(&self.under_way);
        if let Some(progress) = under_way.get(digest) {
            return (Arc::clone(progress), false);
        }
        let progress = Arc::new(Progress {
            read: AtomicU64::new(0),
            outcome: watch::Sender::new(None),
        });
        under_way.insert(digest.clone(), Arc::clone(&progress));
        (progress, true)
    }

    /// The work has come to this; who asks later begins anew, or finds it kept.
    pub(in crate::service) fn end(&self, digest: &Digest, outcome: Outcome) {
        if let Some(progress) = lock(&self.under_way).remove(digest) {
            progress.outcome.send_replace(Some(outcome));
        }
    }
}

impl Progress {
    /// What it comes to, once it has.
    pub(in crate::service) async fn outcome(&self) -> Option<Outcome> {
        let mut outcome = self.outcome.subscribe();
        let outcome = outcome.wait_for(Option::is_some).await.ok()?;
        outcome.clone()
    }

    /// Notes that so many more bytes were read.
    pub(in crate::service) fn add(&self, bytes: usize) {
        self.read.fetch_add(bytes as u64, Relaxed);
    }
}
