use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use oci::Digest;
use proptest::prelude::*;
use registry::service::{CheckOptions, CollectOptions, Problem};
use tokio::task::JoinSet;

use crate::harness::{Answer, App, MANIFEST, image};
use crate::images::sql;

async fn limited(settings: &str) -> App {
    App::configured(|_| {}, settings).await
}

async fn push(app: &App, name: &str, bytes: &[u8]) -> Answer {
    let digest = Digest::sha256(bytes);
    let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
    app.request("POST", &path, &[], bytes.to_vec()).await
}

fn chunked(parts: Vec<Vec<u8>>) -> Body {
    let parts = parts.into_iter().map(Ok::<_, std::io::Error>);
    Body::from_stream(futures_util::stream::iter(parts))
}

async fn collect(app: &App) {
    let options = CollectOptions {
        grace: Duration::ZERO,
        dry_run: false,
        every_file: true,
    };
    app.registry.collect(options).await.unwrap();
}

/// What a repository shows, and what is stored in all.
async fn used(app: &App, name: &str) -> (u64, u64) {
    let report = app.registry.usage_report().await.unwrap();
    let own = report.repositories.iter().find(|r| r.name == name);
    (own.map_or(0, |r| r.bytes), report.bytes)
}

#[tokio::test]
async fn a_repository_holds_what_its_quota_allows() {
    let app = limited("[[quota]]\nrepository = \"small\"\neach = \"1000B\"").await;
    app.blob("small", &[1; 600]).await;
    let refused = push(&app, "small", &[2; 401]).await;
    refused.is(403, "DENIED");
    let message = refused.json()["errors"][0]["message"].to_string();
    assert!(
        message.contains("repository small may store 1000 B, 600 B are used"),
        "{message}"
    );
    // What it shows already costs nothing; other repositories are not concerned.
    push(&app, "small", &[1; 600]).await.ok(201);
    push(&app, "other", &[2; 5000]).await.ok(201);
    push(&app, "small", &[2; 400]).await.ok(201);
    push(&app, "small", &[3; 1]).await.is(403, "DENIED");
    // Nothing of what was refused stays.
    assert_eq!(app.registry.open_uploads(), 0);
    assert_eq!(used(&app, "small").await, (1000, 6000));
}

#[tokio::test]
async fn it_is_refused_before_the_bytes_come_and_while_they_come() {
    let app = limited("[[quota]]\nrepository = \"**\"\neach = \"1MB\"").await;
    // A body that never comes: only the announced length can refuse it.
    let location = app.upload("a").await;
    let never = Body::from_stream(futures_util::stream::pending::<std::io::Result<bytes::Bytes>>());
    app.request("PATCH", &location, &[("content-length", "1000001")], never)
        .await
        .is(403, "DENIED");
    app.get(&location).await.is(404, "BLOB_UPLOAD_UNKNOWN");
    // Nobody says how much there is: up to the very last byte it is taken.
    for (extra, status) in [(0, 202), (1, 403)] {
        let location = app.upload("a").await;
        let mut parts = vec![vec![7; 250_000]; 4];
        parts[3].extend(vec![7; extra]);
        app.request("PATCH", &location, &[], chunked(parts))
            .await
            .ok(status);
        let gone = app.delete(&location).await.status;
        assert_eq!(gone.as_u16(), if status == 202 { 204 } else { 404 });
    }
    // And a session that was given up has left its room.
    push(&app, "a", &[1; 1_000_000]).await.ok(201);
}

