//! A token server elsewhere: who comes with its tokens is let in, as far as they go.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, StatusCode};
use oci::Digest;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use crate::harness::{Answer, App};
use crate::process::serve_with;

const SERVICE: &str = "registry.example";
const ISSUER: &str = "https://auth.example";

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// A token server with one user, alice, whose password is her name.
#[derive(Clone)]
struct Server {
    addr: SocketAddr,
    state: Arc<Keys>,
}

struct Keys {
    /// The key in use, and its name.
    key: Mutex<(String, EcdsaKeyPair)>,
    fetched: AtomicU64,
}

fn new_key() -> EcdsaKeyPair {
    let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap()
}

impl Server {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            addr: listener.local_addr().unwrap(),
            state: Arc::new(Keys {
                key: Mutex::new(("first".into(), new_key())),
                fetched: AtomicU64::new(0),
            }),
        };
        let router = Router::new()
            .route("/token", get(give_token))
            .route("/keys", get(give_keys))
            .with_state(Arc::clone(&server.state));
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    fn rotate(&self, kid: &str) {
        *self.state.key.lock().unwrap() = (kid.to_owned(), new_key());
    }

    fn fetched(&self) -> u64 {
        self.state.fetched.load(Relaxed)
    }

    fn settings(&self) -> String {
        format!(
            "auth.method = \"token\"\nauth.token_issuer = \"{ISSUER}\"\n\
             auth.token_service = \"{SERVICE}\"\nauth.token_url = \"http://{0}/token\"\n\
             auth.jwks = \"http://{0}/keys\"\n",
            self.addr
        )
    }

    /// A token for `scope`, as clients get it: from where the registry says.
    async fn token(&self, challenge: &str, user: Option<&str>) -> String {
        let parameters: HashMap<&str, &str> = challenge
            .strip_prefix("Bearer ")
            .unwrap()
            .split("\",")
            .map(|pair| pair.trim_end_matches('"').split_once("=\"").unwrap())
            .collect();
        assert_eq!(parameters["realm"], format!("http://{}/token", self.addr));
        let mut url = format!("{}?service={}", parameters["realm"], parameters["service"]);
        if let Some(scope) = parameters.get("scope") {
            url.push_str(&format!("&scope={scope}"));
        }
        let mut request = reqwest::Client::builder()
            .tls_certs_only([])
            .build()
            .unwrap()
            .get(url);
        if let Some(user) = user {
            let pair = STANDARD.encode(format!("{user}:{user}"));
            request = request.header("authorization", format!("Basic {pair}"));
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let json: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        json["token"].as_str().unwrap().to_owned()
    }
}

async fn give_keys(State(state): State<Arc<Keys>>) -> Json<Value> {
    state.fetched.fetch_add(1, Relaxed);
    let key = state.key.lock().unwrap();
    let point = key.1.public_key().as_ref();
    Json(
        json!({"keys": [{"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256",
        "kid": key.0, "x": base64(&point[1..33]), "y": base64(&point[33..])}]}),
    )
}

async fn give_token(
    State(state): State<Arc<Keys>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let alice = format!("Basic {}", STANDARD.encode("alice:alice"));
    let user = match headers.get("authorization") {
        None => "",
        Some(given) if given.as_bytes() == alice.as_bytes() => "alice",
        Some(_) => return StatusCode::UNAUTHORIZED.into_response(),
    };
    // Alice may do everything but delete, everybody pull what is public.
    let scope = query.get("scope").map_or("", String::as_str);
    let access: Vec<Value> = registry::auth::token::scopes(scope)
        .into_iter()
        .filter(|grant| user == "alice" || grant.name.starts_with("public/"))
        .map(|mut grant| {
            let allowed = |action: &String| match user {
                "alice" => action != "delete",
                _ => action == "pull",
            };
            grant.actions.retain(allowed);
            json!(grant)
        })
        .collect();
    let key = state.key.lock().unwrap();
    let header = json!({"typ": "JWT", "alg": "ES256", "kid": key.0});
    let token = signed(
        &header,
        &claims(user, &query["service"], &access),
        |bytes| {
            let signature = key.1.sign(&SystemRandom::new(), bytes).unwrap();
            signature.as_ref().to_vec()
        },
    );
    Json(json!({ "token": token, "expires_in": 300 })).into_response()
}

fn claims(user: &str, service: &str, access: &[Value]) -> Value {
    json!({"iss": ISSUER, "sub": user, "aud": [service], "exp": now() + 300, "nbf": now(),
        "iat": now(), "jti": "1", "access": access})
}

fn signed(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let text = format!(
        "{}.{}",
        base64(header.to_string()),
        base64(claims.to_string())
    );
    let signature = sign(text.as_bytes());
    format!("{text}.{}", base64(signature))
}

async fn send(app: &App, method: &str, path: &str, token: Option<&str>) -> Answer {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = bearer
        .iter()
        .map(|bearer| ("authorization", bearer.as_str()))
        .collect();
    app.request(method, path, &headers, "x").await
}

