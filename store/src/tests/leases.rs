use super::*;
use crate::{PruneOptions, Removal};
use oci::{Descriptor, media_type};

fn all() -> PruneOptions {
    PruneOptions {
        all: true,
        ..PruneOptions::default()
    }
}

#[tokio::test]
async fn prune_takes_dangling_images_and_unshared_records() {
    let f = Fixture::new().await;
    let kept = layers(&f.store, &["base", "kept"]).await;
    f.store
        .cache_put(record("kept", Some(&kept)))
        .await
        .unwrap();
    f.store
        .put_image(image(&["base", "kept"], &["app"]))
        .await
        .unwrap();
    let gone = layer(&f.store, None, "gone").await;
    f.store
        .cache_put(record("gone", Some(&gone.chain_id)))
        .await
        .unwrap();
    let dangling = f.store.put_image(image(&["gone"], &[])).await.unwrap();
    let orphan = blob(&f.store, b"orphan");

    let usage = f.store.usage().await.unwrap();
    assert_eq!((usage.images.total, usage.images.active), (2, 1));
    assert_eq!((usage.images.size, usage.images.reclaimable), (12, 4));
    assert_eq!(
        (usage.snapshots.total, usage.blobs.total, usage.blobs.active),
        (3, 3, 2)
    );

    let dry = PruneOptions {
        dry_run: true,
        ..PruneOptions::default()
    };
    let foretold = f.store.prune(&dry).await.unwrap();
    assert!(gone.fs_path.exists() && f.store.image(&dangling.id).await.unwrap().is_some());
    let report = f.store.prune(&PruneOptions::default()).await.unwrap();
    assert_eq!(report.reclaimed, foretold.reclaimed);
    assert_eq!(
        report.images,
        [
            Removal::Deleted(dangling.id.clone()),
            Removal::Deleted(gone.chain_id.0.clone()),
        ]
    );
    assert_eq!(report.cache.len(), 1);
    assert_eq!(report.cache[0].key, key("gone"));
    assert_eq!((report.snapshots, report.blobs), (1, 2));
    assert!(!gone.fs_path.exists());
    assert!(f.store.blobs().size(&orphan).unwrap().is_none());
    assert_eq!(f.store.chain(&kept).await.unwrap().len(), 2);

    let report = f.store.prune(&all()).await.unwrap();
    assert_eq!(
        (report.images.len(), report.cache.len(), report.snapshots),
        (4, 1, 2)
    );
    assert!(f.store.images().await.unwrap().is_empty());
    assert!(f.store.blobs().list().unwrap().is_empty());
    // Only the staging directory is left.
    assert_eq!(entries(&f.store.0.layout.snapshots), 1);
    assert_eq!(entries(&f.store.0.layout.trash), 0);
}

#[tokio::test]
async fn what_a_leaseholder_uses_or_adds_stays() {
    let f = Fixture::new().await;
    let used = layers(&f.store, &["base", "used"]).await;
    let hit = layer(&f.store, None, "hit").await;
    f.store
        .cache_put(record("hit", Some(&hit.chain_id)))
        .await
        .unwrap();
    f.store
        .put_image(image(&["base", "used"], &["app"]))
        .await
        .unwrap();
    let tar = blob(&f.store, b"tar");
    let form = Descriptor::new(media_type::OCI_LAYER, tar.clone(), 3);
    f.store
        .record_layer_blob(&diff("used"), form)
        .await
        .unwrap();
    let unused = layer(&f.store, None, "unused").await;
    f.store
        .cache_put(record("unused", Some(&unused.chain_id)))
        .await
        .unwrap();
    let known = blob(&f.store, b"known");
    let unknown = blob(&f.store, b"unknown");
    f.age(10_000).await;

    let builder = f.again().await;
    let lease = builder.lease().await.unwrap();
    let image = builder.resolve("app").await.unwrap();
    assert!(builder.cache_get(&key("hit")).await.unwrap().is_some());
    assert!(builder.use_blob(&known).await.unwrap().is_some());
    let added = layer(&builder, None, "added").await;
    let downloaded = blob(&builder, b"downloaded");

    let report = f.store.prune(&all()).await.unwrap();
    assert_eq!(report.cache.len(), 1);
    assert!(report.images.is_empty());
    assert!(!unused.fs_path.exists());
    assert!(builder.snapshot(&added.chain_id).await.unwrap().is_some());
    assert!(builder.cache_get(&key("hit")).await.unwrap().is_some());
    for (digest, stays) in [(&known, true), (&downloaded, true), (&unknown, false)] {
        assert_eq!(f.store.blobs().size(digest).unwrap().is_some(), stays);
    }

    // Removed by name while it is in use: the name goes, the content stays until later.
    let removed = f.store.remove_image("app", false).await.unwrap();
    assert_eq!(removed.len(), 2);
    assert!(f.store.resolve("app").await.is_err());
    assert!(f.store.images().await.unwrap().is_empty());
    assert_eq!(builder.chain(&used).await.unwrap().len(), 2);
    assert!(builder.config(&image.id).await.is_ok());
    assert_eq!(builder.layer_blobs(&diff("used")).await.unwrap().len(), 1);
    assert!(f.store.blobs().size(&tar).unwrap().is_some());

    drop(lease);
    f.store.prune(&all()).await.unwrap();
    assert!(f.store.blobs().list().unwrap().is_empty());
    assert!(f.store.chain(&used).await.unwrap().is_empty());
    assert_eq!(entries(&f.store.0.layout.snapshots), 1);
}

