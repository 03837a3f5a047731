//! Other registries, mirrored: names, tags, blobs, and upstreams that misbehave.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use oci::Digest;
use serde_json::json;

use crate::harness::{Answer, App, INDEX};
use crate::upstream::{Fault, Mood, Upstream};

/// A registry that mirrors `upstream` as docker.io.
async fn mirror_of(upstream: &Upstream, more: &str) -> App {
    let url = upstream.url();
    let settings = format!(
        "[[upstream]]\nrepository = \"docker.io/**\"\nurl = \"{url}\"\nhostless = true\n{more}"
    );
    App::configured(|_| {}, &settings).await
}

/// Waits for what happens meanwhile.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..6000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} does not come");
}

fn blob_path(name: &str, digest: &Digest) -> String {
    format!("/v2/{name}/blobs/{digest}")
}

/// So many bytes, unlike each other's.
fn content(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

#[tokio::test]
async fn every_way_to_name_an_image_leads_to_its_upstream() {
    let hub = Upstream::start().await;
    let (manifest, layer) = hub.image("library/nginx", "1", b"nginx");
    let app = mirror_of(&hub, "").await;
    for (name, query) in [
        ("docker.io/library/nginx", ""),
        ("library/nginx", "?ns=docker.io"),
        ("library/nginx", ""),
        ("docker.io/library/nginx", "?ns=docker.io"),
    ] {
        let got = app
            .get(&format!("/v2/{name}/manifests/1{query}"))
            .await
            .ok(200);
        assert_eq!(got.header("docker-content-digest"), manifest.to_string());
        let got = app
            .get(&format!("{}{query}", blob_path(name, &layer)))
            .await
            .ok(200);
        assert_eq!(&got.body[..], b"nginx", "{name}{query}");
    }
    // All of them are one repository, and were fetched once.
    assert_eq!(hub.count("GET /v2/library/nginx/manifests/1"), 1);
    assert_eq!(
        hub.count(&format!("GET /v2/library/nginx/blobs/{layer}")),
        1
    );
    let catalog = app.get("/v2/_catalog").await.ok(200).json();
    assert_eq!(catalog["repositories"], json!(["docker.io/library/nginx"]));
    // Another registry's image of the same name is another image.
    let other = app.get("/v2/library/nginx/manifests/1?ns=ghcr.io").await;
    other.is(404, "MANIFEST_UNKNOWN");
    // Docker Hub's own folder need not be written, but only Docker Hub has it.
    app.get("/v2/docker.io/nginx/manifests/1")
        .await
        .is(404, "MANIFEST_UNKNOWN");
    assert_eq!(hub.count("GET /v2/nginx/manifests/1"), 1);
}

#[tokio::test]
async fn pushes_go_to_other_names_and_own_images_come_first() {
    let hub = Upstream::start().await;
    let (theirs, _) = hub.image("team/app", "1", b"theirs");
    let app = mirror_of(&hub, "").await;
    let got = app.get("/v2/team/app/manifests/1").await.ok(200);
    assert_eq!(got.header("docker-content-digest"), theirs.to_string());
    // A blob that the upstream has is not here for who is about to push.
    let layer = Digest::sha256(b"theirs");
    app.head(&blob_path("team/app", &layer)).await.ok(404);
    let (ours, _) = app.image("team/app", "1", "ours").await;
    let got = app.get("/v2/team/app/manifests/1").await.ok(200);
    assert_eq!(got.header("docker-content-digest"), ours.to_string());
    app.get("/v2/team/app/manifests/2")
        .await
        .is(404, "MANIFEST_UNKNOWN");
    // What is mirrored is the upstream's alone.
    let push = app.post("/v2/docker.io/team/app/blobs/uploads/").await;
    assert_eq!(
        push.is(405, "UNSUPPORTED").header("allow"),
        "GET, HEAD, DELETE"
    );
    let put = app
        .put_manifest("/v2/docker.io/team/app/manifests/1", INDEX, b"{}")
        .await;
    put.is(405, "UNSUPPORTED");
    // It can be taken out of here, and comes again.
    app.delete(&format!("/v2/docker.io/team/app/manifests/{theirs}"))
        .await
        .ok(202);
    app.get(&format!("/v2/docker.io/team/app/manifests/{theirs}"))
        .await
        .ok(200);
}

#[tokio::test]
async fn many_clients_cause_one_fetch_also_across_repositories() {
    let hub = Upstream::start().await;
    let bytes = content(1, 600_000);
    let (_, layer) = hub.image("a/one", "1", &bytes);
    let _ = hub.image("b/two", "1", &bytes);
    hub.fault(&layer, Fault::Gated);
    let app = mirror_of(&hub, "").await;
    let asking = (0..64).map(|i| {
        let name = if i % 2 == 0 {
            "docker.io/a/one"
        } else {
            "docker.io/b/two"
        };
        let request = http::Request::get(blob_path(name, &layer));
        let request = request.body(axum::body::Body::empty()).unwrap();
        tokio::spawn(app.sending(request))
    });
    let asking: Vec<_> = asking.collect();
    eventually("a fetch", async || hub.count("GET /v2/") > 0).await;
    hub.open_gate();
    for answer in join_all(asking).await {
        let answer = answer.unwrap().ok(200);
        assert_eq!(answer.body, bytes);
        assert_eq!(answer.header("content-length"), "600000");
    }
    let gets = hub.asked("GET ");
    assert_eq!(
        gets.iter()
            .filter(|a| a.line.contains(&layer.to_string()))
            .count(),
        1,
        "{gets:?}"
    );
    // Each repository's right to it was asked for, and both show it now.
    for name in ["docker.io/a/one", "docker.io/b/two"] {
        app.head(&blob_path(name, &layer)).await.ok(200);
    }
    // One that has it not does not show what others have.
    app.get(&blob_path("docker.io/c/three", &layer))
        .await
        .is(404, "BLOB_UNKNOWN");
}

#[tokio::test]
async fn bytes_are_given_on_while_they_come_and_who_leaves_stops_nobody() {
    let hub = Upstream::start().await;
    let bytes = content(2, 400_000);
    let (_, layer) = hub.image("lib/app", "1", &bytes);
    hub.fault(&layer, Fault::Gated);
    let app = mirror_of(&hub, "").await;
    let url = format!(
        "http://{}{}",
        app.listen().await,
        blob_path("docker.io/lib/app", &layer)
    );
    let mut first = reqwest::get(&url).await.unwrap();
    let mut read = 0;
    // The half that the upstream gave, while it keeps the other one back.
    while read < 200_000 {
        read += first.chunk().await.unwrap().unwrap().len();
    }
    let second = reqwest::Client::new()
        .get(&url)
        .header("range", "bytes=1000-1999");
    let second = second.send().await.unwrap();
    assert_eq!(second.status(), 206);
    assert_eq!(second.bytes().await.unwrap(), bytes[1000..2000]);
    drop(first);
    hub.open_gate();
    eventually("the blob", async || {
        let here = app.registry.is_stored(&layer).await.unwrap();
        here && app
            .head(&blob_path("docker.io/lib/app", &layer))
            .await
            .status
            == 200
    })
    .await;
    assert_eq!(
        app.get(&blob_path("docker.io/lib/app", &layer))
            .await
            .ok(200)
            .body,
        bytes
    );
    assert_eq!(hub.count(&format!("GET /v2/lib/app/blobs/{layer}")), 1);
}

#[tokio::test]
async fn a_cut_is_resumed_where_it_was() {
    let hub = Upstream::start().await;
    let bytes = content(3, 500_000);
    let (_, layer) = hub.image("lib/app", "1", &bytes);
    hub.fault(&layer, Fault::Cut(150_000, 2));
    let app = mirror_of(&hub, "").await;
    let got = app
        .get(&blob_path("docker.io/lib/app", &layer))
        .await
        .ok(200);
    assert_eq!(got.body, bytes);
    let asked = hub.asked(&format!("GET /v2/lib/app/blobs/{layer}"));
    assert_eq!(asked.len(), 3);
    assert!(asked[1].headers.contains_key("range"), "{asked:?}");
    assert_eq!(
        app.get(&blob_path("docker.io/lib/app", &layer))
            .await
            .ok(200)
            .body,
        bytes
    );
    assert_eq!(hub.count(&format!("GET /v2/lib/app/blobs/{layer}")), 3);
}

/// What is streamed of a wrong blob ends in a broken connection, and nothing of it stays.
#[tokio::test]
async fn wrong_and_short_bytes_are_never_taken_for_whole() {
    for (seed, fault) in [(4, Fault::Wrong), (5, Fault::Short)] {
        let (hub, second) = (Upstream::start().await, Upstream::start().await);
        let bytes = content(seed, 300_000);
        let (_, layer) = hub.image("lib/app", "1", &bytes);
        hub.fault(&layer, fault.clone());
        let app = mirror_of(&hub, "").await;
        let path = blob_path("docker.io/lib/app", &layer);
        let url = format!("http://{}{path}", app.listen().await);
        let response = reqwest::get(&url).await.unwrap();
        assert_eq!(response.status(), 200);
        let body = response.bytes().await;
        assert!(body.is_err(), "{fault:?} came whole");
        assert!(!app.registry.is_stored(&layer).await.unwrap());
        eventually("a clean staging", async || {
            std::fs::read_dir(app.path().join("staging"))
                .unwrap()
                .count()
                == 0
        })
        .await;
        // Where another upstream has the right ones, they come.
        let _ = second.image("lib/app", "1", &bytes);
        let both = format!(
            "[[upstream]]\nrepository = \"docker.io/**\"\nurl = \"{}\"\n",
            second.url()
        );
        let app = mirror_of(&hub, &both).await;
        let url = format!("http://{}{path}", app.listen().await);
        let mut tries = 0;
        eventually("the right bytes", async || {
            tries += 1;
            let body = reqwest::get(&url).await.unwrap().bytes().await;
            body.is_ok_and(|body| body == bytes)
        })
        .await;
        assert!(tries <= 2, "{fault:?}: {tries} tries");
    }
}

#[tokio::test]
async fn a_blob_whose_size_is_not_told_comes_too() {
    let hub = Upstream::start().await;
    let bytes = content(6, 200_000);
    let (_, layer) = hub.image("lib/app", "1", &bytes);
    hub.fault(&layer, Fault::Unsized);
    let app = mirror_of(&hub, "").await;
    let got = app
        .get(&blob_path("docker.io/lib/app", &layer))
        .await
        .ok(200);
    assert_eq!(got.header("content-length"), "200000");
    assert_eq!(got.body, bytes);
    let empty = hub.blob("lib/app", b"");
    let got = app
        .get(&blob_path("docker.io/lib/app", &empty))
        .await
        .ok(200);
    assert!(got.body.is_empty());
}

#[tokio::test]
async fn a_head_of_a_blob_fetches_nothing() {
    let hub = Upstream::start().await;
    let (_, layer) = hub.image("lib/app", "1", b"content");
    let app = mirror_of(&hub, "").await;
    let path = blob_path("docker.io/lib/app", &layer);
    let head = app.head(&path).await.ok(200);
    assert_eq!(head.header("content-length"), "7");
    assert_eq!(head.header("docker-content-digest"), layer.to_string());
    assert_eq!(hub.count("GET "), 0);
    app.head(&blob_path("docker.io/lib/app", &Digest::sha256(b"none")))
        .await
        .ok(404);
}

#[tokio::test]
async fn tags_are_asked_about_once_their_time_is_over() {
    let hub = Upstream::start().await;
    let (old, _) = hub.image("lib/app", "1", b"old");
    let app = mirror_of(&hub, "ttl = \"0s\"\nstale = \"0s\"").await;
    let tag = "/v2/docker.io/lib/app/manifests/1";
    let digest = |answer: &Answer| answer.header("docker-content-digest").to_owned();
    assert_eq!(digest(&app.get(tag).await.ok(200)), old.to_string());
    // The same still: a HEAD says so, which registries do not count.
    let again = app.get(tag).await.ok(200);
    assert!(!again.headers.contains_key("warning"));
    assert_eq!(hub.count("GET /v2/lib/app/manifests/1"), 1);
    assert_eq!(hub.count("HEAD /v2/lib/app/manifests/1"), 1);
    let (new, _) = hub.image("lib/app", "1", b"new");
    assert_eq!(digest(&app.get(tag).await.ok(200)), new.to_string());
    assert_eq!(hub.count("GET /v2/lib/app/manifests/1"), 2);
    // What does not answer is not waited for: what was known is served, and says so.
    for mood in [Mood::Status(503), Mood::Status(500), Mood::Limited("1")] {
        hub.mood(mood.clone());
        let stale = app.get(tag).await.ok(200);
        assert_eq!(digest(&stale), new.to_string());
        assert!(stale.header("warning").starts_with("111 "), "{mood:?}");
    }
    hub.mood(Mood::Fine);
    eventually("an answer after the pause", async || {
        !app.get(tag).await.ok(200).headers.contains_key("warning")
    })
    .await;
    // What is gone there is gone here; by its digest it stays.
    hub.untag("lib/app", "1");
    app.get(tag).await.is(404, "MANIFEST_UNKNOWN");
    app.get(&format!("/v2/docker.io/lib/app/manifests/{new}"))
        .await
        .ok(200);
}

#[tokio::test]
async fn a_stale_tag_is_served_at_once_and_asked_about_meanwhile() {
    let hub = Upstream::start().await;
    let (old, _) = hub.image("lib/app", "1", b"old");
    let app = mirror_of(&hub, "ttl = \"0s\"\nstale = \"1h\"").await;
    let tag = "/v2/docker.io/lib/app/manifests/1";
    app.get(tag).await.ok(200);
    let (new, _) = hub.image("lib/app", "1", b"new");
    let stale = app.get(tag).await.ok(200);
    assert_eq!(stale.header("docker-content-digest"), old.to_string());
    assert!(stale.header("warning").starts_with("110 "));
    eventually("the new one", async || {
        app.get(tag).await.ok(200).header("docker-content-digest") == new.to_string()
    })
    .await;
    let metrics = app.get("/metrics").await.ok(200);
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(
        !metrics.contains("rregistry_mirror_served_total{how=\"stale\"} 0"),
        "{metrics}"
    );
}

#[tokio::test]
async fn limits_are_respected_and_shown() {
    let hub = Upstream::start().await;
    let _ = hub.image("lib/app", "1", b"app");
    let app = mirror_of(&hub, "").await;
    let text = async || {
        let metrics = app.get("/metrics").await.ok(200);
        String::from_utf8(metrics.body.to_vec()).unwrap()
    };
    app.get("/v2/docker.io/lib/app/manifests/1").await.ok(200);
    let labels = format!("{{repository=\"docker.io/**\",upstream=\"{}\"}}", hub.url());
    let metrics = text().await;
    assert!(metrics.contains(&format!("rregistry_mirror_ratelimit_limit{labels} 100\n")));
    assert!(metrics.contains(&format!(
        "rregistry_mirror_ratelimit_remaining{labels} 76\n"
    )));
    hub.mood(Mood::Limited("3600"));
    let limited = app.get("/v2/docker.io/lib/app/manifests/2").await;
    let wait: u64 = limited
        .is(429, "TOOMANYREQUESTS")
        .header("retry-after")
        .parse()
        .unwrap();
    assert!((3000..=3600).contains(&wait), "{wait}");
    // Until then it is left alone.
    let asked = hub.count("");
    app.get("/v2/docker.io/lib/app/manifests/3")
        .await
        .is(429, "TOOMANYREQUESTS");
    assert_eq!(hub.count(""), asked);
    let metrics = text().await;
    assert!(
        metrics.contains(&format!("rregistry_mirror_limited_total{labels} 1\n")),
        "{metrics}"
    );
    assert!(metrics.contains(&format!("rregistry_mirror_ratelimit_remaining{labels} 0\n")));
    // What is here is served.
    app.get("/v2/docker.io/lib/app/manifests/1").await.ok(200);
}

#[tokio::test]
async fn what_is_missing_is_remembered_and_what_is_down_is_not() {
    let hub = Upstream::start().await;
    let app = mirror_of(&hub, "missing_ttl = \"1h\"").await;
    let tag = "/v2/docker.io/lib/app/manifests/1";
    app.get(tag).await.is(404, "MANIFEST_UNKNOWN");
    app.get(tag).await.is(404, "MANIFEST_UNKNOWN");
    assert_eq!(hub.count("GET /v2/lib/app/manifests/1"), 1);
    hub.mood(Mood::Status(502));
    let other = "/v2/docker.io/lib/app/manifests/2";
    app.get(other).await.is(502, "UNAVAILABLE");
    hub.mood(Mood::Fine);
    let _ = hub.image("lib/app", "2", b"app");
    app.get(other).await.ok(200);

    // Nobody listens there: the next one is asked.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let second = Upstream::start().await;
    let (there, layer) = second.image("lib/app", "1", b"second");
    let settings = |more: &str| {
        format!("[[upstream]]\nrepository = \"docker.io/**\"\nurl = \"{url}\"\n{more}")
    };
    let app = App::configured(|_| {}, &settings("")).await;
    app.get(tag).await.is(502, "UNAVAILABLE");
    let two = format!(
        "[[upstream]]\nrepository = \"docker.io/**\"\nurl = \"{}\"\n",
        second.url()
    );
    let app = App::configured(|_| {}, &settings(&two)).await;
    let got = app.get(tag).await.ok(200);
    assert_eq!(got.header("docker-content-digest"), there.to_string());
    assert_eq!(
        &app.get(&blob_path("docker.io/lib/app", &layer))
            .await
            .ok(200)
            .body[..],
        b"second"
    );
}

#[tokio::test]
async fn an_index_comes_without_its_children() {
    let hub = Upstream::start().await;
    let (amd, _) = hub.image("lib/app", "amd", b"amd");
    let (arm, _) = hub.image("lib/app", "arm", b"arm");
    let entry = |d: &Digest, arch: &str| {
        json!({"mediaType": crate::harness::MANIFEST, "digest": d, "size": 1,
               "platform": {"os": "linux", "architecture": arch}})
    };
    let index = json!({"schemaVersion": 2, "mediaType": INDEX,
        "manifests": [entry(&amd, "amd64"), entry(&arm, "arm64")]});
    hub.manifest("lib/app", "1", &index.to_string(), INDEX);
    let app = mirror_of(&hub, "").await;
    app.get("/v2/docker.io/lib/app/manifests/1").await.ok(200);
    assert_eq!(hub.count("GET "), 1);
    app.get(&format!("/v2/docker.io/lib/app/manifests/{amd}"))
        .await
        .ok(200);
    assert_eq!(hub.count("GET "), 2);
    assert_eq!(hub.count(&format!("GET /v2/lib/app/manifests/{arm}")), 0);
}

/// Garbage is not what a mirrored manifest needs, however long ago it came.
#[tokio::test]
async fn collections_keep_what_mirrored_manifests_need() {
    let hub = Upstream::start().await;
    let (_, layer) = hub.image("lib/app", "1", b"layer");
    let app = mirror_of(&hub, "").await;
    app.get("/v2/docker.io/lib/app/manifests/1").await.ok(200);
    app.get(&blob_path("docker.io/lib/app", &layer))
        .await
        .ok(200);
    let options = registry::service::CollectOptions {
        grace: Duration::ZERO,
        dry_run: false,
        every_file: true,
    };
    let collected = app.registry.collect(options).await.unwrap();
    assert_eq!((collected.link_count, collected.blob_count), (0, 0));
    let checked = app.registry.check(Default::default()).await.unwrap();
    assert!(checked.problems.is_empty(), "{checked:?}");
    app.registry.close().await;
    let app = App::again(app, "").await;
    let got = app
        .get(&blob_path("docker.io/lib/app", &layer))
        .await
        .ok(200);
    assert_eq!(got.body, Bytes::from_static(b"layer"));
}

#[tokio::test]
async fn quotas_hold_for_what_is_mirrored() {
    let hub = Upstream::start().await;
    let bytes = content(7, 50_000);
    let (_, layer) = hub.image("lib/app", "1", &bytes);
    let quota = "[[quota]]\nrepository = \"docker.io/**\"\neach = \"20KiB\"\n";
    let app = mirror_of(&hub, quota).await;
    // The client gets it all the same; it is not kept.
    let path = blob_path("docker.io/lib/app", &layer);
    assert_eq!(app.get(&path).await.ok(200).body, bytes);
    assert!(!app.registry.is_stored(&layer).await.unwrap());
    assert_eq!(app.get(&path).await.ok(200).body, bytes);
}

#[tokio::test]
async fn slow_readers_of_a_coming_blob_get_it_whole() {
    let hub = Upstream::start().await;
    let bytes = content(8, 3_000_000);
    let (_, layer) = hub.image("lib/app", "1", &bytes);
    let app = mirror_of(&hub, "").await;
    let url = format!(
        "http://{}{}",
        app.listen().await,
        blob_path("docker.io/lib/app", &layer)
    );
    let reads = (0..8).map(|i| {
        let url = url.clone();
        async move {
            let mut body = reqwest::get(&url).await.unwrap().bytes_stream();
            let mut all = Vec::new();
            while let Some(chunk) = body.next().await {
                all.extend_from_slice(&chunk.unwrap());
                if i % 2 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            all
        }
    });
    for read in join_all(reads).await {
        assert!(read == bytes);
    }
    assert_eq!(hub.count(&format!("GET /v2/lib/app/blobs/{layer}")), 1);
}
