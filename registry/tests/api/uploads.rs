use std::io;

use axum::body::Body;
use bytes::Bytes;
use oci::{Algorithm, Digest};

use crate::harness::App;
use crate::s3;

#[tokio::test]
async fn chunks_then_a_closing_put() {
    let app = App::new().await;
    let bytes: Vec<u8> = (0..700_000u32).map(|i| (i % 253) as u8).collect();
    let digest = Digest::sha256(&bytes);
    let begun = app.post("/v2/app/blobs/uploads/").await.ok(202);
    assert_eq!(begun.header("range"), "0-0");
    assert_eq!(begun.header("content-length"), "0");
    let mut location = begun.header("location").to_owned();
    assert!(location.ends_with(begun.header("docker-upload-uuid")));
    let mut at = 0;
    // A chunk below and one above the size at which threads take over, and one in the PUT.
    for end in [1000, 500_000] {
        let range = format!("{at}-{}", end - 1);
        let chunk = app
            .request(
                "PATCH",
                &location,
                &[
                    ("content-range", &range),
                    ("content-type", "application/octet-stream"),
                ],
                bytes[at..end].to_vec(),
            )
            .await
            .ok(202);
        assert_eq!(chunk.header("range"), format!("0-{}", end - 1));
        location = chunk.header("location").to_owned();
        let status = app.get(&location).await.ok(204);
        assert_eq!(status.header("range"), format!("0-{}", end - 1));
        assert_eq!(status.header("location"), location);
        at = end;
    }
    let done = app
        .request(
            "PUT",
            &format!("{location}?digest={digest}"),
            &[("content-range", &format!("{at}-{}", bytes.len() - 1))],
            bytes[at..].to_vec(),
        )
        .await
        .ok(201);
    assert_eq!(done.header("location"), format!("/v2/app/blobs/{digest}"));
    assert_eq!(&app.get(done.header("location")).await.body[..], &bytes[..]);
    app.get(&location).await.is(404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(left_over(&app), 0);
}

#[tokio::test]
async fn a_chunk_out_of_order_says_where_to_go_on() {
    let app = App::new().await;
    let location = app.upload("app").await;
    let patch = async |range: &str, body: &'static [u8]| {
        app.request("PATCH", &location, &[("content-range", range)], body)
            .await
    };
    patch("0-4", b"hello").await.ok(202);
    for range in ["0-4", "6-10", "4-8", "nonsense", "9-5", "bytes 5-9/10"] {
        let refused = patch(range, b"world").await;
        refused.is(416, "BLOB_UPLOAD_INVALID");
        assert_eq!(refused.header("range"), "0-4");
        assert_eq!(refused.header("location"), location);
    }
    patch("5-9", b"world").await.ok(202);
    let digest = Digest::sha256(b"helloworld!");
    let put = format!("{location}?digest={digest}");
    app.request("PUT", &put, &[("content-range", "3-3")], "!")
        .await
        .is(416, "BLOB_UPLOAD_INVALID");
    app.request("PUT", &put, &[("content-range", "10-10")], "!")
        .await
        .ok(201);
}

#[tokio::test]
async fn a_chunk_of_another_size_than_it_says_is_not_kept() {
    let app = App::new().await;
    let location = app.upload("app").await;
    app.request("PATCH", &location, &[("content-range", "0-4")], "hello")
        .await
        .ok(202);
    let known = [("content-range", "5-14"), ("content-length", "5")];
    app.request("PATCH", &location, &known, "world")
        .await
        .is(400, "SIZE_INVALID");
    // Chunked encoding: only the end shows.
    for body in ["wor", "world and more"] {
        app.request("PATCH", &location, &[("content-range", "5-9")], body)
            .await
            .is(400, "SIZE_INVALID");
        assert_eq!(app.get(&location).await.header("range"), "0-4");
    }
    app.request("PATCH", &location, &[("content-range", "5-9")], "world")
        .await
        .ok(202);
    let digest = Digest::sha256(b"helloworld");
    app.request("PUT", &format!("{location}?digest={digest}"), &[], "")
        .await
        .ok(201);
}

#[tokio::test]
async fn wrong_digests_end_the_upload() {
    let app = App::new().await;
    let wrong = Digest::sha256(b"something else");
    let location = app.upload("app").await;
    app.request("PUT", &format!("{location}?digest={wrong}"), &[], "hello")
        .await
        .is(400, "DIGEST_INVALID");
    app.get(&location).await.is(404, "BLOB_UPLOAD_UNKNOWN");
    app.request(
        "POST",
        &format!("/v2/app/blobs/uploads/?digest={wrong}"),
        &[],
        "hello",
    )
    .await
    .is(400, "DIGEST_INVALID");
    app.get(&format!("/v2/app/blobs/{wrong}")).await.ok(404);
    assert_eq!(left_over(&app), 0);
}

#[tokio::test]
async fn a_digest_that_is_none_leaves_the_upload_open() {
    let app = App::new().await;
    let location = app.upload("app").await;
    app.request("PATCH", &location, &[], "hello").await.ok(202);
    for query in ["", "?digest=", "?digest=sha256:short", "?digest=md5:00"] {
        app.request("PUT", &format!("{location}{query}"), &[], "")
            .await
            .is(400, "DIGEST_INVALID");
    }
    let digest = Digest::sha256(b"hello");
    app.request("PUT", &format!("{location}?digest={digest}"), &[], "")
        .await
        .ok(201);
}

