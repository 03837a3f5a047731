//! Tokens of our own (Docker token authentication, jwt.md): signed with Ed25519, valid for
//! minutes, saying who may do what.
//!
//! The verifier takes one algorithm and one key, ours. What a token's header says about keys is
//! never used for anything but being compared.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::private_file;

/// The one algorithm.
const ALGORITHM: &str = "EdDSA";
/// Who signs.
const ISSUER: &str = "rregistry";
/// Longest token that is looked at.
pub(super) const MAX_TOKEN: usize = 64 << 10;

/// What a token lets its bearer do with one thing (Docker's scope.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// `repository` or `registry`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which one.
    pub name: String,
    /// `pull`, `push`, `delete`, or `*`.
    pub actions: Vec<String>,
}

impl Grant {
    /// Whether it lets do something in a repository. A class that the type may have in brackets,
    /// as in `repository(plugin)`, says nothing any more (Docker's scope.md).
    pub fn lets(&self, repository: &str, action: &str) -> bool {
        let kind = self.kind.split('(').next();
        kind == Some("repository")
            && self.name == repository
            && self.actions.iter().any(|a| a == "*" || a == action)
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who signed it.
    pub iss: String,
    /// Whom it speaks for; empty for nobody.
    pub sub: String,
    /// The service it is for.
    pub aud: String,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
    /// When it begins.
    pub nbf: i64,
    /// When it was made.
    pub iat: i64,
    /// Its own name.
    pub jti: String,
    /// What it lets do.
    pub access: Vec<Grant>,
    /// Groups that the user is in, as somebody elsewhere says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// What the user proved it by; empty for a password of the file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
}

/// Whom a token speaks for.
#[derive(Debug, Default)]
pub(super) struct Subject {
    /// The user; empty for nobody.
    pub(super) user: String,
    /// Groups, as somebody elsewhere says.
    pub(super) groups: Vec<String>,
    /// What it was proved by; empty for a password of the file.
    pub(super) by: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    typ: String,
    alg: String,
    kid: String,
}

/// Why tokens cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The key's file cannot be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The file holds no key.
    #[error("{0} holds no Ed25519 key in PKCS #8; remove it to have a new one made")]
    Key(PathBuf),
    /// The system has no randomness.
    #[error("no randomness for a new key")]
    Random,
}

/// Makes tokens and knows them again.
pub struct Signer {
    key: Ed25519KeyPair,
    kid: String,
    service: String,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the key.
        f.debug_struct("Signer").field("kid", &self.kid).finish()
    }
}

impl Signer {
    /// With the key in `path`, made when there is none.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn open(path: &Path, service: &str) -> Result<Self, KeyError> {
        let io = |cause| KeyError::Io {
            path: path.to_owned(),
            cause,
        };
        let pkcs8 = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
                    .map_err(|_| KeyError::Random)?;
                private_file::write(path, made.as_ref()).map_err(io)?;
                made.as_ref().to_vec()
            }
            Err(e) => return Err(io(e)),
        };
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8)
            .map_err(|_| KeyError::Key(path.to_owned()))?;
        let kid = URL_SAFE_NO_PAD.encode(&Sha256::digest(key.public_key().as_ref())[..16]);
        Ok(Self {
            key,
            kid,
            service: service.to_owned(),
        })
    }

    /// The service that tokens are for.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// A token for `user` (empty for nobody), with a password of the file, from `now` on.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which is a bug.
    #[cfg(test)]
    pub(super) fn sign(
        &self,
        user: &str,
        access: Vec<Grant>,
        now: i64,
        seconds: i64,
    ) -> Result<String, serde_json::Error> {
        let subject = Subject {
            user: user.to_owned(),
            ..Subject::default()
        };
        self.sign_for(subject, access, now, seconds)
    }

    /// A token for somebody, from `now` on.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which is a bug.
    pub(super) fn sign_for(
        &self,
        subject: Subject,
        access: Vec<Grant>,
        now: i64,
        seconds: i64,
    ) -> Result<String, serde_json::Error> {
        let Subject { user, groups, by } = subject;
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: user,
            aud: self.service.clone(),
            exp: now + seconds,
            nbf: now,
            iat: now,
            jti: uuid::Uuid::new_v4().to_string(),
            access,
            groups,
            by,
        };
        let header = Header {
            typ: "JWT".to_owned(),
            alg: ALGORITHM.to_owned(),
            kid: self.kid.clone(),
        };
        let encode = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
        let mut token = encode(serde_json::to_vec(&header)?);
        token.push('.');
        token.push_str(&encode(serde_json::to_vec(&claims)?));
        let signature = self.key.sign(token.as_bytes());
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature.as_ref()));
        Ok(token)
    }

    /// A signature of ours.
    pub(super) fn signature(&self, bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(self.key.sign(bytes).as_ref())
    }

    /// Whether a signature is ours, and of these bytes.
    pub(super) fn is_signature(&self, bytes: &[u8], signature: &str) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, self.key.public_key().as_ref());
        URL_SAFE_NO_PAD
            .decode(signature)
            .is_ok_and(|signature| key.verify(bytes, &signature).is_ok())
    }

    /// What a token says, if it is one of ours and valid at `now`.
    pub fn verify(&self, token: &str, now: i64) -> Option<Claims> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        if header.alg != ALGORITHM || header.kid != self.kid {
            return None;
        }
        UnparsedPublicKey::new(&ED25519, self.key.public_key().as_ref())
            .verify(signed.as_bytes(), &decode(signature)?)
            .ok()?;
        let claims: Claims = serde_json::from_slice(&decode(claims)?).ok()?;
        let ours = claims.iss == ISSUER && claims.aud == self.service;
        (ours && claims.nbf <= now && now < claims.exp).then_some(claims)
    }
}

