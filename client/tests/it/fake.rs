//! A registry in this process: it keeps blobs and manifests, remembers every request, and a hook
//! can answer instead of it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode};
use client::config::{DockerConfig, RegistrySettings};
use client::{Client, Config, Events, LayerState};
use futures_util::StreamExt;
use oci::blob::{BlobStore, Expected, MemoryBlobs};
use oci::media_type::{OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST};
use oci::reference::Repository;
use oci::{Descriptor, Digest, Reference};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub fn authorization(&self) -> Option<&str> {
        self.header("authorization")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().unwrap())
    }

    /// `METHOD path`.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

pub type Answer = Response<Body>;
type Hook = Box<dyn Fn(&Seen) -> Option<Answer> + Send + Sync>;

#[derive(Default)]
pub struct Fake {
    pub host: String,
    seen: Mutex<Vec<Seen>>,
    pub blobs: Mutex<HashMap<(String, String), Bytes>>,
    pub manifests: Mutex<HashMap<(String, String), (String, Bytes)>>,
    uploads: Mutex<HashMap<String, Vec<u8>>>,
    next: AtomicUsize,
    hook: Mutex<Option<Hook>>,
    /// The next `PATCH` is read this far and then fails with 503.
    pub cut: Mutex<Option<usize>>,
    pub min_chunk: Mutex<Option<u64>>,
}

pub fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
    let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap());
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap()
}

pub fn error(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
    answer(status, &[("content-type", "application/json")], body)
}

