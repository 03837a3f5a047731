use std::sync::Arc;
use std::time::Duration;

use oci::Digest;
use registry::service::{CollectOptions, Collected};
use serde_json::json;

use crate::harness::{App, INDEX, MANIFEST, image};
use crate::s3;

async fn gc(app: &App, grace: u64) -> Collected {
    let options = CollectOptions {
        grace: Duration::from_secs(grace),
        dry_run: false,
        every_file: true,
    };
    app.registry.collect(options).await.unwrap()
}

fn files(app: &App) -> usize {
    fn count(dir: &std::path::Path) -> usize {
        let entries = std::fs::read_dir(dir).unwrap();
        entries
            .map(|e| e.unwrap().path())
            .map(|p| if p.is_dir() { count(&p) } else { 1 })
            .sum()
    }
    count(&s3::files(app.path()).join("blobs"))
}

#[tokio::test]
async fn what_a_manifest_needs_stays_and_the_rest_goes() {
    let app = App::new().await;
    let (digest, _) = app.image("app", "v1", "kept").await;
    let stray = app.blob("app", b"stray").await;
    assert_eq!(files(&app), 4);

    // Within its grace a blob may still wait for its manifest.
    assert_eq!(gc(&app, 3600).await, Collected::default());
    app.get(&format!("/v2/app/blobs/{stray}")).await.ok(200);

    let options = CollectOptions {
        grace: Duration::ZERO,
        dry_run: true,
        every_file: true,
    };
    let dry = app.registry.collect(options).await.unwrap();
    assert_eq!(dry.links, [format!("app@{stray}")]);
    app.get(&format!("/v2/app/blobs/{stray}")).await.ok(200);

    let gone = gc(&app, 0).await;
    assert_eq!((gone.link_count, gone.blob_count, gone.bytes), (1, 1, 5));
    app.get(&format!("/v2/app/blobs/{stray}"))
        .await
        .is(404, "BLOB_UNKNOWN");
    assert_eq!(files(&app), 3);
    app.get("/v2/app/manifests/v1").await.ok(200);
    app.get(&format!("/v2/app/blobs/{}", Digest::sha256(b"kept")))
        .await
        .ok(200);

    // An untagged manifest is kept; a deleted one frees everything.
    app.delete("/v2/app/manifests/v1").await.ok(202);
    assert_eq!(gc(&app, 0).await, Collected::default());
    app.delete(&format!("/v2/app/manifests/{digest}"))
        .await
        .ok(202);
    let gone = gc(&app, 0).await;
    assert_eq!(
        (gone.link_count, gone.blob_count, gone.repository_count),
        (2, 3, 1)
    );
    assert_eq!(files(&app), 0);
    assert_eq!(
        app.get("/v2/_catalog").await.json(),
        json!({"repositories": []})
    );
    // And everything can come again.
    app.image("app", "v1", "kept").await;
    app.get("/v2/app/manifests/v1").await.ok(200);
}

#[tokio::test]
async fn other_repositories_keep_their_blobs() {
    let app = App::new().await;
    app.image("a", "v1", "shared").await;
    let stray = app.blob("b", b"shared").await;
    let gone = gc(&app, 0).await;
    assert_eq!((gone.link_count, gone.blob_count), (1, 0));
    app.get(&format!("/v2/b/blobs/{stray}")).await.ok(404);
    app.get(&format!("/v2/a/blobs/{stray}")).await.ok(200);
}

