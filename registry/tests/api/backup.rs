//! Put away, and put back.

use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use registry::service::{
    BackedUp, BackupOptions, CheckOptions, CollectOptions, Imported, Registry, RestoreOptions,
    ServiceError,
};

use crate::harness::App;
use crate::images::texts;
use crate::layout::{assert_same, fill};
use crate::process::{command_in, serve, text};
use crate::{postgres, s3};

async fn back_up(app: &App, output: &Path) -> BackedUp {
    let options = BackupOptions {
        output: output.to_owned(),
        prune: false,
    };
    app.registry.back_up_to(&options).await.unwrap()
}

async fn restore_whole(dir: &Path, from: &Path) -> Result<Imported, ServiceError> {
    Registry::restore_whole(dir, from, &s3::backend(dir), &postgres::place(dir)).await
}

async fn restore(app: &App, from: &Path, names: &[&str]) -> Imported {
    let options = RestoreOptions {
        from: from.to_owned(),
        repositories: names.iter().map(|name| (*name).to_owned()).collect(),
    };
    app.registry.restore(&options).await.unwrap()
}

/// The registry of a directory, which has to be whole.
async fn opened(dir: tempfile::TempDir) -> App {
    let app = App::in_dir(dir).await;
    let options = CheckOptions {
        deep: true,
        repair: false,
    };
    let checked = app.registry.check(options).await.unwrap();
    assert_eq!(checked.problems, [], "{checked:?}");
    app
}

/// Files below `blobs`, and their bytes.
fn files(dir: &Path) -> (u64, u64) {
    let mut found = (0, 0);
    let inside = dir.join("blobs");
    let mut open = match inside.exists() {
        true => vec![inside],
        false => vec![s3::files(dir).join("blobs")],
    };
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => open.push(entry.path()),
                false => {
                    found.0 += 1;
                    found.1 += entry.metadata().unwrap().len();
                }
            }
        }
    }
    found
}

#[tokio::test]
async fn a_folder_gets_what_is_new_and_is_a_registry() {
    let app = App::new().await;
    let digests = fill(&app, "team/app").await;
    let to = tempfile::tempdir().unwrap();
    let folder = to.path().join("deep/backup");
    let first = back_up(&app, &folder).await;
    let (blobs, bytes) = files(app.path());
    let all = BackedUp {
        repositories: 1,
        blobs,
        bytes,
        new_blobs: blobs,
        new_bytes: bytes,
        ..BackedUp::default()
    };
    assert_eq!(first, all);
    assert_eq!(files(&folder), (blobs, bytes));
    // Nothing is new, then one image of three blobs.
    let again = back_up(&app, &folder).await;
    let none = BackedUp {
        new_blobs: 0,
        new_bytes: 0,
        ..all
    };
    assert_eq!(again, none);
    let (digest, manifest) = app.image("other", "v1", "one layer more").await;
    let more = back_up(&app, &folder).await;
    let size = manifest.len() + "one layer more".len() + "{\"c\":\"one layer more\"}".len();
    assert_eq!((more.new_blobs, more.new_bytes), (3, size as u64));
    assert_eq!((more.blobs, more.repositories), (blobs + 3, 2));
    // It is served as it lies.
    let copy = tempfile::tempdir().unwrap();
    let restored = restore_whole(copy.path(), &folder).await.unwrap();
    assert_eq!((restored.blobs, restored.repositories), (blobs + 3, 2));
    assert_eq!(restored.skipped, [""; 0]);
    let restored = opened(copy).await;
    assert_same(&app, &restored, "team/app", &digests).await;
    assert_same(&app, &restored, "other", &[digest]).await;
    let served = Registry::open(&folder).await.unwrap();
    served.close().await;
}

#[tokio::test]
async fn what_went_since_goes_from_a_folder_when_asked() {
    let app = App::new().await;
    app.image("app", "v1", "stays").await;
    let (gone, _) = app.image("app", "v2", "goes").await;
    let to = tempfile::tempdir().unwrap();
    back_up(&app, to.path()).await;
    app.delete(&format!("/v2/app/manifests/{gone}"))
        .await
        .ok(202);
    let options = CollectOptions {
        grace: std::time::Duration::ZERO,
        dry_run: false,
        every_file: true,
    };
    assert_eq!(app.registry.collect(options).await.unwrap().blob_count, 3);
    assert_eq!(back_up(&app, to.path()).await.removed, 0);
    assert_eq!(files(to.path()).0, 6);
    let options = BackupOptions {
        output: to.path().to_owned(),
        prune: true,
    };
    let pruned = app.registry.back_up_to(&options).await.unwrap();
    assert_eq!((pruned.blobs, pruned.removed), (3, 3));
    assert_eq!(files(to.path()), files(app.path()));
}

