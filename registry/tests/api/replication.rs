//! Replication between registries in this process, and with one that is down, slow or lies.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use oci::Digest;
use registry::auth::htpasswd::Htpasswd;
use registry::replication::settings::Replicate;
use registry::replication::{Progress, Replication, RuleReport};
use serde_json::{Value, json};

use crate::admin::{conforms, description};
use crate::harness::{App, INDEX, MANIFEST, image};
use crate::images::{sql, texts};
use crate::postgres;
use crate::upstream::{Fault, Mood, Upstream};

/// Waits for something to become true, for as long as a busy machine may take.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn start(app: &App, rules: &str) -> Arc<Replication> {
    #[derive(serde::Deserialize)]
    struct File {
        replicate: Vec<Replicate>,
    }
    let file: File = toml::from_str(rules).unwrap();
    for rule in &file.replicate {
        rule.check().unwrap();
    }
    let read_only = Arc::default();
    let started = Replication::start(&file.replicate, &app.registry, None, &read_only);
    started.await.unwrap()
}

pub fn rule(direction: &str, to: impl std::fmt::Display, more: &str) -> String {
    format!(
        "[[replicate]]\nname = \"other\"\ndirection = \"{direction}\"\nurl = \"{to}\"\n{more}\n"
    )
}

pub fn url(addr: SocketAddr) -> String {
    format!("http://{addr}")
}

pub async fn state(replication: &Replication) -> RuleReport {
    replication.report().await.unwrap().remove(0)
}

/// Waits until both sides were compared and nothing is left.
pub async fn done(replication: &Replication) -> RuleReport {
    until("all is done", async || {
        let rule = state(replication).await;
        rule.state == Progress::Waiting && rule.left == 0 && rule.compared.is_some()
    })
    .await;
    state(replication).await
}

/// What a tag or digest is at a registry.
pub async fn digest_of(app: &App, name: &str, reference: &str) -> Option<String> {
    let answer = app.head(&format!("/v2/{name}/manifests/{reference}")).await;
    let found = answer.status == 200;
    found.then(|| answer.header("docker-content-digest").to_owned())
}

pub async fn has(app: &App, name: &str, reference: &str, digest: &Digest) {
    let wanted = Some(digest.to_string());
    until(&format!("{name}:{reference} is {digest}"), async || {
        digest_of(app, name, reference).await == wanted
    })
    .await;
}

/// Something that refers to a manifest; its digest.
async fn referrer(app: &App, name: &str, subject: &Digest, kind: &str) -> Digest {
    let config = app.blob(name, b"{}").await;
    let layer = app.blob(name, kind.as_bytes()).await;
    let mut text = image(&config, &[&layer]);
    text["artifactType"] = json!(kind);
    text["subject"] = json!({"mediaType": MANIFEST, "digest": subject, "size": 1});
    let text = text.to_string();
    let digest = Digest::sha256(text.as_bytes());
    let path = format!("/v2/{name}/manifests/{digest}");
    app.put_manifest(&path, MANIFEST, text.as_bytes())
        .await
        .ok(201);
    digest
}

pub async fn index(app: &App, name: &str, tag: &str, children: &[&Digest]) -> Digest {
    let children: Vec<Value> = children
        .iter()
        .map(|d| json!({"mediaType": MANIFEST, "digest": d, "size": 1}))
        .collect();
    let text = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}).to_string();
    let path = format!("/v2/{name}/manifests/{tag}");
    app.put_manifest(&path, INDEX, text.as_bytes())
        .await
        .ok(201);
    Digest::sha256(text.as_bytes())
}

async fn referrers(app: &App, name: &str, digest: &Digest) -> Vec<String> {
    let list = app.get(&format!("/v2/{name}/referrers/{digest}")).await;
    let list = list.ok(200).json();
    let all = list["manifests"].as_array().unwrap();
    let digests = all.iter().map(|m| m["digest"].as_str().unwrap().to_owned());
    digests.collect()
}

