//! Small content: durable in the database first, in its file later.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use oci::{Algorithm, Digest};
use registry::service::{CheckOptions, CollectOptions, Registry};
use sqlx::Connection;

use crate::harness::{App, MANIFEST, image, sized_by, skipped};
use crate::process::{send, start};
use crate::upgrade::connect;
use crate::{postgres, s3};

/// More than is kept in the database, in bytes.
const LARGE: usize = 100 << 10;

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// A copy of the directory as it is now, as a power cut would leave it; the database and its log
/// are on disk.
fn cut(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for path in files(from) {
        let target = to.path().join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        // SQLite makes it again.
        if !path.to_string_lossy().ends_with("-shm") {
            fs::copy(&path, target).unwrap();
        }
    }
    to
}

/// What file systems may leave of a file that was never synced.
fn lose(dir: &Path) -> usize {
    let mut lost = 0;
    for (n, file) in files(&dir.join("blobs")).into_iter().enumerate() {
        let bytes = fs::read(&file).unwrap();
        if bytes.len() >= LARGE {
            continue;
        }
        match n % 4 {
            0 => fs::remove_file(&file).unwrap(),
            1 => fs::write(&file, b"").unwrap(),
            2 => fs::write(&file, vec![0; bytes.len()]).unwrap(),
            _ => fs::write(&file, &bytes[..bytes.len() / 2]).unwrap(),
        }
        lost += 1;
    }
    lost
}

async fn unsettled(dir: &Path) -> i64 {
    let mut connection = connect(dir).await;
    let rows = sqlx::query_scalar("SELECT count(*) FROM unsettled")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    rows
}

async fn problems(registry: &Registry) -> usize {
    let options = CheckOptions {
        deep: true,
        repair: false,
    };
    registry.check(options).await.unwrap().problems.len()
}

#[tokio::test]
async fn a_power_cut_takes_nothing_that_was_acknowledged() {
    let app = App::new().await;
    let mut pushed = Vec::new();
    for n in 0..12 {
        let (digest, text) = app
            .image("app", &format!("v{n}"), &format!("layer {n}"))
            .await;
        pushed.push((format!("/v2/app/manifests/{digest}"), text));
    }
    let large = "x".repeat(LARGE);
    let empty = app.blob("app", b"").await;
    let other = sized_by(Algorithm::Sha512, b"by another algorithm");
    let path = format!("/v2/app/blobs/uploads/?digest={other}");
    app.request("POST", &path, &[], "by another algorithm")
        .await
        .ok(201);
    for (digest, text) in [
        (app.blob("app", large.as_bytes()).await, large.as_str()),
        (empty, ""),
        (other, "by another algorithm"),
        (Digest::sha256(b"layer 7"), "layer 7"),
    ] {
        pushed.push((format!("/v2/app/blobs/{digest}"), text.to_owned()));
    }
    // In chunks, and again what is there already.
    let upload = app.upload("app").await;
    for chunk in ["one, ", "two"] {
        app.request("PATCH", &upload, &[], chunk).await.ok(202);
    }
    let digest = Digest::sha256(b"one, two");
    let end = format!("{upload}?digest={digest}");
    app.request("PUT", &end, &[], "").await.ok(201);
    pushed.push((format!("/v2/app/blobs/{digest}"), "one, two".to_owned()));
    app.blob("app", b"layer 7").await;

    let after = cut(app.path());
    // Three for an image, and the three small blobs.
    assert_eq!(lose(after.path()), 12 * 3 + 3);
    let app = App::in_dir(after).await;
    for (path, text) in &pushed {
        let answer = app.get(path).await.ok(200);
        assert_eq!(answer.body, text.as_bytes(), "{path}");
    }
    assert_eq!(problems(&app.registry).await, 0);
    let dir = app.stop().await;
    assert_eq!(unsettled(dir.path()).await, 0);
}

#[tokio::test]
async fn what_is_settled_is_in_files_alone() {
    let app = App::new().await;
    app.image("app", "v1", "one").await;
    assert_eq!(unsettled(app.path()).await, 3);
    app.registry.settle().await.unwrap();
    assert_eq!(unsettled(app.path()).await, 0);
    app.image("app", "v2", "two").await;
    assert_eq!(unsettled(app.path()).await, 3);
    let dir = app.stop().await;
    assert_eq!(unsettled(dir.path()).await, 0);
    assert_eq!(files(&dir.path().join("blobs")).len(), 6);
}