impl Fake {
    pub async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Arc::new(Self {
            host: listener.local_addr().unwrap().to_string(),
            ..Self::default()
        });
        let app = axum::Router::new()
            .fallback(handle)
            .with_state(Arc::clone(&fake));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        fake
    }

    /// The same by https as `localhost`, with a certificate of the authority in `tls/ca.crt`.
    pub async fn start_tls() -> Arc<Self> {
        let listener = crate::tls::TlsListener::bind().await;
        let fake = Arc::new(Self {
            host: format!("localhost:{}", listener.port()),
            ..Self::default()
        });
        let app = axum::Router::new()
            .fallback(handle)
            .with_state(Arc::clone(&fake));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        fake
    }

    /// Answers instead of us, but for the probes of `/v2/`.
    pub fn hook(&self, hook: impl Fn(&Seen) -> Option<Answer> + Send + Sync + 'static) {
        self.hook_all(move |seen| {
            if seen.path == "/v2/" {
                None
            } else {
                hook(seen)
            }
        });
    }

    /// Answers instead of us.
    pub fn hook_all(&self, hook: impl Fn(&Seen) -> Option<Answer> + Send + Sync + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }

    /// Every request but the probes of `/v2/`.
    pub fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|s| s.path != "/v2/").cloned().collect()
    }

    pub fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }

    /// How often a line came.
    pub fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|l| l.as_str() == line).count()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.host)
    }

    pub fn reference(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.host).parse().unwrap()
    }

    pub fn repository(&self, path: &str) -> Repository {
        format!("{}/{path}", self.host).parse().unwrap()
    }

    pub fn add_blob(&self, repository: &str, bytes: &[u8]) -> Descriptor {
        let digest = Digest::sha256(bytes);
        let key = (repository.to_owned(), digest.to_string());
        self.blobs
            .lock()
            .unwrap()
            .insert(key, Bytes::copy_from_slice(bytes));
        Descriptor::new(OCI_LAYER_GZIP, digest, bytes.len() as u64)
    }

    pub fn add_manifest(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Digest {
        let digest = Digest::sha256(bytes);
        let mut manifests = self.manifests.lock().unwrap();
        for key in [tag.to_owned(), digest.to_string()] {
            let value = (media_type.to_owned(), Bytes::copy_from_slice(bytes));
            manifests.insert((repository.to_owned(), key), value);
        }
        digest
    }

    /// An image of one config and one layer, under a tag.
    pub fn add_image(&self, repository: &str, tag: &str) -> (Digest, Vec<u8>) {
        let layer = self.add_blob(repository, b"layer");
        let config = self.add_blob(repository, b"{}");
        let bytes = manifest(&config, &[layer]);
        (
            self.add_manifest(repository, tag, OCI_MANIFEST, &bytes),
            bytes,
        )
    }

    fn serve(&self, seen: &Seen) -> Answer {
        let query: HashMap<&str, String> = seen
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(k, v)| (k, v.replace("%3A", ":").replace("%2F", "/")))
            .collect();
        let Some(rest) = seen.path.strip_prefix("/v2/") else {
            return error(404, "UNKNOWN", "not here");
        };
        if rest.is_empty() {
            return answer(200, &[], "{}");
        }
        if let Some((repository, key)) = rest.split_once("/manifests/") {
            return self.serve_manifest(seen, repository, key);
        }
        if let Some((repository, id)) = rest.split_once("/blobs/uploads/") {
            return self.serve_upload(seen, repository, id, &query);
        }
        if let Some((repository, digest)) = rest.split_once("/blobs/") {
            let key = (repository.to_owned(), digest.to_owned());
            return match self.blobs.lock().unwrap().get(&key) {
                Some(bytes) => serve_bytes(seen, bytes),
                None => error(404, "BLOB_UNKNOWN", "blob unknown to registry"),
            };
        }
        error(404, "UNKNOWN", "not here")
    }

    fn serve_manifest(&self, seen: &Seen, repository: &str, key: &str) -> Answer {
        if seen.method == Method::PUT {
            let media_type = seen.header("content-type").unwrap();
            let digest = self
                .add_manifest(repository, key, media_type, &seen.body)
                .to_string();
            return answer(201, &[("docker-content-digest", digest.as_str())], "");
        }
        match self
            .manifests
            .lock()
            .unwrap()
            .get(&(repository.to_owned(), key.to_owned()))
        {
            Some((media_type, bytes)) => {
                let digest = Digest::sha256(bytes).to_string();
                let headers = [
                    ("content-type", media_type.as_str()),
                    ("docker-content-digest", digest.as_str()),
                ];
                answer(200, &headers, bytes.clone())
            }
            None => error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        }
    }

    fn serve_upload(
        &self,
        seen: &Seen,
        repository: &str,
        id: &str,
        query: &HashMap<&str, String>,
    ) -> Answer {
        let mut uploads = self.uploads.lock().unwrap();
        if id.is_empty() {
            if let (Some(digest), Some(from)) = (query.get("mount"), query.get("from")) {
                let mut blobs = self.blobs.lock().unwrap();
                if let Some(bytes) = blobs.get(&(from.clone(), digest.clone())).cloned() {
                    blobs.insert((repository.to_owned(), digest.clone()), bytes);
                    return answer(201, &[], "");
                }
            }
            let id = self.next.fetch_add(1, Ordering::Relaxed).to_string();
            uploads.insert(id.clone(), Vec::new());
            // Relative, and with a state that must come back as it is.
            let location = format!("/v2/{repository}/blobs/uploads/{id}?_state=a%2Bb");
            let min = self
                .min_chunk
                .lock()
                .unwrap()
                .map(|m| m.to_string())
                .unwrap_or_default();
            return answer(
                202,
                &[("location", &location), ("oci-chunk-min-length", &min)],
                "",
            );
        }
        assert!(seen.query.starts_with("_state=a%2Bb"), "{}", seen.query);
        let Some(upload) = uploads.get_mut(id) else {
            return error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown");
        };
        let location = format!("{}?_state=a%2Bb", seen.path);
        match seen.method {
            Method::DELETE => {
                uploads.remove(id);
                answer(204, &[], "")
            }
            Method::GET => {
                let range = format!("0-{}", upload.len().saturating_sub(1));
                answer(204, &[("location", &location), ("range", &range)], "")
            }
            Method::PATCH => {
                if let Some(range) = seen.header("content-range") {
                    let start: usize = range.split('-').next().unwrap().parse().unwrap();
                    if start != upload.len() {
                        return error(416, "BLOB_UPLOAD_INVALID", "out of order");
                    }
                }
                upload.extend_from_slice(&seen.body);
                let range = format!("0-{}", upload.len() - 1);
                answer(202, &[("location", &location), ("range", &range)], "")
            }
            _ => {
                let mut bytes = uploads.remove(id).unwrap();
                bytes.extend_from_slice(&seen.body);
                let digest = Digest::sha256(&bytes).to_string();
                if query.get("digest") != Some(&digest) {
                    return error(400, "DIGEST_INVALID", "provided digest did not match");
                }
                let key = (repository.to_owned(), digest);
                self.blobs.lock().unwrap().insert(key, Bytes::from(bytes));
                answer(201, &[], "")
            }
        }
    }
}

fn serve_bytes(seen: &Seen, bytes: &Bytes) -> Answer {
    let Some(start) = range_of(seen) else {
        return answer(200, &[], bytes.clone());
    };
    let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
    answer(206, &[("content-range", &range)], bytes.slice(start..))
}

