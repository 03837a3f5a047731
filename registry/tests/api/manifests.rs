use oci::{Algorithm, Digest};
use serde_json::{Value, json};

use crate::harness::{App, CONFIG, INDEX, LAYER, MANIFEST, image, sized};

#[tokio::test]
async fn bytes_come_back_as_they_went() {
    let app = App::new().await;
    let config = app.blob("app", b"{}").await;
    // Odd spacing and unknown fields, which a re-serialisation would lose.
    let text = format!(
        "{{ \"schemaVersion\":2,\n\t\"config\": {{\"mediaType\":\"{CONFIG}\",\"digest\":\"{config}\",\
         \"size\":2,\"x\":[1]}}, \"layers\":[ ],\"unknown\":{{}} }}\n"
    );
    let digest = Digest::sha256(text.as_bytes());
    let pushed = app
        .put_manifest(
            "/v2/app/manifests/v1",
            "application/vnd.oci.image.manifest.v1+json; charset=utf-8",
            text.as_bytes(),
        )
        .await
        .ok(201);
    assert_eq!(
        pushed.header("location"),
        format!("/v2/app/manifests/{digest}")
    );
    let app = {
        // Once from the cache, once from the disk.
        check(&app, &digest, &text).await;
        app.restart().await
    };
    check(&app, &digest, &text).await;

    async fn check(app: &App, digest: &Digest, text: &str) {
        for reference in ["v1", &digest.to_string()] {
            let pulled = app
                .get(&format!("/v2/app/manifests/{reference}"))
                .await
                .ok(200);
            assert_eq!(&pulled.body[..], text.as_bytes());
            assert_eq!(pulled.header("content-type"), MANIFEST);
            assert_eq!(pulled.header("docker-content-digest"), digest.to_string());
        }
    }
}

#[tokio::test]
async fn docker_media_types_are_kept() {
    let app = App::new().await;
    let config = app.blob("app", b"{}").await;
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let text = json!({
        "schemaVersion": 2, "mediaType": docker,
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json",
                   "digest": config, "size": 2},
        "layers": [],
    })
    .to_string();
    app.put_manifest("/v2/app/manifests/v1", docker, text.as_bytes())
        .await
        .ok(201);
    assert_eq!(
        app.head("/v2/app/manifests/v1")
            .await
            .header("content-type"),
        docker
    );
}

#[tokio::test]
async fn what_a_manifest_needs_must_be_there() {
    let app = App::new().await;
    let config = app.blob("app", b"{}").await;
    let layer = sized(b"layer");
    let other = sized(b"other");
    // Pushed elsewhere is not pushed here.
    app.blob("elsewhere", b"layer").await;
    let text = image(&config, &[&layer, &other, &layer]).to_string();
    let refused = app
        .put_manifest("/v2/app/manifests/v1", MANIFEST, text.as_bytes())
        .await;
    refused.is(400, "MANIFEST_BLOB_UNKNOWN");
    let errors = refused.json()["errors"].clone();
    let missing: Vec<_> = errors
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["detail"]["digest"].as_str().unwrap())
        .collect();
    assert_eq!(missing, [layer.to_string(), other.to_string()]);
    app.get("/v2/app/manifests/v1")
        .await
        .is(404, "MANIFEST_UNKNOWN");

    app.blob("app", b"layer").await;
    app.blob("app", b"other").await;
    app.put_manifest("/v2/app/manifests/v1", MANIFEST, text.as_bytes())
        .await
        .ok(201);

    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": MANIFEST, "digest": Digest::sha256(b"no child"), "size": 1}]})
    .to_string();
    app.put_manifest("/v2/app/manifests/v2", INDEX, index.as_bytes())
        .await
        .is(400, "MANIFEST_BLOB_UNKNOWN");
}

