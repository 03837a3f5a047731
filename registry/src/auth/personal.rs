//! Personal tokens: what a user gives to programs instead of a password.
//!
//! Each is random, so that its hash alone is kept and need not be slow. It ends when its time is
//! over, when it is revoked, and when its user goes.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::private_file;
use crate::units;

/// What every token begins with, so that one that leaked is known for what it is.
const PREFIX: &str = "rrt_";
/// Longest note.
const MAX_NOTE: usize = 200;
/// Tokens of one user.
const MOST: usize = 1000;

/// Why tokens cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum PersonalError {
    /// The file cannot be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The file is not as it is written here.
    #[error("{path}: no file of personal tokens: {cause}")]
    Form {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: serde_json::Error,
    },
    /// There is none of this ID.
    #[error("there is no personal token {0}; `rregistry user tokens` lists them")]
    Unknown(String),
    /// A note that no list could show.
    #[error("a note has at most {MAX_NOTE} bytes, and no control characters")]
    Note,
    /// The system has no randomness.
    #[error("no randomness for a new token")]
    Random,
    /// A time that is none.
    #[error("{0}: a number and a unit, such as 90d or 12h, or never")]
    Time(String),
    /// A user has as many as one can have.
    #[error("a user has at most {MOST} personal tokens; revoke some")]
    Many,
    /// Changing the file panicked, or was cancelled by shutdown.
    #[error("changing the personal tokens ended unexpectedly: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// A token, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Personal {
    /// Whom it stands for.
    pub user: String,
    /// The SHA-256 of its secret, in base64.
    hash: String,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// When it ends; `None` for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
    /// What it is for, in its user's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// The `[[oidc]]` that vouched for the user, when they logged in there to make it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The groups that the user was in when last seen there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

/// All tokens of a file, by ID.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tokens(BTreeMap<String, Personal>);

/// What a new token is for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Whom it stands for.
    pub user: String,
    /// When it ends, in seconds since 1970.
    pub expires: Option<i64>,
    /// What it is for.
    pub note: String,
    /// The `[[oidc]]` that vouches for the user.
    pub provider: Option<String>,
    /// The groups that it names.
    pub groups: Vec<String>,
}

impl Tokens {
    /// Reads a file; none is there before the first token.
    ///
    /// # Errors
    /// [`PersonalError::Io`], [`PersonalError::Form`].
    pub fn read(path: &Path) -> Result<Self, PersonalError> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(cause) => return Err(io(path)(cause)),
        };
        serde_json::from_slice(&text).map_err(|cause| PersonalError::Form {
            path: path.to_owned(),
            cause,
        })
    }

    /// Changes a file, which nobody else changes meanwhile.
    ///
    /// # Errors
    /// [`PersonalError`], also that of `change`; the file is as it was then.
    pub fn change<T>(
        path: &Path,
        change: impl FnOnce(&mut Self) -> Result<T, PersonalError>,
    ) -> Result<T, PersonalError> {
        let lock = path.with_extension("lock");
        let lock = File::create(&lock).map_err(io(&lock))?;
        lock.lock().map_err(io(path))?;
        let mut tokens = Self::read(path)?;
        let done = change(&mut tokens)?;
        let text = serde_json::to_vec_pretty(&tokens).map_err(|cause| PersonalError::Form {
            path: path.to_owned(),
            cause,
        })?;
        private_file::write(path, &text).map_err(io(path))?;
        Ok(done)
    }

    /// A new token from `now` on: its text, which is not kept.
    ///
    /// # Errors
    /// [`PersonalError::Note`], [`PersonalError::Many`], [`PersonalError::Random`].
    pub fn add(&mut self, wanted: Wanted, now: i64) -> Result<String, PersonalError> {
        if wanted.note.len() > MAX_NOTE || wanted.note.chars().any(char::is_control) {
            return Err(PersonalError::Note);
        }
        let own = self.0.values().filter(|token| token.user == wanted.user);
        if own.count() >= MOST {
            return Err(PersonalError::Many);
        }
        let mut secret = [0; 32];
        let filled = SystemRandom::new().fill(&mut secret);
        filled.map_err(|_| PersonalError::Random)?;
        let secret = URL_SAFE_NO_PAD.encode(secret);
        let serial = uuid::Uuid::new_v4().simple().to_string();
        let id = serial[..12].to_owned();
        let token = format!("{PREFIX}{id}_{secret}");
        let kept = Personal {
            user: wanted.user,
            hash: hash(&secret),
            created: now,
            expires: wanted.expires,
            note: wanted.note,
            provider: wanted.provider,
            groups: wanted.groups,
        };
        self.0.insert(id, kept);
        Ok(token)
    }

    /// Takes a token away.
    ///
    /// # Errors
    /// [`PersonalError::Unknown`].
    pub fn revoke(&mut self, id: &str) -> Result<Personal, PersonalError> {
        let gone = self.0.remove(id);
        gone.ok_or_else(|| PersonalError::Unknown(id.to_owned()))
    }

    /// Gives tokens of a provider's user the groups that they are in now; whether any had others.
    pub(super) fn regroup(&mut self, provider: &str, user: &str, groups: &[String]) -> bool {
        let mut any = false;
        for token in self.0.values_mut() {
            let theirs = token.user == user && token.provider.as_deref() == Some(provider);
            if theirs && token.groups != groups {
                token.groups = groups.to_vec();
                any = true;
            }
        }
        any
    }

    /// All of them, by ID.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Personal)> {
        self.0.iter().map(|(id, token)| (id.as_str(), token))
    }

    /// The token of an ID, if it is good at `now`.
    pub(super) fn get(&self, id: &str, now: i64) -> Option<&Personal> {
        let token = self.0.get(id)?;
        token.expires.is_none_or(|end| now < end).then_some(token)
    }

    /// The token that a text is, by its ID, if it is good at `now`.
    pub(super) fn find(&self, text: &str, now: i64) -> Option<(&str, &Personal)> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let (id, token) = self.0.get_key_value(id)?;
        // Of a random secret's hash, how long a comparison takes tells nothing.
        let known = hash(secret) == token.hash;
        (known && self.get(id, now).is_some()).then_some((id, token))
    }
}

