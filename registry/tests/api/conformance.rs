//! The distribution specification, endpoint by endpoint, for each digest algorithm.

use axum::body::Body;
use oci::{Algorithm, Digest};
use serde_json::{Value, json};

use crate::harness::{Answer, App, CONFIG, INDEX, LAYER, MANIFEST};

const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];
const UPLOADS: &str = "/v2/conform/app/blobs/uploads/";

/// How a blob gets to a registry.
#[derive(Clone, Copy, Debug)]
enum Way {
    PostPut,
    SinglePost,
    /// In pieces of so many bytes, the last one in the closing PUT if there.
    Chunks(usize, bool),
    /// One PATCH of unknown length.
    Stream,
}

const WAYS: [Way; 6] = [
    Way::PostPut,
    Way::SinglePost,
    Way::Chunks(100, false),
    Way::Chunks(100, true),
    Way::Chunks(700, true),
    Way::Stream,
];

async fn send(app: &App, method: &str, path: &str, body: impl Into<Body>) -> Answer {
    let kind = [("content-type", "application/octet-stream")];
    app.request(method, path, &kind, body).await
}

async fn session(app: &App, algorithm: Algorithm) -> String {
    let path = match algorithm {
        Algorithm::Sha256 => UPLOADS.to_owned(),
        other => format!("{UPLOADS}?digest-algorithm={other}"),
    };
    let begun = app.request("POST", &path, &[("content-length", "0")], "");
    begun.await.ok(202).header("location").to_owned()
}

async fn chunk(app: &App, method: &str, path: &str, at: usize, bytes: &[u8]) -> Answer {
    let range = format!("{at}-{}", at + bytes.len() - 1);
    let len = bytes.len().to_string();
    let headers = [("content-range", &*range), ("content-length", &*len)];
    app.request(method, path, &headers, bytes.to_vec()).await
}

fn closing(location: &str, digest: &Digest) -> String {
    let separator = if location.contains('?') { '&' } else { '?' };
    format!("{location}{separator}digest={digest}")
}

/// Pushes `bytes` and gives the last answer.
async fn push(app: &App, way: Way, digest: &Digest, bytes: &[u8]) -> Answer {
    if let Way::SinglePost = way {
        let path = format!("{UPLOADS}?digest={digest}");
        return send(app, "POST", &path, bytes.to_vec()).await;
    }
    let mut location = session(app, digest.algorithm()).await;
    match way {
        Way::PostPut | Way::SinglePost => {
            send(app, "PUT", &closing(&location, digest), bytes.to_vec()).await
        }
        Way::Stream => {
            let pieces: Vec<_> = bytes.chunks(64).map(<[u8]>::to_vec).collect();
            let pieces =
                futures_util::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
            let sent = send(app, "PATCH", &location, Body::from_stream(pieces)).await;
            let sent = sent.ok(202);
            send(app, "PUT", &closing(sent.header("location"), digest), "").await
        }
        Way::Chunks(size, in_put) => {
            let mut at = 0;
            let mut rest = bytes;
            while rest.len() > if in_put { size } else { 0 } {
                let (piece, tail) = rest.split_at(size.min(rest.len()));
                let sent = chunk(app, "PATCH", &location, at, piece).await.ok(202);
                at += piece.len();
                rest = tail;
                assert_eq!(sent.header("range"), format!("0-{}", at - 1));
                location = sent.header("location").to_owned();
                let status = app.get(&location).await.ok(204);
                assert_eq!(status.header("range"), sent.header("range"));
                assert_eq!(status.header("location"), location);
            }
            if in_put {
                return chunk(app, "PUT", &closing(&location, digest), at, rest).await;
            }
            send(app, "PUT", &closing(&location, digest), "").await
        }
    }
}

/// GET and HEAD, which must say the same.
async fn pull(app: &App, path: &str) -> Answer {
    let (get, head) = (app.get(path).await, app.head(path).await);
    assert_eq!((get.status, &get.headers), (head.status, &head.headers));
    assert!(head.body.is_empty());
    get
}

#[tokio::test]
async fn support_is_told() {
    let app = App::new().await;
    pull(&app, "/v2/").await.ok(200);
}

#[tokio::test]
async fn blobs_by_every_way() {
    let app = App::new().await;
    for algorithm in ALGORITHMS {
        for (number, way) in WAYS.into_iter().enumerate() {
            let bytes = [number as u8, 7, 9].repeat(111);
            let digest = algorithm.digest(&bytes);
            pull(&app, &format!("/v2/conform/app/blobs/{digest}"))
                .await
                .ok(404);
            let pushed = push(&app, way, &digest, &bytes).await.ok(201);
            let pulled = pull(&app, pushed.header("location")).await.ok(200);
            assert_eq!(&pulled.body[..], &bytes[..], "{way:?}");
            assert_eq!(pulled.header("docker-content-digest"), digest.to_string());
            // Once more is as good.
            push(&app, way, &digest, &bytes).await.ok(201);
            // Under a wrong name it is refused, and not there.
            let other = algorithm.digest(format!("{number}").as_bytes());
            push(&app, way, &other, &bytes)
                .await
                .is(400, "DIGEST_INVALID");
            pull(&app, &format!("/v2/conform/app/blobs/{other}"))
                .await
                .ok(404);
        }
    }
}

