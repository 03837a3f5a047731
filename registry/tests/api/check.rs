use std::path::PathBuf;

use oci::Digest;
use registry::service::{CheckOptions, Problem};

use crate::harness::App;

fn file(app: &App, digest: &Digest) -> PathBuf {
    app.path()
        .join("blobs")
        .join(digest.algorithm().as_str())
        .join(&digest.hex()[..2])
        .join(digest.hex())
}

async fn check(app: &App, deep: bool, repair: bool) -> Vec<Problem> {
    let options = CheckOptions { deep, repair };
    app.registry.check(options).await.unwrap().problems
}

#[tokio::test]
async fn a_sound_registry_has_no_problems() {
    let app = App::new().await;
    app.image("app", "v1", "x").await;
    let options = CheckOptions {
        deep: true,
        repair: true,
    };
    let checked = app.registry.check(options).await.unwrap();
    assert_eq!((checked.blobs, checked.problems.len()), (3, 0));
    app.get("/v2/app/manifests/v1").await.ok(200);
}

#[tokio::test]
async fn every_kind_of_damage_is_found_and_mended() {
    let app = App::new().await;
    let (whole, _) = app.image("app", "whole", "untouched").await;
    let (broken, _) = app.image("app", "broken", "layer").await;
    let (lost, _) = app.image("app", "lost", "other").await;
    let layer = Digest::sha256(b"layer");
    // A bit flipped, a manifest's file gone, a file cut short, and one that nobody knows.
    std::fs::write(file(&app, &layer), b"lAyer").unwrap();
    std::fs::remove_file(file(&app, &lost)).unwrap();
    let short = Digest::sha256(b"other");
    std::fs::write(file(&app, &short), b"oth").unwrap();
    let orphan = Digest::sha256(b"orphan");
    std::fs::create_dir_all(file(&app, &orphan).parent().unwrap()).unwrap();
    std::fs::write(file(&app, &orphan), b"orphan").unwrap();

    let shallow = check(&app, false, false).await;
    assert_eq!(shallow.len(), 3, "{shallow:?}");
    let found = check(&app, true, false).await;
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found.contains(&Problem::Orphan {
        digest: orphan.clone(),
        size: 6
    }));
    assert!(found.contains(&Problem::Missing {
        digest: lost.clone(),
        manifests: vec![format!("app@{lost}")],
    }));
    assert!(found.iter().any(|p| matches!(p,
        Problem::Damaged { digest, manifests, .. }
            if *digest == layer && *manifests == [format!("app@{broken}")])));

    assert_eq!(check(&app, true, true).await.len(), 4);
    assert_eq!(check(&app, true, false).await, []);
    assert!(!file(&app, &orphan).exists());
    app.get(&format!("/v2/app/blobs/{layer}"))
        .await
        .is(404, "BLOB_UNKNOWN");
    app.get("/v2/app/manifests/lost")
        .await
        .is(404, "MANIFEST_UNKNOWN");
    app.get(&format!("/v2/app/manifests/{whole}")).await.ok(200);
    // What is pushed again is whole again.
    app.image("app", "broken", "layer").await;
    app.image("app", "lost", "other").await;
    assert_eq!(check(&app, true, false).await, []);
    app.get(&format!("/v2/app/blobs/{layer}")).await.ok(200);
}
