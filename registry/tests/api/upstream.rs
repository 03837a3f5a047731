//! An upstream by hand: it counts what it is asked, and can be slow, lie, cut and refuse.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, StatusCode};
use oci::Digest;
use serde_json::json;
use tokio::sync::watch;

use crate::harness::{INDEX, MANIFEST, image, sized};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub line: String,
    pub headers: HeaderMap,
}

/// What is wrong with a blob.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection breaks after so many bytes, so many times.
    Cut(usize, usize),
    /// Other bytes of the same number.
    Wrong,
    /// It is told to be longer than it is, and ends early each time.
    Short,
    /// Its length is not told.
    Unsized,
    /// Its second half comes once the gate is open.
    Gated,
    /// A range of it is refused.
    Whole,
    /// It is elsewhere.
    Redirect(String),
}

/// What every request is answered with, if not with what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mood {
    Fine,
    Status(u16),
    Limited(&'static str),
}

struct Inner {
    addr: SocketAddr,
    manifests: Mutex<HashMap<String, (Bytes, String)>>,
    blobs: Mutex<HashMap<String, Bytes>>,
    faults: Mutex<HashMap<String, Fault>>,
    referrers: Mutex<HashMap<String, Bytes>>,
    mood: Mutex<Mood>,
    asked: Mutex<Vec<Asked>>,
    gate: watch::Sender<bool>,
}

#[derive(Clone)]
pub struct Upstream(Arc<Inner>);

impl Upstream {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self(Arc::new(Inner {
            addr: listener.local_addr().unwrap(),
            manifests: Mutex::default(),
            blobs: Mutex::default(),
            faults: Mutex::default(),
            referrers: Mutex::default(),
            mood: Mutex::new(Mood::Fine),
            asked: Mutex::default(),
            gate: watch::Sender::new(false),
        }));
        let router = Router::new().fallback(answer).with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        this
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.0.addr)
    }

    pub fn mood(&self, mood: Mood) {
        *self.0.mood.lock().unwrap() = mood;
    }

    pub fn fault(&self, digest: &Digest, fault: Fault) {
        let mut faults = self.0.faults.lock().unwrap();
        faults.insert(digest.to_string(), fault);
    }

    pub fn open_gate(&self) {
        self.0.gate.send_replace(true);
    }

    pub fn blob(&self, name: &str, bytes: &[u8]) -> Digest {
        let digest = sized(bytes);
        let mut blobs = self.0.blobs.lock().unwrap();
        blobs.insert(format!("{name}@{digest}"), Bytes::copy_from_slice(bytes));
        digest
    }

    pub fn manifest(&self, name: &str, tag: &str, text: &str, media_type: &str) -> Digest {
        let digest = sized(text.as_bytes());
        let mut manifests = self.0.manifests.lock().unwrap();
        let content = (
            Bytes::copy_from_slice(text.as_bytes()),
            media_type.to_owned(),
        );
        manifests.insert(format!("{name}@{tag}"), content.clone());
        manifests.insert(format!("{name}@{digest}"), content);
        digest
    }

    pub fn untag(&self, name: &str, tag: &str) {
        let mut manifests = self.0.manifests.lock().unwrap();
        manifests.remove(&format!("{name}@{tag}"));
    }

    /// An image of a configuration and a layer; the digests of manifest and layer.
    pub fn image(&self, name: &str, tag: &str, content: &[u8]) -> (Digest, Digest) {
        let text = format!("{{\"of\":\"{}\"}}", Digest::sha256(content));
        let config = self.blob(name, text.as_bytes());
        let layer = self.blob(name, content);
        let text = image(&config, &[&layer]).to_string();
        (self.manifest(name, tag, &text, MANIFEST), layer)
    }

    pub fn refers(&self, digest: &Digest, referrers: &[&Digest]) {
        let list: Vec<_> = referrers
            .iter()
            .map(|d| json!({"mediaType": MANIFEST, "digest": d, "size": 1}))
            .collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": list});
        let mut all = self.0.referrers.lock().unwrap();
        all.insert(digest.to_string(), index.to_string().into());
    }

    /// The requests whose line begins so.
    pub fn asked(&self, line: &str) -> Vec<Asked> {
        let asked = self.0.asked.lock().unwrap();
        let of = asked.iter().filter(|asked| asked.line.starts_with(line));
        of.cloned().collect()
    }

    pub fn count(&self, line: &str) -> usize {
        self.asked(line).len()
    }
}

