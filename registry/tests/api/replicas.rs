//! Several processes' worth of registries on one database and one object store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::body::Body;
use oci::Digest;
use registry::meta::{Place, Server};
use registry::service::CollectOptions;
use serde_json::Value;

use crate::harness::{App, CONFIG, LAYER, MANIFEST};
use crate::objects::{bytes, files};
use crate::postgres;
use crate::s3;

/// What the replicas of one registry share.
pub struct Shared {
    pub dir: tempfile::TempDir,
    pub place: Place,
}

impl Shared {
    pub fn new() -> Option<Self> {
        if !postgres::is_there() {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let cluster = postgres::server();
        let url = cluster.url(&cluster.database(dir.path()), true);
        let place = Place::Server(Server::new(&url, None).unwrap());
        Some(Self { dir, place })
    }

    /// One more of them, in a directory of its own.
    async fn replica(&self) -> App {
        let dir = tempfile::tempdir().unwrap();
        let backend = s3::on_store(self.dir.path(), s3::server().addr);
        App::with_database(dir, &backend, &self.place).await
    }

    /// The objects that blobs are.
    fn blobs(&self) -> usize {
        files(&s3::server().objects(self.dir.path()).join("blobs")).len()
    }
}

async fn collect(app: &App) {
    let options = CollectOptions {
        grace: Duration::ZERO,
        dry_run: false,
        every_file: true,
    };
    app.registry.collect(options).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_did_the_others_know_at_once() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = (shared.replica().await, shared.replica().await);
    let (first, text) = a.image("app", "v1", "one").await;
    let seen = b.get("/v2/app/manifests/v1").await.ok(200);
    assert_eq!(seen.body, text.as_bytes());
    // Moved, and gone.
    let (second, text) = b.image("app", "v1", "two").await;
    let seen = a.get("/v2/app/manifests/v1").await.ok(200);
    assert_eq!(seen.body, text.as_bytes());
    assert_ne!(first, second);
    b.get("/v2/app/manifests/v1").await.ok(200);
    a.delete("/v2/app/manifests/v1").await.ok(202);
    b.get("/v2/app/manifests/v1")
        .await
        .is(404, "MANIFEST_UNKNOWN");
    b.get(&format!("/v2/app/manifests/{second}")).await.ok(200);
    a.delete(&format!("/v2/app/manifests/{second}"))
        .await
        .ok(202);
    b.get(&format!("/v2/app/manifests/{second}"))
        .await
        .is(404, "MANIFEST_UNKNOWN");
    // A blob that one knows well is taken out by the other.
    let blob = a.blob("app", b"small").await;
    let path = format!("/v2/app/blobs/{blob}");
    b.get(&path).await.ok(200);
    a.delete(&path).await.ok(202);
    b.get(&path).await.is(404, "BLOB_UNKNOWN");
    b.head(&path).await.ok(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_with_whoever_is_asked() {
    let Some(shared) = Shared::new() else { return };
    let apps = [shared.replica().await, shared.replica().await];
    let content = bytes(5, (11 << 20) + 3);
    let location = apps[0].upload("app").await;
    let mut at = 0;
    for (n, chunk) in content.chunks(3 << 20).enumerate() {
        let range = format!("{at}-{}", at + chunk.len() - 1);
        let headers = [("content-range", range.as_str())];
        let app = &apps[n % 2];
        let sent = app.request("PATCH", &location, &headers, chunk.to_vec());
        sent.await.ok(202);
        at += chunk.len();
        for app in &apps {
            let told = app.get(&location).await.ok(204);
            assert_eq!(told.header("range"), format!("0-{}", at - 1));
        }
    }
    let digest = Digest::sha256(&content);
    let path = format!("{location}?digest={digest}");
    apps[1]
        .request("PUT", &path, &[], Body::empty())
        .await
        .ok(201);
    let blob = format!("/v2/app/blobs/{digest}");
    assert!(apps[0].get(&blob).await.ok(200).body == content);
    apps[0].get(&location).await.is(404, "BLOB_UPLOAD_UNKNOWN");
}

/// A blob that a client was told of stays until it has pushed what needs it, whoever told.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_told_of_the_other_leaves() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = (shared.replica().await, shared.replica().await);
    let blob = a.blob("app", b"layer").await;
    let path = format!("/v2/app/blobs/{blob}");
    let cluster = postgres::server();
    let database = cluster.database(shared.dir.path());
    let old = || {
        cluster.psql(
            &database,
            "UPDATE repository_blobs SET linked_at = linked_at - 7200",
        )
    };
    let hour = CollectOptions {
        grace: Duration::from_secs(3600),
        dry_run: false,
        every_file: true,
    };
    old();
    a.head(&path).await.ok(200);
    b.registry.collect(hour).await.unwrap();
    a.get(&path).await.ok(200);
    // Only who will push asks so: a GET does not keep it.
    old();
    a.get(&path).await.ok(200);
    // That it brings the blob no more, the other knows once it has said so.
    a.registry.beat().await.unwrap();
    b.registry.collect(hour).await.unwrap();
    a.get(&path).await.is(404, "BLOB_UNKNOWN");
    assert_eq!(shared.blobs(), 0);
}

/// Pushes an image of blobs that everybody pushes; its manifest's digest once it is acknowledged.
async fn push(app: &App, name: &str, round: usize) -> Option<Digest> {
    let parts = [
        format!("{{\"n\":{}}}", round % 3),
        format!("layer {}", round % 2),
    ];
    let mut digests = Vec::new();
    for part in &parts {
        let digest = Digest::sha256(part.as_bytes());
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let answer = app.request("POST", &path, &[], part.clone()).await;
        assert!(matches!(answer.status.as_u16(), 201 | 503), "{answer:?}");
        digests.push(digest);
    }
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": digests[0], "size": parts[0].len()},
        "layers": [{"mediaType": LAYER, "digest": digests[1], "size": parts[1].len()}],
    });
    let text = manifest.to_string();
    let path = format!("/v2/{name}/manifests/latest");
    let answer = app.put_manifest(&path, MANIFEST, text.as_bytes()).await;
    match answer.status.as_u16() {
        201 => Some(Digest::sha256(text.as_bytes())),
        // A collection without grace took a blob in between: the client would push it again.
        400 => {
            answer.is(400, "MANIFEST_BLOB_UNKNOWN");
            None
        }
        other => {
            assert_eq!(other, 503, "{answer:?}");
            None
        }
    }
}