/// "If the length of the retrieved content does not match the specified length, the content SHOULD
/// NOT be trusted" (image-spec, descriptor.md): nobody could pull such an image.
#[tokio::test]
async fn sizes_must_be_those_of_the_blobs() {
    let app = App::new().await;
    let config = app.blob("app", b"{}").await;
    let first = app.blob("app", b"first").await;
    let second = app.blob("app", b"second layer").await;
    let right = image(&config, &[&first, &second]);
    let put = async |document: &Value| {
        let text = document.to_string();
        app.put_manifest("/v2/app/manifests/v1", MANIFEST, text.as_bytes())
            .await
    };
    for (at, wrong, blob, has) in [
        ("/config/size", json!(3), ("config", &config), 2),
        ("/layers/0/size", json!(4), ("layer", &first), 5),
        ("/layers/1/size", json!(0), ("layer", &second), 12),
        ("/layers/1/size", json!(u64::MAX), ("layer", &second), 12),
    ] {
        let mut document = right.clone();
        *document.pointer_mut(at).unwrap() = wrong.clone();
        let refused = put(&document).await;
        refused.is(400, "MANIFEST_INVALID");
        let told = refused.json()["errors"][0].to_string();
        let (what, digest) = blob;
        let wanted = format!("the {what} {digest} has {has} bytes, the manifest says {wrong}");
        assert!(told.contains(&wanted), "{at}: {told}");
        app.get("/v2/app/manifests/v1")
            .await
            .is(404, "MANIFEST_UNKNOWN");
    }
    put(&right).await.ok(201);
}

#[tokio::test]
async fn layers_that_may_not_be_distributed_need_not_be_there() {
    let app = App::new().await;
    let config = app.blob("app", b"{}").await;
    for media_type in [
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ] {
        let mut manifest = image(&config, &[]);
        manifest["layers"] = json!([{"mediaType": media_type, "size": 1,
            "digest": Digest::sha256(b"far away"), "urls": ["https://example.com/layer"]}]);
        app.put_manifest(
            "/v2/app/manifests/v1",
            MANIFEST,
            manifest.to_string().as_bytes(),
        )
        .await
        .ok(201);
    }
}

#[tokio::test]
async fn indexes_hold_manifests_and_build_caches() {
    let app = App::new().await;
    let (amd64, _) = app.image("app", "amd64", "one").await;
    let (arm64, _) = app.image("app", "arm64", "two").await;
    let cache = app.blob("app", b"cached layer").await;
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": MANIFEST, "digest": amd64, "size": 1},
        {"mediaType": MANIFEST, "digest": arm64, "size": 1},
        {"mediaType": LAYER, "digest": cache, "size": 1},
    ]})
    .to_string();
    app.put_manifest("/v2/app/manifests/multi", INDEX, index.as_bytes())
        .await
        .ok(201);
    let pulled = app.get("/v2/app/manifests/multi").await.ok(200);
    assert_eq!(pulled.header("content-type"), INDEX);
    assert_eq!(&pulled.body[..], index.as_bytes());
}

#[tokio::test]
async fn an_index_may_be_sparse_where_settings_say_it() {
    let absent = Digest::sha256(b"another platform");
    for (settings, status) in [("", 400), ("[manifests]\nsparse_indexes = true\n", 201)] {
        let app = App::configured(|_| {}, settings).await;
        let (amd64, _) = app.image("app", "amd64", "one").await;
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
            {"mediaType": MANIFEST, "digest": amd64, "size": 1},
            {"mediaType": MANIFEST, "digest": absent, "size": 1},
        ]});
        let index = index.to_string();
        app.put_manifest("/v2/app/manifests/multi", INDEX, index.as_bytes())
            .await
            .ok(status);
        // What an image is made of has to be there in any case.
        let manifest = image(&absent, &[]).to_string();
        app.put_manifest("/v2/app/manifests/none", MANIFEST, manifest.as_bytes())
            .await
            .is(400, "MANIFEST_BLOB_UNKNOWN");
    }
}

