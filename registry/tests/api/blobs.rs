use oci::{Algorithm, Digest};

use crate::harness::App;

#[tokio::test]
async fn the_base_says_that_this_is_a_registry() {
    let app = App::new().await;
    let base = app.get("/v2/").await.ok(200);
    assert_eq!(&base.body[..], b"{}");
    assert_eq!(
        base.header("docker-distribution-api-version"),
        "registry/2.0"
    );
    assert_eq!(base.header("content-type"), "application/json");
    app.get("/").await.ok(200);
    app.get("/nothing").await.is(404, "UNSUPPORTED");
    let wrong = app.post("/v2/").await;
    assert_eq!(wrong.is(405, "UNSUPPORTED").header("allow"), "GET, HEAD");
}

#[tokio::test]
async fn head_and_get_have_the_same_headers() {
    let app = App::new().await;
    let blob = app.blob("app", b"hello").await;
    let large = app.blob("app", &vec![7; 100_000]).await;
    let (manifest, _) = app.image("app", "v1", "x").await;
    for path in [
        "/v2/".to_owned(),
        "/v2/_catalog".to_owned(),
        "/v2/_catalog?n=0".to_owned(),
        "/v2/app/tags/list".to_owned(),
        format!("/v2/app/blobs/{blob}"),
        format!("/v2/app/blobs/{large}"),
        "/v2/app/manifests/v1".to_owned(),
        format!("/v2/app/manifests/{manifest}"),
        format!("/v2/app/referrers/{manifest}"),
        "/v2/app/manifests/none".to_owned(),
        "/v2/none/tags/list".to_owned(),
    ] {
        let get = app.get(&path).await;
        let head = app.head(&path).await;
        assert_eq!(get.status, head.status, "{path}");
        assert_eq!(get.headers, head.headers, "{path}");
        assert!(head.body.is_empty());
        assert_eq!(get.header("content-length"), get.body.len().to_string());
    }
}

#[tokio::test]
async fn blobs_of_both_algorithms_are_pushed_and_pulled() {
    let app = App::new().await;
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        for size in [0, 1, 1000, 300_000] {
            let bytes: Vec<u8> = (0..size).map(|i| (i * 7 % 251) as u8).collect();
            let digest = algorithm.digest(&bytes);
            let pushed = app
                .request(
                    "POST",
                    &format!("/v2/app/blobs/uploads/?digest={digest}"),
                    &[],
                    bytes.clone(),
                )
                .await
                .ok(201);
            assert_eq!(pushed.header("docker-content-digest"), digest.to_string());
            let pulled = app.get(pushed.header("location")).await.ok(200);
            assert_eq!(&pulled.body[..], &bytes[..]);
            assert_eq!(pulled.header("content-type"), "application/octet-stream");
            assert_eq!(pulled.header("docker-content-digest"), digest.to_string());
        }
    }
}