#[tokio::test]
async fn mounts_and_manifests_count_and_collection_frees() {
    let app = limited("[[quota]]\nrepository = \"b\"\neach = \"2000B\"").await;
    let (config, layer) = (app.blob("a", b"{}").await, app.blob("a", &[1; 1500]).await);
    let mount = |digest: &Digest| format!("/v2/b/blobs/uploads/?mount={digest}&from=a");
    app.post(&mount(&config)).await.ok(201);
    app.post(&mount(&layer)).await.ok(201);
    app.post(&mount(&layer)).await.ok(201);
    let other = app.blob("a", &[2; 600]).await;
    app.post(&mount(&other)).await.is(403, "DENIED");

    let text = image(&config, &[&layer]).to_string();
    app.put_manifest("/v2/b/manifests/v1", MANIFEST, text.as_bytes())
        .await
        .ok(201);
    let mut large = image(&config, &[&layer]);
    large["annotations"] = serde_json::json!({"filler": "x".repeat(300)});
    let large = large.to_string();
    app.put_manifest("/v2/b/manifests/v2", MANIFEST, large.as_bytes())
        .await
        .is(403, "DENIED");
    // The same manifest again, under another tag.
    app.put_manifest("/v2/b/manifests/v3", MANIFEST, text.as_bytes())
        .await
        .ok(201);
    assert_eq!(used(&app, "b").await.0, 1502 + text.len() as u64);

    let digest = Digest::sha256(text.as_bytes());
    app.delete(&format!("/v2/b/manifests/{digest}"))
        .await
        .ok(202);
    assert_eq!(used(&app, "b").await.0, 1502);
    app.post(&mount(&other)).await.is(403, "DENIED");
    app.delete(&format!("/v2/b/blobs/{layer}")).await.ok(202);
    app.post(&mount(&other)).await.ok(201);
    collect(&app).await;
    assert_eq!(used(&app, "b").await, (0, 0));
    push(&app, "b", &[9; 2000]).await.ok(201);
}

#[tokio::test]
async fn what_is_shared_counts_once_in_all_and_in_every_repository() {
    let app = limited(
        "[storage]\nquota = \"2000B\"\n[[quota]]\nrepository = \"team/*\"\ntogether = \"3000B\"",
    )
    .await;
    for name in ["team/a", "team/b"] {
        push(&app, name, &[1; 1200]).await.ok(201);
    }
    assert_eq!(used(&app, "team/b").await, (1200, 1200));
    let refused = push(&app, "team/c", &[1; 1200]).await;
    refused.is(403, "DENIED");
    assert!(String::from_utf8_lossy(&refused.body).contains("the repositories team/* together"));
    push(&app, "elsewhere", &[1; 1200]).await.ok(201);
    let refused = push(&app, "elsewhere", &[2; 801]).await;
    refused.is(403, "DENIED");
    assert!(String::from_utf8_lossy(&refused.body).contains("this registry may store 1.9 KiB"));
    let report = app.registry.usage_report().await.unwrap();
    assert_eq!((report.together[0].bytes, report.quota), (2400, Some(2000)));
}

#[tokio::test]
async fn a_new_process_counts_what_is_there() {
    let quota = "[[quota]]\nrepository = \"**\"\neach = \"1000B\"";
    let app = App::new().await;
    app.blob("a", &[1; 900]).await;
    let half = app.upload("a").await;
    app.request("PATCH", &half, &[], vec![2; 200]).await.ok(202);
    app.registry.close().await;
    let app = App::again(app, quota).await;
    push(&app, "a", &[3; 101]).await.is(403, "DENIED");
    // What lies there since before must find room, too.
    let digest = Digest::sha256(&[2; 200]);
    app.request("PUT", &format!("{half}?digest={digest}"), &[], "")
        .await
        .is(403, "DENIED");
    push(&app, "a", &[3; 100]).await.ok(201);
}

/// However many push at once, and however they do it: as many as fit get in, and not one more.
#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_never_pass_a_limit() {
    let app = Arc::new(
        limited(
            "[storage]\nquota = \"1000000B\"\n[[quota]]\nrepository = \"**\"\neach = \"700000B\"",
        )
        .await,
    );
    let mut pushers = JoinSet::new();
    for i in 0..40_u8 {
        let app = Arc::clone(&app);
        pushers.spawn(async move {
            let name = if i % 2 == 0 { "a" } else { "b" };
            let bytes = vec![i; 100_000];
            if i % 3 == 0 {
                let location = app.upload(name).await;
                let parts = bytes.chunks(30_000).map(<[u8]>::to_vec).collect();
                let patched = app.request("PATCH", &location, &[], chunked(parts)).await;
                if patched.status != 202 {
                    patched.is(403, "DENIED");
                    return 0;
                }
                let path = format!("{location}?digest={}", Digest::sha256(&bytes));
                app.request("PUT", &path, &[], "").await.ok(201);
                return 1;
            }
            let pushed = push(&app, name, &bytes).await;
            if pushed.status == 201 {
                return 1;
            }
            pushed.is(403, "DENIED");
            0
        });
    }
    let pushed: u64 = pushers.join_all().await.into_iter().sum();
    let (a, total) = used(&app, "a").await;
    let (b, _) = used(&app, "b").await;
    assert_eq!((a + b, total), (pushed * 100_000, pushed * 100_000));
    assert!(a <= 700_000 && b <= 700_000 && total <= 1_000_000);
    // What was promised to those that were refused is free again: it fills up exactly.
    for i in 100_u8.. {
        let name = if used(&app, "a").await.0 < 700_000 {
            "a"
        } else {
            "b"
        };
        if push(&app, name, &vec![i; 100_000]).await.status != 201 {
            break;
        }
    }
    assert_eq!(used(&app, "a").await.1, 1_000_000);
}

