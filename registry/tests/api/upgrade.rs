//! A directory of an older version.

use std::path::Path;

use registry::service::Registry;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use crate::images::sql;

async fn connect(dir: &Path) -> SqliteConnection {
    let file = dir.join("registry.db");
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true);
    options.connect().await.unwrap()
}

/// From before it was known since when a manifest has no tag, and in what order tags were pushed.
#[tokio::test]
async fn an_older_registry_learns_the_times_of_its_tags() {
    let dir = tempfile::tempdir().unwrap();
    let (data, old) = (dir.path().join("data"), dir.path().join("migrations"));
    std::fs::create_dir_all(&data).unwrap();
    std::fs::create_dir_all(&old).unwrap();
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/registry");
    for name in ["0001_registry.sql", "0002_webhooks.sql", "0003_usage.sql"] {
        std::fs::copy(all.join(name), old.join(name)).unwrap();
    }
    let mut connection = connect(&data).await;
    let migrator = sqlx::migrate::Migrator::new(old).await.unwrap();
    migrator.run(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    sql(
        &data,
        "INSERT INTO repositories (id, name, created_at) VALUES (1, 'app', 0);
         INSERT INTO blobs (id, digest, size, created_at)
         SELECT value, printf('sha256:%064x', value), 1, 0 FROM json_each('[1,2,3,4,5]');
         INSERT INTO manifests (id, repository_id, blob_id, digest, media_type, size, pushed_at)
         SELECT id, 1, id, digest, 'x', 1, 100 * id FROM blobs WHERE id < 5;
         INSERT INTO manifest_blobs VALUES (1, 5), (2, 5);
         INSERT INTO manifest_children VALUES (3, 'sha256:a');
         INSERT INTO tags VALUES (1, 'b', 1, 50), (1, 'a', 1, 50), (1, 'z', 1, 40);
         INSERT INTO tag_history (repository_id, name, digest, since, until) VALUES
             (1, 'b', printf('sha256:%064x', 2), 10, 5000),
             (1, 'a', printf('sha256:%064x', 2), 10, 4000),
             (1, 'b', printf('sha256:%064x', 1), 50, NULL),
             (1, 'gone', printf('sha256:%064x', 4), 10, NULL)",
    )
    .await;

    let registry = Registry::open(&data).await.unwrap();
    assert_eq!(
        registry
            .check(Default::default())
            .await
            .unwrap()
            .problems
            .len(),
        5
    );
    registry.close().await;
    let mut connection = connect(&data).await;
    let times: Vec<i64> = sqlx::query_scalar("SELECT untagged_at FROM manifests ORDER BY id")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    // Tagged; moved away from last at 5000; never tagged; gone nobody wrote down when: now.
    assert_eq!(times[..3], [100, 5000, 300]);
    assert!(times[3] > 1_700_000_000, "{times:?}");
    let order: Vec<String> = sqlx::query_scalar("SELECT name FROM tags ORDER BY sequence")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(order, ["z", "a", "b"]);
    let needs: Vec<(i64, i64, i64)> =
        sqlx::query_as("SELECT manifest_id, blob_id, repository_id FROM manifest_blobs ORDER BY 1")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    assert_eq!(needs, [(1, 5, 1), (2, 5, 1)]);
    let gone: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE name LIKE 'tag_history%'")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    assert_eq!(gone, Vec::<String>::new());
}