#[tokio::test]
async fn ranges_of_small_and_large_blobs() {
    let app = App::new().await;
    for size in [100usize, 600_000] {
        let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let digest = app.blob("app", &bytes).await;
        let path = format!("/v2/app/blobs/{digest}");
        let range = async |range: &str| {
            app.request("GET", &path, &[("range", range)], Vec::new())
                .await
        };
        let one = range("bytes=10-19").await.ok(206);
        assert_eq!(&one.body[..], &bytes[10..20]);
        assert_eq!(one.header("content-range"), format!("bytes 10-19/{size}"));
        let tail = range("bytes=-5").await.ok(206);
        assert_eq!(&tail.body[..], &bytes[size - 5..]);
        let rest = range("bytes=40-").await.ok(206);
        assert_eq!(&rest.body[..], &bytes[40..]);

        let several = range("bytes=0-1,50-52").await.ok(206);
        let kind = several.header("content-type");
        let boundary = kind
            .strip_prefix("multipart/byteranges; boundary=")
            .unwrap();
        let part = |from: usize, to: usize| {
            let mut part = format!(
                "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n\
                 Content-Range: bytes {from}-{}/{size}\r\n\r\n",
                to - 1
            )
            .into_bytes();
            part.extend_from_slice(&bytes[from..to]);
            part
        };
        let mut expected = part(0, 2);
        expected.extend(part(50, 53));
        expected.extend(format!("\r\n--{boundary}--\r\n").bytes());
        assert_eq!(&several.body[..], &expected[..]);
        assert_eq!(several.header("content-length"), expected.len().to_string());

        for bad in [
            format!("bytes={size}-"),
            "bytes=b-a".into(),
            "bytes=5-4".into(),
        ] {
            let refused = range(&bad).await;
            refused.is(416, "SIZE_INVALID");
            assert_eq!(refused.header("content-range"), format!("bytes */{size}"));
        }
        let head = app
            .request("HEAD", &path, &[("range", "bytes=0-9")], Vec::new())
            .await
            .ok(200);
        assert_eq!(head.header("content-length"), size.to_string());
        assert!(!head.headers.contains_key("content-range"));
        app.request("HEAD", &path, &[("range", "bytes=b-a")], Vec::new())
            .await
            .ok(200);
        assert_eq!(&range("BYTES=0-3").await.ok(206).body[..], &bytes[..4]);
        let etag = format!("\"{digest}\"");
        app.request(
            "GET",
            &path,
            &[("range", "bytes=0-1"), ("if-range", "\"other\"")],
            Vec::new(),
        )
        .await
        .ok(200);
        app.request("GET", &path, &[("if-none-match", &etag)], Vec::new())
            .await
            .ok(304);
    }
}

#[tokio::test]
async fn conditions_on_blobs() {
    let app = App::new().await;
    let digest = app.blob("app", b"hello").await;
    let path = format!("/v2/app/blobs/{digest}");
    let etag = format!("\"{digest}\"");
    let weak = format!("W/{etag}");
    let list = format!("\"x\", {etag}");
    for (header, tag, status) in [
        ("if-match", &*etag, 200),
        ("if-match", "*", 200),
        ("if-match", &list, 200),
        ("if-match", &weak, 412),
        ("if-match", "\"x\"", 412),
        ("if-none-match", &etag, 304),
        ("if-none-match", &weak, 304),
        ("if-none-match", "*", 304),
        ("if-none-match", "\"x\"", 200),
    ] {
        for method in ["GET", "HEAD"] {
            let headers = [(header, tag), ("range", "bytes=9-")];
            let headers = if status == 200 {
                &headers[..1]
            } else {
                &headers
            };
            let answer = app.request(method, &path, headers, "").await;
            assert_eq!(answer.status, status, "{method} {header}: {tag}");
        }
    }
    app.request("DELETE", &path, &[("if-match", "\"x\"")], "")
        .await
        .is(412, "DENIED");
    app.request("DELETE", &path, &[("if-match", &etag)], "")
        .await
        .ok(202);
    app.request("DELETE", &path, &[("if-match", "\"x\"")], "")
        .await
        .is(404, "BLOB_UNKNOWN");
}

#[tokio::test]
async fn a_blob_is_only_seen_where_it_was_put() {
    let app = App::new().await;
    let digest = app.blob("a", b"secret").await;
    app.get(&format!("/v2/a/blobs/{digest}")).await.ok(200);
    app.get(&format!("/v2/b/blobs/{digest}"))
        .await
        .is(404, "BLOB_UNKNOWN");
    app.blob("b", b"secret").await;
    app.get(&format!("/v2/b/blobs/{digest}")).await.ok(200);

    app.delete(&format!("/v2/a/blobs/{digest}")).await.ok(202);
    app.get(&format!("/v2/a/blobs/{digest}"))
        .await
        .is(404, "BLOB_UNKNOWN");
    app.head(&format!("/v2/a/blobs/{digest}")).await.ok(404);
    app.get(&format!("/v2/b/blobs/{digest}")).await.ok(200);
    app.delete(&format!("/v2/a/blobs/{digest}"))
        .await
        .is(404, "BLOB_UNKNOWN");
}

