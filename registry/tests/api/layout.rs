//! Out as an OCI image layout, and in again.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use oci::{Algorithm, Digest};
use registry::service::{
    CheckOptions, ExportOptions, Exported, ImportOptions, Imported, ServiceError,
};
use serde_json::{Value, json};

use crate::archives::oci_layer;
use crate::harness::{App, INDEX, LAYER, MANIFEST, image, sized_by};
use crate::s3;

async fn export(app: &App, what: &[&str], output: &Path) -> Exported {
    let options = ExportOptions {
        what: what.iter().map(|w| (*w).to_owned()).collect(),
        output: output.to_owned(),
        link: false,
    };
    app.registry.export(&options).await.unwrap()
}

pub async fn import(app: &App, layout: &Path, repository: Option<&str>) -> Imported {
    let options = ImportOptions {
        layout: layout.to_owned(),
        repository: repository.map(str::to_owned),
        link: false,
    };
    app.registry.import_layout(&options).await.unwrap()
}

async fn put(app: &App, path: &str, kind: &str, document: &Value) -> (Digest, String) {
    let text = document.to_string();
    app.put_manifest(path, kind, text.as_bytes()).await.ok(201);
    (Digest::sha256(text.as_bytes()), text)
}

fn referring(subject: &Digest, config: &Digest, kind: &str) -> Value {
    let mut document = image(config, &[]);
    document["subject"] = json!({"mediaType": MANIFEST, "digest": subject, "size": 1});
    document["artifactType"] = json!(kind);
    document
}

/// Everything that a repository may hold; its manifests.
pub async fn fill(app: &App, name: &str) -> Vec<Digest> {
    let at = |reference: &str| format!("/v2/{name}/manifests/{reference}");
    let (amd, _) = app.image(name, "amd64", "layer for amd64").await;
    app.delete(&at("amd64")).await.ok(202);
    let (arm, arm_text) = app.image(name, "arm64", "layer for arm64").await;
    app.put_manifest(&at("also"), MANIFEST, arm_text.as_bytes())
        .await
        .ok(201);
    let cached = app.blob(name, b"a layer that an index lists").await;
    let inner = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": MANIFEST, "digest": amd, "size": 1},
        {"mediaType": MANIFEST, "digest": arm, "size": 1},
        {"mediaType": LAYER, "digest": cached, "size": 1}]});
    let (inner, _) = put(app, &at(&digest_of(&inner)), INDEX, &inner).await;
    let outer = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": INDEX, "digest": inner, "size": 1}]});
    let (outer, _) = put(app, &at("multi"), INDEX, &outer).await;
    // Signatures of an image in the index, a signature of a signature, and one of nothing here.
    let config = app.blob(name, b"{}").await;
    let mut found = vec![amd.clone(), arm, inner, outer];
    let mut subject = amd;
    for kind in ["application/x.signature", "application/x.countersignature"] {
        let document = referring(&subject, &config, kind);
        let (digest, _) = put(app, &at(&digest_of(&document)), MANIFEST, &document).await;
        found.push(digest.clone());
        subject = digest;
    }
    let stray = referring(
        &Digest::sha256(b"elsewhere"),
        &config,
        "application/x.stray",
    );
    found.push(put(app, &at(&digest_of(&stray)), MANIFEST, &stray).await.0);
    // And by the other algorithm.
    let long = sized_by(Algorithm::Sha512, b"long layer");
    app.request(
        "POST",
        &format!("/v2/{name}/blobs/uploads/?digest={long}"),
        &[],
        "long layer",
    )
    .await
    .ok(201);
    let text = image(&config, &[&long]).to_string();
    let digest = Algorithm::Sha512.digest(text.as_bytes());
    let path = format!("{}?tag=long", at(&digest.to_string()));
    app.put_manifest(&path, MANIFEST, text.as_bytes())
        .await
        .ok(201);
    found.push(digest);
    found
}

fn digest_of(document: &Value) -> String {
    Digest::sha256(document.to_string().as_bytes()).to_string()
}

