//! A registry in a temporary directory, and requests to its router.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use oci::{Algorithm, Digest};
use registry::auth::Auth;
use registry::config::Settings;
use registry::events::Subscribers;
use registry::http::Api;
use registry::meta::Place;
use registry::mirror::Mirror;
use registry::policy::Policy;
use registry::replication::Replication;
use registry::server::Server;
use registry::service::{Registry, ServiceError};
use registry::storage::Backend;
use registry::webhook::Deliveries;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{postgres, s3};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A registry that ends with the test.
pub struct App {
    pub dir: tempfile::TempDir,
    pub registry: Arc<Registry>,
    pub auth: Option<Arc<Auth>>,
    /// What webhooks are told.
    pub deliveries: Option<Deliveries>,
    pub mirror: Option<Arc<Mirror>>,
    pub replication: Option<Arc<Replication>>,
    router: Router,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no header {name} in {self:?}"))
            .to_str()
            .unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Checks the status, and the code of the first error.
    #[track_caller]
    pub fn is(&self, status: u16, code: &str) -> &Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.json()["errors"][0]["code"], code, "{self:?}");
        self
    }

    #[track_caller]
    pub fn ok(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self
    }
}

impl App {
    pub async fn new() -> Self {
        Self::in_dir(tempfile::tempdir().unwrap()).await
    }

    /// As `settings`, a text of TOML, has it; `$DIR` in it is the registry's directory.
    pub async fn configured(prepare: impl FnOnce(&Path), settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        Self::with_settings(dir, settings).await
    }

    /// What a new process with these settings would find; the old registry is closed already.
    pub async fn again(old: Self, settings: &str) -> Self {
        let Self {
            dir,
            registry,
            router,
            deliveries,
            mirror,
            replication,
            ..
        } = old;
        drop((registry, router, deliveries, mirror, replication));
        Self::with_settings(dir, settings).await
    }

    async fn with_settings(dir: tempfile::TempDir, settings: &str) -> Self {
        let file = dir.path().join("registry.toml");
        let settings = settings.replace("$DIR", dir.path().to_str().unwrap());
        std::fs::write(&file, settings).unwrap();
        let config = Settings::from_file(&file).unwrap().check().unwrap();
        let auth = Auth::open(&config.auth, dir.path()).unwrap().map(Arc::new);
        let registry = open_again(dir.path(), config.policy.clone()).await;
        let subscribers = Subscribers::with_activity(&config.webhooks, "node:5000".into(), false);
        let registry = Arc::new(registry.telling(subscribers));
        let deliveries = Deliveries::start(&registry).await.unwrap();
        let mirror = Mirror::open(&config.mirror, &registry).await.unwrap();
        let rules = &config.replicate;
        let read_only = Arc::default();
        let replication = Replication::start(rules, &registry, mirror.as_ref(), &read_only);
        let replication = replication.await.unwrap();
        let api = Api::new(Arc::clone(&registry), auth.clone(), Arc::default(), &config)
            .mirroring(mirror.clone())
            .replicating(Arc::clone(&replication));
        Self {
            mirror,
            replication: Some(replication),
            dir,
            auth,
            deliveries: Some(deliveries),
            registry,
            router: registry::http::router(api),
        }
    }

    pub async fn in_dir(dir: tempfile::TempDir) -> Self {
        let registry = open_again(dir.path(), Policy::default()).await;
        Self::of(dir, Arc::new(registry))
    }

    fn of(dir: tempfile::TempDir, registry: Arc<Registry>) -> Self {
        let router = registry::http::router(Api::open(Arc::clone(&registry)));
        Self {
            dir,
            auth: None,
            mirror: None,
            replication: None,
            deliveries: None,
            registry,
            router,
        }
    }

    /// With its metadata in a file, whatever the tests run on.
    pub async fn on_file(dir: tempfile::TempDir) -> Self {
        let place = Place::File(dir.path().join("registry.db"));
        Self::at(dir, &place).await
    }

    /// With its metadata elsewhere than the tests' is.
    pub async fn at(dir: tempfile::TempDir, place: &Place) -> Self {
        let backend = s3::backend(dir.path());
        let registry = opened(dir.path(), Policy::default(), &backend, place).await;
        Self::of(dir, Arc::new(registry))
    }

    /// With its blobs elsewhere than the tests' are.
    pub async fn on(dir: tempfile::TempDir, backend: &Backend) -> Self {
        let place = postgres::place(dir.path());
        let registry = opened(dir.path(), Policy::default(), backend, &place).await;
        Self::of(dir, Arc::new(registry))
    }

    /// With both elsewhere than the tests' are.
    pub async fn with_database(dir: tempfile::TempDir, backend: &Backend, place: &Place) -> Self {
        let registry = opened(dir.path(), Policy::default(), backend, place).await;
        Self::of(dir, Arc::new(registry))
    }

    /// The directory, with nobody at work in it.
    pub async fn stop(self) -> tempfile::TempDir {
        let Self {
            dir,
            registry,
            router,
            deliveries,
            mirror,
            replication,
            ..
        } = self;
        if let Some(replication) = &replication {
            replication.stop().await;
        }
        registry.close().await;
        drop((router, registry, deliveries, mirror, replication));
        dir
    }

    /// What a new process would find.
    pub async fn restart(self) -> Self {
        let dir = self.stop().await;
        Self::in_dir(dir).await
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        self.sending(request).await
    }