async fn answer(State(upstream): State<Upstream>, request: Request) -> Response {
    let this = &upstream.0;
    let path = request.uri().path().to_owned();
    this.asked.lock().unwrap().push(Asked {
        line: format!("{} {path}", request.method()),
        headers: request.headers().clone(),
    });
    let mood = this.mood.lock().unwrap().clone();
    match mood {
        Mood::Fine => {}
        Mood::Status(status) => return empty(status),
        Mood::Limited(seconds) => {
            let mut response = empty(429);
            let headers = response.headers_mut();
            headers.insert("retry-after", seconds.parse().unwrap());
            headers.insert("ratelimit-limit", "100;w=21600".parse().unwrap());
            headers.insert("ratelimit-remaining", "0;w=21600".parse().unwrap());
            return response;
        }
    }
    let Some(rest) = path.strip_prefix("/v2/") else {
        return empty(404);
    };
    if let Some((name, reference)) = rest.split_once("/manifests/") {
        let found = this.manifests.lock().unwrap();
        let Some((bytes, media_type)) = found.get(&format!("{name}@{reference}")) else {
            return empty(404);
        };
        return Response::builder()
            .header("content-type", media_type)
            .header("docker-content-digest", Digest::sha256(bytes).to_string())
            .header("ratelimit-limit", "100;w=21600")
            .header("ratelimit-remaining", "76;w=21600")
            .body(Body::from(bytes.clone()))
            .unwrap();
    }
    if let Some(name) = rest.strip_suffix("/tags/list") {
        let all = this.manifests.lock().unwrap();
        let tags = all
            .keys()
            .filter_map(|key| key.strip_prefix(name)?.strip_prefix('@'));
        let tags: Vec<&str> = tags.filter(|tag| !tag.contains(':')).collect();
        if tags.is_empty() {
            return empty(404);
        }
        return Response::new(Body::from(json!({"name": name, "tags": tags}).to_string()));
    }
    if let Some((_, digest)) = rest.split_once("/referrers/") {
        let all = this.referrers.lock().unwrap();
        return match all.get(digest) {
            Some(list) => Response::new(Body::from(list.clone())),
            None => empty(404),
        };
    }
    match rest.split_once("/blobs/") {
        Some((name, digest)) => upstream.blob_answer(name, digest, &request),
        None => empty(404),
    }
}

impl Upstream {
    fn blob_answer(&self, name: &str, digest: &str, request: &Request) -> Response {
        let bytes = self
            .0
            .blobs
            .lock()
            .unwrap()
            .get(&format!("{name}@{digest}"))
            .cloned();
        let Some(mut bytes) = bytes else {
            return empty(404);
        };
        let fault = self.0.faults.lock().unwrap().get(digest).cloned();
        if request.method() == Method::HEAD {
            return Response::builder()
                .header("content-length", bytes.len())
                .body(Body::empty())
                .unwrap();
        }
        let range = request.headers().get("range");
        let from = range.map_or(0, |range| {
            let text = range.to_str().unwrap().strip_prefix("bytes=").unwrap();
            text.strip_suffix('-').unwrap().parse::<usize>().unwrap()
        });
        let total = bytes.len();
        if from > 0 && from >= total {
            return empty(416);
        }
        let mut told = total - from;
        let part = |bytes: Bytes| -> Vec<Result<Bytes, std::io::Error>> {
            bytes
                .chunks(1000)
                .map(|c| Ok(Bytes::copy_from_slice(c)))
                .collect()
        };
        let broken = || Err(std::io::Error::other("cut"));
        let mut sized = true;
        let body = match fault {
            Some(Fault::Whole) if from > 0 => return empty(416),
            None | Some(Fault::Whole) => Body::from(bytes.slice(from..)),
            Some(Fault::Redirect(to)) => {
                let mut response = empty(307);
                let to = format!("{to}/v2/{name}/blobs/{digest}");
                response
                    .headers_mut()
                    .insert("location", to.parse().unwrap());
                return response;
            }
            Some(Fault::Unsized) => {
                sized = false;
                Body::from_stream(stream::iter(part(bytes.slice(from..))))
            }
            Some(Fault::Wrong) => {
                bytes = bytes.iter().map(|b| !b).collect();
                Body::from(bytes.slice(from..))
            }
            Some(Fault::Short) => {
                told += 10;
                let mut parts = part(bytes.slice(from..));
                parts.push(broken());
                Body::from_stream(stream::iter(parts))
            }
            Some(Fault::Cut(at, left)) => {
                let mut faults = self.0.faults.lock().unwrap();
                match left {
                    0 => Body::from(bytes.slice(from..)),
                    _ => {
                        faults.insert(digest.to_owned(), Fault::Cut(at, left - 1));
                        let end = (from + at).min(total);
                        let mut parts = part(bytes.slice(from..end));
                        parts.push(broken());
                        // What was given to the socket leaves before it is closed.
                        Body::from_stream(slowly(parts))
                    }
                }
            }
            Some(Fault::Gated) => {
                let half = from + (total - from) / 2;
                let (first, second) = (bytes.slice(from..half), bytes.slice(half..));
                let mut gate = self.0.gate.subscribe();
                let rest = stream::once(async move {
                    let _ = gate.wait_for(|open| *open).await;
                    Ok(second)
                });
                Body::from_stream(futures_util::StreamExt::chain(
                    stream::iter(part(first)),
                    rest,
                ))
            }
        };
        let mut response = Response::builder().status(if from > 0 { 206 } else { 200 });
        if sized {
            response = response.header("content-length", told);
        }
        if from > 0 {
            let range = format!("bytes {from}-{}/{total}", total - 1);
            response = response.header("content-range", range);
        }
        response.body(body).unwrap()
    }
}

/// Gives each part a turn of its own, so that what came before an error is sent.
fn slowly(
    parts: Vec<Result<Bytes, std::io::Error>>,
) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> {
    stream::unfold(parts.into_iter(), |mut parts| async move {
        let next = parts.next()?;
        if next.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        Some((next, parts))
    })
}

fn empty(status: u16) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}
