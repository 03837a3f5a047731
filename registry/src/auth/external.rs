//! Tokens of a token server elsewhere (Docker token authentication, jwt.md), verified with its
//! public keys.
//!
//! What a token's header says about keys is only ever compared with what is known: `jwk`, `x5c`
//! and `jku` are not read. Keys come from a file, or from where the token server publishes them;
//! they are fetched again when a token names one that is not known, but not often.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::jwks::{JwksError, KeySet};
use super::token::{Grant, MAX_TOKEN};
use crate::config::{Issuer, Jwks};
use crate::outgoing::{self, OutgoingError, reason};

/// How far the token server's clock may be from ours, in seconds.
const LEEWAY: f64 = 30.0;
/// Longest name of a user.
const MAX_SUBJECT: usize = 255;
/// Largest set of keys that is read.
const MAX_JWKS: usize = 1 << 20;
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
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The token server does not give them.
    #[error("{url}: {reason}")]
    Fetch {
        /// Where.
        url: String,
        /// Why.
        reason: String,
    },
    /// What came is no set of keys.
    #[error("{from}: {source}")]
    Jwks {
        /// The file or URL.
        from: String,
        /// Why.
        source: JwksError,
    },
    /// TLS cannot be set up.
    #[error(transparent)]
    Outgoing(#[from] OutgoingError),
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
    crit: Option<serde_json::Value>,
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
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        (Arc::clone(&keys.set), keys.since)
    }

    /// What a token says, if it is good at `now`.
    pub async fn verify(self: &Arc<Self>, token: &str, now: i64) -> Option<Verified> {
        let (keys, since) = self.keys();
        if since.is_some_and(|since| since.elapsed() > OLD) {
            let this = Arc::clone(self);
            tokio::spawn(async move { this.refresh_seldom(None).await });
        }
        let mut verified = self.check(token, &keys, now);
        if verified == Err(Refused::UnknownKey) {
            self.refresh_seldom(Some(&keys)).await;
            verified = self.check(token, &self.keys().0, now);
        }
        match verified {
            Ok(verified) => Some(verified),
            Err(why) => {
                tracing::debug!(%why, "a token is refused");
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
            Source::File(path) => read(path)?,
            Source::Url(url, client) => {
                let json = fetch(url, client)
                    .await
                    .map_err(|reason| KeysError::Fetch {
                        url: url.clone(),
                        reason,
                    })?;
                parse(&json, url)?
            }
        };
        let count = set.len();
        // A file changes when somebody changes it, and says so.
        let since = matches!(self.source, Source::Url(..)).then(Instant::now);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Keys {
            set: Arc::new(set),
            since,
        };
        tracing::debug!(count, "keys for tokens read");
        Ok(count)
    }

    fn check(&self, token: &str, keys: &KeySet, now: i64) -> Result<Verified, Refused> {
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
        let claims: Claims = serde_json::from_slice(&decode(claims)?).map_err(|_| Refused::Form)?;
        self.accept(claims, now)
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
    let json = std::fs::read(path).map_err(|source| KeysError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(&json, &path.display().to_string())
}

fn parse(json: &[u8], from: &str) -> Result<KeySet, KeysError> {
    KeySet::parse(json).map_err(|source| KeysError::Jwks {
        from: from.to_owned(),
        source,
    })
}

/// What is at a URL, of a size that a set of keys can have.
async fn fetch(url: &str, client: &reqwest::Client) -> Result<Vec<u8>, String> {
    let mut answer = client.get(url).send().await.map_err(|e| reason(&e))?;
    if answer.status() != reqwest::StatusCode::OK {
        return Err(format!("it answered {}", answer.status()));
    }
    let mut json = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|e| reason(&e))? {
        if json.len() + chunk.len() > MAX_JWKS {
            return Err("it is too large for a set of keys".to_owned());
        }
        json.extend_from_slice(&chunk);
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
    use serde_json::{Value, json};

    const NOW: i64 = 1_800_000_000;

    /// A token server with a key of each kind, and a registry that trusts it.
    struct Server {
        ed: Ed25519KeyPair,
        ec: EcdsaKeyPair,
        verifier: Verifier,
    }

    fn ed() -> Ed25519KeyPair {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap()
    }

    fn ec() -> EcdsaKeyPair {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap()
    }

    fn base64(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn ed_jwk(key: &Ed25519KeyPair) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": base64(key.public_key())})
    }

    impl Server {
        fn new() -> Self {
            let (ed, ec) = (ed(), ec());
            let point = ec.public_key().as_ref();
            let ec_jwk = json!({"kty": "EC", "crv": "P-256", "kid": "ec",
                "x": base64(&point[1..33]), "y": base64(&point[33..])});
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("jwks.json");
            let set = json!({ "keys": [ed_jwk(&ed), ec_jwk] });
            std::fs::write(&file, set.to_string()).unwrap();
            let issuer = Issuer {
                name: "https://auth.example".into(),
                jwks: Jwks::File(file),
                ca: None,
            };
            let verifier = Verifier::new(&issuer, "registry.example").unwrap();
            Self { ed, ec, verifier }
        }

        fn check(&self, token: &str) -> Result<Verified, Refused> {
            self.verifier.check(token, &self.verifier.keys().0, NOW)
        }

        /// The verdict on claims signed with the server's own key.
        fn says(&self, claims: &Value) -> Result<Verified, Refused> {
            let header = json!({"typ": "JWT", "alg": "EdDSA", "kid": "ed"});
            self.check(&sign_ed(&self.ed, &header, claims))
        }
    }

    fn claims() -> Value {
        json!({
            "iss": "https://auth.example",
            "sub": "alice",
            "aud": "registry.example",
            "exp": NOW + 300,
            "nbf": NOW,
            "iat": NOW,
            "jti": "1",
            "access": [{"type": "repository", "name": "team/app", "actions": ["pull"]}],
        })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut claims = claims();
        claims[name] = value;
        claims
    }

    fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
        let signed = format!(
            "{}.{}",
            base64(header.to_string()),
            base64(claims.to_string())
        );
        let signature = sign(signed.as_bytes());
        format!("{signed}.{}", base64(signature))
    }

    fn sign_ed(key: &Ed25519KeyPair, header: &Value, claims: &Value) -> String {
        token(header, claims, |bytes| key.sign(bytes).as_ref().to_vec())
    }

    #[test]
    fn good_tokens_are_taken() {
        let server = Server::new();
        let verified = server.says(&claims()).unwrap();
        assert_eq!(verified.user, "alice");
        assert_eq!(verified.access[0].name, "team/app");
        let header = json!({"alg": "ES256", "kid": "ec"});
        let es256 = token(&header, &claims(), |bytes| {
            let signature = server.ec.sign(&SystemRandom::new(), bytes).unwrap();
            signature.as_ref().to_vec()
        });
        assert!(server.check(&es256).is_ok());
        // Of several services one is ours; who did not log in has no name; nothing may be granted.
        let several = with("aud", json!(["other.example", "registry.example"]));
        assert!(server.says(&several).is_ok());
        for nobody in [json!(""), Value::Null] {
            assert_eq!(server.says(&with("sub", nobody)).unwrap().user, "");
        }
        let nothing = server.says(&with("access", Value::Null)).unwrap();
        assert_eq!(nothing.access, []);
    }

    #[test]
    fn a_token_without_signature_is_refused() {
        let server = Server::new();
        for alg in ["none", "None", "nOnE", ""] {
            let header = json!({"typ": "JWT", "alg": alg, "kid": "ed"});
            let unsigned = token(&header, &claims(), |_| Vec::new());
            assert_eq!(server.check(&unsigned), Err(Refused::Signature), "{alg:?}");
        }
    }

    #[test]
    fn a_key_brought_along_under_a_known_name_is_refused() {
        let (server, own) = (Server::new(), ed());
        for name in ["jwk", "x5c", "jku"] {
            let mut header = json!({"typ": "JWT", "alg": "EdDSA", "kid": "ed"});
            header[name] = match name {
                "jwk" => ed_jwk(&own),
                "x5c" => json!([base64(own.public_key())]),
                _ => json!("https://evil.example/jwks"),
            };
            let forged = sign_ed(&own, &header, &claims());
            assert_eq!(server.check(&forged), Err(Refused::Signature), "{name}");
        }
    }

    #[test]
    fn a_public_key_is_no_secret() {
        let server = Server::new();
        let ec_point = server.ec.public_key().as_ref();
        for (kid, secret) in [
            ("ed", server.ed.public_key().as_ref()),
            ("ec", ec_point),
            ("ed", ed_jwk(&server.ed).to_string().as_bytes()),
        ] {
            let header = json!({"typ": "JWT", "alg": "HS256", "kid": kid});
            let forged = token(&header, &claims(), |bytes| {
                let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
                ring::hmac::sign(&key, bytes).as_ref().to_vec()
            });
            assert_eq!(server.check(&forged), Err(Refused::Signature));
        }
    }

    #[test]
    fn a_key_is_for_one_algorithm() {
        let server = Server::new();
        for alg in ["ES256", "RS256", "eddsa", "Ed25519"] {
            let header = json!({"typ": "JWT", "alg": alg, "kid": "ed"});
            let confused = sign_ed(&server.ed, &header, &claims());
            assert_eq!(server.check(&confused), Err(Refused::Signature), "{alg}");
        }
    }

    #[test]
    fn a_token_for_another_service_is_refused() {
        let server = Server::new();
        for aud in [
            json!("other.example"),
            json!([]),
            json!(["other.example"]),
            json!(""),
        ] {
            let verdict = server.says(&with("aud", aud));
            assert_eq!(verdict, Err(Refused::Audience));
        }
        assert_eq!(server.says(&with("aud", Value::Null)), Err(Refused::Form));
    }

    #[test]
    fn a_token_of_another_issuer_is_refused() {
        let server = Server::new();
        let verdict = server.says(&with("iss", json!("https://auth.example/")));
        assert_eq!(verdict, Err(Refused::Issuer));
    }

    #[test]
    fn an_expired_token_is_refused() {
        let server = Server::new();
        // A little, for clocks that differ.
        assert!(server.says(&with("exp", json!(NOW - 10))).is_ok());
        for exp in [json!(NOW - 30), json!(0), json!(-1e300), Value::Null] {
            assert_eq!(server.says(&with("exp", exp)), Err(Refused::Expired));
        }
    }

    #[test]
    fn a_token_that_is_not_yet_valid_is_refused() {
        let server = Server::new();
        assert!(server.says(&with("nbf", json!(NOW + 10))).is_ok());
        assert!(server.says(&with("nbf", json!(NOW as f64 + 0.5))).is_ok());
        let verdict = server.says(&with("nbf", json!(NOW + 31)));
        assert_eq!(verdict, Err(Refused::Early));
    }

    #[test]
    fn a_token_of_an_unknown_key_is_refused() {
        let server = Server::new();
        let header = json!({"typ": "JWT", "alg": "EdDSA", "kid": "other"});
        let unknown = sign_ed(&server.ed, &header, &claims());
        assert_eq!(server.check(&unknown), Err(Refused::UnknownKey));
        let header = json!({"typ": "JWT", "alg": "EdDSA"});
        let unnamed = sign_ed(&server.ed, &header, &claims());
        assert_eq!(server.check(&unnamed), Err(Refused::NoKey));
    }

    #[test]
    fn what_a_header_demands_and_is_not_known_is_refused() {
        let server = Server::new();
        for crit in [json!(["b64"]), json!([]), json!("exp")] {
            let header = json!({"alg": "EdDSA", "kid": "ed", "crit": crit, "b64": false});
            let critical = sign_ed(&server.ed, &header, &claims());
            assert_eq!(server.check(&critical), Err(Refused::Critical));
        }
    }

    #[test]
    fn names_that_could_harm_are_refused() {
        let server = Server::new();
        for sub in ["a\nb".to_owned(), "x".repeat(256)] {
            let verdict = server.says(&with("sub", json!(sub)));
            assert_eq!(verdict, Err(Refused::Subject));
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let server = Server::new();
        let header = json!({"typ": "JWT", "alg": "EdDSA", "kid": "ed"});
        let good = sign_ed(&server.ed, &header, &claims());
        let parts: Vec<&str> = good.split('.').collect();
        for junk in [
            String::new(),
            "..".into(),
            "a.b.c".into(),
            format!("{good}="),
            format!("{}.{}.{}.{}", parts[0], parts[1], parts[1], parts[2]),
            format!("{}.{}", parts[0], parts[1]),
            "x".repeat(100_000),
        ] {
            assert!(server.check(&junk).is_err(), "{junk}");
        }
        let swapped = format!(
            "{}.{}.{}",
            parts[0],
            base64(with("sub", json!("root")).to_string()),
            parts[2]
        );
        assert_eq!(server.check(&swapped), Err(Refused::Signature));
    }

    #[tokio::test]
    async fn keys_are_read_again_for_unknown_ones_but_not_often() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("jwks.json");
        let write = |key: &Ed25519KeyPair, kid: &str| {
            let mut jwk = ed_jwk(key);
            jwk["kid"] = json!(kid);
            std::fs::write(&file, json!({ "keys": [jwk] }).to_string()).unwrap();
        };
        let key = ed();
        write(&key, "first");
        let issuer = Issuer {
            name: "https://auth.example".into(),
            jwks: Jwks::File(file.clone()),
            ca: None,
        };
        let verifier = Arc::new(Verifier::new(&issuer, "registry.example").unwrap());
        let good = async |kid: &str| {
            let header = json!({"alg": "EdDSA", "kid": kid});
            let token = sign_ed(&key, &header, &claims());
            verifier.verify(&token, NOW).await.is_some()
        };
        assert!(good("first").await && !good("second").await);
        write(&key, "second");
        // Asked for in vain a moment ago.
        assert!(!good("second").await && good("first").await);
        *verifier.asked.lock().await = Instant::now().checked_sub(AT_MOST_EVERY);
        assert!(good("second").await && !good("first").await);
        // What cannot be read leaves the keys as they are.
        std::fs::write(&file, "{").unwrap();
        assert!(verifier.refresh().await.is_err());
        assert!(good("second").await);
    }
}