/// As a client does it: asks, is told where to get a token, gets one, asks again.
async fn ask(app: &App, server: &Server, user: Option<&str>, method: &str, path: &str) -> Answer {
    let refused = send(app, method, path, None).await;
    if refused.status != 401 {
        return refused;
    }
    let challenge = refused.header("www-authenticate").to_owned();
    let token = server.token(&challenge, user).await;
    send(app, method, path, Some(&token)).await
}

fn push(name: &str) -> String {
    let digest = Digest::sha256(b"x");
    format!("/v2/{name}/blobs/uploads/?digest={digest}")
}

#[tokio::test]
async fn its_tokens_let_do_what_they_say() {
    let server = Server::start().await;
    let app = App::configured(|_| {}, &server.settings()).await;
    let alice = Some("alice");
    let refused = send(&app, "POST", &push("team/app"), None).await;
    refused.is(401, "UNAUTHORIZED");
    assert_eq!(
        refused.header("www-authenticate"),
        format!(
            "Bearer realm=\"http://{}/token\",service=\"{SERVICE}\",\
             scope=\"repository:team/app:pull,push\"",
            server.addr
        )
    );
    for name in ["team/app", "public/app"] {
        ask(&app, &server, alice, "POST", &push(name)).await.ok(201);
    }
    ask(&app, &server, alice, "GET", "/v2/").await.ok(200);
    let blob = |name: &str| format!("/v2/{name}/blobs/{}", Digest::sha256(b"x"));
    ask(&app, &server, alice, "GET", &blob("team/app"))
        .await
        .ok(200);
    // What was asked for and not granted, and what was granted to nobody.
    ask(&app, &server, alice, "DELETE", &blob("team/app"))
        .await
        .is(401, "UNAUTHORIZED");
    ask(&app, &server, None, "GET", &blob("public/app"))
        .await
        .ok(200);
    ask(&app, &server, None, "GET", &blob("team/app"))
        .await
        .is(401, "UNAUTHORIZED");
    let list = ask(&app, &server, alice, "GET", "/v2/_catalog").await;
    assert_eq!(
        list.ok(200).json()["repositories"],
        json!(["public/app", "team/app"])
    );
    // Passwords are the token server's, and so is giving tokens.
    let basic = format!("Basic {}", STANDARD.encode("alice:alice"));
    app.request("GET", "/v2/", &[("authorization", &basic)], "")
        .await
        .is(401, "UNAUTHORIZED");
    app.get("/auth/token").await.is(404, "UNSUPPORTED");
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    for form in [
        format!("grant_type=password&username=alice&password=alice&service={SERVICE}&client_id=x"),
        format!("grant_type=refresh_token&refresh_token=x&service={SERVICE}&client_id=x"),
    ] {
        app.request("POST", "/auth/token", &kind, form)
            .await
            .is(404, "UNSUPPORTED");
    }
    assert_eq!(server.fetched(), 1);
}

/// Only its tokens say from where a client may mount.
#[tokio::test]
async fn its_tokens_say_where_blobs_are_mounted_from() {
    let rules =
        "[[access]]\nrepository = \"**\"\nusers = [\"alice\"]\nallow = [\"pull\", \"push\"]\n";
    for rules in ["", rules] {
        let server = Server::start().await;
        let app = App::configured(|_| {}, &format!("{}{rules}", server.settings())).await;
        let alice = Some("alice");
        ask(&app, &server, alice, "POST", &push("a")).await.ok(201);
        let digest = Digest::sha256(b"x");
        let mount =
            |name: &str, from: &str| format!("/v2/{name}/blobs/uploads/?mount={digest}{from}");
        // Told of both, it gets a token for both.
        let refused = send(&app, "POST", &mount("b", "&from=a"), None).await;
        let challenge = refused.header("www-authenticate").to_owned();
        assert!(challenge.ends_with("scope=\"repository:b:pull,push repository:a:pull\""));
        ask(&app, &server, alice, "POST", &mount("b", "&from=a"))
            .await
            .ok(201);
        // With one that is not for the source, whether it was asked for or not, it uploads. A
        // list of all names lets nobody read what they name.
        let scope = "repository:c:pull,push registry:catalog:*";
        let challenge = format!(
            "Bearer realm=\"http://{}/token\",service=\"{SERVICE}\",scope=\"{scope}\"",
            server.addr
        );
        let token = server.token(&challenge, alice).await;
        for from in ["&from=a", ""] {
            let path = mount("c", from);
            send(&app, "POST", &path, Some(&token)).await.ok(202);
        }
    }
}