/// Reads a `scope` parameter: `type:name:action,action`, several separated by spaces. The name may
/// hold colons, a port's; what cannot be read is left out.
pub fn scopes(text: &str) -> Vec<Grant> {
    text.split(' ')
        .filter_map(|scope| {
            let (kind, rest) = scope.split_once(':')?;
            let (name, actions) = rest.rsplit_once(':')?;
            Some(Grant {
                kind: kind.to_owned(),
                name: name.to_owned(),
                actions: actions.split(',').map(str::to_owned).collect(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn signer(dir: &Path) -> Signer {
        Signer::open(&dir.join("token.key"), "registry.example").unwrap()
    }

    fn grant() -> Vec<Grant> {
        scopes("repository:team/app:pull,push")
    }

    #[test]
    fn tokens_are_known_again_by_the_same_key() {
        let dir = tempfile::tempdir().unwrap();
        let token = signer(dir.path())
            .sign("alice", grant(), 1000, 300)
            .unwrap();
        // A restart reads the key that was made.
        let claims = signer(dir.path()).verify(&token, 1299).unwrap();
        assert_eq!((claims.sub.as_str(), claims.access), ("alice", grant()));
        let other = tempfile::tempdir().unwrap();
        assert_eq!(signer(other.path()).verify(&token, 1100), None);
    }

    #[test]
    fn tokens_end_and_are_for_one_service() {
        let dir = tempfile::tempdir().unwrap();
        let signer = signer(dir.path());
        let token = signer.sign("alice", grant(), 1000, 300).unwrap();
        assert!(signer.verify(&token, 1000).is_some());
        assert_eq!(signer.verify(&token, 999), None);
        assert_eq!(signer.verify(&token, 1300), None);
        let other = Signer::open(&dir.path().join("token.key"), "other.example").unwrap();
        assert_eq!(other.verify(&token, 1100), None);
    }

    #[test]
    fn forged_tokens_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let signer = signer(dir.path());
        let token = signer.sign("alice", grant(), 1000, 300).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        let mut root = claims.clone();
        root["sub"] = json!("root");

        // Other claims under the same signature.
        let forged = format!("{}.{}.{}", parts[0], encode(&root), parts[2]);
        assert_eq!(signer.verify(&forged, 1100), None);

        // No algorithm, or one that takes the public key as a secret.
        let public = signer.key.public_key().as_ref();
        for alg in ["none", "None", "HS256", "eddsa", ""] {
            let header = encode(&json!({"typ": "JWT", "alg": alg, "kid": signer.kid}));
            let signed = format!("{header}.{}", encode(&root));
            let mac = ring::hmac::sign(
                &ring::hmac::Key::new(ring::hmac::HMAC_SHA256, public),
                signed.as_bytes(),
            );
            for signature in ["".to_owned(), URL_SAFE_NO_PAD.encode(mac.as_ref())] {
                assert_eq!(
                    signer.verify(&format!("{signed}.{signature}"), 1100),
                    None,
                    "{alg}"
                );
            }
        }

        // The attacker's own key, brought along under our key's name.
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let own = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let jwk = json!({"kty": "OKP", "crv": "Ed25519",
            "x": URL_SAFE_NO_PAD.encode(own.public_key().as_ref())});
        for kid in [signer.kid.as_str(), "theirs"] {
            let header = encode(&json!({"typ": "JWT", "alg": "EdDSA", "kid": kid, "jwk": jwk}));
            let signed = format!("{header}.{}", encode(&root));
            let signature = URL_SAFE_NO_PAD.encode(own.sign(signed.as_bytes()).as_ref());
            assert_eq!(signer.verify(&format!("{signed}.{signature}"), 1100), None);
        }

        for junk in [
            "",
            ".",
            "..",
            "a.b.c",
            &token[..token.len() - 1],
            &"x".repeat(100_000),
        ] {
            assert_eq!(signer.verify(junk, 1100), None);
        }
    }

    #[test]
    fn scopes_are_read() {
        let all = scopes("repository:host:5000/app:pull,push registry:catalog:* junk a:b");
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].name, "host:5000/app");
        assert_eq!(all[0].actions, ["pull", "push"]);
        assert_eq!(
            (all[1].kind.as_str(), all[1].name.as_str()),
            ("registry", "catalog")
        );
    }
}