#[tokio::test]
async fn ambiguous_and_wrong_documents_are_refused() {
    let app = App::new().await;
    let config = app.blob("app", b"{}").await;
    let plain = image(&config, &[]);
    let mut both = plain.clone();
    both["manifests"] = json!([]);
    let mut traversal = plain.clone();
    traversal["config"]["digest"] = json!("sha256:../../x");
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let schema1 = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    for (media_type, text) in [
        (MANIFEST, both.to_string()),
        (docker, plain.to_string()),
        (INDEX, plain.to_string()),
        ("application/x-www-form-urlencoded", plain.to_string()),
        (MANIFEST, traversal.to_string()),
        (MANIFEST, "not JSON".to_owned()),
        (MANIFEST, String::new()),
        (MANIFEST, "[]".to_owned()),
        (
            schema1,
            json!({"schemaVersion": 1, "fsLayers": []}).to_string(),
        ),
        (MANIFEST, "[".repeat(100_000)),
    ] {
        app.put_manifest("/v2/app/manifests/v1", media_type, text.as_bytes())
            .await
            .is(400, "MANIFEST_INVALID");
    }
    app.get("/v2/app/manifests/v1").await.ok(404);
}

#[tokio::test]
async fn manifests_have_a_largest_size() {
    let app = App::new().await;
    let limit = 4 << 20;
    let refuse = async |body: axum::body::Body, headers: &[(&str, &str)]| {
        app.request("PUT", "/v2/app/manifests/v1", headers, body)
            .await
            .is(413, "MANIFEST_INVALID");
    };
    let length = (limit + 1).to_string();
    // Announced: refused before a byte is read.
    refuse(
        axum::body::Body::from_stream(
            futures_util::stream::pending::<std::io::Result<bytes::Bytes>>(),
        ),
        &[("content-length", &length)],
    )
    .await;
    // Endless: refused when the limit is passed.
    refuse(
        axum::body::Body::from_stream(futures_util::stream::repeat_with(|| {
            Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[b' '; 65536]))
        })),
        &[],
    )
    .await;
    let config = app.blob("app", b"{}").await;
    let mut text = image(&config, &[]).to_string();
    text.push_str(&" ".repeat(limit - text.len()));
    app.put_manifest("/v2/app/manifests/v1", MANIFEST, text.as_bytes())
        .await
        .ok(201);
    assert_eq!(app.get("/v2/app/manifests/v1").await.body.len(), limit);
}

#[tokio::test]
async fn by_digest_the_content_must_match_and_tags_come_along() {
    let app = App::new().await;
    let config = app.blob("app", b"{}").await;
    let text = image(&config, &[]).to_string();
    let wrong = Digest::sha256(b"wrong");
    app.put_manifest(
        &format!("/v2/app/manifests/{wrong}"),
        MANIFEST,
        text.as_bytes(),
    )
    .await
    .is(400, "DIGEST_INVALID");
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let digest = algorithm.digest(text.as_bytes());
        let pushed = app
            .put_manifest(
                &format!("/v2/app/manifests/{digest}?tag=1.2.3&tag=1.2&tag=latest"),
                MANIFEST,
                text.as_bytes(),
            )
            .await
            .ok(201);
        assert_eq!(pushed.header("docker-content-digest"), digest.to_string());
        let tags: Vec<_> = pushed.headers.get_all("oci-tag").iter().collect();
        assert_eq!(tags, ["1.2.3", "1.2", "latest"]);
        for reference in ["1.2.3", "1.2", "latest", &digest.to_string()] {
            let pulled = app
                .get(&format!("/v2/app/manifests/{reference}"))
                .await
                .ok(200);
            assert_eq!(pulled.header("docker-content-digest"), digest.to_string());
        }
    }
    let digest = Digest::sha256(text.as_bytes());
    app.put_manifest(
        &format!("/v2/app/manifests/{digest}?tag=fine&tag=.bad"),
        MANIFEST,
        text.as_bytes(),
    )
    .await
    .is(400, "TAG_INVALID");
    app.get("/v2/app/manifests/fine").await.ok(404);
}

