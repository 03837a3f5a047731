//! The store as a whole, on a temporary directory.

mod durability;
mod images;
mod leases;
mod processes;
mod snapshots;

use std::io::Write;
use std::path::Path;

use oci::blob::{BlobStore, Expected};
use oci::{ChainId, DiffId, Digest, Platform};
use tempfile::TempDir;

use crate::{NewCacheRecord, NewImage, Snapshot, Store};

/// A store in a directory of its own.
struct Fixture {
    store: Store,
    dir: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("root")).await.unwrap();
        Self { store, dir }
    }

    /// Another handle on the same store.
    async fn again(&self) -> Store {
        Store::open(self.root()).await.unwrap()
    }

    fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("root")
    }

    /// Makes everything stored so far look `seconds` older.
    async fn age(&self, seconds: i64) {
        let mut db = self.store.0.db.lock().await;
        for sql in [
            "UPDATE snapshots SET last_used = last_used - ?",
            "UPDATE images SET last_used = last_used - ?",
            "UPDATE cache_records SET last_used = last_used - ?",
            "UPDATE layer_blobs SET recorded_at = recorded_at - ?",
        ] {
            sqlx::query(sql)
                .bind(seconds)
                .execute(&mut *db)
                .await
                .unwrap();
        }
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(seconds as u64);
        for digest in self.store.blobs().list().unwrap() {
            let file = std::fs::File::open(self.store.blobs().path(&digest)).unwrap();
            file.set_modified(old).unwrap();
        }
    }
}

fn diff(name: &str) -> DiffId {
    DiffId(Digest::sha256(name.as_bytes()))
}

fn key(name: &str) -> Digest {
    Digest::sha256(format!("key {name}").as_bytes())
}

/// Commits a layer with one file, named and filled with `name`.
async fn layer(store: &Store, parent: Option<&ChainId>, name: &str) -> Snapshot {
    let staged = store.begin_snapshot().await.unwrap();
    std::fs::write(staged.upper().join(name), name).unwrap();
    let size = name.len() as u64;
    staged
        .commit(parent, diff(name), 1024, size, None)
        .await
        .unwrap()
}

/// Commits layers on top of each other and returns the topmost chain ID.
async fn layers(store: &Store, names: &[&str]) -> ChainId {
    let mut top: Option<ChainId> = None;
    for name in names {
        top = Some(layer(store, top.as_ref(), name).await.chain_id);
    }
    top.unwrap()
}

/// An image of these layers, all of which `diff` knows by name.
fn image(names: &[&str], tags: &[&str]) -> NewImage {
    let mut config = oci::ImageConfig::for_platform(&Platform::host());
    config.created = Some("2026-01-02T03:04:05Z".to_owned());
    config.rootfs.diff_ids = names.iter().map(|name| diff(name)).collect();
    NewImage {
        config: serde_json::to_vec(&config).unwrap(),
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        ..NewImage::default()
    }
}

fn record(name: &str, chain_id: Option<&ChainId>) -> NewCacheRecord {
    NewCacheRecord {
        key: key(name),
        chain_id: chain_id.cloned(),
        diff_id: None,
        created: "2026-01-02T03:04:05Z".to_owned(),
        description: format!("RUN {name}"),
        size: 5,
    }
}

fn blob(store: &Store, content: &[u8]) -> Digest {
    let mut writer = store.blobs().writer().unwrap();
    writer.write_all(content).unwrap();
    writer.commit(&Expected::default()).unwrap().0
}

fn entries(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

/// Every future of the interface can be spawned.
#[test]
fn futures_are_send() {
    fn send<T: Send>(_: T) {}
    #[allow(dead_code)]
    fn check(store: &Store, chain: &ChainId, id: &Digest) {
        send(Store::open("/"));
        send(store.begin_snapshot());
        send(store.chain(chain));
        send(store.make_durable());
        send(store.put_image(NewImage::default()));
        send(store.resolve("x"));
        send(store.remove_image("x", false));
        send(store.cache_get_many(&[]));
        send(store.prune(&crate::PruneOptions::default()));
        send(store.usage());
        send(store.use_blob(id));
        send(store.lease());
    }
}