pub async fn assert_same(a: &App, b: &App, name: &str, digests: &[Digest]) {
    let tags = a.get(&format!("/v2/{name}/tags/list")).await.ok(200).json();
    assert_eq!(b.get(&format!("/v2/{name}/tags/list")).await.json(), tags);
    let tags = tags["tags"].as_array().unwrap().iter();
    let references = digests.iter().map(ToString::to_string);
    for reference in tags
        .map(|t| t.as_str().unwrap().to_owned())
        .chain(references)
    {
        let path = format!("/v2/{name}/manifests/{reference}");
        let (x, y) = (a.get(&path).await.ok(200), b.get(&path).await.ok(200));
        assert_eq!(x.body, y.body, "{path}");
        assert_eq!(x.header("content-type"), y.header("content-type"));
    }
    for digest in digests {
        let path = format!("/v2/{name}/referrers/{digest}");
        assert_eq!(a.get(&path).await.body, b.get(&path).await.body);
    }
    let options = CheckOptions {
        deep: true,
        repair: false,
    };
    assert_eq!(b.registry.check(options).await.unwrap().problems, []);
}

#[tokio::test]
async fn a_repository_comes_back_as_it_was() {
    let app = App::new().await;
    let digests = fill(&app, "team/app").await;
    app.image("team/other", "v1", "not asked for").await;
    let work = tempfile::tempdir().unwrap();
    let (dir, tar) = (work.path().join("layout"), work.path().join("layout.tar"));
    let exported = export(&app, &["team/app"], &dir).await;
    assert_eq!((exported.tags, exported.manifests), (4, 8));
    assert_eq!(export(&app, &["team/app"], &tar).await, exported);

    // The same again: the same bytes.
    let again = work.path().join("again.tar");
    export(&app, &["team/app"], &again).await;
    assert_eq!(std::fs::read(&tar).unwrap(), std::fs::read(&again).unwrap());
    let index = std::fs::read(dir.join("index.json")).unwrap();
    export(&app, &["team/app"], &dir).await;
    assert_eq!(std::fs::read(dir.join("index.json")).unwrap(), index);

    for layout in [&dir, &tar] {
        let empty = App::new().await;
        let imported = import(&empty, layout, Some("team/app")).await;
        assert_eq!(imported.skipped, Vec::<String>::new());
        assert_eq!((imported.repositories, imported.tags), (1, 4));
        assert_same(&app, &empty, "team/app", &digests).await;
        let again = import(&empty, layout, Some("team/app")).await;
        assert_eq!((again.blobs, again.bytes), (0, 0));
    }
    // Nothing says where it belongs.
    let imported = import(&App::new().await, &dir, None).await;
    assert!(imported.skipped[0].contains("name one"), "{imported:?}");
}

#[tokio::test]
async fn several_repositories_keep_their_names() {
    let app = App::new().await;
    let a = fill(&app, "a.example/app").await;
    let b = fill(&app, "b").await;
    let work = tempfile::tempdir().unwrap();
    let tar = work.path().join("all.tar");
    export(&app, &["a.example/app", "b"], &tar).await;
    let empty = App::new().await;
    let imported = import(&empty, &tar, None).await;
    assert_eq!(imported.repositories, 2, "{imported:?}");
    assert_same(&app, &empty, "a.example/app", &a).await;
    assert_same(&app, &empty, "b", &b).await;
}

#[tokio::test]
async fn one_tag_brings_what_belongs_to_it_and_no_more() {
    let app = App::new().await;
    let digests = fill(&app, "app").await;
    let work = tempfile::tempdir().unwrap();
    let dir = work.path().join("layout");
    let exported = export(&app, &["app:arm64"], &dir).await;
    assert_eq!(
        (exported.tags, exported.manifests, exported.blobs),
        (1, 1, 3)
    );
    // Added to what is there.
    let exported = export(&app, &["app:multi", &format!("app@{}", digests[0])], &dir).await;
    assert_eq!((exported.tags, exported.manifests), (1, 6));
    let empty = App::new().await;
    import(&empty, &dir, Some("app")).await;
    let tags = empty.get("/v2/app/tags/list").await.json();
    assert_eq!(tags["tags"], json!(["arm64", "multi"]));
    let path = format!("/v2/app/referrers/{}", digests[0]);
    assert_eq!(app.get(&path).await.body, empty.get(&path).await.body);

    for what in [
        "app:none",
        "none",
        "app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ] {
        let options = ExportOptions {
            what: vec![what.to_owned()],
            output: dir.clone(),
            link: false,
        };
        let error = app.registry.export(&options).await.unwrap_err();
        assert!(
            matches!(
                error,
                ServiceError::ManifestUnknown { .. } | ServiceError::NameUnknown(_)
            ),
            "{error}"
        );
    }
    let options = ExportOptions {
        what: vec!["app".to_owned()],
        output: app.path().to_owned(),
        link: false,
    };
    let error = app.registry.export(&options).await.unwrap_err();
    assert!(error.to_string().contains("is not empty"), "{error}");
}

