//! The users of a password file, and the passwords that were right lately.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use sha2::{Digest as _, Sha256};

use super::header::basic;
use super::htpasswd::{Htpasswd, HtpasswdError};
use super::identity::{BadCredentials, Identity};
use crate::sync::{blocking, read, write};

/// Passwords that were right lately, so that bcrypt's deliberate slowness is paid once.
const REMEMBERED: usize = 1024;

/// The users, as their file had them when it was last read.
#[derive(Debug)]
pub(super) struct Users {
    path: PathBuf,
    known: RwLock<Htpasswd>,
    /// Hashes of credentials that were right; forgotten when the file is read again.
    remembered: RwLock<HashMap<[u8; 32], Arc<str>>>,
}

impl Users {
    /// Reads the file.
    ///
    /// # Errors
    /// [`HtpasswdError`].
    pub(super) fn open(path: &Path) -> Result<Self, HtpasswdError> {
        Ok(Self {
            path: path.to_owned(),
            known: RwLock::new(read_users(path)?),
            remembered: RwLock::default(),
        })
    }

    /// Reads the file again.
    ///
    /// # Errors
    /// [`HtpasswdError`]; the users stay as they were.
    pub(super) fn reload(&self) -> Result<(), HtpasswdError> {
        let fresh = read_users(&self.path)?;
        *write(&self.known) = fresh;
        write(&self.remembered).clear();
        Ok(())
    }

    /// Whether this `Authorization` header holds a password that was right lately.
    pub(super) fn remembers(&self, header: &str) -> bool {
        self.recall(&fingerprint(header)).is_some()
    }

    fn recall(&self, fingerprint: &[u8; 32]) -> Option<Arc<str>> {
        read(&self.remembered).get(fingerprint).cloned()
    }

    /// Whose password this `Authorization` header holds.
    ///
    /// # Errors
    /// [`BadCredentials`].
    pub(super) async fn login(self: &Arc<Self>, header: &str) -> Result<Identity, BadCredentials> {
        let fingerprint = fingerprint(header);
        if let Some(user) = self.recall(&fingerprint) {
            return Ok(Identity::User(user));
        }
        let (user, password) = basic(header).ok_or(BadCredentials)?;
        let this = Arc::clone(self);
        // bcrypt takes its time, on purpose.
        blocking(move || {
            let known = read(&this.known);
            if !known.verify(&user, &password) {
                return Err(BadCredentials);
            }
            let user: Arc<str> = user.into();
            let mut remembered = write(&this.remembered);
            if remembered.len() >= REMEMBERED {
                remembered.clear();
            }
            remembered.insert(fingerprint, Arc::clone(&user));
            Ok(Identity::User(user))
        })
        .await
    }

    /// What `work` makes of the users as they are now.
    pub(super) fn with<T>(&self, work: impl FnOnce(&Htpasswd) -> T) -> T {
        work(&read(&self.known))
    }
}

fn fingerprint(header: &str) -> [u8; 32] {
    Sha256::digest(header).into()
}

/// Reads the password file, and tells what is weak about it.
fn read_users(path: &Path) -> Result<Htpasswd, HtpasswdError> {
    let users = Htpasswd::read(path)?;
    if let Some(weakness) = users.weakness() {
        tracing::warn!(file = %path.display(), "{weakness}");
    }
    Ok(users)
}
