//! Who is asking, and what they may do.
//!
//! [`htpasswd`] knows users and their passwords, [`rules`] what each may do where; [`Auth`] puts
//! both together. Pure but for reading the password file.

pub mod htpasswd;
pub mod rules;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::config::Config;
use htpasswd::{Htpasswd, HtpasswdError};
use rules::{Access, Rules};

/// Passwords that were right lately, so that bcrypt's deliberate slowness is paid once.
const REMEMBERED: usize = 1024;

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Nobody said.
    Anonymous,
    /// A user who proved it.
    User(Arc<str>),
}

/// Why somebody is not who they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadCredentials;

/// Users, passwords and rules.
#[derive(Debug)]
pub struct Auth {
    users: RwLock<Htpasswd>,
    rules: Rules,
    /// What clients are shown when they must log in.
    realm: String,
    /// Hashes of credentials that were right; forgotten when the file is read again.
    remembered: RwLock<HashMap<[u8; 32], Arc<str>>>,
}

impl Auth {
    /// From the configuration; `None` when it asks nobody to log in.
    ///
    /// # Errors
    /// [`HtpasswdError`].
    pub fn from_config(config: &Config) -> Result<Option<Self>, HtpasswdError> {
        let Some(path) = &config.htpasswd else {
            return Ok(None);
        };
        Ok(Some(Self {
            users: RwLock::new(Htpasswd::read(path)?),
            rules: Rules::new(&config.access, &config.groups),
            realm: config.realm.clone(),
            remembered: RwLock::default(),
        }))
    }

    /// Reads the password file again.
    ///
    /// # Errors
    /// [`HtpasswdError`]; the users stay as they were.
    pub fn reload(&self, path: &Path) -> Result<(), HtpasswdError> {
        let fresh = Htpasswd::read(path)?;
        *self.users.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        self.remembered
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        Ok(())
    }

    /// What a client is sent that must log in.
    pub fn challenge(&self) -> String {
        format!("Basic realm=\"{}\"", self.realm.replace(['"', '\\'], ""))
    }

    /// Who sends this `Authorization` header.
    ///
    /// # Errors
    /// [`BadCredentials`] when it proves nothing.
    pub async fn identify(
        self: &Arc<Self>,
        header: Option<&str>,
    ) -> Result<Identity, BadCredentials> {
        let Some(header) = header else {
            return Ok(Identity::Anonymous);
        };
        let fingerprint: [u8; 32] = Sha256::digest(header).into();
        let remembered = self
            .remembered
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&fingerprint)
            .cloned();
        if let Some(user) = remembered {
            return Ok(Identity::User(user));
        }
        let (user, password) = basic(header).ok_or(BadCredentials)?;
        let this = Arc::clone(self);
        // bcrypt takes its time, on purpose.
        let user = tokio::task::spawn_blocking(move || {
            let users = this.users.read().unwrap_or_else(PoisonError::into_inner);
            if !users.verify(&user, &password) {
                return None;
            }
            let user: Arc<str> = user.into();
            let mut remembered = this
                .remembered
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            if remembered.len() >= REMEMBERED {
                remembered.clear();
            }
            remembered.insert(fingerprint, Arc::clone(&user));
            Some(user)
        })
        .await
        .map_err(|_| BadCredentials)?;
        user.map(Identity::User).ok_or(BadCredentials)
    }

    /// Whether `identity` may do `access` in a repository.
    pub fn allows(&self, identity: &Identity, repository: &str, access: Access) -> bool {
        self.rules.allow(identity, repository, access)
    }
}

/// The user and password of a Basic header.
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_headers_are_read() {
        let pair = |u: &str, p: &str| Some((u.to_owned(), p.to_owned()));
        assert_eq!(basic("Basic YTpiOmM="), pair("a", "b:c"));
        assert_eq!(basic("basic YTo="), pair("a", ""));
        for bad in ["", "Basic", "Basic !!!", "Bearer YTpi", "Basic YQ=="] {
            assert_eq!(basic(bad), None, "{bad}");
        }
    }
}
