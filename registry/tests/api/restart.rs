use std::time::Duration;

use oci::Digest;

use crate::harness::{App, try_open};
use crate::s3;

#[tokio::test]
async fn everything_acknowledged_is_there_after_a_restart() {
    let app = App::new().await;
    let (digest, text) = app.image("a/b", "v1", "content").await;
    let app = app.restart().await;
    let manifest = app.get("/v2/a/b/manifests/v1").await.ok(200);
    assert_eq!(&manifest.body[..], text.as_bytes());
    app.get(&format!("/v2/a/b/manifests/{digest}"))
        .await
        .ok(200);
    let layer = Digest::sha256(b"content");
    assert_eq!(
        &app.get(&format!("/v2/a/b/blobs/{layer}")).await.body[..],
        b"content"
    );
}

#[tokio::test]
async fn open_uploads_go_on_after_a_restart() {
    let app = App::new().await;
    let empty = app.upload("app").await;
    let begun = app.upload("app").await;
    app.request("PATCH", &begun, &[], "hello ").await.ok(202);
    let app = app.restart().await;
    let status = app.get(&begun).await.ok(204);
    assert_eq!(status.header("range"), "0-5");
    app.request("PATCH", &begun, &[("content-range", "0-5")], "hello ")
        .await
        .is(416, "BLOB_UPLOAD_INVALID");
    app.request("PATCH", &begun, &[("content-range", "6-8")], "wor")
        .await
        .ok(202);
    let app = app.restart().await;
    for (location, rest, whole) in [(&begun, "ld", "hello world"), (&empty, "new", "new")] {
        let digest = Digest::sha256(whole.as_bytes());
        app.request("PUT", &format!("{location}?digest={digest}"), &[], rest)
            .await
            .ok(201);
        let pulled = app.get(&format!("/v2/app/blobs/{digest}")).await;
        assert_eq!(&pulled.body[..], whole.as_bytes());
    }
}

#[tokio::test]
async fn what_a_crash_leaves_is_swept_and_breaks_nothing() {
    let app = App::new().await;
    let dir = app.path().to_owned();
    std::fs::write(dir.join("staging/leftover"), b"half a manif").unwrap();
    // A blob that got its name just before the crash: nobody sees it, and it can come again.
    let digest = Digest::sha256(b"unacknowledged");
    let shard = s3::files(&dir)
        .join("blobs/sha256")
        .join(&digest.hex()[..2]);
    std::fs::create_dir_all(&shard).unwrap();
    std::fs::write(shard.join(digest.hex()), b"unacknowledged").unwrap();
    let app = app.restart().await;
    assert!(!dir.join("staging/leftover").exists());
    app.get(&format!("/v2/app/blobs/{digest}"))
        .await
        .is(404, "BLOB_UNKNOWN");
    app.blob("app", b"unacknowledged").await;
    app.get(&format!("/v2/app/blobs/{digest}")).await.ok(200);
}

#[tokio::test]
async fn old_uploads_expire_and_new_ones_stay() {
    let app = App::new().await;
    let location = app.upload("app").await;
    app.request("PATCH", &location, &[], "hello").await.ok(202);
    assert_eq!(
        app.registry
            .expire_uploads(Duration::from_secs(60))
            .await
            .unwrap(),
        0
    );
    app.get(&location).await.ok(204);
    assert_eq!(
        app.registry.expire_uploads(Duration::ZERO).await.unwrap(),
        1
    );
    app.get(&location).await.is(404, "BLOB_UPLOAD_UNKNOWN");
    let uploads = std::fs::read_dir(s3::files(app.path()).join("uploads"));
    // Where there are no objects there is no folder, or an empty one.
    let left = uploads.into_iter().flatten().flatten().filter(|entry| {
        let inside = std::fs::read_dir(entry.path());
        inside.map_or(true, |mut inside| inside.next().is_some())
    });
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn a_directory_is_served_by_one_process() {
    let app = App::new().await;
    let second = try_open(app.path()).await;
    let message = second.unwrap_err().to_string();
    assert!(message.contains("in use by another rregistry"), "{message}");
    app.blob("app", b"fine").await;
}
