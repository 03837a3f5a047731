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