#[tokio::test]
async fn what_is_damaged_or_missing_stays_out() {
    let app = App::new().await;
    let (good, _) = app.image("app", "good", "good layer").await;
    let (bad, _) = app.image("app", "bad", "bad layer").await;
    let (lacking, _) = app.image("app", "lacking", "lost layer").await;
    let work = tempfile::tempdir().unwrap();
    let dir = work.path().join("layout");
    export(&app, &["app"], &dir).await;
    let blob = |bytes: &[u8]| dir.join("blobs/sha256").join(Digest::sha256(bytes).hex());
    std::fs::write(blob(b"bad layer"), b"bAd layer").unwrap();
    std::fs::remove_file(blob(b"lost layer")).unwrap();
    let empty = App::new().await;
    let imported = import(&empty, &dir, Some("app")).await;
    assert_eq!(
        (imported.manifests, imported.skipped.len()),
        (1, 2),
        "{imported:?}"
    );
    for (digest, why) in [(bad, "not what its digest says"), (lacking, "missing")] {
        let lines = imported.skipped.iter();
        assert!(
            lines
                .clone()
                .any(|l| l.contains(&digest.to_string()) && l.contains(why)),
            "{imported:?}"
        );
    }
    empty
        .get(&format!("/v2/app/manifests/{good}"))
        .await
        .ok(200);
    // Whole again, it goes on where it stopped.
    std::fs::write(blob(b"bad layer"), b"bad layer").unwrap();
    std::fs::write(blob(b"lost layer"), b"lost layer").unwrap();
    let imported = import(&empty, &dir, Some("app")).await;
    assert_eq!(
        (imported.blobs, imported.skipped.len()),
        (2, 0),
        "{imported:?}"
    );
}

fn in_layout(dir: &Path, bytes: &[u8]) -> PathBuf {
    dir.join("blobs/sha256").join(Digest::sha256(bytes).hex())
}

fn in_registry(app: &App, bytes: &[u8]) -> PathBuf {
    let hex = Digest::sha256(bytes).hex().to_owned();
    s3::files(app.path())
        .join("blobs/sha256")
        .join(&hex[..2])
        .join(&hex)
}

#[tokio::test]
async fn who_writes_into_a_layout_changes_no_registry() {
    let app = App::new().await;
    app.image("app", "v1", "layer").await;
    let work = tempfile::tempdir().unwrap();
    let dir = work.path().join("layout");
    let file = in_layout(&dir, b"layer");
    export(&app, &["app"], &dir).await;
    let empty = App::new().await;
    import(&empty, &dir, Some("app")).await;
    std::fs::write(&file, b"lAyer").unwrap();
    for registry in [&app, &empty] {
        assert_eq!(
            std::fs::read(in_registry(registry, b"layer")).unwrap(),
            b"layer"
        );
    }

    // Only who asks for links gets them, and only until they ask for something else.
    let links = |path: &Path| std::fs::metadata(path).unwrap().nlink();
    let mut options = ExportOptions {
        what: vec!["app".to_owned()],
        output: work.path().join("linked"),
        link: true,
    };
    app.registry.export(&options).await.unwrap();
    assert_eq!(links(&in_layout(&options.output, b"layer")), 2);
    let linking = App::new().await;
    let from = ImportOptions {
        layout: options.output.clone(),
        repository: Some("app".to_owned()),
        link: true,
    };
    linking.registry.import_layout(&from).await.unwrap();
    assert_eq!(links(&in_registry(&linking, b"layer")), 3);
    options.link = false;
    app.registry.export(&options).await.unwrap();
    assert_eq!(links(&in_layout(&options.output, b"layer")), 1);
}