#[tokio::test]
async fn repositories_come_back_into_a_registry_that_is_there() {
    let app = App::new().await;
    let digests = fill(&app, "team/app").await;
    let (old, _) = app.image("lib", "v1", "old").await;
    let to = tempfile::tempdir().unwrap();
    let tar = to.path().join("backup.tar");
    let backed_up = back_up(&app, &tar).await;
    assert_eq!(backed_up.blobs, files(app.path()).0);
    let names = std::process::Command::new("tar")
        .arg("-tf")
        .arg(&tar)
        .output()
        .unwrap();
    // The database, and each blob.
    let lines = text(&names).lines().count() as u64;
    assert_eq!(lines, backed_up.blobs + 1);
    // Meanwhile a tag moved, another came, and a repository went.
    let (new, _) = app.image("lib", "v1", "new").await;
    let (other, _) = app.image("lib", "v2", "other").await;
    for digest in &digests {
        app.delete(&format!("/v2/team/app/manifests/{digest}"))
            .await;
    }
    let of = async |reference: &str| {
        let path = format!("/v2/lib/manifests/{reference}");
        let answer = app.head(&path).await.ok(200);
        answer.header("docker-content-digest").to_owned()
    };
    let brought = restore(&app, &tar, &["lib"]).await;
    assert_eq!((brought.repositories, brought.tags), (1, 1));
    assert_eq!(of("v1").await, old.to_string());
    assert_eq!(of("v2").await, other.to_string());
    of(&new.to_string()).await;
    app.get("/v2/team/app/tags/list").await;
    let brought = restore(&app, &tar, &[]).await;
    assert_eq!((brought.repositories, brought.skipped.len()), (2, 0));
    let fresh = tempfile::tempdir().unwrap();
    restore_whole(fresh.path(), &tar).await.unwrap();
    let fresh = opened(fresh).await;
    assert_same(&fresh, &app, "team/app", &digests).await;
    // What it does not have.
    let options = RestoreOptions {
        from: tar,
        repositories: vec!["nothing".to_owned()],
    };
    let failed = app.registry.restore(&options).await.unwrap_err();
    assert!(matches!(failed, ServiceError::NameUnknown(_)), "{failed}");
}

#[tokio::test]
async fn times_come_back_with_the_whole() {
    let app = App::new().await;
    app.image("app", "v1", "one").await;
    app.image("app", "v1", "two").await;
    app.get("/v2/app/manifests/v1").await.ok(200);
    let to = tempfile::tempdir().unwrap();
    let tar = to.path().join("backup.tar");
    back_up(&app, &tar).await;
    let fresh = tempfile::tempdir().unwrap();
    restore_whole(fresh.path(), &tar).await.unwrap();
    let own = app.stop().await;
    let rows = async |dir: &Path| {
        let query = "SELECT digest || ' ' || pushed_at || ' ' || coalesce(pulled_at, 0)
             FROM manifests UNION ALL SELECT name || ' ' || updated_at FROM tags ORDER BY 1";
        texts(dir, query).await
    };
    let before = rows(own.path()).await;
    assert_eq!(before.len(), 3, "{before:?}");
    assert_eq!(rows(fresh.path()).await, before);
}

#[tokio::test]
async fn what_is_damaged_is_said_and_left_out() {
    let app = App::new().await;
    app.image("app", "v1", "whole").await;
    let layer = app.blob("app", b"damaged soon").await;
    let hex = layer.hex();
    let file = s3::files(app.path()).join(format!("blobs/sha256/{}/{hex}", &hex[..2]));
    std::fs::write(&file, b"damaged now!").unwrap();
    let to = tempfile::tempdir().unwrap();
    let tar = to.path().join("backup.tar");
    let folder = to.path().join("backup");
    for output in [&tar, &folder] {
        let backed_up = back_up(&app, output).await;
        assert_eq!(backed_up.blobs, 3);
        let [line] = &*backed_up.damaged else {
            panic!("{backed_up:?}")
        };
        assert!(line.starts_with(&layer.to_string()), "{line}");
    }
    std::fs::remove_file(file).unwrap();
    let backed_up = back_up(&app, &folder).await;
    let missing = format!("{layer}: its file is missing");
    assert_eq!(backed_up.damaged, [missing]);
    // A backup that was damaged itself brings what is whole.
    let (digest, _) = app.image("app", "v2", "damaged in the backup").await;
    back_up(&app, &folder).await;
    let hex = digest.hex();
    std::fs::write(
        folder.join(format!("blobs/sha256/{}/{hex}", &hex[..2])),
        "{}",
    )
    .unwrap();
    let fresh = tempfile::tempdir().unwrap();
    let restored = restore_whole(fresh.path(), &folder).await.unwrap();
    let [first, second] = &*restored.skipped else {
        panic!("{restored:?}")
    };
    let skipped = [first, second];
    let about = |digest: &oci::Digest| {
        let start = format!("blob {digest}: ");
        skipped.iter().any(|line| line.starts_with(&start))
    };
    assert!(about(&layer) && about(&digest), "{restored:?}");
}