#[tokio::test]
async fn mounts_with_and_without_a_source() {
    let app = App::new().await;
    let digest = app.blob("a", b"layer").await;
    let mounted = app
        .post(&format!("/v2/b/blobs/uploads/?mount={digest}&from=a"))
        .await
        .ok(201);
    assert_eq!(mounted.header("location"), format!("/v2/b/blobs/{digest}"));
    app.get(mounted.header("location")).await.ok(200);
    app.post(&format!("/v2/c/d/blobs/uploads/?mount={digest}"))
        .await
        .ok(201);
    app.get(&format!("/v2/c/d/blobs/{digest}")).await.ok(200);

    // What cannot be mounted is an upload.
    let none = Digest::sha256(b"none");
    for query in [
        format!("mount={none}&from=a"),
        format!("mount={none}"),
        format!("mount={digest}&from=nobody"),
        format!("mount={digest}&from=UP"),
        format!("mount={digest}&from="),
        format!("mount={digest}&from=..%2Fa"),
    ] {
        let session = app
            .post(&format!("/v2/e/blobs/uploads/?{query}"))
            .await
            .ok(202);
        app.get(session.header("location")).await.ok(204);
    }
    app.get(&format!("/v2/e/blobs/{digest}")).await.ok(404);
    app.post("/v2/e/blobs/uploads/?mount=sha256:short&from=a")
        .await
        .is(400, "DIGEST_INVALID");
    app.post("/v2/e/blobs/uploads/?mount=sha256:short&from=UP")
        .await
        .is(400, "DIGEST_INVALID");
}

#[tokio::test]
async fn malformed_names_and_digests_are_refused_by_code() {
    let app = App::new().await;
    for (method, path, status, code) in [
        ("GET", "/v2/UPPER/tags/list", 400, "NAME_INVALID"),
        ("GET", "/v2/../../etc/tags/list", 400, "NAME_INVALID"),
        ("GET", "/v2/a/blobs/sha256:abc", 400, "DIGEST_INVALID"),
        (
            "GET",
            "/v2/a/blobs/sha256:..%2f..%2fregistry.db",
            400,
            "DIGEST_INVALID",
        ),
        (
            "GET",
            "/v2/a/blobs/md5:d41d8cd98f00b204e9800998ecf8427e",
            400,
            "DIGEST_INVALID",
        ),
        ("DELETE", "/v2/a/blobs/nope", 400, "DIGEST_INVALID"),
        ("GET", "/v2/a/manifests/sha256:abc", 400, "DIGEST_INVALID"),
        ("GET", "/v2/a/manifests/.bad", 404, "MANIFEST_UNKNOWN"),
        ("PUT", "/v2/a/manifests/.bad", 400, "TAG_INVALID"),
        ("GET", "/v2/a/referrers/nope", 400, "DIGEST_INVALID"),
        (
            "POST",
            "/v2/a/blobs/uploads/?digest=sha256:abc",
            400,
            "DIGEST_INVALID",
        ),
        (
            "POST",
            "/v2/a/blobs/uploads/?digest-algorithm=md5",
            400,
            "DIGEST_INVALID",
        ),
        (
            "PATCH",
            "/v2/a/blobs/uploads/..%2f..%2fregistry.db",
            404,
            "BLOB_UPLOAD_UNKNOWN",
        ),
        (
            "GET",
            "/v2/a/blobs/uploads/6b0c1e88-4f5a-4d1f-9f0e-2d6f8b6c1a55",
            404,
            "BLOB_UPLOAD_UNKNOWN",
        ),
        ("GET", "/v2/a/tags/list?n=1&last=%zz", 400, "UNSUPPORTED"),
        ("GET", "/v2/_catalog?last=%", 400, "UNSUPPORTED"),
        ("POST", "/v2/a/blobs/uploads/?from=%ff", 400, "UNSUPPORTED"),
        ("PUT", "/v2/a/manifests/v1?tag=%x", 400, "UNSUPPORTED"),
        ("GET", "/v2/%61/t%61gs/list", 404, "NAME_UNKNOWN"),
        (
            "GET",
            "/v2/%2e%2e/%2e%2e/etc/tags/list",
            400,
            "NAME_INVALID",
        ),
        ("GET", "/v2/a/tags/list", 404, "NAME_UNKNOWN"),
        ("DELETE", "/v2/a/manifests/v1", 404, "MANIFEST_UNKNOWN"),
    ] {
        app.request(method, path, &[], Vec::new())
            .await
            .is(status, code);
    }
}
