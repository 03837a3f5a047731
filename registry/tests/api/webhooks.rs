//! Webhooks: who is told what, and what becomes of it when nobody listens.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use oci::Digest;
use registry::auth::htpasswd::Htpasswd;
use serde_json::{Value, json};

use crate::harness::{App, MANIFEST, image};

/// A server that takes events, and fails when it is told to.
#[derive(Clone)]
pub struct Receiver {
    pub addr: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
pub struct Seen {
    /// What the next answers are; 200 when there are none.
    pub answers: Vec<u16>,
    headers: Vec<HeaderMap>,
    events: Vec<Value>,
    pub refused: usize,
}

impl Receiver {
    pub async fn start() -> Self {
        Self::at("127.0.0.1:0").await
    }

    pub async fn at(addr: &str) -> Self {
        let listener = tokio::net::TcpListener::bind(addr).await.unwrap();
        let receiver = Self {
            addr: listener.local_addr().unwrap(),
            seen: Arc::default(),
        };
        let router = Router::new()
            .fallback(take)
            .with_state(Arc::clone(&receiver.seen));
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    pub fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap())
    }

    /// Waits for `n` events.
    pub async fn events(&self, n: usize) -> Vec<Value> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            if self.seen(|seen| seen.events.len()) >= n {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let events = self.seen(|seen| seen.events.clone());
        assert!(events.len() >= n, "{} of {n}: {events:?}", events.len());
        events
    }

    pub fn config(&self, more: &str) -> String {
        format!(
            "[[webhook]]\nname = \"test\"\nurl = \"http://{}/events\"\nbackoff = \"10ms\"\n{more}\n",
            self.addr
        )
    }
}

async fn take(State(seen): State<Arc<Mutex<Seen>>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut seen = seen.lock().unwrap();
    let status = seen.answers.pop().unwrap_or(200);
    if (200..300).contains(&status) {
        let envelope: Value = serde_json::from_slice(&body).unwrap();
        seen.events
            .extend(envelope["events"].as_array().unwrap().clone());
        seen.headers.push(head.headers);
    } else {
        seen.refused += 1;
    }
    let status = StatusCode::from_u16(status).unwrap();
    let elsewhere = [("location", "http://127.0.0.1:1/")];
    (status, elsewhere).into_response()
}

/// An event in one line.
fn line(event: &Value) -> String {
    let target = &event["target"];
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let kind = text(&target["mediaType"]);
    format!(
        "{} {} {} {}",
        text(&event["action"]),
        text(&target["repository"]),
        kind.rsplit('/').next().unwrap(),
        text(&target["tag"]),
    )
}

async fn app(receiver: &Receiver, more: &str) -> App {
    App::configured(|_| {}, &receiver.config(more)).await
}

