//! The database is lost or damaged; the blobs are not.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use oci::Digest;
use registry::service::{CheckOptions, CollectOptions, Rebuilt, Registry, ServiceError};
use serde_json::json;

use crate::harness::{App, INDEX, MANIFEST, image, try_open};
use crate::layout::{assert_same, fill};
use crate::{postgres, s3};

async fn rebuild(dir: &Path) -> Result<Rebuilt, ServiceError> {
    for _ in 0..500 {
        let (backend, place) = (s3::backend(dir), postgres::place(dir));
        match Registry::rebuild(dir, &"recovered".parse().unwrap(), &backend, &place).await {
            // A last blocking task of the registry before may still hold the lock.
            Err(e) if e.to_string().contains("in use by another") => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            done => return done,
        }
    }
    panic!("{} stays locked", dir.display());
}

async fn sound(app: &App) {
    let options = CheckOptions {
        deep: true,
        repair: false,
    };
    assert_eq!(app.registry.check(options).await.unwrap().problems, []);
}

fn file(dir: &Path, digest: &Digest) -> PathBuf {
    dir.join("blobs/sha256")
        .join(&digest.hex()[..2])
        .join(digest.hex())
}

#[tokio::test]
async fn without_any_database_every_manifest_is_there_again() {
    let app = App::new().await;
    let digests = fill(&app, "team/app").await;
    let stray = app.blob("team/app", b"a layer without manifest").await;
    let named = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [],
        "annotations": {"org.opencontainers.image.ref.name": "v7"}})
    .to_string();
    app.put_manifest("/v2/named/manifests/x", INDEX, named.as_bytes())
        .await
        .ok(201);
    let mut texts = Vec::new();
    for digest in &digests {
        let path = format!("/v2/team/app/manifests/{digest}");
        texts.push(app.get(&path).await.ok(200).body);
    }
    let dir = app.stop().await;
    std::fs::remove_file(dir.path().join("registry.db")).unwrap();
    // Nobody starts with an empty database where there are blobs, least of all to repair.
    let error = try_open(dir.path()).await.unwrap_err();
    assert!(error.to_string().contains("fsck --rebuild"), "{error}");

    let rebuilt = rebuild(dir.path()).await.unwrap();
    assert_eq!(rebuilt.lost, Vec::<String>::new());
    assert_eq!((rebuilt.repositories, rebuilt.manifests), (1, 9));
    assert_eq!((rebuilt.unnamed, rebuilt.moved), (9, None));
    let app = App::in_dir(dir).await;
    sound(&app).await;
    for (digest, text) in digests.iter().zip(&texts) {
        let path = format!("/v2/recovered/manifests/{digest}");
        assert_eq!(app.get(&path).await.ok(200).body, *text);
    }
    // What annotations call it, or a name that says what it is; parts have none.
    let tags = app.get("/v2/recovered/tags/list").await.json()["tags"].to_string();
    assert!(tags.contains("\"v7\""), "{tags}");
    assert_eq!(tags.matches("recovered-").count(), 2, "{tags}");
    let referrers = app
        .get(&format!("/v2/recovered/referrers/{}", digests[0]))
        .await
        .json();
    assert_eq!(referrers["manifests"].as_array().unwrap().len(), 1);
    // Strays go the way of all strays.
    app.get(&format!("/v2/recovered/blobs/{stray}"))
        .await
        .ok(200);
    let options = CollectOptions {
        grace: Duration::ZERO,
        dry_run: false,
        every_file: true,
    };
    assert_eq!(app.registry.collect(options).await.unwrap().blob_count, 1);
    let digest = &digests[digests.len() - 1];
    app.get(&format!("/v2/recovered/manifests/{digest}"))
        .await
        .ok(200);
    sound(&app).await;
}

#[tokio::test]
async fn the_copy_knows_where_everything_belongs() {
    let app = App::new().await;
    let digests = fill(&app, "team/app").await;
    let before = App::new().await;
    fill(&before, "team/app").await;
    assert!(app.registry.back_up().await.unwrap());
    assert!(!app.registry.back_up().await.unwrap());
    // Since the copy: one more, one less.
    let (late, text) = app.image("late", "v1", "pushed after the copy").await;
    let dir = app.stop().await;
    std::fs::write(
        dir.path().join("registry.db"),
        b"no database at all, any more",
    )
    .unwrap();
    let error = try_open(dir.path()).await.unwrap_err();
    assert!(error.to_string().contains("fsck --rebuild"), "{error}");
    let rebuilt = rebuild(dir.path()).await.unwrap();
    assert_eq!(
        (rebuilt.repositories, rebuilt.unnamed),
        (2, 1),
        "{rebuilt:?}"
    );
    let moved = std::fs::read(rebuilt.moved.unwrap()).unwrap();
    assert_eq!(moved, b"no database at all, any more");
    let app = App::in_dir(dir).await;
    assert_same(&before, &app, "team/app", &digests).await;
    let pulled = app
        .get(&format!("/v2/recovered/manifests/{late}"))
        .await
        .ok(200);
    assert_eq!(&pulled.body[..], text.as_bytes());
    let dir = app.stop().await;
    // Nothing to rebuild now.
    let error = rebuild(dir.path()).await.unwrap_err();
    assert!(matches!(error, ServiceError::DatabaseSound(_)), "{error}");
}