/// Everything that a manifest needs comes, and is what its digest says.
async fn pull(app: &App, name: &str, digest: &Digest) {
    let manifest = app
        .get(&format!("/v2/{name}/manifests/latest"))
        .await
        .ok(200);
    assert_eq!(Digest::sha256(&manifest.body), *digest);
    let document: Value = manifest.json();
    for part in [&document["config"], &document["layers"][0]] {
        let wanted: Digest = part["digest"].as_str().unwrap().parse().unwrap();
        let blob = app.get(&format!("/v2/{name}/blobs/{wanted}")).await.ok(200);
        assert_eq!(Digest::sha256(&blob.body), wanted);
    }
}

/// Three replicas push and delete the same few blobs again and again while two of them collect,
/// with no grace at all: what was acknowledged pulls, from whichever, until it is deleted.
#[tokio::test(flavor = "multi_thread")]
async fn collecting_takes_nothing_that_another_just_pushed() {
    let Some(shared) = Shared::new() else { return };
    let apps = Arc::new([
        shared.replica().await,
        shared.replica().await,
        shared.replica().await,
    ]);
    let (stop, kept) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let collecting: Vec<_> = (0..2)
        .map(|n| {
            let (apps, stop) = (Arc::clone(&apps), Arc::clone(&stop));
            tokio::spawn(async move {
                while !stop.load(Relaxed) {
                    collect(&apps[n]).await;
                }
            })
        })
        .collect();
    let pushing: Vec<_> = (0..3)
        .map(|n| {
            let (apps, kept) = (Arc::clone(&apps), Arc::clone(&kept));
            tokio::spawn(async move {
                let name = format!("app{n}");
                for round in 0..60 {
                    let Some(digest) = push(&apps[n], &name, round).await else {
                        continue;
                    };
                    kept.fetch_add(1, Relaxed);
                    pull(&apps[(n + round) % 3], &name, &digest).await;
                    let path = format!("/v2/{name}/manifests/{digest}");
                    apps[(n + 1) % 3].delete(&path).await.ok(202);
                }
            })
        })
        .collect();
    for pushing in pushing {
        pushing.await.unwrap();
    }
    stop.store(true, Relaxed);
    for collecting in collecting {
        collecting.await.unwrap();
    }
    assert!(kept.load(Relaxed) > 20, "{kept:?}");
    // What is being brought by nobody is known to all once each has said so.
    for app in apps.iter() {
        app.registry.beat().await.unwrap();
    }
    collect(&apps[2]).await;
    assert_eq!(shared.blobs(), 0);
    let database = postgres::server().database(shared.dir.path());
    for table in ["arriving", "leaving", "blobs", "repository_blobs"] {
        let count = format!("SELECT count(*) FROM {table}");
        assert_eq!(postgres::server().psql(&database, &count), "0", "{table}");
    }
}

/// The process that began to bring a blob, or to take one away, is gone for good.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_one_began_does_not_stay() {
    let Some(shared) = Shared::new() else { return };
    let app = shared.replica().await;
    let cluster = postgres::server();
    let database = cluster.database(shared.dir.path());
    let blob = app.blob("app", b"content").await;
    let other = Digest::sha256(b"other");
    app.registry.beat().await.unwrap();
    cluster.psql(
        &database,
        &format!(
            "INSERT INTO replicas VALUES ('gone', unixepoch() - 3600);
             INSERT INTO arriving VALUES ('{blob}', 'gone', unixepoch() - 3600);
             INSERT INTO leaving VALUES ('{other}', unixepoch() - 3600)"
        ),
    );
    collect(&app).await;
    assert_eq!(shared.blobs(), 0);
    let again = app.blob("app", b"other").await;
    app.get(&format!("/v2/app/blobs/{again}")).await.ok(200);
    for table in ["arriving", "leaving", "replicas WHERE id = 'gone'"] {
        app.registry.beat().await.unwrap();
        let count = format!("SELECT count(*) FROM {table}");
        assert_eq!(cluster.psql(&database, &count), "0", "{table}");
    }
}
