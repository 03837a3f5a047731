//! Which paths there are, asked for in every way, sent as bytes on a connection.

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::App;
use registry::auth::htpasswd::Htpasswd;

const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW",
];
const NOWHERE: &str = "404 404 404 404 404 404 404 404 404";
const READ: &str = "200 200 404 404 404 404 404 404 404";
const LIST: &str = "200 200 405 405 405 405 405 405 405";

/// Every path with the statuses for [`METHODS`], and what is allowed where one is not.
const PATHS: &[(&str, &str, &str)] = &[
    // Fixed ones are what they are, letter by letter.
    ("/", READ, ""),
    ("//", NOWHERE, ""),
    ("/.", NOWHERE, ""),
    ("/healthz", READ, ""),
    ("/healthz?x=1", READ, ""),
    ("/healthz/", NOWHERE, ""),
    ("//healthz", NOWHERE, ""),
    ("/%68ealthz", NOWHERE, ""),
    ("/healthz%2f", NOWHERE, ""),
    ("/HEALTHZ", NOWHERE, ""),
    ("/readyz", READ, ""),
    ("/readyz/", NOWHERE, ""),
    ("/metrics", READ, ""),
    ("/metrics?name=x", READ, ""),
    ("/metrics/", NOWHERE, ""),
    ("/%6detrics", NOWHERE, ""),
    // Nobody gets a token where nobody needs one.
    ("/auth/token", NOWHERE, ""),
    ("/auth", NOWHERE, ""),
    ("/nowhere", NOWHERE, ""),
    // Those of the API are read as the specification of URIs has it.
    ("/v2", LIST, "GET, HEAD"),
    ("/v2/", LIST, "GET, HEAD"),
    ("/%762/", LIST, "GET, HEAD"),
    ("/v2//", NOWHERE, ""),
    ("/v2/%", NOWHERE, ""),
    ("/v2/healthz", NOWHERE, ""),
    ("/v2/../healthz", NOWHERE, ""),
    ("/v2/_catalog", LIST, "GET, HEAD"),
    ("/v2/_catalog/", NOWHERE, ""),
    (
        "/v2/a/tags/list",
        "404 404 405 405 405 405 405 405 405",
        "GET, HEAD",
    ),
    ("/v2/a/tags/list/", NOWHERE, ""),
    ("/v2/A/tags/list", "400 400 400 400 400 400 400 400 400", ""),
    (
        "/v2/a/blobs/uploads/",
        "405 405 202 405 405 405 405 405 405",
        "POST",
    ),
    (
        "/v2/a/manifests/v1",
        "404 404 405 400 404 405 405 405 405",
        "GET, HEAD, PUT, DELETE",
    ),
];

/// An answer, its head in small letters.
struct Raw {
    status: u16,
    head: String,
    body: String,
}

