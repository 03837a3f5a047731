//! Logins at providers that browsers are on their way with.
//!
//! Each is known by a random value (`state`) for some minutes, once, and to the browser that began
//! it alone: nobody is logged in by a link that somebody else made.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest as _, Sha256};

use crate::sync::lock;

/// How long a login may take.
const LIFETIME: Duration = Duration::from_secs(10 * 60);
/// How many are on their way at once; more end who began first.
const MOST: usize = 10_000;

/// A login that was begun.
#[derive(Clone, Debug)]
pub struct Begun {
    /// The provider, by the name of its `[[oidc]]`.
    pub provider: String,
    /// What comes back with the browser.
    pub state: String,
    /// What comes back within the ID token.
    pub nonce: String,
    /// What the code is exchanged with (PKCE).
    pub verifier: String,
    /// Where the browser goes on to.
    pub next: String,
}

impl Begun {
    /// What the provider is told of the verifier (RFC 7636, section 4.2).
    pub fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(&self.verifier))
    }
}

/// Those on their way.
#[derive(Debug, Default)]
pub struct Logins(Mutex<HashMap<String, Waiting>>);

#[derive(Debug)]
struct Waiting {
    begun: Begun,
    browser: [u8; 32],
    since: Instant,
}

impl Logins {
    /// Begins one for a browser; `None` when the system gives no random numbers.
    pub fn begin(&self, browser: [u8; 32], provider: &str, next: &str) -> Option<Begun> {
        let random = SystemRandom::new();
        let value = || {
            let mut bytes = [0; 32];
            random.fill(&mut bytes).ok()?;
            Some(URL_SAFE_NO_PAD.encode(bytes))
        };
        let begun = Begun {
            provider: provider.to_owned(),
            state: value()?,
            nonce: value()?,
            verifier: value()?,
            next: next.to_owned(),
        };
        let mut waiting = lock(&self.0);
        if waiting.len() >= MOST {
            waiting.retain(|_, login| login.since.elapsed() < LIFETIME);
        }
        if waiting.len() >= MOST {
            let first = waiting.iter().min_by_key(|(_, login)| login.since);
            if let Some(state) = first.map(|(state, _)| state.clone()) {
                waiting.remove(&state);
            }
        }
        let login = Waiting {
            begun: begun.clone(),
            browser,
            since: Instant::now(),
        };
        waiting.insert(begun.state.clone(), login);
        Some(begun)
    }

    /// The login that a browser comes back from. It is over then.
    pub fn end(&self, browser: [u8; 32], state: &str) -> Option<Begun> {
        let mut waiting = lock(&self.0);
        // Another browser ends nothing.
        waiting.get(state).filter(|l| l.browser == browser)?;
        let login = waiting.remove(state)?;
        (login.since.elapsed() < LIFETIME).then_some(login.begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_one_browser_s_and_ends_once() {
        let logins = Logins::default();
        let begun = logins.begin([1; 32], "idp", "/ui/").unwrap();
        let other = logins.begin([1; 32], "idp", "/ui/").unwrap();
        let values = [&begun.state, &begun.nonce, &begun.verifier, &other.state];
        for (at, value) in values.iter().enumerate() {
            assert_eq!(value.len(), 43);
            assert!(!values[..at].contains(value));
        }
        assert!(logins.end([2; 32], &begun.state).is_none());
        assert!(logins.end([1; 32], "").is_none());
        let ended = logins.end([1; 32], &begun.state).unwrap();
        assert_eq!((ended.nonce, ended.next), (begun.nonce, begun.next));
        assert!(logins.end([1; 32], &begun.state).is_none());
        for _ in 0..MOST + 5 {
            logins.begin([3; 32], "idp", "").unwrap();
        }
        assert_eq!(lock(&logins.0).len(), MOST);
        assert!(logins.end([1; 32], &other.state).is_none());
    }

    #[test]
    fn the_challenge_is_that_of_the_rfc() {
        let begun = Begun {
            provider: String::new(),
            state: String::new(),
            nonce: String::new(),
            verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into(),
            next: String::new(),
        };
        let wanted = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert_eq!(begun.challenge(), wanted);
    }
}