#[tokio::test]
async fn what_is_here_and_what_comes_goes_to_the_other_registry() {
    let (here, there) = (App::new().await, App::new().await);
    let to = there.listen().await;
    let (old, _) = here.image("team/app", "v1", "old").await;
    let (arm, _) = here.image("team/app", "arm", "arm").await;
    here.image("tmp/app", "v1", "left out").await;
    here.image("team/app", "dev", "left out too").await;
    let all = index(&here, "team/app", "v2", &[&old, &arm]).await;
    let sbom = referrer(&here, "team/app", &all, "sbom").await;
    let more = "prefix = \"copy\"\nrepositories = [\"team/**\"]\ntags = [\"v*\"]\ndeletes = true";
    let replication = start(&here, &rule("push", url(to), more)).await;
    has(&there, "copy/team/app", "v1", &old).await;
    has(&there, "copy/team/app", "v2", &all).await;
    has(&there, "copy/team/app", &arm.to_string(), &arm).await;
    let rule = done(&replication).await;
    assert_eq!((rule.error.clone(), rule.failing), (None, 0), "{rule:?}");
    assert!(rule.succeeded.is_some());
    assert_eq!(
        referrers(&there, "copy/team/app", &all).await,
        [sbom.to_string()]
    );
    for (name, tag) in [
        ("copy/team/app", "dev"),
        ("copy/tmp/app", "v1"),
        ("tmp/app", "v1"),
    ] {
        assert_eq!(digest_of(&there, name, tag).await, None, "{name}:{tag}");
    }
    // What comes now goes there at once: tags that are new and that moved, referrers by digest and
    // cosign's tags, although no pattern names them.
    let (new, _) = here.image("team/new", "v1", "new").await;
    let (moved, _) = here.image("team/app", "v1", "moved").await;
    let later = referrer(&here, "team/app", &all, "later").await;
    let signature = format!("sha256-{}.sig", moved.hex());
    let (signed, _) = here.image("team/app", &signature, "signature").await;
    has(&there, "copy/team/new", "v1", &new).await;
    has(&there, "copy/team/app", "v1", &moved).await;
    has(&there, "copy/team/app", &signature, &signed).await;
    has(&there, "copy/team/app", &later.to_string(), &later).await;
    // What goes here goes there, but nothing that is not ours.
    let (theirs, _) = there.image("copy/team/app", "v9", "theirs").await;
    let (other, _) = there.image("copy/team/new", "v1", "changed there").await;
    here.delete("/v2/team/app/manifests/v1").await.ok(202);
    here.delete("/v2/team/new/manifests/v1").await.ok(202);
    until("the tag is gone there", async || {
        digest_of(&there, "copy/team/app", "v1").await.is_none()
    })
    .await;
    done(&replication).await;
    has(&there, "copy/team/app", "v9", &theirs).await;
    has(&there, "copy/team/new", "v1", &other).await;
    replication.stop().await;
}

#[tokio::test]
async fn a_comparison_brings_back_what_was_lost_there_and_asks_for_nothing_else() {
    let (here, there) = (App::new().await, App::new().await);
    let to = there.listen().await;
    let (one, _) = here.image("app", "one", "1").await;
    here.image("app", "two", "2").await;
    let replication = start(&here, &rule("push", url(to), "on_event = false")).await;
    done(&replication).await;
    there.delete("/v2/app/manifests/one").await.ok(202);
    // Nobody tells of it, and of this only a comparison.
    let (three, _) = here.image("app", "three", "3").await;
    assert_eq!(state(&replication).await.left, 0);
    replication.hurry("other").await.unwrap();
    has(&there, "app", "one", &one).await;
    has(&there, "app", "three", &three).await;
    assert!(replication.hurry("another").await.is_err());
    replication.stop().await;
    // Nor is anything noted for a registry without rules.
    start(&here, "replicate = []").await.stop().await;
    here.image("app", "four", "4").await;
    let dir = here.stop().await;
    let left = texts(
        dir.path(),
        "SELECT reference FROM replication_changes
         UNION ALL SELECT reference FROM replication_jobs
         UNION ALL SELECT tag FROM replication_done UNION ALL SELECT name FROM replication_rules",
    );
    assert_eq!(left.await, [""; 0]);
}