/// Pages of the file are overwritten, one after the other: what can still be read of it is used,
/// and whatever cannot is found in the blobs.
#[tokio::test]
async fn a_database_with_a_hole_gives_what_it_has() {
    let mut rebuilds = 0;
    for page in [1_usize, 3, 6, 9, 12] {
        let app = App::new().await;
        let digests = fill(&app, "team/app").await;
        let dir = app.stop().await;
        let path = dir.path().join("registry.db");
        let mut bytes = std::fs::read(&path).unwrap();
        let at = page * 4096;
        if bytes.len() < at + 4096 {
            continue;
        }
        bytes[at..at + 4096].fill(0x5a);
        std::fs::write(&path, &bytes).unwrap();
        let rebuilt = match rebuild(dir.path()).await {
            // The page was not in use.
            Err(ServiceError::DatabaseSound(_)) => continue,
            rebuilt => rebuilt.unwrap(),
        };
        rebuilds += 1;
        assert_eq!(rebuilt.lost, Vec::<String>::new(), "page {page}");
        let app = App::in_dir(dir).await;
        sound(&app).await;
        for digest in &digests {
            let mut found = 0;
            for name in ["team/app", "recovered"] {
                let path = format!("/v2/{name}/manifests/{digest}");
                found += u32::from(app.get(&path).await.status == 200);
            }
            assert!(found > 0, "page {page}: {digest}");
        }
    }
    assert!(rebuilds > 1, "{rebuilds}");
}

/// Not every damage is met when the database is opened.
#[tokio::test]
async fn damage_says_what_helps_wherever_it_is_met() {
    let app = App::new().await;
    fill(&app, "team/app").await;
    let dir = app.stop().await;
    let bytes = std::fs::read(dir.path().join("registry.db")).unwrap();
    let says = |e: ServiceError| {
        let said = e.to_string();
        assert!(said.contains("fsck --rebuild"), "{said}");
    };
    let (mut checking, mut reading, mut writing, mut repairing) = (0, 0, 0, 0);
    for page in 1..bytes.len() / 4096 {
        let copy = tempfile::tempdir().unwrap();
        let mut bytes = bytes.clone();
        bytes[page * 4096..][..4096].fill(0x5a);
        std::fs::write(copy.path().join("registry.db"), &bytes).unwrap();
        let registry = match try_open(copy.path()).await {
            Ok(registry) => registry,
            Err(e) => {
                says(e);
                continue;
            }
        };
        registry.ready().await.unwrap();
        if let Err(e) = registry.check(CheckOptions::default()).await {
            checking += 1;
            says(e);
            says(registry.ready().await.unwrap_err());
        }
        registry.close().await;
        drop(registry);
        let app = App::in_dir(copy).await;
        if app.get("/v2/team/app/tags/list").await.status == 500 {
            reading += 1;
            app.get("/readyz").await.ok(503);
            says(app.registry.ready().await.unwrap_err());
        }
        let app = app.restart().await;
        let path = format!("/v2/x/blobs/uploads/?digest={}", Digest::sha256(b"x"));
        if app.request("POST", &path, &[], "x").await.status == 500 {
            writing += 1;
            app.get("/readyz").await.ok(503);
            says(app.registry.ready().await.unwrap_err());
        }
        let app = app.restart().await;
        let repair = CheckOptions {
            deep: false,
            repair: true,
        };
        if let Err(e) = app.registry.check(repair).await {
            repairing += 1;
            says(e);
            says(app.registry.ready().await.unwrap_err());
        }
    }
    assert!(
        checking > 0 && reading > 0 && writing > 0 && repairing > 0,
        "{checking} {reading} {writing} {repairing}"
    );
}

#[tokio::test]
async fn a_database_that_is_taken_away_is_noticed() {
    let app = App::new().await;
    let at = |name: &str| app.path().join(name);
    app.get("/readyz").await.ok(200);
    std::fs::rename(at("registry.db"), at("elsewhere")).unwrap();
    app.get("/readyz").await.ok(503);
    std::fs::copy(at("elsewhere"), at("registry.db")).unwrap();
    app.get("/readyz").await.ok(503);
    let error = app.registry.ready().await.unwrap_err().to_string();
    assert!(error.contains("removed or replaced"), "{error}");
    std::fs::rename(at("elsewhere"), at("registry.db")).unwrap();
    app.get("/readyz").await.ok(200);
}

