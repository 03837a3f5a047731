use std::path::Path;
use std::time::Duration;

use oci::Digest;
use registry::service::CollectOptions;
use serde_json::json;

use crate::harness::{App, INDEX, MANIFEST, image};
use crate::s3;

/// A volume as Docker's registry lays it out.
pub struct Volume(tempfile::TempDir);

impl Volume {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.0.path().join("docker/registry/v2").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn content(&self, bytes: &[u8]) -> Digest {
        let digest = crate::harness::sized(bytes);
        let hex = digest.hex();
        self.write(&format!("blobs/sha256/{}/{hex}/data", &hex[..2]), bytes);
        digest
    }

    pub fn layer(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = self.content(bytes);
        let path = format!(
            "repositories/{repository}/_layers/sha256/{}/link",
            digest.hex()
        );
        self.write(&path, digest.to_string().as_bytes());
        digest
    }

    pub fn manifest(&self, repository: &str, text: &str, tags: &[&str]) -> Digest {
        let digest = self.content(text.as_bytes());
        let root = format!("repositories/{repository}/_manifests");
        let link = digest.to_string();
        self.write(
            &format!("{root}/revisions/sha256/{}/link", digest.hex()),
            link.as_bytes(),
        );
        for tag in tags {
            self.write(&format!("{root}/tags/{tag}/current/link"), link.as_bytes());
        }
        digest
    }
}

async fn pull(app: &App, path: &str) -> Vec<u8> {
    app.get(path).await.ok(200).body.to_vec()
}

#[tokio::test]
async fn every_tag_pulls_as_before() {
    let volume = Volume::new();
    let config = volume.layer("team/app", b"{}");
    let layer = volume.layer("team/app", b"layer");
    volume.layer("other", b"layer");
    let text = image(&config, &[&layer]).to_string();
    let child = volume.manifest("team/app", &text, &["v1", "latest"]);
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": MANIFEST, "digest": child, "size": text.len()}]})
    .to_string();
    volume.manifest("team/app", &index, &["multi"]);
    // What a real volume holds besides.
    volume.write("repositories/team/app/_uploads/x/data", b"half");
    volume.write(
        "repositories/team/app/_manifests/tags/v1/index/sha256/x/link",
        b"x",
    );
    // And what cannot be taken over.
    volume.manifest(
        "broken",
        &image(&Digest::sha256(b"lost"), &[]).to_string(),
        &["v1"],
    );
    let damaged = volume.layer("broken", b"fine");
    let hex = damaged.hex();
    volume.write(
        &format!("blobs/sha256/{}/{hex}/data", &hex[..2]),
        b"not fine",
    );
    volume.manifest(
        "broken",
        r#"{"schemaVersion":1,"fsLayers":[]}"#,
        &["ancient"],
    );

    let app = App::new().await;
    let import = async || {
        app.registry
            .import_distribution(volume.path(), true)
            .await
            .unwrap()
    };
    let imported = import().await;
    assert_eq!((imported.repositories, imported.blobs), (3, 2));
    assert_eq!((imported.manifests, imported.tags), (2, 3));
    assert_eq!(imported.skipped.len(), 3, "{:?}", imported.skipped);
    for tag in ["v1", "latest"] {
        assert_eq!(
            pull(&app, &format!("/v2/team/app/manifests/{tag}")).await,
            text.as_bytes()
        );
    }
    assert_eq!(
        pull(&app, "/v2/team/app/manifests/multi").await,
        index.as_bytes()
    );
    assert_eq!(
        pull(&app, &format!("/v2/team/app/blobs/{layer}")).await,
        b"layer"
    );
    assert_eq!(
        pull(&app, &format!("/v2/other/blobs/{layer}")).await,
        b"layer"
    );
    app.get(&format!("/v2/broken/blobs/{damaged}"))
        .await
        .ok(404);

    // Linked, not copied; and a second time nothing changes.
    let links =
        |path: &Path| std::os::unix::fs::MetadataExt::nlink(&std::fs::metadata(path).unwrap());
    let hex = layer.hex();
    let file = s3::files(app.path())
        .join("blobs/sha256")
        .join(&hex[..2])
        .join(hex);
    assert_eq!(links(&file), 2);
    let again = import().await;
    assert_eq!((again.blobs, again.bytes), (0, 0));
    assert_eq!(again.skipped, imported.skipped);
    assert_eq!(links(&file), 2);
    assert_eq!(
        std::fs::read_dir(app.path().join("staging"))
            .unwrap()
            .count(),
        0
    );
}