#[tokio::test]
async fn everything_that_happens_is_told_in_order() {
    let receiver = Receiver::start().await;
    let more = "headers = { Authorization = \"Bearer x\", X-Two = [\"a\", \"b\"] }";
    let app = app(&receiver, more).await;
    let (digest, _) = app.image("team/app", "v1", "layer").await;
    let layer = Digest::sha256(b"layer");
    let mount = format!("/v2/copy/blobs/uploads/?mount={layer}&from=team/app");
    app.post(&mount).await.ok(201);
    app.delete(&format!("/v2/copy/blobs/{layer}")).await.ok(202);
    app.delete("/v2/team/app/manifests/v1").await.ok(202);
    app.delete(&format!("/v2/team/app/manifests/{digest}"))
        .await
        .ok(202);
    let events = receiver.events(7).await;
    let lines: Vec<String> = events.iter().map(line).collect();
    assert_eq!(
        lines,
        [
            "push team/app octet-stream -",
            "push team/app octet-stream -",
            "push team/app vnd.oci.image.manifest.v1+json v1",
            "mount copy octet-stream -",
            "delete copy - -",
            "delete team/app - v1",
            "delete team/app - -",
        ]
    );
    let ids: BTreeSet<&str> = events.iter().map(|e| e["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 7);
    assert_eq!(events[2]["target"]["digest"], json!(digest));
    assert_eq!(events[2]["request"]["method"], "PUT");
    assert_eq!(events[2]["source"]["addr"], "node:5000");
    assert_eq!(events[3]["target"]["fromRepository"], "team/app");
    assert_eq!(events[3]["target"]["size"], 5);
    assert_eq!(
        events[4]["target"],
        json!({"digest": layer, "repository": "copy"})
    );
    assert_eq!(
        events[5]["target"],
        json!({"repository": "team/app", "tag": "v1"})
    );
    let headers = receiver.seen(|seen| seen.headers[0].clone());
    assert_eq!(
        headers["content-type"],
        "application/vnd.docker.distribution.events.v1+json"
    );
    assert_eq!(headers["authorization"], "Bearer x");
    assert_eq!(headers.get_all("x-two").iter().count(), 2);

    // What did not happen is not told.
    app.delete("/v2/team/app/manifests/v1").await.ok(404);
    app.delete(&format!("/v2/copy/blobs/{layer}")).await.ok(404);
    app.put_manifest("/v2/team/app/manifests/v2", MANIFEST, b"{}")
        .await
        .ok(400);
    app.blob("team/app", b"end").await;
    let events = receiver.events(8).await;
    assert_eq!(line(&events[7]), "push team/app octet-stream -");
    assert_eq!(events.len(), 8);
}

#[tokio::test]
async fn pulls_are_told_and_looks_are_not() {
    let receiver = Receiver::start().await;
    let app = app(&receiver, "actions = [\"pull\"]").await;
    let (digest, _) = app.image("app", "v1", "layer").await;
    let layer = Digest::sha256(b"layer");
    app.head("/v2/app/manifests/v1").await.ok(200);
    app.head(&format!("/v2/app/blobs/{layer}")).await.ok(200);
    app.get("/v2/app/tags/list").await.ok(200);
    app.get("/v2/app/manifests/none").await.ok(404);
    app.get("/v2/app/manifests/v1").await.ok(200);
    app.get(&format!("/v2/app/manifests/{digest}"))
        .await
        .ok(200);
    app.get(&format!("/v2/app/blobs/{layer}")).await.ok(200);
    let lines: Vec<String> = receiver.events(3).await.iter().map(line).collect();
    assert_eq!(
        lines,
        [
            "pull app vnd.oci.image.manifest.v1+json v1",
            "pull app vnd.oci.image.manifest.v1+json -",
            "pull app octet-stream -",
        ]
    );
}

/// What a condition keeps from happening is not told, nor what gets an error for an answer.
#[tokio::test]
async fn conditions_that_fail_are_told_to_nobody() {
    let receiver = Receiver::start().await;
    let app = app(&receiver, "").await;
    let (digest, text) = app.image("app", "v1", "layer").await;
    let layer = Digest::sha256(b"layer");
    let (manifest, blob) = ("/v2/app/manifests/v1", format!("/v2/app/blobs/{layer}"));
    let other = [("if-match", "\"sha256:other\"")];
    for path in [manifest, &blob] {
        for method in ["GET", "DELETE"] {
            app.request(method, path, &other, "").await.ok(412);
        }
    }
    let put = async |name: &str, value: &str| {
        let headers = [("content-type", MANIFEST), (name, value)];
        app.request("PUT", manifest, &headers, text.clone()).await
    };
    put("if-match", "\"sha256:other\"").await.ok(412);
    put("if-none-match", "*").await.ok(412);
    let range = [("range", "bytes=9-10")];
    app.request("GET", &blob, &range, "").await.ok(416);
    // What does happen, under a condition too, is.
    let tag = format!("\"{digest}\"");
    put("if-match", &tag).await.ok(201);
    app.get(&blob).await.ok(200);
    app.request("DELETE", manifest, &[("if-match", &tag)], "")
        .await
        .ok(202);
    let told = |event: &Value| event["action"].as_str().unwrap().to_owned();
    let mut actions: Vec<String> = receiver.events(6).await.iter().map(told).collect();
    actions.sort_unstable();
    assert_eq!(actions, ["delete", "pull", "push", "push", "push", "push"]);
}

/// What a quota refuses did not happen.
#[tokio::test]
async fn what_finds_no_room_is_told_to_nobody() {
    let receiver = Receiver::start().await;
    let quota = "[[quota]]\nrepository = \"small\"\neach = \"1000B\"";
    let app = app(&receiver, quota).await;
    let (large, config) = (
        app.blob("other", &[1; 1001]).await,
        app.blob("other", b"{}").await,
    );
    let mount = |digest: &Digest| format!("/v2/small/blobs/uploads/?mount={digest}&from=other");
    app.post(&mount(&large)).await.is(403, "DENIED");
    app.post(&mount(&config)).await.ok(201);
    let upload = format!("/v2/small/blobs/uploads/?digest={large}");
    app.request("POST", &upload, &[], vec![1; 1001])
        .await
        .is(403, "DENIED");
    let mut manifest = image(&config, &[]);
    let text = manifest.to_string();
    manifest["annotations"] = json!({"filler": "x".repeat(1000)});
    let path = "/v2/small/manifests/v1";
    app.put_manifest(path, MANIFEST, manifest.to_string().as_bytes())
        .await
        .is(403, "DENIED");
    // A condition that fails takes no room either.
    let headers = [("content-type", MANIFEST), ("if-match", "*")];
    for _ in 0..20 {
        app.request("PUT", path, &headers, text.clone())
            .await
            .ok(412);
    }
    app.put_manifest(path, MANIFEST, text.as_bytes())
        .await
        .ok(201);
    let events = receiver.events(4).await;
    let lines: Vec<String> = events.iter().map(line).collect();
    assert_eq!(
        lines,
        [
            "push other octet-stream -",
            "push other octet-stream -",
            "mount small octet-stream -",
            "push small vnd.oci.image.manifest.v1+json v1",
        ]
    );
}

/// A mount is told whichever way its source is found, and who asked for it.
#[tokio::test]
async fn mounts_by_token_are_told() {
    let receiver = Receiver::start().await;
    let settings = receiver.config("actions = [\"mount\"]");
    let settings =
        format!("auth.htpasswd = \"$DIR/htpasswd\"\nauth.method = \"token\"\n{settings}");
    let users = |dir: &std::path::Path| {
        let mut users = Htpasswd::default();
        users.add("alice", "alice").unwrap();
        users.write(&dir.join("htpasswd")).unwrap();
    };
    let app = App::configured(users, &settings).await;
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    let post = async |scope: &str, path: &str| {
        let form = format!(
            "grant_type=password&username=alice&password=alice&service=rregistry&client_id=x\
             &scope={scope}"
        );
        let token = app.request("POST", "/auth/token", &kind, form).await;
        let token = token.ok(200).json();
        let bearer = format!("Bearer {}", token["access_token"].as_str().unwrap());
        app.request("POST", path, &[("authorization", &bearer)], "x")
            .await
    };
    let digest = Digest::sha256(b"x");
    let path = format!("/v2/a/blobs/uploads/?digest={digest}");
    post("repository:a:pull,push", &path).await.ok(201);
    for (name, from, scope) in [
        ("b", "&from=a", "repository:b:pull,push+repository:a:pull"),
        ("c", "", "repository:c:pull,push"),
    ] {
        let path = format!("/v2/{name}/blobs/uploads/?mount={digest}{from}");
        post(scope, &path).await.ok(201);
    }
    // Refused, for want of a token for the source.
    let path = format!("/v2/d/blobs/uploads/?mount={digest}&from=a");
    post("repository:d:pull,push", &path).await.ok(401);
    let path = format!("/v2/d/blobs/uploads/?mount={digest}");
    post("repository:d:pull,push", &path).await.ok(201);
    let events = receiver.events(3).await;
    let names = events.iter().map(|e| &e["target"]["repository"]);
    assert_eq!(names.collect::<Vec<_>>(), ["b", "c", "d"]);
    assert_eq!(events[0]["target"]["fromRepository"], "a");
    assert!(events.iter().all(|e| e["actor"]["name"] == "alice"));
}

#[tokio::test]
async fn filters_and_references() {
    let receiver = Receiver::start().await;
    let more = "repository = \"team/*\"\ninclude_references = true\n\
                ignore.mediatypes = [\"application/octet-stream\"]";
    let app = app(&receiver, more).await;
    app.image("other", "v1", "layer").await;
    app.image("team/app", "v1", "layer").await;
    let events = receiver.events(1).await;
    assert_eq!(
        line(&events[0]),
        "push team/app vnd.oci.image.manifest.v1+json v1"
    );
    let references = events[0]["target"]["references"].as_array().unwrap();
    assert_eq!(references.len(), 2);
    assert_eq!(references[1]["digest"], json!(Digest::sha256(b"layer")));
    assert_eq!(events.len(), 1);
}

#[tokio::test]
async fn failures_are_tried_again_in_order_and_counted() {
    let receiver = Receiver::start().await;
    receiver.seen(|seen| seen.answers = vec![302, 404, 500, 503, 500, 500, 429, 500]);
    let app = app(&receiver, "threshold = 2").await;
    for i in 0..20 {
        app.blob(&format!("app{i:02}"), b"x").await;
    }
    let events = receiver.events(20).await;
    assert_eq!(receiver.seen(|seen| seen.refused), 8);
    let names: Vec<&str> = events
        .iter()
        .map(|e| e["target"]["repository"].as_str().unwrap())
        .collect();
    assert!(names.is_sorted(), "{names:?}");
    let text = || async {
        let text = app.get("/metrics").await.ok(200).body;
        String::from_utf8(text.to_vec()).unwrap()
    };
    let lines = [
        "rregistry_webhook_events_pending{webhook=\"test\"} 0",
        "rregistry_webhook_events_sent_total{webhook=\"test\"} 20",
        "rregistry_webhook_deliveries_failed_total{webhook=\"test\"} 8",
        "rregistry_webhook_events_dropped_total{webhook=\"test\"} 0",
    ];
    // The last are forgotten a moment after they were taken.
    for _ in 0..200 {
        if text().await.contains(lines[0]) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let text = text().await;
    for line in lines {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[tokio::test]
async fn an_event_that_is_refused_again_and_again_makes_room_for_others() {
    let receiver = Receiver::start().await;
    // Answers are taken from the end: the first event is refused for good.
    receiver.seen(|seen| seen.answers = vec![400; 4]);
    let app = app(&receiver, "threshold = 3").await;
    let (first, _) = app.image("team/app", "bad", "one").await;
    let (second, _) = app.image("team/app", "good", "two").await;
    assert_ne!(first, second);
    let begun = Instant::now();
    let told = loop {
        let events = receiver.seen(|seen| seen.events.clone());
        let tags: Vec<&str> = events
            .iter()
            .filter_map(|e| e["target"]["tag"].as_str())
            .collect();
        if tags.contains(&"good") || begun.elapsed() > Duration::from_secs(20) {
            break events;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(
        told.iter().any(|e| e["target"]["tag"] == "good"),
        "{told:?}"
    );
    let metrics = app.get("/metrics").await.ok(200).body;
    let metrics = String::from_utf8(metrics.to_vec()).unwrap();
    let dropped = metrics
        .lines()
        .find(|line| line.contains("dropped") && line.contains("test"));
    assert!(
        dropped.is_some_and(|line| line.ends_with(" 1")),
        "{dropped:?}"
    );
}

#[tokio::test]
async fn only_success_is_success_and_addresses_are_the_settings() {
    let receiver = Receiver::start().await;
    receiver.seen(|seen| seen.answers = vec![304]);
    let settings = format!(
        "url = \"https://registry.example.com/\"\n{}",
        receiver.config("actions = [\"delete\"]")
    );
    let app = App::configured(|_| {}, &settings).await;
    let (digest, _) = app.image("team/app", "v1", "one").await;
    let path = format!("/v2/team/app/manifests/{digest}");
    app.request("DELETE", &path, &[("host", "evil.example")], "")
        .await
        .ok(202);
    let events = receiver.events(1).await;
    assert_eq!(receiver.seen(|seen| seen.refused), 1, "304 is no success");
    let told = events[0].to_string();
    assert!(!told.contains("https://evil.example"), "{told}");
}

#[tokio::test]
async fn a_webhook_that_hangs_holds_nobody_up_and_the_oldest_go() {
    // It takes connections and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = format!(
        "[[webhook]]\nname = \"deaf\"\nurl = \"http://{}/\"\ntimeout = \"60s\"\n",
        listener.local_addr().unwrap()
    );
    let mut app = App::configured(|_| {}, &settings).await;
    let begun = Instant::now();
    for i in 0..12 {
        app.blob(&format!("app{i}"), b"x").await;
    }
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(
        app.registry.waiting_events().await.unwrap(),
        [("deaf".to_owned(), 12)]
    );
    assert_eq!(app.registry.trim_events("deaf", 5).await.unwrap(), 7);
    let left = app.registry.queued_events("deaf", 10).await.unwrap();
    assert_eq!(left.len(), 5);
    assert!(left[4].event.contains("\"app11\""));
    // Stopping waits no longer than it may.
    let begun = Instant::now();
    let deliveries = app.deliveries.take().unwrap();
    deliveries.stop(Duration::from_millis(100)).await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(app.registry.waiting_events().await.unwrap()[0].1, 5);
}
