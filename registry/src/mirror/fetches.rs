//! Blobs on their way here: each comes once, whoever asks for it, and comes to its end when those
//! who asked have left.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex};

use oci::Digest;
use tokio::sync::watch;

use super::error::Unavailable;
use crate::name::RepositoryName;
use crate::storage::Filling;
use crate::sync::lock;

/// How a fetch began.
#[derive(Clone, Debug)]
pub(super) enum Opened {
    /// Nobody knows yet.
    Waiting,
    /// It comes.
    Coming {
        /// Bytes of all of it.
        size: u64,
        /// Where they are written.
        file: Arc<File>,
        /// How far it is.
        filling: watch::Receiver<Filling>,
    },
    /// No upstream has it.
    Missing,
    /// None that might have it answers.
    Unavailable(Unavailable),
}

/// One blob on its way.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) opened: watch::Sender<Opened>,
    /// Repositories that wait for it, not shown in them yet. Changed under the lock of all
    /// fetches.
    wanted: Mutex<Vec<RepositoryName>>,
    /// All that ever waited for it.
    known: Mutex<Vec<RepositoryName>>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Fetches(Mutex<HashMap<Digest, Arc<Fetch>>>);

/// What a repository finds that wants a blob.
pub(super) enum Place {
    /// It is on its way, for this repository too.
    Joined(Arc<Fetch>),
    /// It is on its way for others.
    Elsewhere,
    /// It is now on its way: whoever gets this must see to it.
    Begun(Arc<Fetch>),
}

impl Fetches {
    /// Joins or begins the fetch of a blob for a repository. `confirmed`: the upstream is known to
    /// have it in this repository.
    pub(super) fn join(&self, digest: &Digest, name: &RepositoryName, confirmed: bool) -> Place {
        let mut fetches = lock(&self.0);
        let Some(fetch) = fetches.get(digest) else {
            let fetch = Arc::new(Fetch {
                opened: watch::Sender::new(Opened::Waiting),
                wanted: Mutex::new(vec![name.clone()]),
                known: Mutex::new(vec![name.clone()]),
            });
            fetches.insert(digest.clone(), Arc::clone(&fetch));
            return Place::Begun(fetch);
        };
        let mut known = lock(&fetch.known);
        if !known.contains(name) {
            if !confirmed {
                return Place::Elsewhere;
            }
            known.push(name.clone());
            lock(&fetch.wanted).push(name.clone());
        }
        Place::Joined(Arc::clone(fetch))
    }

    /// The repositories to show a blob in that has come; when there are none, the fetch is over.
    pub(super) fn wanted(&self, digest: &Digest, fetch: &Fetch) -> Vec<RepositoryName> {
        let mut fetches = lock(&self.0);
        let wanted = std::mem::take(&mut *lock(&fetch.wanted));
        if wanted.is_empty() {
            fetches.remove(digest);
        }
        wanted
    }

    /// Ends a fetch that failed.
    pub(super) fn end(&self, digest: &Digest) {
        lock(&self.0).remove(digest);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        lock(&self.0).len()
    }
}