#[tokio::test]
async fn sha512_announced_and_not() {
    let app = App::new().await;
    let digest = Algorithm::Sha512.digest(b"hello");
    for query in ["", "?digest-algorithm=sha512"] {
        let begun = app
            .post(&format!("/v2/app/blobs/uploads/{query}"))
            .await
            .ok(202);
        let location = begun.header("location");
        app.request("PATCH", location, &[], "hel").await.ok(202);
        app.request("PUT", &format!("{location}?digest={digest}"), &[], "lo")
            .await
            .ok(201);
    }
    assert_eq!(
        &app.get(&format!("/v2/app/blobs/{digest}")).await.body[..],
        b"hello"
    );
}

#[tokio::test]
async fn cancelled_uploads_are_gone() {
    let app = App::new().await;
    let location = app.upload("app").await;
    app.request("PATCH", &location, &[], "hello").await.ok(202);
    app.delete(&location).await.ok(204);
    for method in ["GET", "PATCH", "DELETE"] {
        app.request(method, &location, &[], "")
            .await
            .is(404, "BLOB_UPLOAD_UNKNOWN");
    }
    assert_eq!(left_over(&app), 0);
}

#[tokio::test]
async fn an_upload_belongs_to_its_repository() {
    let app = App::new().await;
    let location = app.upload("app").await;
    let elsewhere = location.replace("/app/", "/other/");
    for method in ["GET", "PATCH", "DELETE"] {
        app.request(method, &elsewhere, &[], "")
            .await
            .is(404, "BLOB_UPLOAD_UNKNOWN");
    }
    app.get(&location).await.ok(204);
}

#[tokio::test]
async fn a_connection_lost_in_the_middle_keeps_what_came() {
    let app = App::new().await;
    // Below and above the size at which threads take over.
    for size in [1000usize, 400_000] {
        let bytes = vec![5u8; size];
        let location = app.upload("app").await;
        let broken = Body::from_stream(futures_util::stream::iter([
            Ok(Bytes::from(bytes.clone())),
            Err(io::Error::other("the client is gone")),
        ]));
        app.request("PATCH", &location, &[], broken)
            .await
            .is(400, "BLOB_UPLOAD_INVALID");
        let status = app.get(&location).await.ok(204);
        assert_eq!(status.header("range"), format!("0-{}", size - 1));
        let mut whole = bytes;
        whole.extend_from_slice(b"end");
        let digest = Digest::sha256(&whole);
        let range = format!("{size}-{}", size + 2);
        app.request(
            "PUT",
            &format!("{location}?digest={digest}"),
            &[("content-range", &range)],
            "end",
        )
        .await
        .ok(201);
    }
}

#[tokio::test]
async fn the_status_says_what_a_running_request_has_sent() {
    let app = std::sync::Arc::new(App::new().await);
    let location = app.upload("app").await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<io::Result<Bytes>>(1);
    let body = Body::from_stream(futures_util::stream::unfold(receiver, async |mut r| {
        r.recv().await.map(|item| (item, r))
    }));
    let patch = {
        let (app, location) = (std::sync::Arc::clone(&app), location.clone());
        tokio::spawn(async move { app.request("PATCH", &location, &[], body).await.status })
    };
    let mut sent = 0;
    // Below and above the size at which threads take over.
    for size in [10, 1000, 300_000] {
        sender.send(Ok(vec![1; size].into())).await.unwrap();
        sent += size;
        let expected = format!("0-{}", sent - 1);
        let mut range = String::new();
        for _ in 0..1000 {
            range = app.get(&location).await.ok(204).header("range").to_owned();
            if range == expected {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert_eq!(range, expected);
    }
    drop(sender);
    assert_eq!(patch.await.unwrap(), 202);
    let status = app.get(&location).await.ok(204);
    assert_eq!(status.header("range"), format!("0-{}", sent - 1));
}

/// Files of uploads that should be gone.
fn left_over(app: &App) -> usize {
    let list = |dir: std::path::PathBuf| {
        let entries = std::fs::read_dir(dir).into_iter().flatten();
        entries.map(|e| e.unwrap().path())
    };
    let uploads = list(s3::files(app.path()).join("uploads")).flat_map(list);
    uploads.chain(list(app.path().join("staging"))).count()
}

#[tokio::test]
async fn sessions_at_rest_hold_no_open_file() {
    let app = App::new().await;
    let mut locations = Vec::new();
    for i in 0..20_usize {
        let location = app.upload("app").await;
        // Below and above the size at which threads take over.
        let part = vec![1; if i.is_multiple_of(2) { 10 } else { 200_000 }];
        app.request("PATCH", &location, &[], part).await.ok(202);
        locations.push(location);
    }
    let open = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok())
        .filter(|file| file.starts_with(app.path().join("uploads")))
        .count();
    assert_eq!(open, 0);
    let digest = Digest::sha256(&[1; 10]);
    app.request("PUT", &format!("{}?digest={digest}", locations[0]), &[], "")
        .await
        .ok(201);
}