#[tokio::test]
async fn wrong_sums_are_found_and_mended() {
    let app = App::new().await;
    app.image("a", "v1", "x").await;
    let right = used(&app, "a").await;
    // Damage of a kind that this program does not do.
    let wrong = "UPDATE repositories SET bytes = 7; UPDATE stored_bytes SET bytes = 9;";
    sql(app.path(), wrong).await;
    for (repair, expected) in [(false, 2), (true, 2), (false, 0)] {
        let options = CheckOptions {
            deep: false,
            repair,
        };
        let found = app.registry.check(options).await.unwrap().problems;
        assert_eq!(found.len(), expected, "{found:?}");
        assert!(found.iter().all(|p| matches!(p, Problem::Usage(_))));
    }
    assert_eq!(used(&app, "a").await, right);
}

/// A directory from before there were sums of sizes.
#[tokio::test]
async fn a_registry_of_old_learns_what_it_holds() {
    let app = App::on_file(tempfile::tempdir().unwrap()).await;
    app.image("a", "v1", "x").await;
    app.image("b", "v1", "x").await;
    // The same bytes as a blob and as a manifest count once.
    let (digest, text) = app.image("b", "v2", "y").await;
    assert_eq!(app.blob("b", text.as_bytes()).await, digest);
    let right = (used(&app, "a").await, used(&app, "b").await);
    let dir = app.stop().await;
    let back = "
        DROP TRIGGER list_repository; DROP TRIGGER list_bytes; DROP TRIGGER list_gone;
        DROP TRIGGER list_emptied; DROP TRIGGER list_pushed; DROP TRIGGER list_pushed_again;
        DROP TRIGGER list_described; DROP TRIGGER tag_listed; DROP TRIGGER tag_listed_again;
        DROP TRIGGER tag_unlisted; DROP TRIGGER tag_past_moved; DROP TRIGGER tag_past_gone;
        DROP TABLE tag_list; DROP TABLE repository_list; DROP TABLE repository_search;
        DROP TABLE tag_past; DROP TABLE list_fill;
        ALTER TABLE repositories DROP COLUMN emptied;
        ALTER TABLE manifests DROP COLUMN platforms;
        ALTER TABLE manifests DROP COLUMN content_bytes;
        ALTER TABLE manifests DROP COLUMN created_at;
        DROP TRIGGER usage_blob_shown; DROP TRIGGER usage_blob_gone;
        DROP TRIGGER usage_manifest_shown; DROP TRIGGER usage_manifest_gone;
        DROP TRIGGER usage_stored; DROP TRIGGER usage_stored_changed;
        DROP TRIGGER usage_stored_gone; DROP TABLE stored_bytes;
        ALTER TABLE repositories DROP COLUMN bytes;
        DELETE FROM _sqlx_migrations WHERE version IN (3, 5);";
    let done = std::process::Command::new("sqlite3")
        .arg(dir.path().join("registry.db"))
        .arg(back)
        .status();
    let Ok(status) = done else {
        println!("skipped: sqlite3 is not installed");
        return;
    };
    assert!(status.success());
    let app = App::on_file(dir).await;
    assert_eq!((used(&app, "a").await, used(&app, "b").await), right);
    let options = CheckOptions::default();
    assert_eq!(app.registry.check(options).await.unwrap().problems, []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// The sums are those of what is shown, whatever happened, and a push is refused exactly when
    /// it does not fit.
    #[test]
    fn sums_are_always_right(steps in prop::collection::vec((0..5usize, 0..2usize, 0..6u8), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let quota = "[storage]\nquota = \"1900B\"\n[[quota]]\nrepository = \"**\"\neach = \"1200B\"";
            let app = limited(quota).await;
            let options = CheckOptions { deep: false, repair: false };
            for (what, repository, blob) in steps {
                let name = ["a", "b"][repository];
                let bytes = vec![blob; 100 + 100 * usize::from(blob)];
                let digest = Digest::sha256(&bytes);
                let (own, total) = used(&app, name).await;
                match what {
                    0 | 1 => {
                        let size = bytes.len() as u64;
                        let path = format!("/v2/{name}/blobs/{digest}");
                        let shown = app.get(&path).await.status == 200;
                        let other = format!("/v2/{}/blobs/{digest}", ["b", "a"][repository]);
                        let stored = shown || app.get(&other).await.status == 200;
                        let fits = (shown || own + size <= 1200) && (stored || total + size <= 1900);
                        let status = push(&app, name, &bytes).await.status.as_u16();
                        // A file that waits for its collection counts as stored.
                        if fits || status == 403 {
                            assert_eq!(status, if fits { 201 } else { 403 });
                        }
                    }
                    2 => drop(app.delete(&format!("/v2/{name}/blobs/{digest}")).await),
                    3 => {
                        let from = ["b", "a"][repository];
                        let path = format!("/v2/{name}/blobs/uploads/?mount={digest}&from={from}");
                        let answer = app.post(&path).await;
                        if answer.status == 202 {
                            app.delete(answer.header("location")).await.ok(204);
                        }
                    }
                    _ => collect(&app).await,
                }
                let (own, total) = used(&app, name).await;
                assert!(own <= 1200 && total <= 1900);
                assert_eq!(app.registry.check(options).await.unwrap().problems, []);
            }
        });
    }
}