#[tokio::test]
async fn records_that_are_read_ahead_are_those_with_layers_and_are_held() {
    let f = Fixture::new().await;
    let below = layer(&f.store, None, "below").await;
    let above = layer(&f.store, Some(&below.chain_id), "above").await;
    let beside = layer(&f.store, None, "beside").await;
    for (name, chain) in [("below", &below), ("above", &above), ("beside", &beside)] {
        let record = record(name, Some(&chain.chain_id));
        f.store.cache_put(record).await.unwrap();
    }
    f.store.cache_put(record("none", None)).await.unwrap();
    f.age(10_000).await;
    let keys = ["below", "above", "none", "unknown"].map(key);
    let builder = f.again().await;
    let lease = builder.lease().await.unwrap();
    let read = async || {
        let found = builder.cache_layers(&keys).await.unwrap();
        let mut found: Vec<_> = found.into_iter().map(|record| record.key).collect();
        found.sort_by_key(|found| keys.iter().position(|key| key == found));
        found
    };
    assert_eq!(read().await, keys[..2]);
    // What was read is in use, and was used now: it outlives what was not.
    let pruned = f.store.prune(&all()).await.unwrap();
    let pruned: Vec<_> = pruned.cache.iter().map(|one| one.key.clone()).collect();
    assert!(pruned.contains(&key("beside")) && !pruned.contains(&key("above")));
    assert!(above.fs_path.exists() && !beside.fs_path.exists());
    assert_eq!(read().await, keys[..2]);
    // Files that are gone take along what stands on them.
    std::fs::remove_dir_all(&below.fs_path).unwrap();
    assert!(read().await.is_empty());
    assert!(builder.cache_get(&key("above")).await.unwrap().is_none());
    drop(lease);
}

#[tokio::test]
async fn a_removed_image_comes_back_when_it_is_stored_again() {
    let f = Fixture::new().await;
    let builder = f.again().await;
    let _lease = builder.lease().await.unwrap();
    let app = f.store.put_image(image(&["a"], &["app"])).await.unwrap();
    f.store.remove_image("app", false).await.unwrap();
    assert!(f.store.image(&app.id).await.unwrap().is_none());
    let again = builder.put_image(image(&["a"], &["app:v2"])).await.unwrap();
    assert_eq!(again.id, app.id);
    let tags: Vec<_> = again.tags.iter().map(|t| t.familiar()).collect();
    assert_eq!(tags, ["app:v2"]);
    assert!(f.store.config(&app.id).await.is_ok());
}

#[tokio::test]
async fn a_hit_is_a_write_at_most_once_a_minute() {
    let f = Fixture::new().await;
    f.store.cache_put(record("a", None)).await.unwrap();
    let uses = async || f.store.cache_get(&key("a")).await.unwrap().unwrap().uses;
    for _ in 0..3 {
        assert_eq!(uses().await, 0);
    }
    f.age(100).await;
    uses().await;
    for _ in 0..3 {
        assert_eq!(uses().await, 1);
    }
}

#[tokio::test]
async fn what_a_leaseholder_does_not_use_goes_however_new_it_is() {
    let f = Fixture::new().await;
    let builder = f.again().await;
    let lease = builder.lease().await.unwrap();
    let used = layers(&f.store, &["base", "used"]).await;
    let unused = layers(&f.store, &["base", "unused"]).await;
    for (name, chain_id) in [("used", &used), ("unused", &unused)] {
        f.store
            .put_image(image(&["base", name], &[]))
            .await
            .unwrap();
        let record = record(name, Some(chain_id));
        f.store.cache_put(record).await.unwrap();
        let tar = blob(&f.store, name.as_bytes());
        let form = Descriptor::new(media_type::OCI_LAYER, tar, 3);
        f.store.record_layer_blob(&diff(name), form).await.unwrap();
    }
    let used_image = Digest::sha256(&image(&["base", "used"], &[]).config);
    builder.resolve(&used_image.to_string()).await.unwrap();
    assert!(builder.cache_get(&key("used")).await.unwrap().is_some());

    let report = f.store.prune(&all()).await.unwrap();
    // "unused" has 6 bytes; the configuration and the tar are blobs.
    assert_eq!(
        (report.snapshots, report.blobs, report.cache.len()),
        (1, 2, 1)
    );
    assert_eq!(report.images.len(), 2);
    assert!(f.store.chain(&unused).await.unwrap().is_empty());
    assert_eq!(f.store.chain(&used).await.unwrap().len(), 2);
    let kept = report.kept;
    assert_eq!((kept.images, kept.cache, kept.snapshots), (1, 1, 2));
    // "base" and "used" have 4 bytes each.
    assert_eq!(kept.size, 8);
    assert_eq!(kept.processes, [std::process::id()]);

    drop(lease);
    let report = f.store.prune(&all()).await.unwrap();
    assert_eq!(report.kept, crate::Kept::default());
    assert!(f.store.chain(&used).await.unwrap().is_empty());
}

/// Whoever is told that something is there finds it there, whatever is removed meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn looking_up_and_removing_at_once() {
    let f = Fixture::new().await;
    for round in 0..30 {
        let name = format!("layer {round}");
        let made = layer(&f.store, None, &name).await;
        f.store
            .cache_put(record(&name, Some(&made.chain_id)))
            .await
            .unwrap();
        let (builder, pruner) = (f.again().await, f.again().await);
        let lease = builder.lease().await.unwrap();
        let pruning = tokio::spawn(async move { pruner.prune(&all()).await.unwrap() });
        let hit = builder.cache_get(&key(&name)).await.unwrap();
        pruning.await.unwrap();
        if hit.is_some() {
            assert_eq!(builder.chain(&made.chain_id).await.unwrap().len(), 1);
            assert!(made.fs_path.join(&name).exists());
        }
        drop(lease);
    }
}
