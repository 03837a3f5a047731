//! What was fetched from elsewhere: files by URL and git repositories.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use oci::Digest;

use crate::download::Download;
use crate::git::Checkout;
use crate::plan::GitAdd;
use crate::solve::error::StepError;

type Downloads = HashMap<(String, Option<Digest>), Arc<Download>>;

/// What steps leave for later ones.
#[derive(Default)]
pub struct Known {
    /// By URL and `--checksum`: what one step verified is not verified for another.
    pub(super) downloads: Mutex<Downloads>,
    /// What a repository's name means in this build.
    pub(super) commits: Mutex<HashMap<String, String>>,
    pub(super) checkouts: Mutex<HashMap<String, Arc<Checkout>>>,
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
