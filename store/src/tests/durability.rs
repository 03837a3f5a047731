use std::time::{Duration, Instant};

use super::*;
use crate::Error;
use crate::db::schema;

#[tokio::test]
async fn another_boot_drops_what_was_not_made_durable() {
    let dir = tempfile::tempdir().unwrap();
    let before = Store::open_in_boot(dir.path(), "one").await.unwrap();
    let safe = layers(&before, &["a", "b"]).await;
    before.cache_put(record("safe", Some(&safe))).await.unwrap();
    before.make_durable().await.unwrap();
    let lost = layer(&before, Some(&safe), "c").await;
    let above = layer(&before, Some(&lost.chain_id), "d").await;
    before
        .cache_put(record("lost", Some(&above.chain_id)))
        .await
        .unwrap();
    drop(before);

    let same = Store::open_in_boot(dir.path(), "one").await.unwrap();
    assert_eq!(same.chain(&above.chain_id).await.unwrap().len(), 4);
    drop(same);

    let after = Store::open_in_boot(dir.path(), "two").await.unwrap();
    assert_eq!(after.chain(&safe).await.unwrap().len(), 2);
    assert!(after.chain(&lost.chain_id).await.unwrap().is_empty());
    assert!(after.cache_get(&key("safe")).await.unwrap().is_some());
    assert!(after.cache_get(&key("lost")).await.unwrap().is_none());
    assert!(!lost.fs_path.exists() && !above.fs_path.exists());
    // It can be made again.
    let again = layer(&after, Some(&safe), "c").await;
    assert_eq!(again.chain_id, lost.chain_id);
}

#[tokio::test]
async fn an_image_makes_its_layers_durable() {
    let dir = tempfile::tempdir().unwrap();
    let before = Store::open_in_boot(dir.path(), "one").await.unwrap();
    let top = layers(&before, &["a", "b"]).await;
    before
        .put_image(image(&["a", "b"], &["app"]))
        .await
        .unwrap();
    drop(before);
    let after = Store::open_in_boot(dir.path(), "two").await.unwrap();
    let image = after.resolve("app").await.unwrap();
    assert_eq!(image.chain_id(), Some(top.clone()));
    assert_eq!(image.size, 2);
    assert_eq!(after.chain(&top).await.unwrap().len(), 2);
}

#[tokio::test]
async fn storing_the_same_image_again_writes_nothing() {
    let f = Fixture::new().await;
    layers(&f.store, &["a"]).await;
    let first = f.store.put_image(image(&["a"], &["app"])).await.unwrap();
    let other = f.again().await;
    let version = async || -> i64 {
        let mut db = other.0.db.lock().await;
        sqlx::query_scalar("PRAGMA data_version")
            .fetch_one(&mut *db)
            .await
            .unwrap()
    };
    let before = version().await;
    let second = f.store.put_image(image(&["a"], &["app"])).await.unwrap();
    f.store.make_durable().await.unwrap();
    assert_eq!(first, second);
    assert_eq!(version().await, before);
    f.store.put_image(image(&["a"], &["app:v2"])).await.unwrap();
    assert_ne!(version().await, before);
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let f = Fixture::new().await;
    {
        let mut db = f.store.0.db.lock().await;
        sqlx::raw_sql("PRAGMA user_version = 999")
            .execute(&mut *db)
            .await
            .unwrap();
    }
    let error = Store::open(f.root()).await.unwrap_err();
    match error {
        Error::NewerSchema { found, known, .. } => {
            assert_eq!((found, known), (999, schema::VERSION));
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_damaged_database_is_named_so() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    std::fs::write(root.join("store.db"), [b'x'; 8192]).unwrap();
    let error = Store::open(root).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn a_root_that_cannot_be_written_says_what_to_do() {
    if rustix::process::geteuid().is_root() {
        // Root may write everywhere but where nothing can be made at all.
        let error = Store::open("/proc/rbuild").await.unwrap_err();
        assert!(error.to_string().contains("RBUILD_ROOT"), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = Store::open(&file).await.unwrap_err();
    assert!(error.to_string().contains("RBUILD_ROOT"), "{error}");
}

#[tokio::test]
async fn opening_at_once_makes_one_store() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let opened: Vec<_> = (0..8)
        .map(|_| tokio::spawn(Store::open(root.clone())))
        .collect();
    let mut stores = Vec::new();
    for task in opened {
        stores.push(task.await.unwrap().unwrap());
    }
    let top = layers(&stores[0], &["a"]).await;
    for store in &stores {
        assert!(store.snapshot(&top).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_path_that_sqlite_cannot_take_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut root = dir.path().to_owned();
    while root.as_os_str().len() <= crate::error::MAX_ROOT {
        root.push("d".repeat(40));
    }
    let error = Store::open(&root).await.unwrap_err();
    assert!(matches!(error, Error::PathTooLong { .. }), "{error:?}");
    // One that just fits works.
    let text = root.to_str().unwrap();
    let fits = &text[..crate::error::MAX_ROOT];
    let store = Store::open(fits).await.unwrap();
    store.put_image(image(&[], &["app"])).await.unwrap();
    assert_eq!(
        Store::open_to_read(fits)
            .await
            .unwrap()
            .images()
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn others_may_not_look_into_a_store() {
    use std::os::unix::fs::PermissionsExt as _;
    let f = Fixture::new().await;
    f.store.put_image(image(&[], &["app"])).await.unwrap();
    let layout = &f.store.0.layout;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for (path, was, is) in [
        (&layout.root, 0o755, 0o700),
        (&layout.database, 0o644, 0o600),
    ] {
        assert_eq!(mode(path), is);
        set(path, was);
    }
    let again = f.again().await;
    assert_eq!((mode(&layout.root), mode(&layout.database)), (0o700, 0o600));
    drop(again);
    let dir = tempfile::tempdir().unwrap();
    set(dir.path(), 0o755);
    let _empty = Store::open(dir.path()).await.unwrap();
    assert_eq!(mode(dir.path()), 0o700);
    let names = [
        "store.db",
        "store.db-wal",
        "store.db-shm",
        "lock",
        "reserve",
    ];
    for name in names {
        assert_eq!(mode(&dir.path().join(name)), 0o600, "{name}");
    }
}

/// A log that stays has to be read by whoever opens the store next.
#[tokio::test]
async fn the_last_to_close_leaves_no_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("store.db-wal");
    for _ in 0..2 {
        let store = Store::open(dir.path()).await.unwrap();
        layers(&store, &["a", "b"]).await;
        assert!(log.exists());
        drop(store);
        // The database is closed by a thread of its own.
        let until = Instant::now() + Duration::from_secs(60);
        while log.exists() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!log.exists(), "the log stays");
    }
}