#[tokio::test]
async fn unknown_keys_are_asked_for_but_not_often() {
    let server = Server::start().await;
    let app = App::configured(|_| {}, &server.settings()).await;
    ask(&app, &server, Some("alice"), "GET", "/v2/")
        .await
        .ok(200);
    // The first key was asked for just now; tokens with made up keys do not make it more often.
    for kid in 0..20 {
        let header = json!({"alg": "ES256", "kid": kid.to_string()});
        let made_up = signed(&header, &claims("alice", SERVICE, &[]), |_| vec![0; 64]);
        send(&app, "GET", "/v2/", Some(&made_up))
            .await
            .is(401, "UNAUTHORIZED");
    }
    assert_eq!(server.fetched(), 1);
    // Told to read everything again, it knows the new key, and the old one no more.
    let challenge = send(&app, "GET", "/v2/", None).await;
    let challenge = challenge.header("www-authenticate").to_owned();
    let old = server.token(&challenge, Some("alice")).await;
    server.rotate("second");
    let auth = app.auth.as_ref().unwrap();
    assert_eq!(auth.reload_keys().await.unwrap(), Some(1));
    ask(&app, &server, Some("alice"), "GET", "/v2/")
        .await
        .ok(200);
    send(&app, "GET", "/v2/", Some(&old))
        .await
        .is(401, "UNAUTHORIZED");
    assert_eq!(server.fetched(), 2);
}

#[tokio::test]
async fn access_rules_must_allow_it_too() {
    let server = Server::start().await;
    let rules = "[[access]]\nrepository = \"team/**\"\nusers = [\"alice\"]\nallow = [\"pull\"]\n\
                 [[access]]\nrepository = \"open/**\"\nusers = [\"anonymous\"]\nallow = [\"pull\"]\n";
    let app = App::configured(|_| {}, &format!("{}{rules}", server.settings())).await;
    let tags = |name: &str| format!("/v2/{name}/tags/list");
    ask(&app, &server, Some("alice"), "GET", &tags("team/app"))
        .await
        .is(404, "NAME_UNKNOWN");
    // The token would let her; another token would not help.
    for (method, path) in [("POST", push("team/app")), ("GET", tags("other"))] {
        ask(&app, &server, Some("alice"), method, &path)
            .await
            .is(403, "DENIED");
    }
    // What rules give to everybody needs no token.
    send(&app, "GET", &tags("open/app"), None)
        .await
        .is(404, "NAME_UNKNOWN");
}

/// RS256, which most token servers use, and RSA keys that anybody could factor.
#[tokio::test]
async fn rsa_keys_of_enough_bits() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl").args(args).output().ok()?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{error}");
        Some(output.stdout)
    };
    let mut keys = Vec::new();
    for bits in ["1024", "2048"] {
        let key = at(bits);
        if openssl(&["genrsa", "-out", &key, bits]).is_none() {
            println!("skipped: openssl is not installed");
            return;
        }
        let modulus = openssl(&["rsa", "-in", &key, "-noout", "-modulus"]).unwrap();
        let modulus = String::from_utf8(modulus).unwrap();
        let hex = modulus.trim().strip_prefix("Modulus=").unwrap();
        let n: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
            .collect();
        keys.push(json!({"kty": "RSA", "kid": bits, "n": base64(n), "e": "AQAB"}));
    }
    let settings = format!(
        "auth.method = \"token\"\nauth.token_issuer = \"{ISSUER}\"\n\
         auth.token_service = \"{SERVICE}\"\nauth.token_url = \"https://auth.example/token\"\n\
         auth.jwks = \"$DIR/jwks.json\"\n"
    );
    let set = json!({ "keys": keys }).to_string();
    let app = App::configured(
        |dir| std::fs::write(dir.join("jwks.json"), &set).unwrap(),
        &settings,
    )
    .await;
    for (bits, status) in [("2048", 200), ("1024", 401)] {
        let header = json!({"typ": "JWT", "alg": "RS256", "kid": bits});
        let token = signed(&header, &claims("alice", SERVICE, &[]), |bytes| {
            std::fs::write(at("signed"), bytes).unwrap();
            openssl(&["dgst", "-sha256", "-sign", &at(bits), &at("signed")]).unwrap()
        });
        send(&app, "GET", "/v2/", Some(&token)).await.ok(status);
    }
}

/// The program comes up before the token server does, and reads its keys again on SIGHUP.
#[tokio::test(flavor = "multi_thread")]
async fn the_token_server_may_start_later() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = closed.local_addr().unwrap();
    drop(closed);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("registry.toml");
    let server = Server {
        addr,
        state: Arc::new(Keys {
            key: Mutex::new(("late".into(), new_key())),
            fetched: AtomicU64::new(0),
        }),
    };
    std::fs::write(&file, server.settings()).unwrap();
    let process = serve_with(
        &dir.path().join("data"),
        &["--config", file.to_str().unwrap()],
    );
    let listener = tokio::net::TcpListener::bind(addr).await.unwrap();
    let router = Router::new()
        .route("/token", get(give_token))
        .route("/keys", get(give_keys))
        .with_state(Arc::clone(&server.state));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let answer = process.send("GET", "/v2/", b"");
    let challenge = answer
        .lines()
        .find_map(|line| line.strip_prefix("Www-Authenticate: "))
        .unwrap();
    let token = server.token(challenge, Some("alice")).await;
    assert!(process.signal("HUP"));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let client = reqwest::Client::builder().tls_certs_only([]);
        let answer = client
            .build()
            .unwrap()
            .get(format!("http://{}/v2/", process.addr))
            .header("authorization", format!("Bearer {token}"))
            .send()
            .await
            .unwrap();
        if answer.status() == 200 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
