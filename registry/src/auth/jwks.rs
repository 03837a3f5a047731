//! A token server's public keys (RFC 7517), and what they have signed. Pure.
//!
//! A key says by its type which one algorithm it is for, and no token can say otherwise: there is
//! no way to have a public key taken for a secret, or no signature for one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// Bytes of the smallest RSA modulus that is trusted.
const MIN_RSA: usize = 256;
/// Keys that are looked at, of one set.
const MAX_KEYS: usize = 1000;

/// Why a set of keys cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// It is no JWKS.
    #[error("no set of keys (JWKS): {0}")]
    Json(String),
    /// There is nothing in it that could verify a token.
    #[error(
        "no key in it can verify tokens: OKP with Ed25519, EC with P-256, and RSA of 2048 bits or \
         more can"
    )]
    Empty,
}

/// Keys that may have signed a token.
#[derive(Debug, Default)]
pub struct KeySet(Vec<Key>);

#[derive(Debug)]
struct Key {
    kid: String,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Ed25519(Vec<u8>),
    P256(Vec<u8>),
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl Material {
    /// The one algorithm that a key of this type is for.
    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "EdDSA",
            Self::P256(_) => "ES256",
            Self::Rsa { .. } => "RS256",
        }
    }

    fn verify(&self, signed: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(signed, signature),
            Self::P256(key) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(signed, signature)
            }
            Self::Rsa { n, e } => RsaPublicKeyComponents { n, e }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                signed,
                signature,
            ),
        };
        verified.is_ok()
    }
}

impl KeySet {
    /// Reads a JWKS. Keys of other types, for other uses and too small ones are left out.
    ///
    /// # Errors
    /// [`JwksError`].
    pub fn parse(json: &[u8]) -> Result<Self, JwksError> {
        let document: Document =
            serde_json::from_slice(json).map_err(|e| JwksError::Json(e.to_string()))?;
        let keys: Vec<Key> = document
            .keys
            .into_iter()
            .take(MAX_KEYS)
            .filter_map(|key| serde_json::from_value(key).ok())
            .filter_map(key)
            .collect();
        if keys.is_empty() {
            return Err(JwksError::Empty);
        }
        Ok(Self(keys))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is a key of this name.
    pub fn knows(&self, kid: &str) -> bool {
        self.0.iter().any(|key| key.kid == kid)
    }

    /// Whether the key of this name has signed something, by the algorithm that it is for.
    pub fn verify(&self, kid: &str, algorithm: &str, signed: &[u8], signature: &[u8]) -> bool {
        self.0
            .iter()
            .filter(|key| key.kid == kid && key.material.algorithm() == algorithm)
            .any(|key| key.material.verify(signed, signature))
    }
}

fn decode(text: Option<&str>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text?).ok()
}

/// A key as we use it; none, when we do not.
fn key(jwk: Jwk) -> Option<Key> {
    let other_use = jwk.usage.as_deref().is_some_and(|usage| usage != "sig");
    let other_ops = jwk
        .key_ops
        .as_ref()
        .is_some_and(|ops| !ops.iter().any(|op| op == "verify"));
    if other_use || other_ops {
        return None;
    }
    let material = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("OKP", Some("Ed25519")) => Material::Ed25519(decode(jwk.x.as_deref())?),
        ("EC", Some("P-256")) => {
            let (x, y) = (decode(jwk.x.as_deref())?, decode(jwk.y.as_deref())?);
            if (x.len(), y.len()) != (32, 32) {
                return None;
            }
            // An uncompressed point (SEC 1, section 2.3.3).
            Material::P256([&[4], &x[..], &y[..]].concat())
        }
        ("RSA", _) => {
            let (n, e) = (decode(jwk.n.as_deref())?, decode(jwk.e.as_deref())?);
            // Leading zeros make no key longer, and ring takes none.
            let first = n.iter().position(|byte| *byte != 0)?;
            let n = n[first..].to_vec();
            if n.len() < MIN_RSA {
                tracing::warn!(kid = jwk.kid, "an RSA key for tokens is too small");
                return None;
            }
            Material::Rsa { n, e }
        }
        _ => return None,
    };
    if jwk
        .alg
        .as_deref()
        .is_some_and(|a| a != material.algorithm())
    {
        return None;
    }
    let kid = match jwk.kid.clone() {
        Some(kid) => kid,
        None => thumbprint(&jwk),
    };
    Some(Key { kid, material })
}

/// The name of a key without one (RFC 7638).
fn thumbprint(jwk: &Jwk) -> String {
    // In the order of their names, as the RFC wants it.
    let members = match jwk.kty.as_str() {
        "RSA" => json!({"e": jwk.e, "kty": jwk.kty, "n": jwk.n}),
        "EC" => json!({"crv": jwk.crv, "kty": jwk.kty, "x": jwk.x, "y": jwk.y}),
        _ => json!({"crv": jwk.crv, "kty": jwk.kty, "x": jwk.x}),
    };
    URL_SAFE_NO_PAD.encode(Sha256::digest(members.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn parse(key: Value) -> Result<KeySet, JwksError> {
        KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes())
    }

    fn bytes(len: usize) -> String {
        URL_SAFE_NO_PAD.encode(vec![0xc5; len])
    }

    #[test]
    fn keys_are_read_and_others_left_out() {
        let okp = json!({"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": bytes(32)});
        assert!(parse(okp.clone()).unwrap().knows("a"));
        let with = |name: &str, value: Value| {
            let mut key = okp.clone();
            key[name] = value;
            key
        };
        assert!(parse(with("use", json!("sig"))).is_ok());
        assert!(parse(with("key_ops", json!(["verify"]))).is_ok());
        assert!(parse(with("alg", json!("EdDSA"))).is_ok());
        for other in [
            with("use", json!("enc")),
            with("key_ops", json!(["encrypt"])),
            with("alg", json!("HS256")),
            with("crv", json!("X25519")),
            with("kty", json!("oct")),
            with("x", json!("!")),
            json!({"kty": "oct", "kid": "a", "k": bytes(32)}),
            json!({"kty": "EC", "crv": "P-256", "kid": "a", "x": bytes(31), "y": bytes(32)}),
            json!({"kty": "EC", "crv": "P-384", "kid": "a", "x": bytes(48), "y": bytes(48)}),
            json!("no key at all"),
        ] {
            assert_eq!(
                parse(other.clone()).unwrap_err(),
                JwksError::Empty,
                "{other}"
            );
        }
        assert!(matches!(KeySet::parse(b"[]"), Err(JwksError::Json(_))));
    }

    #[test]
    fn rsa_keys_that_are_too_small_are_left_out() {
        let rsa = |n: String| json!({"kty": "RSA", "kid": "a", "n": n, "e": "AQAB"});
        assert!(parse(rsa(bytes(256))).is_ok());
        assert_eq!(parse(rsa(bytes(128))).unwrap_err(), JwksError::Empty);
        let padded = [vec![0; 128], vec![0xc5; 128]].concat();
        let padded = rsa(URL_SAFE_NO_PAD.encode(padded));
        assert_eq!(parse(padded).unwrap_err(), JwksError::Empty);
    }

    #[test]
    fn keys_without_names_are_named_by_their_thumbprints() {
        // The example of RFC 8037, appendix A.3.
        let key = json!({"crv": "Ed25519", "kty": "OKP",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        assert!(
            parse(key)
                .unwrap()
                .knows("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
        );
    }
}