#[tokio::test]
async fn what_is_there_comes_here() {
    let (here, there) = (App::new().await, App::new().await);
    let from = there.listen().await;
    let (one, _) = there.image("team/app", "v1", "one").await;
    let all = index(&there, "team/app", "all", &[&one]).await;
    let sbom = referrer(&there, "team/app", &all, "sbom").await;
    there.image("secret/app", "v1", "left out").await;
    let (mine, _) = here.image("from/app", "mine", "mine").await;
    let more = "strip = \"team\"\nprefix = \"from\"\nexcept = [\"secret/**\"]\n\
                deletes = true\ninterval = \"1s\"";
    let replication = start(&here, &rule("pull", url(from), more)).await;
    has(&here, "from/app", "v1", &one).await;
    has(&here, "from/app", "all", &all).await;
    until("the referrer is here", async || {
        referrers(&here, "from/app", &all).await == [sbom.to_string()]
    })
    .await;
    // New tags, moved tags, new referrers of what did not move, and tags that went.
    let (two, _) = there.image("team/app", "v2", "two").await;
    let (moved, _) = there.image("team/app", "v1", "moved").await;
    let later = referrer(&there, "team/app", &all, "later").await;
    has(&here, "from/app", "v2", &two).await;
    has(&here, "from/app", "v1", &moved).await;
    until("the later referrer is here", async || {
        referrers(&here, "from/app", &all)
            .await
            .contains(&later.to_string())
    })
    .await;
    there.delete("/v2/team/app/manifests/v2").await.ok(202);
    until("the tag went here", async || {
        digest_of(&here, "from/app", "v2").await.is_none()
    })
    .await;
    has(&here, "from/app", "mine", &mine).await;
    assert_eq!(digest_of(&here, "secret/app", "v1").await, None);
    replication.stop().await;
    assert_eq!(
        here.registry
            .check(Default::default())
            .await
            .unwrap()
            .problems
            .len(),
        0
    );
}

#[tokio::test]
async fn two_registries_that_replicate_to_each_other_come_to_rest() {
    let (a, b) = (App::new().await, App::new().await);
    let (to_a, to_b) = (url(a.listen().await), url(b.listen().await));
    let from_a = start(&a, &rule("push", &to_b, "deletes = true")).await;
    let from_b = start(&b, &rule("push", &to_a, "deletes = true")).await;
    let (one, _) = a.image("app", "one", "of a").await;
    let (two, _) = b.image("app", "two", "of b").await;
    has(&b, "app", "one", &one).await;
    has(&a, "app", "two", &two).await;
    done(&from_a).await;
    a.delete("/v2/app/manifests/two").await.ok(202);
    until("it is gone at both", async || {
        digest_of(&b, "app", "two").await.is_none()
    })
    .await;
    // The same name for different things at the same time.
    for round in 0..3 {
        let (x, y) = (format!("a {round}"), format!("b {round}"));
        tokio::join!(a.image("app", "same", &x), b.image("app", "same", &y));
    }
    until("both have the same, and rest", async || {
        let (x, y) = (state(&from_a).await, state(&from_b).await);
        let rest = [&x, &y]
            .iter()
            .all(|r| r.left == 0 && r.state == Progress::Waiting);
        rest && digest_of(&a, "app", "same").await == digest_of(&b, "app", "same").await
    })
    .await;
    assert_eq!(digest_of(&a, "app", "two").await, None);
    from_a.stop().await;
    from_b.stop().await;
}