#[tokio::test]
async fn what_is_exported_is_what_its_digest_says() {
    let app = App::new().await;
    app.image("app", "v1", "layer").await;
    let work = tempfile::tempdir().unwrap();
    let dir = work.path().join("layout");
    let file = in_layout(&dir, b"layer");
    export(&app, &["app"], &dir).await;
    // Of the same length, from whomever.
    std::fs::write(&file, b"lAyer").unwrap();
    export(&app, &["app"], &dir).await;
    assert_eq!(std::fs::read(&file).unwrap(), b"layer");

    let digest = Digest::sha256(b"layer").to_string();
    for damage in [&b"lAyer"[..], b"lay", b"layers"] {
        std::fs::write(in_registry(&app, b"layer"), damage).unwrap();
        for (output, link) in [("new", false), ("linked", true), ("new.tar", false)] {
            let output = work.path().join(output);
            let options = ExportOptions {
                what: vec!["app".to_owned()],
                output: output.clone(),
                link,
            };
            let error = app.registry.export(&options).await.unwrap_err().to_string();
            assert!(
                error.contains(&digest) && error.contains("is damaged"),
                "{error}"
            );
            assert!(!in_layout(&output, b"layer").exists());
            assert!(!output.join("index.json").exists() && !output.is_file());
        }
    }
    // What is whole stays whole.
    assert_eq!(std::fs::read(&file).unwrap(), b"layer");
}

#[tokio::test]
async fn no_directory_gets_the_name_of_an_archive() {
    let app = App::new().await;
    app.image("app", "v1", "layer").await;
    let work = tempfile::tempdir().unwrap();
    for name in ["app.tgz", "app.tar.gz", "app.tar.zst"] {
        let options = ExportOptions {
            what: vec!["app".to_owned()],
            output: work.path().join(name),
            link: false,
        };
        let error = app.registry.export(&options).await.unwrap_err().to_string();
        assert!(error.contains("ends with .tar"), "{error}");
        assert!(!options.output.exists());
    }
}

#[tokio::test]
async fn an_import_heals_what_is_damaged() {
    let app = App::new().await;
    let (digest, _) = app.image("app", "v1", "layer").await;
    let work = tempfile::tempdir().unwrap();
    let dir = work.path().join("layout");
    export(&app, &["app"], &dir).await;
    for damage in [&b"lAyer"[..], b"lay"] {
        std::fs::write(in_registry(&app, b"layer"), damage).unwrap();
        let path = format!("/v2/app/blobs/{}", Digest::sha256(b"layer"));
        // It may have been read before anybody saw that it is damaged.
        app.get(&path).await;
        let imported = import(&app, &dir, Some("other")).await;
        assert_eq!((imported.blobs, imported.bytes), (1, 5), "{imported:?}");
        assert_eq!(imported.skipped, Vec::<String>::new());
        assert_eq!(&app.get(&path).await.ok(200).body[..], b"layer");
        let imported = import(&app, &dir, Some("other")).await;
        assert_eq!((imported.blobs, imported.bytes), (0, 0));
    }
    app.get(&format!("/v2/other/manifests/{digest}"))
        .await
        .ok(200);
}

#[tokio::test]
async fn files_that_others_could_change_are_copied() {
    let app = App::new().await;
    app.image("app", "v1", "layer").await;
    let work = tempfile::tempdir().unwrap();
    let dir = work.path().join("layout");
    export(&app, &["app"], &dir).await;
    let hex = Digest::sha256(b"layer").hex().to_owned();
    let file = dir.join("blobs/sha256").join(&hex);
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("../../elsewhere", &file).unwrap();
    std::fs::write(dir.join("elsewhere"), b"layer").unwrap();
    let empty = App::new().await;
    assert_eq!(
        import(&empty, &dir, Some("app")).await.skipped,
        Vec::<String>::new()
    );
    let own = empty.path().join("blobs/sha256").join(&hex[..2]).join(&hex);
    let metadata = std::fs::symlink_metadata(own).unwrap();
    assert!(metadata.is_file());
    assert_eq!(metadata.nlink(), 1);
}

