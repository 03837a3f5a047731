//! The file of personal tokens, followed while it changes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use tokio::task::JoinError;

use super::personal::{Personal, PersonalError, Tokens};
use crate::clock::now;
use crate::stamp::Stamp;
use crate::sync::{blocking, lock, read, write};

/// The file is not looked at again sooner than this.
const LOOK: Duration = Duration::from_millis(20);

/// The tokens, as their file has them.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    known: RwLock<Tokens>,
    seen: Mutex<(Option<Instant>, Option<Stamp>)>,
}

impl TokenFile {
    /// Reads the file, if it is there.
    ///
    /// # Errors
    /// [`PersonalError`].
    pub(super) fn open(path: &Path) -> Result<Self, PersonalError> {
        // Taken before it is read: what changes meanwhile is read again.
        let stamp = Stamp::of(path);
        Ok(Self {
            path: path.to_owned(),
            known: RwLock::new(Tokens::read(path)?),
            seen: Mutex::new((None, stamp)),
        })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file again if it was changed since.
    pub(super) async fn follow(self: &Arc<Self>) {
        let moment = Instant::now();
        {
            let mut seen = lock(&self.seen);
            if seen
                .0
                .is_some_and(|at| moment.saturating_duration_since(at) < LOOK)
            {
                return;
            }
            seen.0 = Some(moment);
        }
        let this = Arc::clone(self);
        let looked = blocking(move || {
            let fresh = Stamp::of(&this.path);
            if lock(&this.seen).1 != fresh {
                match Tokens::read(&this.path) {
                    Ok(tokens) => *write(&this.known) = tokens,
                    Err(e) => tracing::error!(error = %e, "personal tokens stay as they were"),
                }
                lock(&this.seen).1 = fresh;
            }
            Ok::<_, JoinError>(())
        });
        if let Err(e) = looked.await {
            tracing::error!(error = %e, "the file of personal tokens could not be looked at");
        }
    }

    /// The same, however short a time ago the file was looked at.
    pub(super) async fn follow_at_once(self: &Arc<Self>) {
        lock(&self.seen).0 = None;
        self.follow().await;
    }

    /// Changes the file, and knows at once what is in it then.
    ///
    /// # Errors
    /// [`PersonalError`]; the file is as it was then.
    pub(super) async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Tokens) -> Result<T, PersonalError> + Send + 'static,
    ) -> Result<T, PersonalError> {
        let this = Arc::clone(self);
        blocking(move || {
            let done = Tokens::change(&this.path, change)?;
            let fresh = Stamp::of(&this.path);
            *write(&this.known) = Tokens::read(&this.path)?;
            lock(&this.seen).1 = fresh;
            Ok(done)
        })
        .await
    }

    /// All tokens, as they are known.
    pub(super) fn all(&self) -> Tokens {
        read(&self.known).clone()
    }

    /// The token that a text is, by its ID, if it is good now.
    pub(super) fn find(&self, text: &str) -> Option<(String, Personal)> {
        let known = read(&self.known);
        let (id, token) = known.find(text, now())?;
        Some((id.to_owned(), token.clone()))
    }

    /// The token of an ID, if it is good now.
    pub(super) fn get(&self, id: &str) -> Option<Personal> {
        read(&self.known).get(id, now()).cloned()
    }
}