#[tokio::test]
async fn tags_move_and_go() {
    let app = App::new().await;
    let (one, _) = app.image("app", "latest", "one").await;
    let (two, _) = app.image("app", "latest", "two").await;
    let latest = app.get("/v2/app/manifests/latest").await;
    assert_eq!(latest.header("docker-content-digest"), two.to_string());
    // The old one stays, by digest.
    app.get(&format!("/v2/app/manifests/{one}")).await.ok(200);

    app.image("app", "other", "two").await;
    app.delete("/v2/app/manifests/latest").await.ok(202);
    app.get("/v2/app/manifests/latest")
        .await
        .is(404, "MANIFEST_UNKNOWN");
    app.delete("/v2/app/manifests/latest")
        .await
        .is(404, "MANIFEST_UNKNOWN");
    app.get("/v2/app/manifests/other").await.ok(200);

    // With a manifest go all its tags.
    app.image("app", "third", "two").await;
    app.delete(&format!("/v2/app/manifests/{two}"))
        .await
        .ok(202);
    for reference in ["other", "third", &two.to_string()] {
        app.get(&format!("/v2/app/manifests/{reference}"))
            .await
            .is(404, "MANIFEST_UNKNOWN");
    }
    app.get(&format!("/v2/app/manifests/{one}")).await.ok(200);
    assert_eq!(
        app.get("/v2/app/tags/list").await.json(),
        json!({"name": "app", "tags": []})
    );
}

#[tokio::test]
async fn a_conditional_get_saves_the_body() {
    let app = App::new().await;
    let (digest, _) = app.image("app", "v1", "x").await;
    let etag = format!("\"{digest}\"");
    let same = app
        .request(
            "GET",
            "/v2/app/manifests/v1",
            &[("if-none-match", &etag)],
            "",
        )
        .await
        .ok(304);
    assert!(same.body.is_empty());
    app.request(
        "GET",
        "/v2/app/manifests/v1",
        &[("if-none-match", "\"x\"")],
        "",
    )
    .await
    .ok(200);
}

#[tokio::test]
async fn null_stands_for_what_may_be_left_out() {
    let app = App::new().await;
    let config = app.blob("app", b"{}").await;
    let mut manifest = image(&config, &[&config]);
    manifest["annotations"] = json!(null);
    manifest["layers"][0]["urls"] = json!(null);
    manifest["config"]["annotations"] = json!(null);
    app.put_manifest(
        "/v2/app/manifests/v1",
        MANIFEST,
        manifest.to_string().as_bytes(),
    )
    .await
    .ok(201);
}

#[tokio::test]
async fn media_types_in_any_case_are_kept_as_pushed() {
    let app = App::new().await;
    let config = app.blob("app", b"{}").await;
    let shouted = MANIFEST.to_uppercase();
    let mut manifest = image(&config, &[]);
    app.put_manifest(
        "/v2/app/manifests/v1",
        &shouted,
        manifest.to_string().as_bytes(),
    )
    .await
    .ok(201);
    manifest.as_object_mut().unwrap().remove("mediaType");
    manifest["artifactType"] = json!("Application/Vnd.Example");
    manifest["subject"] = json!({"mediaType": MANIFEST, "digest": config, "size": 2});
    app.put_manifest(
        "/v2/app/manifests/v2",
        &shouted,
        manifest.to_string().as_bytes(),
    )
    .await
    .ok(201);
    let pulled = app.head("/v2/app/manifests/v2").await;
    assert_eq!(pulled.header("content-type"), shouted);
    let path = format!("/v2/app/referrers/{config}?artifactType=application/vnd.example");
    let found = app.get(&path).await.ok(200).json();
    assert_eq!(
        found["manifests"][0]["artifactType"],
        "Application/Vnd.Example"
    );
}