#[tokio::test]
async fn children_and_build_caches_of_an_index_stay() {
    let app = App::new().await;
    let (child, _) = app.image("app", "child", "one").await;
    let cached = app.blob("app", b"cached layer").await;
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": MANIFEST, "digest": child, "size": 1},
        {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": cached, "size": 1}]});
    app.put_manifest(
        "/v2/app/manifests/multi",
        INDEX,
        index.to_string().as_bytes(),
    )
    .await
    .ok(201);
    app.delete("/v2/app/manifests/child").await.ok(202);
    assert_eq!(gc(&app, 0).await, Collected::default());
    app.get(&format!("/v2/app/manifests/{child}")).await.ok(200);
    app.get(&format!("/v2/app/blobs/{cached}")).await.ok(200);
}

#[tokio::test]
async fn a_blob_that_a_client_was_told_of_waits_for_its_manifest() {
    let app = App::new().await;
    let config = app.blob("app", b"{}").await;
    let layer = app.blob("app", b"layer").await;
    for blob in [&config, &layer] {
        app.head(&format!("/v2/app/blobs/{blob}")).await.ok(200);
    }
    let stray = app.blob("app", b"nobody asked for it").await;
    assert_eq!(gc(&app, 0).await.blob_count, 1);
    app.get(&format!("/v2/app/blobs/{stray}")).await.ok(404);
    let text = image(&config, &[&layer]).to_string();
    app.put_manifest("/v2/app/manifests/v1", MANIFEST, text.as_bytes())
        .await
        .ok(201);
}

#[tokio::test]
async fn a_deleted_blob_that_comes_again_belongs_to_its_manifest_again() {
    let app = App::new().await;
    app.image("app", "v1", "layer").await;
    let layer = Digest::sha256(b"layer");
    app.delete(&format!("/v2/app/blobs/{layer}")).await.ok(202);
    assert_eq!(gc(&app, 0).await.blob_count, 1);
    assert_eq!(files(&app), 2);
    app.blob("app", b"layer").await;
    assert_eq!(gc(&app, 0).await, Collected::default());
    app.get(&format!("/v2/app/blobs/{layer}")).await.ok(200);
}

/// Pushes, deletions and collections all at once: whatever was acknowledged and not deleted is
/// whole at the end.
#[tokio::test(flavor = "multi_thread")]
async fn pushes_race_with_collections() {
    let app = Arc::new(App::new().await);
    let mut pushers = tokio::task::JoinSet::new();
    for p in 0..4 {
        let app = Arc::clone(&app);
        pushers.spawn(async move {
            let mut kept = Vec::new();
            for i in 0..12 {
                // Layers that others push, delete and collect at the same time.
                let content = format!("layer {}", i % 3);
                let name = format!("r{}", p % 2);
                let tag = format!("p{p}-{i}");
                loop {
                    let config = app
                        .blob(&name, format!("{{\"p\":\"{p}-{i}\"}}").as_bytes())
                        .await;
                    let layer = app.blob(&name, content.as_bytes()).await;
                    let text = image(&config, &[&layer]).to_string();
                    let path = format!("/v2/{name}/manifests/{tag}");
                    let pushed = app.put_manifest(&path, MANIFEST, text.as_bytes()).await;
                    if pushed.status == 201 {
                        kept.push((name.clone(), tag, text, content));
                        break;
                    }
                    // With no grace at all a blob may go before its manifest comes.
                    pushed.is(400, "MANIFEST_BLOB_UNKNOWN");
                }
                if i % 4 == 3 {
                    let (name, _, text, _) = kept.remove(0);
                    let digest = Digest::sha256(text.as_bytes());
                    app.delete(&format!("/v2/{name}/manifests/{digest}"))
                        .await
                        .ok(202);
                }
            }
            kept
        });
    }
    let collector = {
        let app = Arc::clone(&app);
        tokio::spawn(async move {
            loop {
                gc(&app, 0).await;
                // Long enough for a push to fit in between.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    };
    let kept = pushers.join_all().await.concat();
    collector.abort();
    let _ = collector.await;
    gc(&app, 0).await;
    assert_eq!(kept.len(), 36);
    for (name, tag, text, content) in kept {
        let manifest = app
            .get(&format!("/v2/{name}/manifests/{tag}"))
            .await
            .ok(200);
        assert_eq!(&manifest.body[..], text.as_bytes());
        let layer = Digest::sha256(content.as_bytes());
        let blob = app.get(&format!("/v2/{name}/blobs/{layer}")).await.ok(200);
        assert_eq!(&blob.body[..], content.as_bytes());
    }
}