#[tokio::test]
async fn unfinished_uploads_count_in_all_until_they_go() {
    let quota = "[storage]\nquota = \"1000B\"";
    let app = limited(quota).await;
    let half = app.upload("a").await;
    app.request("PATCH", &half, &[], vec![2; 600]).await.ok(202);
    app.registry.close().await;
    let app = App::again(app, quota).await;
    push(&app, "a", &[3; 401]).await.is(403, "DENIED");
    push(&app, "a", &[3; 100]).await.ok(201);
    // It goes on in the room that it has.
    app.request("PATCH", &half, &[], vec![2; 300]).await.ok(202);
    push(&app, "a", &[4; 1]).await.is(403, "DENIED");
    let mut whole = vec![2; 900];
    let digest = Digest::sha256(&whole);
    app.request("PUT", &format!("{half}?digest={digest}"), &[], "")
        .await
        .ok(201);
    assert_eq!(used(&app, "a").await, (1000, 1000));
    app.delete(&format!("/v2/a/blobs/{digest}")).await.ok(202);
    collect(&app).await;

    // Given up, or expired.
    whole.truncate(800);
    let given_up = app.upload("a").await;
    app.request("PATCH", &given_up, &[], whole.clone())
        .await
        .ok(202);
    app.delete(&given_up).await.ok(204);
    let expired = app.upload("a").await;
    app.request("PATCH", &expired, &[], whole).await.ok(202);
    push(&app, "a", &[5; 201]).await.is(403, "DENIED");
    app.registry.expire_uploads(Duration::ZERO).await.unwrap();
    push(&app, "a", &[5; 900]).await.ok(201);
}

/// Bytes of a blob that is there already cost nothing, but those that lie there without end do.
#[tokio::test]
async fn a_known_digest_does_not_hide_what_lies_on_the_disk() {
    let app = limited("[storage]\nquota = \"1000B\"").await;
    let known = app.blob("a", &[1; 500]).await;
    let location = app.upload("a").await;
    let parts = [Ok(vec![1; 400]), Err(std::io::Error::other("gone"))];
    let broken = Body::from_stream(futures_util::stream::iter(parts));
    let path = format!("{location}?digest={known}");
    let answer = app.request("PUT", &path, &[], broken).await;
    assert!(!answer.status.is_success());
    push(&app, "a", &[2; 200]).await.is(403, "DENIED");
    app.delete(&location).await.ok(204);
    push(&app, "a", &[2; 200]).await.ok(201);
}