/// The first byte that a request asks for.
pub fn range_of(seen: &Seen) -> Option<usize> {
    let range = seen.header("range")?;
    Some(
        range
            .strip_prefix("bytes=")
            .unwrap()
            .trim_end_matches('-')
            .parse()
            .unwrap(),
    )
}

async fn handle(State(fake): State<Arc<Fake>>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let cut = (parts.method == Method::PATCH)
        .then(|| fake.cut.lock().unwrap().take())
        .flatten();
    let mut bytes = Vec::new();
    let mut stream = body.into_data_stream();
    while let Some(Ok(piece)) = stream.next().await {
        bytes.extend_from_slice(&piece);
        if let Some(cut) = cut.filter(|cut| bytes.len() >= *cut) {
            bytes.truncate(cut);
            break;
        }
    }
    let seen = Seen {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: bytes.into(),
    };
    fake.seen.lock().unwrap().push(seen.clone());
    let hooked = fake
        .hook
        .lock()
        .unwrap()
        .as_ref()
        .and_then(|hook| hook(&seen));
    let answer = hooked.unwrap_or_else(|| fake.serve(&seen));
    if cut.is_some() {
        return error(503, "UNAVAILABLE", "try again");
    }
    answer
}

/// A manifest of a config and layers.
pub fn manifest(config: &Descriptor, layers: &[Descriptor]) -> Vec<u8> {
    let mut config = config.clone();
    config.media_type = OCI_CONFIG.into();
    let manifest = oci::Manifest {
        schema_version: 2,
        media_type: Some(OCI_MANIFEST.into()),
        artifact_type: None,
        config,
        layers: layers.to_vec(),
        subject: None,
        annotations: Default::default(),
    };
    serde_json::to_vec(&manifest).unwrap()
}

/// A configuration whose tries follow each other quickly.
pub fn config() -> Config {
    let mut config = Config::default();
    config.retry.base = Duration::from_millis(1);
    config
}

/// The same with docker's config.json, whose `auths` are `host → user:password`.
pub fn config_with(dir: &Path, auths: &[(&str, &str)]) -> Config {
    use base64::Engine;
    let auths: serde_json::Map<String, serde_json::Value> = auths
        .iter()
        .map(|(host, pair)| {
            let auth = base64::engine::general_purpose::STANDARD.encode(pair);
            ((*host).to_owned(), serde_json::json!({ "auth": auth }))
        })
        .collect();
    let path = dir.join("config.json");
    std::fs::write(&path, serde_json::json!({ "auths": auths }).to_string()).unwrap();
    Config {
        docker: DockerConfig::at(path),
        ..config()
    }
}

/// Marks a host insecure.
pub fn insecure(config: &mut Config, host: &str) {
    let settings = RegistrySettings {
        insecure: true,
        ..RegistrySettings::default()
    };
    config.registries.set(host, settings);
}

pub fn client() -> Client {
    Client::new(config())
}

pub fn store() -> Arc<dyn BlobStore> {
    Arc::new(MemoryBlobs::new())
}

/// Puts bytes into a store.
pub fn put(store: &Arc<dyn BlobStore>, bytes: &[u8]) -> Descriptor {
    let mut writer = store.writer().unwrap();
    std::io::Write::write_all(&mut writer, bytes).unwrap();
    let (digest, size) = writer.commit(&Expected::default()).unwrap();
    Descriptor::new(OCI_LAYER_GZIP, digest, size)
}

pub fn read(store: &Arc<dyn BlobStore>, digest: &Digest) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut store.open(digest).unwrap(), &mut bytes).unwrap();
    bytes
}

/// Bytes that do not repeat every few.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Remembers the words of each state a layer came to.
#[derive(Default)]
pub struct Told(Mutex<Vec<(Digest, String)>>);

impl Events for Told {
    fn layer(&self, layer: &Descriptor, state: &LayerState) {
        let mut told = self.0.lock().unwrap();
        let entry = (layer.digest.clone(), state.to_string());
        if told.iter().rev().find(|(digest, _)| *digest == entry.0) != Some(&entry) {
            told.push(entry);
        }
    }
}

impl Told {
    /// The states of one layer, each once in a row.
    pub fn of(&self, digest: &Digest) -> Vec<String> {
        let told = self.0.lock().unwrap();
        told.iter()
            .filter(|(d, _)| d == digest)
            .map(|(_, words)| words.clone())
            .collect()
    }
}
