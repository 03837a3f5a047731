//! Tokens of a token server elsewhere (Docker token authentication, jwt.md), verified with its
//! public keys.
//!
//! What a token's header says about keys is only ever compared with what is known: `jwk`, `x5c`
//! and `jku` are not read. Keys come from a file, or from where the token server publishes them;
//! they are fetched again when a token names one that is not known, but not often.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::task::JoinError;

use super::discovery::{Discovery, FetchError, fetch};
use super::jwks::{JwksError, KeySet};
use super::settings::{Issuer, Jwks};
use super::token::{Grant, MAX_TOKEN};
use crate::outgoing::{self, OutgoingError};
use crate::sync;

/// How far the token server's clock may be from ours, in seconds.
const LEEWAY: f64 = 30.0;
/// Longest name of a user.
const MAX_SUBJECT: usize = 255;
/// How long fetching keys may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Keys are not fetched more often than this, whatever tokens come.
const AT_MOST_EVERY: Duration = Duration::from_secs(10);
/// Keys that are older are fetched again, so that those that were taken back go.
const OLD: Duration = Duration::from_secs(15 * 60);

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be read.
    #[error("{path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The token server does not give them.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What came is no set of keys.
    #[error("{from}: {cause}")]
    Jwks {
        /// The file or URL.
        from: String,
        /// Why.
        cause: JwksError,
    },
    /// TLS cannot be set up.
    #[error(transparent)]
    Outgoing(#[from] OutgoingError),
    /// Reading the file panicked, or was cancelled by shutdown.
    #[error("reading the keys ended unexpectedly: {0}")]
    Task(JoinError),
}

impl From<JoinError> for KeysError {
    fn from(e: JoinError) -> Self {
        Self::Task(e)
    }
}

/// What a token says, as far as it concerns us.
#[derive(Debug, PartialEq, Eq)]
pub struct Verified {
    /// Whom it speaks for; empty for nobody.
    pub user: String,
    /// What it lets do.
    pub access: Vec<Grant>,
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refused {
    #[error("it is no token")]
    Form,
    #[error("its header demands what is not known here (crit)")]
    Critical,
    #[error("its header names no key")]
    NoKey,
    #[error("its key is not known")]
    UnknownKey,
    #[error("its signature is not of that key, by that key's algorithm")]
    Signature,
    #[error("it is of another issuer")]
    Issuer,
    #[error("it is for another service")]
    Audience,
    #[error("it has expired, or does not say when")]
    Expired,
    #[error("it is not valid yet")]
    Early,
    #[error("the user's name is too long, or has control characters")]
    Subject,
}

#[derive(Deserialize)]
struct Header {
    typ: Option<String>,
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    #[serde(default)]
    sub: Option<String>,
    aud: Audience,
    exp: Option<f64>,
    nbf: Option<f64>,
    #[serde(default)]
    access: Option<Vec<Grant>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Knows the tokens of one token server.
#[derive(Debug)]
pub struct Verifier {
    issuer: String,
    service: String,
    source: Source,
    keys: RwLock<Keys>,
    /// When keys were last asked for; held while they are.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Debug)]
enum Source {
    File(PathBuf),
    Url(String, reqwest::Client),
    /// Where the issuer says (OpenID Connect Discovery 1.0).
    Discovered(reqwest::Client),
}

#[derive(Debug, Default)]
struct Keys {
    set: Arc<KeySet>,
    since: Option<Instant>,
}

impl Verifier {
    /// For the tokens of `issuer` that are for `service`. A file of keys is read at once; keys
    /// that are elsewhere are fetched by [`Verifier::refresh`], or when the first token comes.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn new(issuer: &Issuer, service: &str) -> Result<Self, KeysError> {
        let (source, keys) = match &issuer.jwks {
            Jwks::File(path) => (
                Source::File(path.clone()),
                Keys {
                    set: Arc::new(read(path)?),
                    since: None,
                },
            ),
            Jwks::Url(url) => {
                let client = outgoing::client(url, issuer.ca.as_deref(), TIMEOUT)?;
                (Source::Url(url.clone(), client), Keys::default())
            }
            Jwks::Discovered => {
                let client = outgoing::client(&issuer.name, issuer.ca.as_deref(), TIMEOUT)?;
                (Source::Discovered(client), Keys::default())
            }
        };
        Ok(Self {
            issuer: issuer.name.clone(),
            service: service.to_owned(),
            source,
            keys: RwLock::new(keys),
            asked: tokio::sync::Mutex::default(),
        })
    }

    /// The service that tokens are for.
    pub fn service(&self) -> &str {
        &self.service
    }

    fn keys(&self) -> (Arc<KeySet>, Option<Instant>) {
        let keys = sync::read(&self.keys);
        (Arc::clone(&keys.set), keys.since)
    }

    /// Whom a token speaks for and what it lets do, if it is good at `now`.
    pub async fn verify(self: &Arc<Self>, token: &str, now: i64) -> Option<Verified> {
        self.read(token, |keys| self.check(token, keys, now)).await
    }

    /// All that a token says, if it is good at `now`. Keys are only asked for when it says that it
    /// is of this issuer, so that others' tokens cost nothing.
    pub async fn claims(self: &Arc<Self>, token: &str, now: i64) -> Option<Map<String, Value>> {
        if self.issuer_of(token).as_deref() != Some(&self.issuer) {
            return None;
        }
        let read = |keys: &KeySet| {
            let claims = self.signed(token, keys)?;
            let said = serde_json::from_value(Value::Object(claims.clone()));
            self.accept(said.map_err(|_| Refused::Form)?, now)?;
            Ok(claims)
        };
        self.read(token, read).await
    }