#[tokio::test]
async fn a_registry_that_lies_or_limits_us_is_found_out_and_asked_again() {
    let there = Upstream::start().await;
    let (good, _) = there.image("app", "good", b"right bytes");
    let (bad, layer) = there.image("app", "bad", &[7; 5000]);
    there.fault(&layer, Fault::Wrong);
    let here = App::new().await;
    let more = "repositories = [\"app\"]\ninterval = \"1h\"";
    let replication = start(&here, &rule("pull", there.url(), more)).await;
    has(&here, "app", "good", &good).await;
    until("the lie is told", async || {
        let rule = state(&replication).await;
        (rule.failing, rule.left) == (1, 1)
    })
    .await;
    let rule = state(&replication).await;
    assert_eq!((rule.state, rule.left), (Progress::Failed, 1), "{rule:?}");
    let why = rule.error.unwrap();
    assert!(
        why.contains("app bad: blob") && why.contains("not what the digest says"),
        "{why}"
    );
    assert_eq!(digest_of(&here, "app", "bad").await, None);
    let blob = here.head(&format!("/v2/app/blobs/{layer}")).await;
    assert_eq!(blob.status, 404);
    // It breaks off, and goes on where it was.
    there.fault(&layer, Fault::Cut(2000, 2));
    replication.hurry("other").await.unwrap();
    has(&here, "app", "bad", &bad).await;
    assert_eq!(done(&replication).await.error, None);
    // Asked too often, we leave it alone for as long as it says, and no longer.
    let (new, _) = there.image("app", "new", b"new");
    there.mood(Mood::Limited("3600"));
    replication.hurry("other").await.unwrap();
    until("it rests", async || state(&replication).await.rests > 3000).await;
    let rule = state(&replication).await;
    assert_eq!(
        (rule.state, rule.failing),
        (Progress::Failed, 0),
        "{rule:?}"
    );
    there.mood(Mood::Fine);
    replication.hurry("other").await.unwrap();
    has(&here, "app", "new", &new).await;
    replication.stop().await;
}

/// Takes everything, and has nothing.
async fn forgetful(request: Request) -> Response {
    let (status, location) = match request.method().as_str() {
        "HEAD" | "GET" => (404, None),
        "POST" => (202, Some("/v2/x/blobs/uploads/1")),
        _ => (201, None),
    };
    // Whoever answers before the body has come closes the connection on it.
    let _ = axum::body::to_bytes(request.into_body(), 1 << 20).await;
    let mut response = Response::builder().status(status);
    if let Some(location) = location {
        response = response.header("location", location);
    }
    response.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_registry_that_takes_and_forgets_is_told_of_and_one_that_is_down_is_waited_for() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let router = Router::new().fallback(forgetful);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let here = App::new().await;
    here.image("app", "v1", "x").await;
    let replication = start(&here, &rule("push", url(addr), "")).await;
    until("it is told", async || {
        state(&replication).await.failing == 1
    })
    .await;
    let why = state(&replication).await.error.unwrap();
    assert!(why.contains("does not have it"), "{why}");
    replication.stop().await;
    // Nobody listens there.
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = nobody.local_addr().unwrap();
    drop(nobody);
    let replication = start(&here, &rule("push", url(addr), "")).await;
    until("it is told", async || {
        let rule = state(&replication).await;
        rule.state == Progress::Failed && rule.rests > 0
    })
    .await;
    let rule = state(&replication).await;
    assert_eq!((rule.left, rule.failing), (1, 0), "{rule:?}");
    replication.stop().await;
}

#[tokio::test]
async fn wrong_credentials_are_told_and_right_ones_do_all_that_is_left() {
    let users = |dir: &std::path::Path| {
        let mut users = Htpasswd::default();
        users.add("pusher", "secret").unwrap();
        users.write(&dir.join("users")).unwrap();
    };
    let there = App::configured(users, "[auth]\nhtpasswd = \"$DIR/users\"\n").await;
    let to = url(there.listen().await);
    let here = App::new().await;
    here.image("app", "v1", "x").await;
    let with = |password| {
        let more = format!("username = \"pusher\"\npassword = \"{password}\"");
        rule("push", &to, &more)
    };
    let replication = start(&here, &with("wrong")).await;
    until("it is told", async || {
        state(&replication).await.error.is_some()
    })
    .await;
    let rule = state(&replication).await;
    assert!(rule.error.unwrap().contains("unauthorized"));
    assert_eq!(rule.left, 1);
    replication.stop().await;
    let replication = start(&here, &with("secret")).await;
    assert_eq!(done(&replication).await.error, None);
    replication.stop().await;
}

