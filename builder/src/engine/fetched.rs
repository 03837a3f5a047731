//! What was fetched from elsewhere: files by URL and git repositories.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use oci::Digest;
use tokio::sync::OnceCell;

use crate::download::Download;
use crate::git::Checkout;
use crate::plan::GitAdd;
use crate::solve::error::StepError;

/// What steps leave for later ones.
#[derive(Default)]
pub struct Known {
    /// By URL and `--checksum`: what one step verified is not verified for another.
    pub(super) downloads: Once<(String, Option<Digest>), Arc<Download>>,
    /// What a repository's name means in this build.
    pub(super) commits: Once<String, String>,
    pub(super) checkouts: Once<String, Arc<Checkout>>,
}

/// Things that are made once, however many steps ask for them at a time.
type Once<K, V> = Mutex<HashMap<K, Arc<OnceCell<V>>>>;

/// Where one of them is, or will be.
pub(super) fn once<K: Eq + Hash, V>(known: &Once<K, V>, key: K) -> Arc<OnceCell<V>> {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(known.entry(key).or_default())
}

/// What a copy takes from elsewhere, here.
#[derive(Default)]
pub struct Fetched {
    pub(super) downloads: HashMap<String, Arc<Download>>,
    pub(super) checkouts: HashMap<String, Arc<Checkout>>,
}

impl Fetched {
    /// A file by its URL.
    ///
    /// # Errors
    /// When it was not fetched.
    pub fn download(&self, url: &str) -> Result<&Download, StepError> {
        let found = self.downloads.get(url);
        found
            .map(Arc::as_ref)
            .ok_or_else(|| StepError::Other(format!("ADD {url}: it was not downloaded")))
    }

    /// The files of a repository.
    ///
    /// # Errors
    /// When they were not fetched.
    pub fn checkout(&self, git: &GitAdd) -> Result<&Checkout, StepError> {
        let found = self.checkouts.get(&name(git));
        found
            .map(Arc::as_ref)
            .ok_or_else(|| StepError::Other(format!("ADD {}: it was not fetched", git.text)))
    }
}

/// What tells one repository, and what is wanted of it, from another.
pub(super) fn name(git: &GitAdd) -> String {
    format!("{git:?}")
}