/// What was deleted in between does not come back with its content.
#[tokio::test]
async fn what_was_collected_stays_away() {
    let app = App::new().await;
    let (digest, _) = app.image("app", "v1", "one").await;
    app.delete(&format!("/v2/app/manifests/{digest}"))
        .await
        .ok(202);
    let options = CollectOptions {
        grace: std::time::Duration::ZERO,
        dry_run: false,
        every_file: true,
    };
    // Links are as old as their second.
    let mut gone = 0;
    for _ in 0..600 {
        gone += app.registry.collect(options).await.unwrap().blob_count;
        if gone == 3 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(gone, 3);
    let after = cut(app.path());
    let app = App::in_dir(after).await;
    assert_eq!(files(&app.path().join("blobs")), Vec::<PathBuf>::new());
}

/// Content that the database still has is not lost with it.
#[tokio::test]
async fn a_rebuild_has_content_that_only_the_damaged_database_has() {
    let app = App::new().await;
    let (digest, text) = app.image("app", "v1", "one").await;
    let after = cut(app.path());
    drop(app);
    assert_eq!(lose(after.path()), 3);
    // It can be read, but not served.
    let mut connection = connect(after.path()).await;
    sqlx::raw_sql(
        "PRAGMA writable_schema = ON;
         DELETE FROM sqlite_schema WHERE name = 'blobs_not_stored';",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    let rebuilt = Registry::rebuild(
        after.path(),
        &"recovered".parse().unwrap(),
        &s3::backend(after.path()),
        &postgres::place(after.path()),
    )
    .await
    .unwrap();
    assert_eq!((rebuilt.manifests, rebuilt.blobs), (1, 3));
    assert_eq!(rebuilt.lost, Vec::<String>::new());
    let app = App::in_dir(after).await;
    let answer = app
        .get(&format!("/v2/app/manifests/{digest}"))
        .await
        .ok(200);
    assert_eq!(answer.body, text.as_bytes());
}

/// One sync of the database's log for each of three requests: the content of the configuration, of
/// the layer and of the manifest goes with its row.
#[test]
fn a_small_image_costs_three_syncs() {
    const IMAGES: usize = 40;
    // Copies of the database, settling every ten seconds, and what a start does.
    const BESIDE: usize = 40;
    if Command::new("strace").arg("-V").output().is_err() {
        return skipped("strace is not installed");
    }
    let (dir, traces) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let process = start(
        Command::new("strace")
            // What is traced is our child, and the tracer ends with it.
            .args(["-D", "-ff", "-qq", "-e", "signal=none"])
            .args(["-e", "trace=fsync,fdatasync,sync_file_range", "-o"])
            .arg(traces.path().join("trace"))
            .arg(env!("CARGO_BIN_EXE_rregistry"))
            .args(["serve", "--addr", "127.0.0.1:0", "--data-dir"])
            .arg(dir.path()),
    );
    let count = || {
        let traces = files(traces.path()).into_iter();
        traces
            .map(|trace| fs::read_to_string(trace).unwrap().lines().count())
            .sum::<usize>()
    };
    let push = |method: &str, path: &str, bytes: &str| {
        let answer = send(&process.addr, method, path, bytes.as_bytes()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    };
    let before = count();
    for n in 0..IMAGES {
        let mut digests = Vec::new();
        for bytes in [format!("{{\"c\":{n}}}"), format!("layer {n}")] {
            let digest = crate::harness::sized(bytes.as_bytes());
            push(
                "POST",
                &format!("/v2/app/blobs/uploads/?digest={digest}"),
                &bytes,
            );
            digests.push(digest);
        }
        let text = image(&digests[0], &[&digests[1]]).to_string();
        assert!(text.contains(MANIFEST));
        push("PUT", &format!("/v2/app/manifests/v{n}"), &text);
    }
    let syncs = count() - before;
    assert!(
        (3 * IMAGES..=3 * IMAGES + BESIDE).contains(&syncs),
        "{syncs} syncs for {IMAGES} images"
    );
}