#[tokio::test]
async fn what_was_under_way_goes_on_after_a_restart_also_of_an_older_database() {
    let there = Upstream::start().await;
    let (app, layer) = there.image("app", "v1", &[3; 200_000]);
    there.fault(&layer, Fault::Gated);
    let here = App::new().await;
    here.image("own", "v1", "own").await;
    let more = "repositories = [\"app\"]\ninterval = \"1h\"";
    let rules = rule("pull", there.url(), more);
    let replication = start(&here, &rules).await;
    until("it is under way", async || {
        let files = std::fs::read_dir(here.path().join("staging")).unwrap();
        files
            .flatten()
            .any(|file| file.metadata().is_ok_and(|found| found.len() == 100_000))
    })
    .await;
    replication.stop().await;
    drop(replication);
    let here = here.restart().await;
    there.open_gate();
    let asked = there.count("GET /v2/app/tags/list");
    let replication = start(&here, &rules).await;
    has(&here, "app", "v1", &app).await;
    done(&replication).await;
    // What came of the layer, but its last byte, is not asked for again.
    let layers = there.asked(&format!("GET /v2/app/blobs/{layer}"));
    assert_eq!(layers.len(), 2);
    assert_eq!(layers[1].headers["range"], "bytes=99999-");
    // The lists were compared before, and are not again.
    assert_eq!(there.count("GET /v2/app/tags/list"), asked);
    replication.stop().await;
    drop(replication);
    // A database from before replication.
    let dir = here.stop().await;
    let undo = "DROP TRIGGER replicate_tagged; DROP TRIGGER replicate_moved;
         DROP TRIGGER replicate_untagged; DROP TRIGGER replicate_referrer;
         DROP TABLE replication_done; DROP TABLE replication_jobs;
         DROP TABLE replication_changes; DROP TABLE replication_rules;
         DELETE FROM _sqlx_migrations WHERE version = 6";
    // PostgreSQL's began with all of it.
    if !postgres::is_asked() {
        sql(dir.path(), undo).await;
    }
    let here = App::in_dir(dir).await;
    let second = App::new().await;
    let to = second.listen().await;
    let replication = start(&here, &rule("push", url(to), "")).await;
    has(&second, "app", "v1", &app).await;
    done(&replication).await;
    assert!(digest_of(&second, "own", "v1").await.is_some());
    replication.stop().await;
}

#[tokio::test]
async fn the_state_is_shown_to_programs_people_and_prometheus() {
    let there = App::new().await;
    let to = url(there.listen().await);
    let app = App::configured(|_| {}, &rule("push", to, "interval = \"24h\"")).await;
    let api = description(&app).await;
    let (image, _) = app.image("app", "v1", "x").await;
    has(&there, "app", "v1", &image).await;
    done(app.replication.as_ref().unwrap()).await;
    let answer = app.get("/api/v1/replication").await;
    conforms(&api, "GET", "/api/v1/replication", &answer);
    let rules = answer.ok(200).json();
    assert_eq!(rules[0]["state"], "waiting");
    let run = "/api/v1/replication/other/run";
    let answer = app.post(run).await;
    conforms(&api, "POST", run, &answer);
    assert_eq!(answer.ok(200).json()["name"], "other");
    let metrics = app.get("/metrics").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    for line in [
        "rregistry_replication_left{rule=\"other\"} 0",
        "rregistry_replication_manifests_total{rule=\"other\"} 1",
        "rregistry_replication_failures_total{rule=\"other\"} 0",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    let page = app.get("/ui/replication").await.ok(200);
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(page.contains("<h2 id=\"other\">other</h2>"), "{page}");
    assert!(page.contains("Compare now"), "{page}");
    let none = App::new().await.get("/ui/replication").await.ok(200);
    assert!(String::from_utf8_lossy(&none.body).contains("Nothing is replicated."));
}
