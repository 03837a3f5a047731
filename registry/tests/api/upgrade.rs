//! A directory of an older version.

use std::path::Path;

use registry::service::Registry;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use crate::harness::App;
use crate::images::sql;
use crate::lists::push;

pub async fn connect(dir: &Path) -> SqliteConnection {
    let file = dir.join("registry.db");
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true);
    options.connect().await.unwrap()
}

/// From before it was noted who pushed: the places of tags are still known, and nobody is named.
#[tokio::test]
async fn places_of_an_older_registry_are_nobody_s() {
    let dir = tempfile::tempdir().unwrap();
    let (data, old) = (dir.path().join("data"), dir.path().join("migrations"));
    std::fs::create_dir_all(&data).unwrap();
    std::fs::create_dir_all(&old).unwrap();
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/registry");
    for entry in std::fs::read_dir(all).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.as_str() < "0007" {
            std::fs::copy(&path, old.join(name)).unwrap();
        }
    }
    let mut connection = connect(&data).await;
    let migrator = sqlx::migrate::Migrator::new(old).await.unwrap();
    migrator.run(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    sql(
        &data,
        "INSERT INTO tag_past (repository, tag, digest, media_type, since, until)
         VALUES ('app', 'v1', printf('sha256:%064x', 1), 'x', unixepoch() - 9, unixepoch())",
    )
    .await;
    let registry = Registry::open(&data).await.unwrap();
    let name = "app".parse().unwrap();
    let past = registry.tag_past(&name, None, 10).await.unwrap();
    assert_eq!(
        (past.len(), &past[0].pushed_by, &past[0].deleted_by),
        (1, &None, &None)
    );
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
    // Their files are gone, so that only the database tells of them.
    registry.fill_lists().await.unwrap();
    let app = "app".parse().unwrap();
    let listed = registry.repository_entry(&app).await.unwrap();
    assert_eq!((listed.tags, listed.pushed), (3, Some(400)));
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

/// From before lists told more than names: what is there is put into them in slices, also when the
/// process ends in between, and what comes meanwhile is there once.
#[tokio::test]
async fn an_older_registry_learns_what_lists_show() {
    let app = App::new().await;
    let about = serde_json::json!({"os": "linux", "architecture": "arm64",
        "created": "2024-05-06T07:08:09Z",
        "config": {"Labels": {"org.opencontainers.image.title": "Older"}}});
    for at in 0..3 {
        for tag in ["v1", "v2"] {
            push(&app, &format!("team/a{at}"), tag, &about, 100 * (at + 1)).await;
        }
    }
    let dir = app.stop().await;
    let state = "SELECT json_group_array(json_array(name, tags, bytes, pushed_at > 0, description))
        FROM (SELECT * FROM repository_list ORDER BY name)
        UNION ALL
        SELECT json_group_array(json_array(repository_id, name, sequence, bytes))
        FROM (SELECT * FROM tag_list ORDER BY repository_id, name)
        UNION ALL
        SELECT json_group_array(json_array(digest, platforms, content_bytes, created_at))
        FROM (SELECT * FROM manifests ORDER BY id)
        UNION ALL
        SELECT json_group_array(json_array(rowid, name, words))
        FROM (SELECT rowid, * FROM repository_search ORDER BY rowid)";
    let read = async |dir: &Path| -> Vec<String> {
        let mut connection = connect(dir).await;
        let found = sqlx::query_scalar(state).fetch_all(&mut connection).await;
        found.unwrap()
    };
    let expected = read(dir.path()).await;
    assert!(expected[0].contains("\"Older\""), "{expected:?}");
    // As the migration finds it.
    sql(
        dir.path(),
        "DELETE FROM tag_list; DELETE FROM repository_list; DELETE FROM repository_search;
         UPDATE manifests SET platforms = NULL, content_bytes = 0, created_at = NULL;
         INSERT INTO list_fill (step, kind) VALUES
             (1, 'repositories'), (2, 'manifests'), (3, 'tags'), (4, 'words')",
    )
    .await;
    let app = App::in_dir(dir).await;
    // Pushed and deleted before anything is put in.
    push(&app, "team/a1", "v2", &about, 200).await;
    push(&app, "team/a2", "v3", &about, 300).await;
    app.delete("/v2/team/a2/manifests/v3").await.ok(202);
    app.registry.fill_lists().await.unwrap();
    let dir = app.stop().await;
    let filled = read(dir.path()).await;
    // The tag that was pushed again is the newest now.
    let position = |text: &str| text.replace(",7,", ",4,").replace(",8,", ",6,");
    assert_eq!(position(&filled[1]), position(&expected[1]));
    assert_eq!(
        [&filled[0], &filled[2], &filled[3]],
        [&expected[0], &expected[2], &expected[3]]
    );
    // And none of it is done again.
    let mut connection = connect(dir.path()).await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM list_fill")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

/// A program that is older than the database says so, and changes nothing.
#[tokio::test]
async fn a_newer_registry_s_directory_is_left_alone() {
    let app = App::new().await;
    app.image("app", "v1", "x").await;
    let dir = app.stop().await;
    sql(
        dir.path(),
        "INSERT INTO _sqlx_migrations
             (version, description, installed_on, success, checksum, execution_time)
         VALUES (99, 'of tomorrow', '2030-01-01', 1, x'00', 1)",
    )
    .await;
    let why = Registry::open(dir.path()).await.unwrap_err().to_string();
    assert!(why.contains("a newer rregistry: its schema is 99"), "{why}");
    let left = "DELETE FROM _sqlx_migrations WHERE version = 99";
    sql(dir.path(), left).await;
    let app = App::in_dir(dir).await;
    app.get("/v2/app/manifests/v1").await.ok(200);
}