#[tokio::test]
async fn places_that_are_wrong_are_refused() {
    let app = App::new().await;
    app.image("app", "v1", "one").await;
    let inside = app.path().join("backup");
    for output in [
        inside.as_path(),
        app.path(),
        Path::new("/tmp/backup.tar.gz"),
    ] {
        let options = BackupOptions {
            output: output.to_owned(),
            prune: false,
        };
        let refused = app.registry.back_up_to(&options).await.unwrap_err();
        let fits = match output.starts_with(app.path()) {
            true => matches!(refused, ServiceError::Inside(_)),
            false => matches!(refused, ServiceError::Output(_)),
        };
        assert!(fits, "{refused}");
    }
    let to = tempfile::tempdir().unwrap();
    let fresh = tempfile::tempdir().unwrap();
    let none = restore_whole(fresh.path(), to.path()).await;
    let none = none.unwrap_err();
    assert!(matches!(none, ServiceError::NoBackup(_)), "{none}");
    back_up(&app, to.path()).await;
    let dir = app.stop().await;
    let there = restore_whole(dir.path(), to.path()).await;
    let there = there.unwrap_err();
    assert!(matches!(there, ServiceError::NotEmpty(_)), "{there}");
}

#[track_caller]
fn run(dir: &Path, args: &[&str]) -> Output {
    command_in(dir).args(args).output().unwrap()
}

#[test]
fn a_running_registry_is_backed_up_under_load_and_killed_backups_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let to = tempfile::tempdir().unwrap();
    let process = serve(dir.path());
    let stop = Arc::new(AtomicBool::new(false));
    let pushed = |number: usize| {
        let layer = format!("layer {number} {}", "x".repeat(20_000));
        let path = format!(
            "/v2/app/blobs/uploads/?digest={}",
            oci::Digest::sha256(layer.as_bytes())
        );
        process.send("POST", &path, layer.as_bytes())
    };
    for number in 0..50 {
        assert!(pushed(number).starts_with("HTTP/1.1 201"));
    }
    let folder = to.path().join("backup");
    let backup = || {
        let mut backup = command_in(dir.path());
        backup.arg("backup").arg(&folder);
        backup
    };
    std::thread::scope(|scope| {
        let (told, begun) = mpsc::channel();
        scope.spawn(|| {
            let told = told;
            let mut number = 50;
            while !stop.load(Ordering::Relaxed) {
                assert!(pushed(number).starts_with("HTTP/1.1 201"));
                number += 1;
                let _ = told.send(());
            }
        });
        begun.recv().unwrap();
        for _ in 0..5 {
            let done = backup().output().unwrap();
            assert!(done.status.success(), "{done:?}");
            assert!(
                text(&done).starts_with("backed up 0 repositories; "),
                "{done:?}"
            );
            // One that is killed at some moment, with the registry that makes it going on.
            let mut killed = backup().spawn().unwrap();
            begun.recv().unwrap();
            let _ = killed.kill();
            killed.wait().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    // The registry itself is killed within a backup; the one before is whole.
    let mut last = backup().spawn().unwrap();
    process.kill();
    last.wait().unwrap();
    drop(process);
    let fresh = tempfile::tempdir().unwrap();
    let restored = run(
        fresh.path(),
        &["restore", "--from", folder.to_str().unwrap()],
    );
    assert!(restored.status.success(), "{restored:?}");
    for args in [&["fsck", "--deep"][..], &["usage"]] {
        let checked = run(fresh.path(), args);
        assert!(checked.status.success(), "{checked:?}");
    }
    let (blobs, _) = files(fresh.path());
    assert!(blobs > 50, "{blobs}");
    // With nobody at work it is done by the command itself.
    let done = backup().output().unwrap();
    assert!(done.status.success(), "{done:?}");
    // What was being pushed at the kill may have left a file that nobody knows.
    let (there, here) = (files(&folder), files(dir.path()));
    assert!(there.0 > 50 && there.0 <= here.0, "{there:?} {here:?}");
}