/// However short the grace: what an import brought waits for its manifest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collections_take_nothing_from_an_import_under_way() {
    let volume = Volume::new();
    for i in 0..60 {
        let config = volume.layer("app", format!("{{\"n\":{i}}}").as_bytes());
        let layer = volume.layer("app", format!("layer {i}").as_bytes());
        let text = image(&config, &[&layer]).to_string();
        volume.manifest("app", &text, &[&format!("v{i}")]);
    }
    let app = App::new().await;
    let registry = std::sync::Arc::clone(&app.registry);
    let collector = tokio::spawn(async move {
        let options = CollectOptions {
            grace: Duration::ZERO,
            dry_run: false,
            every_file: true,
        };
        loop {
            registry.collect(options).await.unwrap();
        }
    });
    let imported = app.registry.import_distribution(volume.path(), true).await;
    collector.abort();
    let _ = collector.await;
    let imported = imported.unwrap();
    assert_eq!(imported.skipped, Vec::<String>::new());
    assert_eq!((imported.manifests, imported.tags), (60, 60));
    for i in 0..60 {
        let layer = Digest::sha256(format!("layer {i}").as_bytes());
        pull(&app, &format!("/v2/app/manifests/v{i}")).await;
        pull(&app, &format!("/v2/app/blobs/{layer}")).await;
    }
}

#[tokio::test]
async fn with_copies_the_old_volume_can_be_used_on() {
    let volume = Volume::new();
    let layer = volume.layer("app", b"layer");
    let app = App::new().await;
    let from = volume.path();
    app.registry.import_distribution(from, false).await.unwrap();
    let hex = layer.hex();
    volume.write(&format!("blobs/sha256/{}/{hex}/data", &hex[..2]), b"lAyer");
    let file = s3::files(app.path())
        .join("blobs/sha256")
        .join(&hex[..2])
        .join(hex);
    assert_eq!(std::fs::read(file).unwrap(), b"layer");
}

/// The command itself: it is the one that knows the settings.
#[test]
fn the_rules_of_the_registry_are_those_of_an_import() {
    let volume = Volume::new();
    let config = volume.layer("app", b"{}");
    let layer = volume.layer("app", b"layer");
    volume.manifest("app", &image(&config, &[&layer]).to_string(), &["v1"]);
    let work = tempfile::tempdir().unwrap();
    let data = work.path().join("data");
    let import = |settings: &str| {
        let file = work.path().join("registry.toml");
        std::fs::write(&file, settings).unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_rregistry"))
            .env_clear()
            .arg("import-distribution")
            .arg(volume.path())
            .arg("--config")
            .arg(&file)
            .arg("--data-dir")
            .arg(&data)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let (ok, said) = import("[storage]\nquota = \"10B\"");
    assert!(!ok && said.contains("quota"), "{said}");
    let immutable = "[[immutable]]\nrepository = \"app\"";
    let (ok, said) = import(immutable);
    assert!(ok, "{said}");
    let (ok, said) = import(immutable);
    assert!(ok, "{said}");
    volume.manifest("app", &image(&layer, &[]).to_string(), &["v1"]);
    let (ok, said) = import(immutable);
    assert!(!ok && said.contains("immutable"), "{said}");
}