#[tokio::test]
async fn chunks_come_in_order() {
    let app = App::new().await;
    for algorithm in ALGORITHMS {
        let digest = algorithm.digest(b"0123456789");
        let location = session(&app, algorithm).await;
        chunk(&app, "PATCH", &location, 3, b"345").await.ok(416);
        chunk(&app, "PATCH", &location, 0, b"012").await.ok(202);
        for (method, path) in [
            ("PATCH", location.clone()),
            ("PUT", closing(&location, &digest)),
        ] {
            for at in [0, 2, 4] {
                let refused = chunk(&app, method, &path, at, b"345").await;
                refused.is(416, "BLOB_UPLOAD_INVALID");
                let status = app.get(&location).await.ok(204);
                assert_eq!(status.header("range"), "0-2");
            }
        }
        chunk(&app, "PATCH", &location, 3, b"345678").await.ok(202);
        chunk(&app, "PUT", &closing(&location, &digest), 9, b"9")
            .await
            .ok(201);
    }
}

#[tokio::test]
async fn uploads_are_cancelled() {
    let app = App::new().await;
    for algorithm in ALGORITHMS {
        let location = session(&app, algorithm).await;
        send(&app, "PATCH", &location, "hello").await.ok(202);
        app.delete(&location).await.ok(204);
        for method in ["GET", "PATCH", "DELETE"] {
            send(&app, method, &location, "").await.ok(404);
        }
        let digest = algorithm.digest(b"hello");
        send(&app, "PUT", &closing(&location, &digest), "")
            .await
            .ok(404);
    }
}

#[tokio::test]
async fn blobs_are_mounted_and_deleted() {
    let app = App::new().await;
    for algorithm in ALGORITHMS {
        let digest = algorithm.digest(b"layer");
        push(&app, Way::PostPut, &digest, b"layer").await.ok(201);
        for (to, from, status) in [
            ("b", "&from=conform/app", 201),
            ("c", "", 201),
            ("d", "&from=nobody", 202),
        ] {
            let path = format!("/v2/{to}/blobs/uploads/?mount={digest}{from}");
            let answer = app.post(&path).await.ok(status);
            if status == 201 {
                pull(&app, answer.header("location")).await.ok(200);
            } else {
                // Then it is an upload like any other.
                let path = closing(answer.header("location"), &digest);
                send(&app, "PUT", &path, "layer").await.ok(201);
            }
        }
        for name in ["b", "c", "d"] {
            let path = format!("/v2/{name}/blobs/{digest}");
            app.delete(&path).await.ok(202);
            pull(&app, &path).await.is(404, "BLOB_UNKNOWN");
            app.delete(&path).await.is(404, "BLOB_UNKNOWN");
        }
        // Where it came from, it stays.
        pull(&app, &format!("/v2/conform/app/blobs/{digest}"))
            .await
            .ok(200);
    }
}

/// An artifact whose parts are there.
async fn artifact(app: &App, algorithm: Algorithm, with: Value) -> (Digest, String) {
    let blob = algorithm.digest(b"{}");
    push(app, Way::SinglePost, &blob, b"{}").await.ok(201);
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": blob, "size": 2},
        "layers": [{"mediaType": LAYER, "digest": blob, "size": 2}],
    });
    for (key, value) in with.as_object().unwrap() {
        manifest[key] = value.clone();
    }
    let text = manifest.to_string();
    (algorithm.digest(text.as_bytes()), text)
}

#[tokio::test]
async fn manifests_by_tag_and_digest() {
    for algorithm in ALGORITHMS {
        let app = App::new().await;
        let at = |reference: &str| format!("/v2/conform/app/manifests/{reference}");
        let (digest, text) = artifact(&app, algorithm, json!({})).await;
        pull(&app, &at("v1")).await.is(404, "MANIFEST_UNKNOWN");

        let tags: Vec<String> = (0..12).map(|i| format!("t{i:02}")).collect();
        let path = format!("{}?tag={}", at(&digest.to_string()), tags.join("&tag="));
        let pushed = app.put_manifest(&path, MANIFEST, text.as_bytes()).await;
        let pushed = pushed.ok(201);
        let accepted = pushed.headers.get_all("oci-tag").iter();
        assert!(accepted.eq(&tags));
        assert_eq!(pushed.header("docker-content-digest"), digest.to_string());
        // By tag, a registry names it by its own algorithm.
        let by_tag = app.put_manifest(&at("v1"), MANIFEST, text.as_bytes()).await;
        let by_tag = by_tag.ok(201);
        for path in [
            &at("t00"),
            &at("v1"),
            pushed.header("location"),
            by_tag.header("location"),
        ] {
            let pulled = pull(&app, path).await.ok(200);
            assert_eq!(&pulled.body[..], text.as_bytes());
            assert_eq!(pulled.header("content-type"), MANIFEST);
        }

        let list = "/v2/conform/app/tags/list";
        for (query, from, to) in [
            ("", 0, 12),
            ("?n=3", 0, 3),
            ("?n=0", 0, 0),
            ("?n=2&last=t03", 4, 6),
            ("?last=t09", 10, 12),
        ] {
            let answer = pull(&app, &format!("{list}{query}")).await.ok(200).json();
            assert_eq!(answer["name"], "conform/app");
            let got: Vec<_> = answer["tags"].as_array().unwrap().iter().collect();
            let got = got.into_iter().filter(|t| *t != "v1");
            assert!(got.eq(&tags[from..to]), "{query}: {answer}");
        }

        app.delete(&at("t00")).await.ok(202);
        pull(&app, &at("t00")).await.ok(404);
        pull(&app, &at("t01")).await.ok(200);
        app.delete(&at(&digest.to_string())).await.ok(202);
        for reference in ["t01", &digest.to_string()] {
            pull(&app, &at(reference)).await.is(404, "MANIFEST_UNKNOWN");
        }
        app.delete(&at(&digest.to_string())).await.ok(404);
        pull(&app, "/v2/nowhere/tags/list").await.ok(404);
    }
}

