//! What a mirror knows of its upstreams beside images: lists of tags, and the part that came of a
//! blob before the registry was killed.

use std::path::Path;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use oci::Digest;
use serde_json::{Value, json};

use crate::harness::App;
use crate::process::{Process, command, start};
use crate::upstream::{Fault, Mood, Upstream};

fn settings(url: &str, more: &str) -> String {
    format!(
        "[[upstream]]\nrepository = \"docker.io/**\"\nurl = \"{url}\"\nhostless = true\n{more}\n"
    )
}

/// The tags of an answer, and the code of its warning.
async fn listed(app: &App, path: &str) -> (Value, Option<String>) {
    let answer = app.get(path).await.ok(200);
    let warning = answer.headers.get("warning");
    let code = warning.map(|warning| warning.to_str().unwrap()[..3].to_owned());
    (answer.json()["tags"].clone(), code)
}

#[tokio::test]
async fn the_tags_of_a_mirrored_repository_are_those_of_its_upstream() {
    const LIST: &str = "/v2/docker.io/lib/app/tags/list";
    let hub = Upstream::start().await;
    for tag in ["b", "c", "a"] {
        hub.image("lib/app", tag, tag.as_bytes());
    }
    let app = App::configured(|_| {}, &settings(&hub.url(), "ttl = \"1h\"")).await;
    // Nothing was pulled; pages are cut here, and the upstream is asked once.
    let first = app.get(&format!("{LIST}?n=2")).await.ok(200);
    assert_eq!(first.json()["tags"], json!(["a", "b"]));
    assert!(first.header("link").contains("last=b"), "{first:?}");
    let rest = app.get(&format!("{LIST}?n=2&last=b")).await.ok(200);
    assert_eq!(rest.json()["tags"], json!(["c"]));
    assert!(!rest.headers.contains_key("link"));
    let without_host = listed(&app, "/v2/lib/app/tags/list").await;
    assert_eq!(without_host, (json!(["a", "b", "c"]), None));
    for name in ["lib/app", "docker.io/lib/app"] {
        let path = format!("/v2/{name}/tags/list");
        assert_eq!(app.get(&path).await.ok(200).json()["name"], name);
    }
    assert_eq!(hub.count("GET /v2/lib/app/tags/list"), 1);
    for _ in 0..2 {
        let missing = app.get("/v2/docker.io/lib/none/tags/list").await;
        missing.is(404, "NAME_UNKNOWN");
    }

    // Always asked about first, and told as it was when that cannot be done.
    let always = settings(&hub.url(), "ttl = \"0s\"\nstale = \"0s\"");
    let app = App::configured(|_| {}, &always).await;
    assert_eq!(listed(&app, LIST).await.0, json!(["a", "b", "c"]));
    hub.image("lib/app", "d", b"d");
    assert_eq!(
        listed(&app, LIST).await,
        (json!(["a", "b", "c", "d"]), None)
    );
    hub.untag("lib/app", "a");
    hub.mood(Mood::Status(503));
    let stale = (json!(["a", "b", "c", "d"]), Some("111".to_owned()));
    assert_eq!(listed(&app, LIST).await, stale);
    hub.mood(Mood::Fine);
    assert_eq!(listed(&app, LIST).await, (json!(["b", "c", "d"]), None));

    // A list that is asked about meanwhile.
    let later = settings(&hub.url(), "ttl = \"0s\"\nstale = \"1h\"");
    let app = App::configured(|_| {}, &later).await;
    assert_eq!(listed(&app, LIST).await.1, None);
    hub.image("lib/app", "e", b"e");
    assert_eq!(listed(&app, LIST).await.1, Some("110".to_owned()));
    let deadline = Instant::now() + Duration::from_secs(60);
    while listed(&app, LIST).await.0 != json!(["b", "c", "d", "e"]) {
        assert!(Instant::now() < deadline, "the new tag never comes");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The page says of each tag whether it is here, with a way to those that are.
#[tokio::test]
async fn the_page_of_a_mirrored_repository_tells_what_is_not_fetched_yet() {
    let hub = Upstream::start().await;
    for at in 0..150 {
        hub.image("lib/app", &format!("t{at:03}"), &[at]);
    }
    let app = App::configured(|_| {}, &settings(&hub.url(), "ttl = \"1h\"")).await;
    let page = async |query: &str| {
        let path = format!("/ui/tags/docker.io/lib/app{query}");
        let answer = app.get(&path).await.ok(200);
        String::from_utf8(answer.body.to_vec()).unwrap()
    };
    let here = |tag: &str| format!("href=\"/ui/image/docker.io/lib/app:{tag}\"");
    let there = |tag: &str| format!("<li><code>{tag}</code></li>");
    // Of a repository of which nothing was pulled, too.
    let fresh = page("").await;
    assert!(fresh.contains("No tag has been fetched yet"), "{fresh}");
    assert!(
        fresh.contains("docker pull localhost/docker.io/lib/app:t000"),
        "{fresh}"
    );
    assert!(fresh.contains(&there("t000")) && !fresh.contains(&here("t000")));
    for tag in ["t001", "t120"] {
        let path = format!("/v2/docker.io/lib/app/manifests/{tag}");
        app.get(&path).await.ok(200);
    }
    let first = page("").await;
    for tag in ["t001", "t120"] {
        assert!(
            first.contains(&here(tag)) && !first.contains(&there(tag)),
            "{first}"
        );
    }
    // A hundred at once: the last of them is number 100, since one of those before is here.
    assert!(first.contains(&there("t100")) && !first.contains(&there("t101")));
    assert!(first.contains("beyond=t100"), "{first}");
    let second = page("?beyond=t100").await;
    assert!(second.contains(&there("t101")) && second.contains(&there("t149")));
    assert!(!second.contains(&there("t100")) && !second.contains(&there("t120")));
    assert!(!second.contains("beyond="), "{second}");
    let found = page("?q=14").await;
    assert_eq!(found.matches("<li><code>").count(), 12, "{found}");
    assert_eq!(hub.count("GET /v2/lib/app/tags/list"), 1);
    app.get("/ui/tags/docker.io/lib/none").await.ok(404);
    // Where the upstream has no answer, what is here is shown all the same.
    let app = App::again(app, &settings(&hub.url(), "ttl = \"0s\"\nstale = \"0s\"")).await;
    hub.mood(Mood::Status(503));
    let answer = app.get("/ui/tags/docker.io/lib/app").await.ok(200);
    let alone = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(
        alone.contains(&here("t120")) && !alone.contains(&there("t000")),
        "{alone}"
    );
    let answer = app.get("/ui/tags/docker.io/lib/other").await.ok(200);
    let why = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(why.contains("No list of tags can be had"), "{why}");
    // One that takes its time does not keep people waiting for long.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let app = App::again(app, &settings(&url, "timeout = \"1h\"")).await;
    let answer = app.get("/ui/tags/docker.io/lib/app").await.ok(200);
    let slow = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(
        slow.contains("has not answered yet") && slow.contains(&here("t120")),
        "{slow}"
    );
}

#[tokio::test]
async fn without_its_upstream_what_was_pulled_is_listed() {
    const LIST: &str = "/v2/docker.io/lib/app/tags/list";
    let hub = Upstream::start().await;
    for tag in ["a", "b"] {
        hub.image("lib/app", tag, tag.as_bytes());
    }
    let app = App::configured(|_| {}, &settings(&hub.url(), "")).await;
    app.get("/v2/docker.io/lib/app/manifests/b").await.ok(200);
    app.registry.close().await;
    hub.mood(Mood::Status(503));
    let app = App::again(app, &settings(&hub.url(), "")).await;
    assert_eq!(
        listed(&app, LIST).await,
        (json!(["b"]), Some("111".to_owned()))
    );
    let nothing = app.get("/v2/docker.io/lib/other/tags/list").await;
    nothing.is(502, "UNAVAILABLE");
    app.registry.close().await;
    hub.mood(Mood::Fine);
    let offline = settings(&hub.url(), "[mirror]\noffline = true");
    let app = App::again(app, &offline).await;
    let asked = hub.count("GET ");
    assert_eq!(listed(&app, LIST).await, (json!(["b"]), None));
    assert_eq!(hub.count("GET "), asked);
}

/// A page for each tag.
async fn one_by_one(request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let at = query
        .split("last=")
        .nth(1)
        .map_or(0, |t| t.parse().unwrap());
    let mut response = Response::builder();
    if at < 4 {
        let next = at + 1;
        response = response.header("link", format!("<?n=1&last={next}>; rel=\"next\""));
    }
    let body = json!({"name": "x", "tags": [format!("v{at}")]}).to_string();
    response.body(body.into()).unwrap()
}

#[tokio::test]
async fn all_pages_of_an_upstream_are_read() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(one_by_one);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let app = App::configured(|_| {}, &settings(&url, "")).await;
    let (tags, _) = listed(&app, "/v2/docker.io/x/tags/list").await;
    assert_eq!(tags, json!(["v0", "v1", "v2", "v3", "v4"]));
}

fn serve(dir: &Path, url: &str) -> Process {
    let file = dir.join("registry.toml");
    let data = dir.join("data");
    let text = format!("data_dir = {data:?}\n{}", settings(url, ""));
    std::fs::write(&file, text).unwrap();
    start(
        command()
            .args(["serve", "--addr", "127.0.0.1:0", "--config"])
            .arg(file),
    )
}

/// The size of the largest file in a folder.
fn largest(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = files.map(|file| file.metadata().map_or(0, |found| found.len()));
    sizes.max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_that_a_kill_cut_goes_on_where_it_was() {
    let hub = Upstream::start().await;
    let text: String = (0..60_000).map(|i| format!("{i:010}")).collect();
    let (_, layer) = hub.image("lib/app", "1", text.as_bytes());
    hub.fault(&layer, Fault::Gated);
    let dir = tempfile::tempdir().unwrap();
    let (staging, partial) = (
        dir.path().join("data/staging"),
        dir.path().join("data/partial"),
    );
    let path = format!("/v2/docker.io/lib/app/blobs/{layer}");
    let process = serve(dir.path(), &hub.url());
    let (addr, asked) = (process.addr.clone(), path.clone());
    let client = std::thread::spawn(move || crate::process::send(&addr, "GET", &asked, b""));
    let deadline = Instant::now() + Duration::from_secs(60);
    while largest(&staging) < 300_000 {
        assert!(Instant::now() < deadline, "its first half never comes");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(process.kill());
    drop(process);
    let _ = client.join();
    // All but the last byte of what came is not asked for again.
    let came = largest(&staging);
    hub.open_gate();
    let process = serve(dir.path(), &hub.url());
    assert_eq!((largest(&staging), largest(&partial)), (0, came));
    let answer = process.send("GET", &path, b"");
    assert!(answer.starts_with("HTTP/1.1 200"));
    assert!(answer.ends_with(&format!("\r\n\r\n{text}")));
    let asked = hub.asked(&format!("GET /v2/lib/app/blobs/{layer}"));
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].headers["range"], format!("bytes={}-", came - 1));
    assert_eq!(largest(&partial), 0);
}

#[tokio::test]
async fn a_part_that_is_wrong_or_cannot_be_gone_on_with_is_fetched_anew() {
    let hub = Upstream::start().await;
    let bytes = vec![7; 300_000];
    let layer = Digest::sha256(&bytes);
    hub.image("lib/app", "1", &bytes);
    let part = format!("partial/{}", layer.to_string().replace(':', "-"));
    let path = format!("/v2/docker.io/lib/app/blobs/{layer}");
    for (left, fault) in [
        // What a power cut made of it.
        (vec![0; 200_000], None),
        (vec![7; 200_000], Some(Fault::Whole)),
        // More than there is.
        (vec![7; 400_000], None),
    ] {
        let app = App::configured(|_| {}, &settings(&hub.url(), "")).await;
        if let Some(fault) = fault {
            hub.fault(&layer, fault);
        }
        let wrong = left[0] == 0;
        std::fs::write(app.path().join(&part), &left).unwrap();
        if wrong {
            // Its end is kept back: nobody takes it for whole.
            let request = http::Request::get(&path).body(axum::body::Body::empty());
            let answer = tokio::spawn(app.sending(request.unwrap())).await;
            assert!(answer.is_err(), "{answer:?}");
        }
        let got = app.get(&path).await.ok(200);
        assert!(got.body == bytes, "{} bytes", got.body.len());
        assert!(!app.path().join(&part).exists());
    }
}