    /// Who signed a token, as it says itself.
    fn issuer_of(&self, token: &str) -> Option<String> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        let claims: Value = serde_json::from_slice(&claims).ok()?;
        Some(claims["iss"].as_str()?.to_owned())
    }

    /// What `check` makes of a token with the keys there are, or with fresh ones.
    async fn read<T>(
        self: &Arc<Self>,
        token: &str,
        check: impl Fn(&KeySet) -> Result<T, Refused>,
    ) -> Option<T> {
        let (keys, since) = self.keys();
        if since.is_some_and(|since| since.elapsed() > OLD) {
            let this = Arc::clone(self);
            tokio::spawn(async move { this.refresh_seldom(None).await });
        }
        let mut verified = check(&keys);
        if matches!(verified, Err(Refused::UnknownKey)) {
            self.refresh_seldom(Some(&keys)).await;
            verified = check(&self.keys().0);
        }
        match verified {
            Ok(verified) => Some(verified),
            Err(why) => {
                tracing::debug!(%why, issuer = self.issuer, bytes = token.len(), "a token is refused");
                None
            }
        }
    }

    /// Gets the keys again, now.
    ///
    /// # Errors
    /// [`KeysError`]; the keys stay as they were.
    pub async fn refresh(&self) -> Result<usize, KeysError> {
        let mut asked = self.asked.lock().await;
        *asked = Some(Instant::now());
        self.load().await
    }

    /// The same, unless that was done lately, or somebody else did it while this one waited: then
    /// the keys are not `before` any more.
    async fn refresh_seldom(&self, before: Option<&Arc<KeySet>>) {
        let mut asked = self.asked.lock().await;
        let done = before.is_some_and(|before| !Arc::ptr_eq(before, &self.keys().0));
        if done || asked.is_some_and(|at| at.elapsed() < AT_MOST_EVERY) {
            return;
        }
        *asked = Some(Instant::now());
        if let Err(e) = self.load().await {
            tracing::error!(error = %e, "the keys for tokens stay as they were");
        }
    }

    async fn load(&self) -> Result<usize, KeysError> {
        let set = match &self.source {
            Source::File(path) => {
                let file = path.clone();
                sync::blocking(move || read(&file)).await?
            }
            Source::Url(url, client) => parse(&fetch(url, client).await?, url)?,
            Source::Discovered(client) => {
                let url = Discovery::of(&self.issuer, client).await?.keys()?;
                parse(&fetch(url.as_str(), client).await?, url.as_str())?
            }
        };
        let count = set.len();
        // A file changes when somebody changes it, and says so.
        let since = (!matches!(self.source, Source::File(_))).then(Instant::now);
        *sync::write(&self.keys) = Keys {
            set: Arc::new(set),
            since,
        };
        tracing::debug!(count, "keys for tokens read");
        Ok(count)
    }

    fn check(&self, token: &str, keys: &KeySet, now: i64) -> Result<Verified, Refused> {
        let claims = Value::Object(self.signed(token, keys)?);
        self.accept(
            serde_json::from_value(claims).map_err(|_| Refused::Form)?,
            now,
        )
    }

    /// The claims of a token that one of these keys signed.
    fn signed(&self, token: &str, keys: &KeySet) -> Result<Map<String, Value>, Refused> {
        if token.len() > MAX_TOKEN {
            return Err(Refused::Form);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Refused::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(Refused::Form)?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| Refused::Form);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| Refused::Form)?;
        if header.crit.is_some() {
            return Err(Refused::Critical);
        }
        let typ = header.typ.as_deref().unwrap_or("JWT");
        if !typ.eq_ignore_ascii_case("JWT") {
            return Err(Refused::Form);
        }
        let kid = header.kid.ok_or(Refused::NoKey)?;
        if !keys.knows(&kid) {
            return Err(Refused::UnknownKey);
        }
        // Nothing of what it says is looked at before this.
        if !keys.verify(&kid, &header.alg, signed.as_bytes(), &decode(signature)?) {
            return Err(Refused::Signature);
        }
        serde_json::from_slice(&decode(claims)?).map_err(|_| Refused::Form)
    }

    /// What a token says that its issuer did sign.
    fn accept(&self, claims: Claims, now: i64) -> Result<Verified, Refused> {
        // Exact for any time that is meant.
        let now = now as f64;
        if claims.iss != self.issuer {
            return Err(Refused::Issuer);
        }
        let ours = match &claims.aud {
            Audience::One(service) => *service == self.service,
            Audience::Many(services) => services.contains(&self.service),
        };
        if !ours {
            return Err(Refused::Audience);
        }
        if claims.exp.is_none_or(|exp| now >= exp + LEEWAY) {
            return Err(Refused::Expired);
        }
        if claims.nbf.is_some_and(|nbf| now < nbf - LEEWAY) {
            return Err(Refused::Early);
        }
        let user = claims.sub.unwrap_or_default();
        if user.len() > MAX_SUBJECT || user.chars().any(char::is_control) {
            return Err(Refused::Subject);
        }
        Ok(Verified {
            user,
            access: claims.access.unwrap_or_default(),
        })
    }
}

fn read(path: &Path) -> Result<KeySet, KeysError> {
    let json = std::fs::read(path).map_err(|cause| KeysError::Read {
        path: path.to_owned(),
        cause,
    })?;
    parse(&json, &path.display().to_string())
}

fn parse(json: &[u8], from: &str) -> Result<KeySet, KeysError> {
    KeySet::parse(json).map_err(|cause| KeysError::Jwks {
        from: from.to_owned(),
        cause,
    })
}

#[cfg(test)]
mod tests;