#[tokio::test]
async fn quotas_and_other_archives_say_no() {
    let app = App::new().await;
    app.image("app", "v1", &"x".repeat(5000)).await;
    let work = tempfile::tempdir().unwrap();
    let dir = work.path().join("layout");
    export(&app, &["app"], &dir).await;
    let small = App::configured(|_| {}, "[storage]\nquota = \"1KiB\"").await;
    let options = |layout: &Path| ImportOptions {
        layout: layout.to_owned(),
        repository: Some("app".to_owned()),
        link: false,
    };
    let error = small
        .registry
        .import_layout(&options(&dir))
        .await
        .unwrap_err();
    assert!(matches!(error, ServiceError::Quota(_)), "{error}");
    std::fs::remove_file(dir.join("oci-layout")).unwrap();
    let error = app
        .registry
        .import_layout(&options(&dir))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no OCI image layout"), "{error}");
}

/// skopeo reads what is exported, and what it writes is imported.
#[tokio::test(flavor = "multi_thread")]
async fn skopeo_reads_it_and_is_read() {
    if Command::new("skopeo").arg("--version").output().is_err() {
        println!("skipped: skopeo is not installed");
        return;
    }
    let app = Arc::new(App::new().await);
    // An image that can be converted: with a configuration, and sizes that are right.
    let layer = oci_layer();
    let config = json!({"architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [Digest::sha256(&layer)]}})
    .to_string();
    app.blob("team/app", config.as_bytes()).await;
    app.blob("team/app", &layer).await;
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": crate::harness::CONFIG, "size": config.len(),
                   "digest": Digest::sha256(config.as_bytes())},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "size": layer.len(),
                    "digest": Digest::sha256(&layer)}]});
    let (digest, text) = put(&app, "/v2/team/app/manifests/v1", MANIFEST, &manifest).await;
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name).to_str().unwrap().to_owned();
    export(&app, &["team/app"], Path::new(&at("dir"))).await;
    export(&app, &["team/app:v1"], Path::new(&at("file.tar"))).await;
    for (from, to) in [
        (
            format!("oci:{}:v1", at("dir")),
            format!("oci:{}:v2", at("copy")),
        ),
        (
            format!("oci-archive:{}:v1", at("file.tar")),
            format!("oci-archive:{}:v2", at("copy.tar")),
        ),
    ] {
        let output = Command::new("skopeo")
            .args([
                "copy",
                "--insecure-policy",
                "--preserve-digests",
                &from,
                &to,
            ])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    for layout in ["copy", "copy.tar"] {
        let empty = App::new().await;
        let imported = import(&empty, Path::new(&at(layout)), Some("team/app")).await;
        assert_eq!(imported.skipped, Vec::<String>::new());
        let pulled = empty.get("/v2/team/app/manifests/v2").await.ok(200);
        assert_eq!(&pulled.body[..], text.as_bytes());
        assert_eq!(pulled.header("docker-content-digest"), digest.to_string());
    }
}

/// More names than fit into what is read as a manifest.
#[tokio::test]
async fn a_repository_of_very_many_tags() {
    let app = App::new().await;
    let config = app.blob("app", b"{}").await;
    let text = image(&config, &[]).to_string();
    let digest = Digest::sha256(text.as_bytes());
    let pad = "x".repeat(100);
    for batch in 0..30 {
        let tags: String = (0..500)
            .map(|i| format!("&tag=v{batch}-{i}-{pad}"))
            .collect();
        let path = format!("/v2/app/manifests/{digest}?{}", &tags[1..]);
        app.put_manifest(&path, MANIFEST, text.as_bytes())
            .await
            .ok(201);
    }
    let work = tempfile::tempdir().unwrap();
    let dir = work.path().join("layout");
    assert_eq!(export(&app, &["app"], &dir).await.tags, 15_000);
    assert!(std::fs::metadata(dir.join("index.json")).unwrap().len() > 4 << 20);
    // Into what is there already, too.
    export(&app, &["app"], &dir).await;
    let empty = App::new().await;
    let imported = import(&empty, &dir, Some("app")).await;
    assert_eq!((imported.tags, imported.skipped.len()), (15_000, 0));
}