/// When a token ends that is made now, of a time as people write it: `90d`, or `never`.
///
/// # Errors
/// [`PersonalError::Time`].
pub fn end(text: &str, now: i64) -> Result<Option<i64>, PersonalError> {
    if text == "never" {
        return Ok(None);
    }
    let time = units::duration(text).filter(|time| !time.is_zero());
    let seconds = time.and_then(|time| i64::try_from(time.as_secs()).ok());
    let end = seconds.and_then(|seconds| now.checked_add(seconds));
    let wrong = || PersonalError::Time(text.to_owned());
    end.map(Some).ok_or_else(wrong)
}

/// Whether a password has the form of a personal token.
pub(crate) fn is_personal(password: &str) -> bool {
    password.starts_with(PREFIX)
}

fn hash(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(secret))
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> PersonalError + use<'_> {
    move |cause| PersonalError::Io {
        path: path.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_known_until_they_end_and_are_kept_as_hashes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tokens.json");
        assert_eq!(Tokens::read(&file).unwrap(), Tokens::default());
        let wanted = |user: &str, expires| Wanted {
            user: user.into(),
            expires,
            ..Wanted::default()
        };
        let add = |wanted| Tokens::change(&file, |tokens| tokens.add(wanted, 1000)).unwrap();
        let (first, second) = (add(wanted("alice", None)), add(wanted("bob", Some(2000))));
        let kept = std::fs::read_to_string(&file).unwrap();
        for text in [&first, &second] {
            let (_, secret) = text.strip_prefix(PREFIX).unwrap().split_once('_').unwrap();
            assert!(!kept.contains(secret), "{kept}");
        }
        let tokens = Tokens::read(&file).unwrap();
        let user = |text: &str, now| Some(tokens.find(text, now)?.1.user.clone());
        assert_eq!(user(&first, i64::MAX).as_deref(), Some("alice"));
        assert_eq!(user(&second, 1999).as_deref(), Some("bob"));
        assert_eq!(user(&second, 2000), None);
        // A secret is one token's.
        let parts = |text: &str| -> (String, String) {
            let (id, secret) = text[PREFIX.len()..].split_once('_').unwrap();
            (id.to_owned(), secret.to_owned())
        };
        let ((id, _), (_, other)) = (parts(&first), parts(&second));
        for bad in [
            format!("{PREFIX}{id}_{other}"),
            format!("{first}x"),
            format!("{PREFIX}{id}"),
            PREFIX.to_owned(),
            "rrt__".to_owned(),
            String::new(),
        ] {
            assert_eq!(user(&bad, 1500), None, "{bad}");
        }
        Tokens::change(&file, |tokens| tokens.revoke(&id)).unwrap();
        assert_eq!(Tokens::read(&file).unwrap().find(&first, 1500), None);
        let again = Tokens::change(&file, |tokens| tokens.revoke(&id)).unwrap_err();
        assert!(
            again.to_string().contains("there is no personal token"),
            "{again}"
        );
    }
}
