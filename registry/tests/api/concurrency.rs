use std::sync::Arc;

use oci::Digest;
use tokio::task::JoinSet;

use crate::harness::{App, MANIFEST, image};

#[tokio::test(flavor = "multi_thread")]
async fn many_pushers_of_the_same_and_of_different_things() {
    let app = Arc::new(App::new().await);
    let mut pushers = JoinSet::new();
    for i in 0..32 {
        let app = Arc::clone(&app);
        pushers.spawn(async move {
            let repository = format!("team{}/app", i % 4);
            let config = app.blob(&repository, b"{\"shared\":true}").await;
            let shared = app.blob(&repository, &vec![1; 200_000]).await;
            let own = app.blob(&repository, format!("layer {i}").as_bytes()).await;
            let text = image(&config, &[&shared, &own]).to_string();
            for tag in [format!("v{i}"), "latest".to_owned()] {
                app.put_manifest(
                    &format!("/v2/{repository}/manifests/{tag}"),
                    MANIFEST,
                    text.as_bytes(),
                )
                .await
                .ok(201);
            }
            (repository, format!("v{i}"), text)
        });
    }
    let pushed = pushers.join_all().await;
    for (repository, tag, text) in &pushed {
        let pulled = app
            .get(&format!("/v2/{repository}/manifests/{tag}"))
            .await
            .ok(200);
        assert_eq!(&pulled.body[..], text.as_bytes());
    }
    for team in 0..4 {
        let latest = app
            .get(&format!("/v2/team{team}/app/manifests/latest"))
            .await
            .ok(200);
        assert!(
            pushed
                .iter()
                .any(|(_, _, text)| text.as_bytes() == &latest.body[..])
        );
        let tags = app
            .get(&format!("/v2/team{team}/app/tags/list"))
            .await
            .json();
        assert_eq!(tags["tags"].as_array().unwrap().len(), 9);
    }
}

/// A tag that moves while it is read: a reader that was told of a push never sees what was before.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_what_is_read() {
    let app = Arc::new(App::new().await);
    let config = app.blob("app", b"{}").await;
    let mut texts = Vec::new();
    for i in 0..60 {
        let mut manifest = image(&config, &[]);
        manifest["annotations"] = serde_json::json!({"i": i.to_string()});
        texts.push(manifest.to_string());
    }
    let mut readers = JoinSet::new();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    for _ in 0..3 {
        let (app, stop) = (Arc::clone(&app), Arc::clone(&stop));
        readers.spawn(async move {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                app.get("/v2/app/manifests/latest").await;
                // An answer from memory never waits, and would keep others from running.
                tokio::task::yield_now().await;
            }
        });
    }
    for text in &texts {
        app.put_manifest("/v2/app/manifests/latest", MANIFEST, text.as_bytes())
            .await
            .ok(201);
        let read = app.get("/v2/app/manifests/latest").await.ok(200);
        assert_eq!(&read.body[..], text.as_bytes());
        app.delete("/v2/app/manifests/latest").await.ok(202);
        app.get("/v2/app/manifests/latest").await.ok(404);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    readers.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_has_one_writer_at_a_time() {
    let app = Arc::new(App::new().await);
    let location = app.upload("app").await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<std::io::Result<bytes::Bytes>>(1);
    let stream = futures_util::stream::unfold(receiver, |mut r| async move {
        r.recv().await.map(|item| (item, r))
    });
    let slow = {
        let (app, location) = (Arc::clone(&app), location.clone());
        tokio::spawn(async move {
            app.request(
                "PATCH",
                &location,
                &[],
                axum::body::Body::from_stream(stream),
            )
            .await
        })
    };
    sender.send(Ok(vec![1; 300_000].into())).await.unwrap();
    // Once some of it is on disk, the writer surely holds the session.
    while app.get(&location).await.header("range") == "0-0" {
        tokio::task::yield_now().await;
    }
    for method in ["PATCH", "DELETE"] {
        app.request(method, &location, &[], "x")
            .await
            .is(409, "BLOB_UPLOAD_INVALID");
    }
    drop(sender);
    slow.await.unwrap().ok(202);
    let digest = Digest::sha256(&vec![1; 300_000]);
    app.request("PUT", &format!("{location}?digest={digest}"), &[], "")
        .await
        .ok(201);
}
