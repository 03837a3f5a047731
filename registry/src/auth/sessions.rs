//! Who is logged in with a browser.
//!
//! A browser has a cookie with a random value. It stands for a user from the moment when they
//! proved who they are, and never does the value from before that: one that somebody else planted
//! is worth nothing. What forms send along with it is made of the value and a key of this process,
//! so that only pages of this registry have it. All is forgotten when the process ends.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest as _, Sha256};

use super::identity::User;
use super::logins::{Begun, Logins};
use crate::sync::lock;

/// How long somebody stays logged in.
const LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// How many are logged in at once; more log out who was logged in first.
const MOST: usize = 10_000;
/// Random bytes of a value.
const BYTES: usize = 32;

/// The value of a browser's cookie, of the form that this module makes.
#[derive(Clone, PartialEq, Eq)]
pub struct Visit(String);

/// Whoever reads a log is not let in by it.
impl std::fmt::Debug for Visit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Visit(…)")
    }
}

impl Visit {
    /// A value that came; `None` when it is none of ours by its form.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() == BYTES).then(|| Self(text.to_owned()))
    }

    /// The text of the cookie.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }
}

/// Somebody who is logged in.
#[derive(Clone, Debug)]
struct Session {
    user: User,
    /// What the user's password was then, hashed, where we know it: another ends the session.
    password: Option<[u8; 32]>,
    begun: Instant,
}

/// Who is logged in with a browser.
#[derive(Debug)]
pub struct Sessions {
    key: hmac::Key,
    random: SystemRandom,
    open: Mutex<HashMap<[u8; 32], Session>>,
    /// Who is on the way to a provider.
    logins: Logins,
}

/// There is no randomness to be had.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandomness;

impl Sessions {
    /// Nobody, yet.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn new() -> Result<Self, NoRandomness> {
        let random = SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random).map_err(|_| NoRandomness)?;
        Ok(Self {
            key,
            random,
            open: Mutex::default(),
            logins: Logins::default(),
        })
    }

    /// A value for a browser that has none.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn visit(&self) -> Result<Visit, NoRandomness> {
        let mut bytes = [0; BYTES];
        self.random.fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Visit(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Logs a user in, whose password is `password`, hashed, when it is known here: the value of
    /// the browser from now on.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn begin(&self, user: User, password: Option<[u8; 32]>) -> Result<Visit, NoRandomness> {
        let visit = self.visit()?;
        let mut open = lock(&self.open);
        if open.len() >= MOST {
            open.retain(|_, session| session.begun.elapsed() < LIFETIME);
        }
        if open.len() >= MOST {
            let first = open.iter().min_by_key(|(_, session)| session.begun);
            if let Some(key) = first.map(|(key, _)| *key) {
                open.remove(&key);
            }
        }
        let begun = Instant::now();
        let session = Session {
            user,
            password,
            begun,
        };
        open.insert(visit.fingerprint(), session);
        Ok(visit)
    }

    /// Who was logged in with a value, and what their password was then, hashed. Whether they still
    /// may be is for others to say.
    pub fn user(&self, visit: &Visit) -> Option<(User, Option<[u8; 32]>)> {
        let key = visit.fingerprint();
        let mut open = lock(&self.open);
        let session = open.get(&key)?;
        if session.begun.elapsed() >= LIFETIME {
            open.remove(&key);
            return None;
        }
        Some((session.user.clone(), session.password))
    }

    /// Begins a login at a provider for the browser of a value; it goes on to `next` afterwards.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn leave(&self, visit: &Visit, provider: &str, next: &str) -> Result<Begun, NoRandomness> {
        let begun = self.logins.begin(visit.fingerprint(), provider, next);
        begun.ok_or(NoRandomness)
    }

    /// The login that a browser comes back from, which is over then.
    pub fn arrive(&self, visit: &Visit, state: &str) -> Option<Begun> {
        self.logins.end(visit.fingerprint(), state)
    }

    /// Logs out whoever has a value.
    pub fn end(&self, visit: &Visit) {
        lock(&self.open).remove(&visit.fingerprint());
    }

    /// What forms for the browser of a value send along.
    pub fn token(&self, visit: &Visit) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, visit.0.as_bytes()))
    }

    /// Whether a form was made for the browser of a value.
    pub fn is_token(&self, visit: &Visit, token: &str) -> bool {
        // In the same time, however much of it is right.
        let signed = URL_SAFE_NO_PAD.decode(token).unwrap_or_default();
        hmac::verify(&self.key, visit.0.as_bytes(), &signed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_its_own_value_s_until_it_ends() {
        let sessions = Sessions::new().unwrap();
        let planted = sessions.visit().unwrap();
        let visit = sessions.begin("alice".into(), Some([1; 32])).unwrap();
        assert_ne!(planted, visit);
        assert_eq!(sessions.user(&planted), None);
        let (user, password) = sessions.user(&visit).unwrap();
        assert_eq!((&*user, password), ("alice", Some([1; 32])));
        sessions.end(&visit);
        assert_eq!(sessions.user(&visit), None);
    }

    #[test]
    fn who_comes_back_is_who_left() {
        let sessions = Sessions::new().unwrap();
        let (one, other) = (sessions.visit().unwrap(), sessions.visit().unwrap());
        let begun = sessions.leave(&one, "idp", "/ui/storage").unwrap();
        assert!(sessions.arrive(&other, &begun.state).is_none());
        let back = sessions.arrive(&one, &begun.state).unwrap();
        assert_eq!((&*back.provider, &*back.next), ("idp", "/ui/storage"));
        assert!(sessions.arrive(&one, &begun.state).is_none());
    }

    #[test]
    fn tokens_are_for_one_browser_of_one_process() {
        let sessions = Sessions::new().unwrap();
        let (one, other) = (sessions.visit().unwrap(), sessions.visit().unwrap());
        let token = sessions.token(&one);
        assert!(sessions.is_token(&one, &token));
        assert!(!sessions.is_token(&other, &token));
        assert!(!sessions.is_token(&one, ""));
        assert!(!Sessions::new().unwrap().is_token(&one, &token));
        assert_eq!(Visit::parse(one.as_str()), Some(one));
        for bad in ["", "short", "%%%"] {
            assert_eq!(Visit::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn there_is_a_limit_to_how_many_are_logged_in() {
        let sessions = Sessions::new().unwrap();
        for _ in 0..MOST + 5 {
            sessions.begin("alice".into(), None).unwrap();
        }
        assert_eq!(lock(&sessions.open).len(), MOST);
    }
}