#[tokio::test]
async fn conditions_on_manifests() {
    let app = App::new().await;
    let (one, first) = app.image("app", "v1", "one").await;
    let (two, second) = app.image("app", "other", "two").await;
    let tag = |digest: &Digest| format!("\"{digest}\"");
    let send = async |method: &str, reference: &str, header: &str, tag: &str, body: &str| {
        let path = format!("/v2/app/manifests/{reference}");
        let headers = [("content-type", MANIFEST), (header, tag)];
        let answer = app.request(method, &path, &headers, body.to_owned()).await;
        answer.status.as_u16()
    };
    let get = async |header: &str, tag: &str| {
        let status = send("HEAD", "v1", header, tag, "").await;
        assert_eq!(send("GET", "v1", header, tag, "").await, status);
        status
    };
    assert_eq!(get("if-match", &tag(&one)).await, 200);
    assert_eq!(get("if-match", &tag(&two)).await, 412);
    assert_eq!(get("if-none-match", &tag(&one)).await, 304);

    // Only if it is new; only if it is still the one that was seen.
    for (reference, header, etag, body, status) in [
        ("v1", "if-none-match", "*", &second, 412),
        ("new", "if-match", "*", &first, 412),
        ("new", "if-match", &*tag(&one), &first, 412),
        ("new", "if-none-match", "*", &first, 201),
        ("v1", "if-match", &tag(&two), &second, 412),
        ("v1", "if-match", &format!("W/{}", tag(&one)), &second, 412),
        ("v1", "if-none-match", &tag(&one), &second, 412),
        ("v1", "if-match", &tag(&one), &second, 201),
        ("v1", "if-match", &tag(&one), &first, 412),
        (&two.to_string(), "if-none-match", "*", &second, 412),
        (&two.to_string(), "if-match", "*", &second, 201),
        // What is wrong anyway is told first.
        ("v1", "if-match", "*", &"{}".to_owned(), 400),
    ] {
        let answer = send("PUT", reference, header, etag, body).await;
        assert_eq!(answer, status, "{reference} {header}: {etag}");
    }
    assert_eq!(get("if-match", &tag(&two)).await, 200);
    for (reference, header, etag, status) in [
        ("v1", "if-match", tag(&one), 412),
        ("v1", "if-none-match", "*".into(), 412),
        ("none", "if-match", tag(&one), 404),
        ("v1", "if-match", tag(&two), 202),
        (&one.to_string(), "if-match", tag(&two), 412),
        (&one.to_string(), "if-match", tag(&one), 202),
    ] {
        let answer = send("DELETE", reference, header, &etag, "").await;
        assert_eq!(answer, status, "{reference} {header}: {etag}");
    }
}

/// Many clients change one tag, each only if it is as that client saw it: no change is lost.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_those_who_saw_the_same_tag_may_move_it() {
    let app = std::sync::Arc::new(App::new().await);
    let config = app.blob("app", b"{}").await;
    let (start, _) = app.image("app", "v1", "start").await;
    let pushes: Vec<_> = (0..20)
        .map(|i| {
            let (app, etag) = (std::sync::Arc::clone(&app), format!("\"{start}\""));
            let mut manifest = image(&config, &[]);
            manifest["annotations"] = json!({"pusher": i.to_string()});
            tokio::spawn(async move {
                let headers = [("content-type", MANIFEST), ("if-match", &etag)];
                app.request(
                    "PUT",
                    "/v2/app/manifests/v1",
                    &headers,
                    manifest.to_string(),
                )
                .await
                .status
                .as_u16()
            })
        })
        .collect();
    let mut statuses = Vec::new();
    for push in pushes {
        statuses.push(push.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses[0], 201);
    assert!(statuses[1..].iter().all(|s| *s == 412), "{statuses:?}");
}