#[tokio::test]
async fn what_is_damaged_is_told_and_not_shown() {
    let app = App::configured(|_| {}, "[delete]\nneeded = true").await;
    let (whole, _) = app.image("app", "whole", "whole layer").await;
    let (broken, _) = app.image("app", "broken", "broken layer").await;
    let gone = app.image("app", "gone", "deleted from its index").await.0;
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": MANIFEST, "digest": whole, "size": 1},
        {"mediaType": MANIFEST, "digest": gone, "size": 1}]})
    .to_string();
    app.put_manifest("/v2/app/manifests/multi", INDEX, index.as_bytes())
        .await
        .ok(201);
    // An index may be pulled although one of its manifests was deleted.
    app.delete(&format!("/v2/app/manifests/{gone}"))
        .await
        .ok(202);
    app.registry.back_up().await.unwrap();
    let options = CollectOptions {
        grace: Duration::ZERO,
        dry_run: false,
        every_file: true,
    };
    app.registry.collect(options).await.unwrap();
    let dir = app.stop().await;
    let layer = Digest::sha256(b"broken layer");
    std::fs::write(file(dir.path(), &layer), b"brOken layer").unwrap();
    std::fs::remove_file(dir.path().join("registry.db")).unwrap();

    let rebuilt = rebuild(dir.path()).await.unwrap();
    assert_eq!(rebuilt.lost.len(), 2, "{rebuilt:?}");
    let lost = rebuilt.lost.join("\n");
    let lines = [
        format!("{layer}: the file's digest is"),
        format!("app@{broken}: it cannot be pulled without {layer}"),
    ];
    for line in lines {
        assert!(lost.contains(&line), "{line} in {lost}");
    }
    let aside = dir
        .path()
        .join("damaged")
        .join(format!("sha256-{}", layer.hex()));
    assert_eq!(std::fs::read(aside).unwrap(), b"brOken layer");
    let app = App::in_dir(dir).await;
    sound(&app).await;
    app.get("/v2/app/manifests/whole").await.ok(200);
    let pulled = app.get("/v2/app/manifests/multi").await.ok(200);
    assert_eq!(&pulled.body[..], index.as_bytes());
    app.get("/v2/app/manifests/broken")
        .await
        .is(404, "MANIFEST_UNKNOWN");
    app.get(&format!("/v2/recovered/blobs/{layer}"))
        .await
        .ok(404);
    // Whoever still has it brings it back.
    app.image("app", "broken", "broken layer").await;
}

#[tokio::test]
async fn a_rebuild_that_was_interrupted_begins_anew() {
    let app = App::new().await;
    let (digest, _) = app.image("app", "v1", "layer").await;
    app.registry.back_up().await.unwrap();
    let dir = app.stop().await;
    let at = |name: &str| dir.path().join(name);
    std::fs::rename(at("registry.db"), at("registry.rebuilding.db")).unwrap();
    std::fs::write(at("registry.rebuilding.db-wal"), "half").unwrap();
    std::fs::write(at("registry.db"), "").unwrap();
    std::fs::write(at("registry.db-wal"), "of the lost one").unwrap();
    let rebuilt = rebuild(dir.path()).await.unwrap();
    assert_eq!(
        (rebuilt.manifests, rebuilt.tags, rebuilt.unnamed),
        (1, 1, 0)
    );
    assert!(!at("registry.rebuilding.db").exists());
    let app = App::in_dir(dir).await;
    sound(&app).await;
    let pulled = app.get("/v2/app/manifests/v1").await.ok(200);
    assert_eq!(pulled.header("docker-content-digest"), digest.to_string());
}

#[test]
fn the_command_says_what_it_did() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dir = runtime.block_on(async {
        let app = App::new().await;
        let config = app.blob("app", b"{}").await;
        app.put_manifest(
            "/v2/app/manifests/v1",
            MANIFEST,
            image(&config, &[]).to_string().as_bytes(),
        )
        .await
        .ok(201);
        app.stop().await
    });
    drop(runtime);
    let fsck = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_rregistry"))
            .env_clear()
            .args(["fsck", "--data-dir", dir.path().to_str().unwrap()])
            .args(args)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let (ok, said) = fsck(&["--rebuild"]);
    assert!(
        !ok && said.contains("there is nothing to rebuild"),
        "{said}"
    );
    std::fs::remove_file(dir.path().join("registry.db")).unwrap();
    let (ok, said) = fsck(&["--repair"]);
    assert!(
        !ok && said.contains("is missing, but there are blobs"),
        "{said}"
    );
    let (ok, said) = fsck(&["--rebuild", "--unnamed", "lost+found"]);
    assert!(!ok && said.contains("invalid repository name"), "{said}");
    let (ok, said) = fsck(&["--rebuild", "--unnamed", "found"]);
    let expected = "rebuilt 1 repositories, 1 tags, 1 manifests from 2 blobs; 1 manifests of \
                    unknown repositories are in found\n";
    assert_eq!((ok, said.as_str()), (true, expected));
    assert!(fsck(&["--deep"]).0);
}
