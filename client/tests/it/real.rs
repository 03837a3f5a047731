//! Debian's docker-registry, the reference implementation, on loopback.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use client::{Client, Error, Login, PushImage, PushLayer, Silent};
use oci::media_type::OCI_MANIFEST;
use oci::{Digest, Platform, Reference};

use crate::fake::{config, config_with, manifest, noise, put, read, store};

/// `alice:secret`, bcrypt.
const HTPASSWD: &str = "alice:$2b$04$gF1Lq9FJH9US4fw7gtRsge5gkuK6NJFx9tqLR2i9/u690X3MOU0wW\n";

struct Registry {
    child: Child,
    host: String,
    _dir: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    /// `None`, and says so, where docker-registry is not installed.
    fn start(htpasswd: bool) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let host = free.local_addr().unwrap().to_string();
        drop(free);
        let yaml = write_config(dir.path(), &host, htpasswd);
        let spawned = Command::new("docker-registry")
            .args(["serve".as_ref(), yaml.as_os_str()])
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match spawned {
            Ok(child) => child,
            Err(e) => {
                let required = std::env::var_os("RBUILD_TEST_REQUIRE_ALL").is_some();
                assert!(!required, "docker-registry cannot be started: {e}");
                eprintln!("skipped: docker-registry cannot be started: {e}");
                return None;
            }
        };
        let registry = Self {
            child,
            host,
            _dir: dir,
        };
        for _ in 0..200 {
            if TcpStream::connect(&registry.host).is_ok() {
                return Some(registry);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("docker-registry does not listen on {}", registry.host);
    }

    fn reference(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.host).parse().unwrap()
    }
}

fn write_config(dir: &Path, host: &str, htpasswd: bool) -> std::path::PathBuf {
    let mut yaml = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  \
         delete: {{enabled: true}}\nhttp: {{addr: \"{host}\"}}\n",
        dir.join("data").display()
    );
    if htpasswd {
        let path = dir.join("htpasswd");
        std::fs::write(&path, HTPASSWD).unwrap();
        yaml.push_str(&format!(
            "auth: {{htpasswd: {{realm: test, path: {}}}}}\n",
            path.display()
        ));
    }
    let path = dir.join("config.yml");
    std::fs::write(&path, yaml).unwrap();
    path
}

fn image(store: &std::sync::Arc<dyn oci::blob::BlobStore>) -> PushImage {
    let config = put(
        store,
        br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#,
    );
    let layers: Vec<_> = [noise(3 << 20), noise(2 << 20), b"tiny".to_vec()]
        .iter()
        .map(|bytes| put(store, bytes))
        .collect();
    PushImage {
        manifest: manifest(&config, &layers).into(),
        media_type: OCI_MANIFEST.into(),
        config,
        layers: layers.into_iter().map(PushLayer::new).collect(),
    }
}

#[tokio::test]
async fn an_image_goes_there_and_comes_back() {
    let Some(registry) = Registry::start(false) else {
        return;
    };
    for upload_chunk in [None, Some(1 << 20)] {
        let mut config = config();
        config.upload_chunk = upload_chunk;
        let client = Client::new(config);
        let here = store();
        let image = image(&here);
        let name = format!("team/app{}", upload_chunk.unwrap_or(0));
        let reference = registry.reference(&format!("{name}:v1"));
        let pushed = client
            .push(&reference, &image, &here, &Silent)
            .await
            .unwrap();
        assert_eq!(pushed.digest, Digest::sha256(&image.manifest));

        let resolved = client.resolve(&reference, &Platform::host()).await.unwrap();
        assert_eq!(resolved.bytes, image.manifest);
        assert_eq!(client.head(&reference).await.unwrap().digest, pushed.digest);
        let there = store();
        let repository = reference.repository();
        client
            .pull_blobs(repository, &resolved.manifest.layers, &there, &Silent)
            .await
            .unwrap();
        for layer in &image.layers {
            let digest = &layer.descriptor.digest;
            assert_eq!(read(&there, digest), read(&here, digest));
        }

        // Mounted into another repository; then the manifest is deleted.
        let mut image = image;
        for layer in &mut image.layers {
            layer.mount_from.push(repository.clone());
        }
        let told = crate::fake::Told::default();
        let copy = registry.reference(&format!("{name}-copy:v1"));
        client.push(&copy, &image, &here, &told).await.unwrap();
        let states = told.of(&image.layers[0].descriptor.digest);
        assert_eq!(
            states.last().unwrap(),
            &format!("Mounted from {repository}")
        );
        assert_eq!(client.tags(copy.repository()).await.unwrap(), ["v1"]);
        client
            .delete_manifest(&copy.with_digest(pushed.digest))
            .await
            .unwrap();
        let error = client.manifest(&copy).await.unwrap_err();
        assert!(matches!(error, Error::ManifestNotFound { .. }), "{error}");
    }
    let catalog = Client::new(config()).catalog(&registry.host).await.unwrap();
    assert!(catalog.contains(&"team/app0".to_owned()), "{catalog:?}");
}

#[tokio::test]
async fn a_password_is_asked_for_and_taken() {
    let Some(registry) = Registry::start(true) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let config = config_with(dir.path(), &[]);
    let client = Client::new(config.clone());
    let store = store();
    let image = image(&store);
    let reference = registry.reference("app:v1");
    let error = client
        .push(&reference, &image, &store, &Silent)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "unauthorized: authentication required");

    let login = |password: &str| Login {
        username: "alice".into(),
        password: password.into(),
    };
    let error = client
        .login(&registry.host, &login("wrong"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("unauthorized"), "{error}");
    client
        .login(&registry.host, &login("secret"))
        .await
        .unwrap();
    let client = Client::new(config);
    client.ping(&registry.host).await.unwrap();
    client
        .push(&reference, &image, &store, &Silent)
        .await
        .unwrap();
    client.resolve(&reference, &Platform::host()).await.unwrap();
}

/// A blob that the registry gets while it is made, whose length it is not told.
#[tokio::test]
async fn docker_registry_takes_a_blob_that_grows() {
    use std::sync::Arc;
    let Some(registry) = Registry::start(false) else {
        return;
    };
    let bytes = noise(5 << 20);
    let digest = Digest::sha256(&bytes);
    let blob = oci::Descriptor::new(oci::media_type::OCI_LAYER, digest, bytes.len() as u64);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    let (grown, growth) = tokio::sync::watch::channel(client::Growth::SoFar(2 << 20));
    let growing = client::Growing {
        file: Arc::new(file.reopen().unwrap()),
        growth,
    };
    let client = Client::new(config());
    let reference = registry.reference("grown");
    let repository = reference.repository();
    let whole = async {
        tokio::task::yield_now().await;
        grown.send_replace(client::Growth::Whole(Box::new(blob.clone())));
    };
    let sending = client.push_growing(repository, &growing, &Silent);
    let (sent, ()) = tokio::join!(sending, whole);
    assert!(sent.unwrap());
    let store = store();
    let pulled = client.pull_blob(repository, &blob, &store, &Silent).await;
    pulled.unwrap();
    assert_eq!(read(&store, &blob.digest), bytes);
}