    /// The same, for a task of its own.
    pub fn sending(&self, mut request: Request<Body>) -> impl Future<Output = Answer> + use<> {
        let router = self.router.clone();
        let host = http::HeaderValue::from_static("localhost");
        request.headers_mut().entry("host").or_insert(host);
        async move {
            let response = router.oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Answer {
                status: parts.status,
                headers: parts.headers,
                body,
            }
        }
    }

    pub async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], Body::empty()).await
    }

    pub async fn head(&self, path: &str) -> Answer {
        self.request("HEAD", path, &[], Body::empty()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path, &[], Body::empty()).await
    }

    pub async fn post(&self, path: &str) -> Answer {
        self.request("POST", path, &[], Body::empty()).await
    }

    pub async fn put_manifest(&self, path: &str, media_type: &str, body: &[u8]) -> Answer {
        self.request("PUT", path, &[("content-type", media_type)], body.to_vec())
            .await
    }

    /// Pushes a blob in one request.
    pub async fn blob(&self, name: &str, bytes: &[u8]) -> Digest {
        let digest = sized(bytes);
        self.request(
            "POST",
            &format!("/v2/{name}/blobs/uploads/?digest={digest}"),
            &[],
            bytes.to_vec(),
        )
        .await
        .ok(201);
        digest
    }

    /// Begins an upload; its location.
    pub async fn upload(&self, name: &str) -> String {
        self.post(&format!("/v2/{name}/blobs/uploads/"))
            .await
            .ok(202)
            .header("location")
            .to_owned()
    }

    /// Pushes a small image; its digest and bytes.
    pub async fn image(&self, name: &str, tag: &str, content: &str) -> (Digest, String) {
        let config = self
            .blob(name, format!("{{\"c\":\"{content}\"}}").as_bytes())
            .await;
        let layer = self.blob(name, content.as_bytes()).await;
        let text = image(&config, &[&layer]).to_string();
        let answer = self
            .put_manifest(
                &format!("/v2/{name}/manifests/{tag}"),
                MANIFEST,
                text.as_bytes(),
            )
            .await
            .ok(201);
        let digest = Digest::sha256(text.as_bytes());
        assert_eq!(answer.header("docker-content-digest"), digest.to_string());
        (digest, text)
    }

    /// Serves on a port of its own for as long as the test runs.
    pub async fn listen(&self) -> SocketAddr {
        self.listen_behind(|router| router).await
    }

    /// The same, with something between clients and the registry.
    pub async fn listen_behind(&self, around: impl FnOnce(Router) -> Router) -> SocketAddr {
        let server = Server::bind(([127, 0, 0, 1], 0).into(), None)
            .await
            .unwrap();
        let addr = server.local_addr().unwrap();
        let run = server.run(
            around(self.router.clone()),
            std::future::pending(),
            Duration::ZERO,
        );
        tokio::spawn(run);
        addr
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// The sizes of the blobs that tests push; what is not pushed is said to have 1 byte.
static SIZES: Mutex<BTreeMap<Digest, usize>> = Mutex::new(BTreeMap::new());

/// The digest of a blob, whose size [`image`] then knows.
pub fn sized(bytes: &[u8]) -> Digest {
    sized_by(Algorithm::Sha256, bytes)
}

/// The same by another algorithm.
pub fn sized_by(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let digest = algorithm.digest(bytes);
    SIZES.lock().unwrap().insert(digest.clone(), bytes.len());
    digest
}

fn size_of(digest: &Digest) -> usize {
    SIZES.lock().unwrap().get(digest).copied().unwrap_or(1)
}

/// An image manifest, with the sizes of blobs that were pushed.
pub fn image(config: &Digest, layers: &[&Digest]) -> Value {
    let layers: Vec<Value> = layers
        .iter()
        .map(|digest| json!({"mediaType": LAYER, "digest": digest, "size": size_of(digest)}))
        .collect();
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": config, "size": size_of(config)},
        "layers": layers,
    })
}

/// Opens a directory once, as the tests' backend has it.
pub async fn try_open(dir: &Path) -> Result<Registry, ServiceError> {
    let (backend, database) = (s3::backend(dir), postgres::place(dir));
    Registry::with_database(dir, Policy::default(), &backend, &database).await
}

/// Opens a directory that a registry in this process has just let go of: a last blocking task of
/// it may still hold the lock for a moment.
async fn open_again(dir: &Path, policy: Policy) -> Registry {
    opened(dir, policy, &s3::backend(dir), &postgres::place(dir)).await
}

async fn opened(dir: &Path, policy: Policy, backend: &Backend, place: &Place) -> Registry {
    for _ in 0..500 {
        match Registry::with_database(dir, policy.clone(), backend, place).await {
            Err(e) if e.to_string().contains("in use by another rregistry") => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            opened => return opened.unwrap(),
        }
    }
    panic!("{} stays locked", dir.display());
}

/// The folder with the packages of a server of npm's; `None` where they cannot be had.
pub fn packages(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = root.join(format!("target/test-{name}"));
    let there = |tool: &str| Command::new(tool).arg("--version").output().is_ok();
    let made = there("node")
        && there("npm")
        && Command::new(root.join("scripts/test-npm.sh"))
            .arg(name)
            .arg(&folder)
            .status()
            .is_ok_and(|status| status.success());
    if !made {
        skipped("node, npm or what it installs cannot be had");
        return None;
    }
    Some(folder)
}

/// Says that a test is skipped for want of something, which is not done where all is required.
#[allow(clippy::print_stdout)]
pub fn skipped(why: &str) {
    let all =
        std::env::var_os("RBUILD_TEST_REQUIRE_ALL").is_some_and(|v| v != "0" && !v.is_empty());
    assert!(!all, "cannot be skipped here: {why}");
    println!("skipped: {why}");
}