#[tokio::test]
async fn referrers_with_and_without_a_filter() {
    for algorithm in ALGORITHMS {
        let app = App::new().await;
        // Those that refer may come before what they refer to.
        let (subject, text) = artifact(&app, algorithm, json!({})).await;
        let refers = json!({"mediaType": MANIFEST, "digest": subject, "size": text.len()});
        let list = format!("/v2/conform/app/referrers/{subject}");
        let put = async |kind: &str, digest: &Digest, text: &str| {
            let path = format!("/v2/conform/app/manifests/{digest}");
            let pushed = app.put_manifest(&path, kind, text.as_bytes()).await;
            pushed.ok(201)
        };
        let mut expected = Vec::new();
        for (kind, artifact_type, shown) in [
            (
                MANIFEST,
                Some("application/vnd.test.sbom"),
                Some("application/vnd.test.sbom"),
            ),
            (MANIFEST, None, Some(CONFIG)),
            (MANIFEST, Some(""), Some(CONFIG)),
            (
                INDEX,
                Some("application/vnd.test.sbom"),
                Some("application/vnd.test.sbom"),
            ),
            (INDEX, None, None),
        ] {
            let annotations = json!({"kind": kind, "type": format!("{artifact_type:?}")});
            let mut with = json!({"subject": refers, "annotations": annotations});
            if let Some(artifact_type) = artifact_type {
                with["artifactType"] = artifact_type.into();
            }
            let (digest, text) = if kind == MANIFEST {
                artifact(&app, algorithm, with).await
            } else {
                with["schemaVersion"] = json!(2);
                with["mediaType"] = json!(INDEX);
                with["manifests"] = json!([]);
                let text = with.to_string();
                (algorithm.digest(text.as_bytes()), text)
            };
            let pushed = put(kind, &digest, &text).await;
            assert_eq!(pushed.header("oci-subject"), subject.to_string());
            let mut entry = json!({"mediaType": kind, "digest": digest, "size": text.len(),
                "annotations": annotations});
            if let Some(shown) = shown {
                entry["artifactType"] = shown.into();
            }
            expected.push(entry);
        }
        put(MANIFEST, &subject, &text).await;
        expected.sort_by_key(|entry| entry["digest"].to_string());

        for (filter, applied) in [
            ("", None),
            (
                "?artifactType=application/vnd.test.sbom",
                Some("application/vnd.test.sbom"),
            ),
            (
                "?artifactType=application%2Fvnd.test.none",
                Some("application/vnd.test.none"),
            ),
        ] {
            let answer = pull(&app, &format!("{list}{filter}")).await.ok(200);
            assert_eq!(answer.header("content-type"), INDEX);
            assert_eq!(
                answer.headers.contains_key("oci-filters-applied"),
                applied.is_some()
            );
            let wanted: Vec<_> = expected
                .iter()
                .filter(|entry| applied.is_none_or(|a| entry["artifactType"] == a))
                .collect();
            let index = answer.json();
            assert_eq!(index["schemaVersion"], 2);
            let got: Vec<_> = index["manifests"].as_array().unwrap().iter().collect();
            assert_eq!(got, wanted, "{filter}");
        }
        // A manifest that goes refers to nothing any more.
        for entry in &expected {
            let digest = entry["digest"].as_str().unwrap();
            app.delete(&format!("/v2/conform/app/manifests/{digest}"))
                .await
                .ok(202);
        }
        let left = pull(&app, &list).await.ok(200).json();
        assert_eq!(left["manifests"], json!([]));
        let unknown = format!("/v2/conform/app/referrers/{}", algorithm.digest(b"?"));
        pull(&app, &unknown).await.ok(200);
        pull(&app, "/v2/conform/app/referrers/sha256:x")
            .await
            .is(400, "DIGEST_INVALID");
    }
}
