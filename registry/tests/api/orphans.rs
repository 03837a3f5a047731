//! Files that no row knows do not stay.

use std::path::Path;
use std::time::Duration;

use oci::Digest;
use registry::service::{CollectOptions, Collected};
use tokio::task::JoinSet;

use crate::harness::{App, MANIFEST, image, try_open};
use crate::s3;

async fn gc(app: &App, grace: u64, dry_run: bool) -> Collected {
    let options = CollectOptions {
        grace: Duration::from_secs(grace),
        dry_run,
        every_file: true,
    };
    app.registry.collect(options).await.unwrap()
}

fn files(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).unwrap();
    entries
        .map(|e| e.unwrap().path())
        .map(|p| if p.is_dir() { files(&p) } else { 1 })
        .sum()
}

/// A file without a row, as a process that was killed leaves it.
fn orphan(app: &App, bytes: &[u8]) -> std::path::PathBuf {
    let digest = Digest::sha256(bytes);
    let shard = s3::files(app.path())
        .join("blobs/sha256")
        .join(&digest.hex()[..2]);
    std::fs::create_dir_all(&shard).unwrap();
    let path = shard.join(digest.hex());
    std::fs::write(&path, bytes).unwrap();
    path
}

#[tokio::test]
async fn a_refused_push_leaves_no_file() {
    let app = App::configured(
        |_| {},
        "[[immutable]]\nrepository = \"**\"\ntags = \"v*\"\n[[quota]]\nrepository = \"full\"\n\
         each = \"10B\"",
    )
    .await;
    app.image("app", "v1", "one").await;
    let config = app.blob("app", b"{}").await;
    let blobs = s3::files(app.path()).join("blobs");
    let before = files(&blobs);
    for i in 0..20 {
        let mut other = image(&config, &[]);
        other["annotations"] = serde_json::json!({"n": i.to_string()});
        let other = other.to_string();
        app.put_manifest("/v2/app/manifests/v1", MANIFEST, other.as_bytes())
            .await
            .is(403, "DENIED");
    }
    let config = app.blob("full", b"{}").await;
    let text = image(&config, &[]).to_string();
    app.put_manifest("/v2/full/manifests/a", MANIFEST, text.as_bytes())
        .await
        .is(403, "DENIED");
    assert_eq!(files(&blobs), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nor_does_one_that_the_transaction_refuses() {
    let app = App::configured(|_| {}, "[[immutable]]\nrepository = \"**\"\ntags = \"v*\"").await;
    let config = app.blob("app", b"{}").await;
    let mut kept = 0;
    for round in 0..5 {
        let mut pushes = JoinSet::new();
        for i in 0..16 {
            let mut text = image(&config, &[]);
            text["annotations"] = serde_json::json!({"n": format!("{round} {i}")});
            let request = http::Request::put(format!("/v2/app/manifests/v{round}"))
                .header("content-type", MANIFEST)
                .body(text.to_string().into())
                .unwrap();
            pushes.spawn(app.sending(request));
        }
        let answers = pushes.join_all().await;
        kept += answers.iter().filter(|a| a.status == 201).count();
    }
    assert_eq!(kept, 5);
    assert_eq!(files(&s3::files(app.path()).join("blobs")), 1 + kept);
}

#[tokio::test]
async fn what_a_crash_left_is_swept_when_it_is_old_enough() {
    let app = App::new().await;
    app.image("app", "v1", "kept").await;
    let left = orphan(&app, b"left over");
    assert_eq!(gc(&app, 3600, false).await, Collected::default());
    assert_eq!(gc(&app, 0, true).await.orphan_count, 1);
    assert!(left.exists());
    let swept = gc(&app, 0, false).await;
    assert_eq!((swept.orphan_count, swept.orphan_bytes), (1, 9));
    assert!(!left.exists());
    assert_eq!(files(&s3::files(app.path()).join("blobs")), 3);
    app.get("/v2/app/manifests/v1").await.ok(200);
}

#[tokio::test]
async fn regular_collections_come_by_every_directory() {
    let app = App::new().await;
    let left: Vec<_> = (0..40_u8).map(|i| orphan(&app, &[i])).collect();
    let options = CollectOptions {
        grace: Duration::ZERO,
        dry_run: false,
        every_file: false,
    };
    let first = app.registry.collect(options).await.unwrap();
    assert!(first.orphan_count < 40);
    for _ in 1..16 {
        app.registry.collect(options).await.unwrap();
    }
    assert!(left.iter().all(|path| !path.exists()));
}

/// As when an older copy of the database is put in place.
#[tokio::test]
async fn what_an_older_database_does_not_know_stays() {
    let dir = tempfile::tempdir().unwrap();
    let registry = try_open(dir.path()).await.unwrap();
    registry.close().await;
    drop(registry);
    let digest = Digest::sha256(b"pushed since");
    let shard = s3::files(dir.path())
        .join("blobs/sha256")
        .join(&digest.hex()[..2]);
    std::fs::create_dir_all(&shard).unwrap();
    let file = shard.join(digest.hex());
    std::fs::write(&file, b"pushed since").unwrap();
    // Times are in whole seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let registry = try_open(dir.path()).await.unwrap();
    let options = CollectOptions {
        grace: Duration::ZERO,
        dry_run: false,
        every_file: true,
    };
    let collected = registry.collect(options).await.unwrap();
    assert_eq!((collected.orphan_count, collected.suspect_count), (0, 1));
    assert!(file.exists());
}