impl Raw {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

async fn send(app: &std::net::SocketAddr, request: &str, more: &str) -> Raw {
    let mut stream = TcpStream::connect(app).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nHost: x\r\n{more}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Raw {
        status: head[9..12].parse().unwrap(),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

/// What every answer says, whatever it is, and that its length is true.
fn check_common(what: &str, answer: &Raw) {
    let version = answer.header("docker-distribution-api-version");
    assert_eq!(version, Some("registry/2.0"), "{what}");
    let sniff = answer.header("x-content-type-options");
    assert_eq!(sniff, Some("nosniff"), "{what}");
    let length = answer.header("content-length").expect(what);
    if what.starts_with("HEAD ") {
        assert_eq!(answer.body, "", "{what}");
    } else {
        assert_eq!(length, answer.body.len().to_string(), "{what}");
    }
    if answer.status == 404 && !what.contains("/v2/a/") && !what.starts_with("HEAD ") {
        assert!(
            answer.body.contains("no such path in the registry API"),
            "{what}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_answers_every_method_as_it_should() {
    let app = App::new().await;
    let addr = app.listen().await;
    for (path, statuses, allow) in PATHS {
        for (method, status) in METHODS.iter().zip(statuses.split(' ')) {
            let what = format!("{method} {path}");
            let answer = send(&addr, &what, "").await;
            assert_eq!(answer.status.to_string(), status, "{what}");
            let allowed = (status == "405").then(|| allow.to_lowercase());
            assert_eq!(answer.header("allow"), allowed.as_deref(), "{what}");
            check_common(&what, &answer);
        }
    }
    for (request, status) in [
        ("OPTIONS *", 404),
        ("GET *", 404),
        ("CONNECT localhost:80", 404),
        ("CONNECT /healthz", 404),
        // As to a proxy.
        ("GET http://other/healthz", 200),
        ("GET http://other", 200),
        ("HEAD http://other/v2/", 200),
    ] {
        let answer = send(&addr, request, "").await;
        assert_eq!(answer.status, status, "{request}");
        assert_eq!(answer.header("allow"), None, "{request}");
        check_common(request, &answer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_says_what_its_get_says() {
    let app = App::new().await;
    let addr = app.listen().await;
    for (path, statuses, _) in PATHS {
        if statuses == &NOWHERE || path.starts_with("/metrics") {
            continue;
        }
        let get = send(&addr, &format!("GET {path}"), "").await;
        let head = send(&addr, &format!("HEAD {path}"), "").await;
        let headers = |answer: &Raw| {
            let undated = answer.head.lines().filter(|line| !line.starts_with("date"));
            undated.map(str::to_owned).collect::<Vec<_>>()
        };
        // A method that is not allowed is named in the text that counts.
        if get.status != 405 {
            assert_eq!(headers(&head), headers(&get), "{path}");
        }
    }
}

fn users(dir: &Path) {
    let mut users = Htpasswd::default();
    users.add("alice", "secret12").unwrap();
    users.write(&dir.join("users")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_path_is_there_where_tokens_are_made() {
    let settings = "[auth]\nhtpasswd = \"$DIR/users\"\nmethod = \"token\"\n";
    let app = App::configured(users, settings).await;
    let addr = app.listen().await;
    let statuses = "200 405 400 405 405 405 405 405 405";
    for (method, status) in METHODS.iter().zip(statuses.split(' ')) {
        let what = format!("{method} /auth/token");
        let answer = send(&addr, &what, "").await;
        assert_eq!(answer.status.to_string(), status, "{what}");
        let allowed = (status == "405").then_some("get, post");
        assert_eq!(answer.header("allow"), allowed, "{what}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
        check_common(&what, &answer);
    }
    for path in ["/auth/token/", "/auth//token", "/auth/tok%65n", "/auth/"] {
        let answer = send(&addr, &format!("GET {path}"), "").await;
        assert_eq!(answer.status, 404, "{path}");
    }
    // What is fixed needs no login, the API does, and what is nowhere says so to everybody.
    for (request, status) in [
        ("GET /healthz", 200),
        ("GET /readyz", 200),
        ("GET /metrics", 200),
        ("GET /v2/", 401),
        ("HEAD /v2/", 401),
        ("POST /v2/", 405),
        ("GET /v2/a/tags/list", 401),
        ("POST /v2/a/blobs/uploads/", 401),
        ("GET /v2/A/tags/list", 400),
        ("GET /nowhere", 404),
    ] {
        let answer = send(&addr, request, "").await;
        assert_eq!(answer.status, status, "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_counts_against_a_limit() {
    let token = "[auth]\nhtpasswd = \"$DIR/users\"\nmethod = \"token\"\n";
    for (settings, request, counts) in [
        ("", "GET /", false),
        ("", "GET /healthz", false),
        ("", "HEAD /healthz", false),
        ("", "GET /readyz", false),
        ("", "GET /metrics", false),
        ("", "POST /healthz", true),
        ("", "GET /healthz/", true),
        ("", "POST /metrics", true),
        ("[metrics]\nenabled = false\n", "GET /metrics", true),
        ("", "GET /nowhere", true),
        ("", "OPTIONS *", true),
        ("", "GET /v2/", true),
        ("", "POST /v2/", true),
        ("", "GET /v2/A/tags/list", true),
        ("", "GET /auth/token", false),
        (token, "GET /auth/token", true),
        (token, "POST /auth/token", true),
        (token, "PUT /auth/token", true),
        (token, "GET /v2/", true),
    ] {
        let limits = "[limits]\nrequest_rate = 1\nrequest_burst = 1\n";
        let prepare: fn(&Path) = if settings == token { users } else { |_| {} };
        let app = App::configured(prepare, &format!("{settings}{limits}")).await;
        let addr = app.listen().await;
        let mut last = send(&addr, request, "").await.status;
        assert_ne!(last, 429, "{request}");
        // Some may be let in meanwhile.
        for _ in 0..20 {
            last = send(&addr, request, "").await.status;
            if last == 429 {
                break;
            }
        }
        assert_eq!(last == 429, counts, "{request}, {settings}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_metrics_their_path_is_nowhere() {
    let app = App::configured(|_| {}, "[metrics]\nenabled = false\n").await;
    let addr = app.listen().await;
    for method in METHODS {
        let what = format!("{method} /metrics");
        let answer = send(&addr, &what, "").await;
        assert_eq!((answer.status, answer.header("allow")), (404, None));
        check_common(&what, &answer);
    }
}
