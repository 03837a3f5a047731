//! Everything at once, for a while: several clients push, pull, tag and delete the same content
//! while garbage is collected and copies are made. Every byte that is pulled is verified; at the
//! end nothing that was acknowledged is lost, and disk and database agree.
//!
//! `RREGISTRY_SOAK_SECONDS` says for how long (`make soak`: five minutes).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use axum::body::Body;
use oci::{Algorithm, Digest};
use registry::service::{CheckOptions, CollectOptions, ExportOptions};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{App, INDEX, MANIFEST, image};

const CLIENTS: u64 = 6;
const REPOSITORIES: [&str; 3] = ["a", "team/b", "team/deep/er/c"];
/// Contents that all clients draw from.
const CONTENTS: u64 = 40;
/// Tags of each client in each repository.
const TAGS: u64 = 5;
/// Names that each client keeps at most: verifying them all at the end takes its time.
const KEPT: usize = 300;
const SETTINGS: &str = r#"
[delete]
needed = true
[storage]
quota = "100GiB"
[[quota]]
repository = "team/**"
each = "50GiB"
"#;

/// Numbers that are the same for the same seed: a failure can be run again.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Content by number: some empty, most small, a few that take the threads of large uploads.
fn content(n: u64) -> Vec<u8> {
    let size = match n % 8 {
        0 if n == 0 => 0,
        0 => 700_000,
        1 => 90_000,
        _ => 50 + n * 37,
    };
    let mut random = Random(n + 1);
    (0..size).map(|_| random.below(251) as u8).collect()
}

#[derive(Default)]
struct Counts {
    pushed: AtomicU64,
    pulled: AtomicU64,
    deleted: AtomicU64,
    again: AtomicU64,
    collected: AtomicU64,
}

struct Client {
    app: Arc<App>,
    contents: Arc<Vec<(Vec<u8>, Digest)>>,
    counts: Arc<Counts>,
    id: u64,
    serial: u64,
    random: Random,
    /// What was acknowledged: repository and reference, and the manifest's text.
    expected: BTreeMap<(usize, String), String>,
}

impl Client {
    async fn run(mut self, until: Instant) -> Self {
        while Instant::now() < until {
            let repository = self.random.below(3) as usize;
            if self.expected.len() > KEPT {
                self.delete_manifest().await;
            }
            match self.random.below(12) {
                0..=3 => self.push(repository).await,
                4 => self.push_index(repository).await,
                5..=7 => self.pull_own().await,
                8 => self.pull_any(repository).await,
                9 => self.delete_tag().await,
                10 => self.delete_manifest().await,
                _ => self.give_up(repository).await,
            }
        }
        self
    }

    fn tag(&mut self) -> String {
        format!("c{}-{}", self.id, self.random.below(TAGS))
    }

    /// As clients do it: asks, mounts, and pushes what is not there.
    async fn bring(&mut self, repository: usize, n: u64) -> Digest {
        let name = REPOSITORIES[repository];
        let contents = Arc::clone(&self.contents);
        let (bytes, digest) = &contents[n as usize];
        if self
            .app
            .head(&format!("/v2/{name}/blobs/{digest}"))
            .await
            .status
            == 200
        {
            return digest.clone();
        }
        let from = REPOSITORIES[(repository + 1) % 3];
        let path = format!("/v2/{name}/blobs/uploads/?mount={digest}&from={from}");
        let answer = self.app.post(&path).await;
        if answer.status == 201 {
            return digest.clone();
        }
        let location = answer.ok(202).header("location").to_owned();
        let parts = 1 + self.random.below(3) as usize;
        for part in bytes.chunks(bytes.len() / parts + 1) {
            let body = Body::from_stream(futures_util::stream::iter(
                part.chunks(20_000)
                    .map(|p| Ok::<_, std::io::Error>(p.to_vec()))
                    .collect::<Vec<_>>(),
            ));
            self.app
                .request("PATCH", &location, &[], body)
                .await
                .ok(202);
        }
        self.app
            .request("PUT", &format!("{location}?digest={digest}"), &[], "")
            .await
            .ok(201);
        digest.clone()
    }

    async fn push(&mut self, repository: usize) {
        let tag = self.tag();
        let picks: Vec<u64> = (0..=1 + self.random.below(3))
            .map(|_| self.random.below(CONTENTS))
            .collect();
        self.serial += 1;
        for attempt in 0.. {
            let mut digests = Vec::new();
            for n in &picks {
                digests.push(self.bring(repository, *n).await);
            }
            let mut document = image(&digests[0], &digests[1..].iter().collect::<Vec<_>>());
            document["annotations"] = json!({"by": format!("{}/{}", self.id, self.serial)});
            if self.put(repository, &tag, MANIFEST, document).await {
                return;
            }
            // Taken between the mount and the manifest, which nothing leased: as in life, again.
            self.counts.again.fetch_add(1, Relaxed);
            assert!(attempt < 100, "pushing does not come to an end");
        }
    }

    /// An index of an image of one's own; a referrer, every other time.
    async fn push_index(&mut self, repository: usize) {
        let own = self.expected.iter().find(|((r, _), _)| *r == repository);
        let Some((_, text)) = own else { return };
        let child = Digest::sha256(text.as_bytes());
        self.serial += 1;
        let entry = json!({"mediaType": MANIFEST, "digest": child, "size": text.len()});
        let mut document = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry],
            "annotations": {"by": format!("{}/{}", self.id, self.serial)}});
        if self.serial.is_multiple_of(2) {
            document["subject"] = document["manifests"][0].take();
            document["manifests"] = json!([]);
        }
        let tag = self.tag();
        self.put(repository, &tag, INDEX, document).await;
    }

    async fn put(&mut self, repository: usize, tag: &str, kind: &str, document: Value) -> bool {
        let text = document.to_string();
        let path = format!("/v2/{}/manifests/{tag}", REPOSITORIES[repository]);
        let answer = self.app.put_manifest(&path, kind, text.as_bytes()).await;
        if answer.status == 400 {
            answer.is(400, "MANIFEST_BLOB_UNKNOWN");
            return false;
        }
        answer.ok(201);
        let digest = Digest::sha256(text.as_bytes()).to_string();
        self.expected.insert((repository, digest), text.clone());
        self.expected.insert((repository, tag.to_owned()), text);
        self.counts.pushed.fetch_add(1, Relaxed);
        true
    }

    fn pick(&mut self, tags: bool) -> Option<(usize, String)> {
        let keys: Vec<_> = self
            .expected
            .keys()
            .filter(|(_, reference)| reference.contains(':') != tags)
            .collect();
        let at = self.random.below(keys.len().max(1) as u64) as usize;
        keys.get(at).map(|key| (*key).clone())
    }

    async fn pull_own(&mut self) {
        let tags = self.random.below(2) == 0;
        let Some(key) = self.pick(tags) else { return };
        let (name, text) = (REPOSITORIES[key.0], &self.expected[&key]);
        let path = format!("/v2/{name}/manifests/{}", key.1);
        let answer = self.app.get(&path).await.ok(200);
        assert_eq!(&answer.body[..], text.as_bytes(), "{path}");
        self.pull_blobs(name, text, true).await;
    }

    /// Somebody else's, who may take it away meanwhile.
    async fn pull_any(&mut self, repository: usize) {
        let name = REPOSITORIES[repository];
        let list = self.app.get(&format!("/v2/{name}/tags/list")).await;
        if list.status == 404 {
            return;
        }
        let list = list.json();
        let tags = list["tags"].as_array().unwrap();
        if tags.is_empty() {
            return;
        }
        let tag = tags[self.random.below(tags.len() as u64) as usize]
            .as_str()
            .unwrap();
        let answer = self.app.get(&format!("/v2/{name}/manifests/{tag}")).await;
        if answer.status == 404 {
            return;
        }
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let digest = Digest::sha256(text.as_bytes()).to_string();
        assert_eq!(answer.header("docker-content-digest"), digest);
        self.pull_blobs(name, &text, false).await;
    }

    async fn pull_blobs(&self, name: &str, text: &str, own: bool) {
        let document: Value = serde_json::from_str(text).unwrap();
        let layers = document["layers"].as_array().into_iter().flatten();
        for entry in layers.chain(document.get("config")) {
            let digest: Digest = entry["digest"].as_str().unwrap().parse().unwrap();
            let path = format!("/v2/{name}/blobs/{digest}");
            let answer = self.app.get(&path).await;
            if answer.status == 404 && !own {
                // Only together with its manifest.
                let manifest = Digest::sha256(text.as_bytes());
                let path = format!("/v2/{name}/manifests/{manifest}");
                self.app.get(&path).await.ok(404);
                return;
            }
            let body = answer.ok(200).body;
            assert_eq!(Digest::sha256(&body), digest, "{path}");
        }
        self.counts.pulled.fetch_add(1, Relaxed);
    }

    async fn delete_tag(&mut self) {
        let Some(key) = self.pick(true) else { return };
        let path = format!("/v2/{}/manifests/{}", REPOSITORIES[key.0], key.1);
        self.app.delete(&path).await.ok(202);
        self.expected.remove(&key);
        self.app.get(&path).await.ok(404);
        self.counts.deleted.fetch_add(1, Relaxed);
    }

    async fn delete_manifest(&mut self) {
        let Some(key) = self.pick(false) else { return };
        let path = format!("/v2/{}/manifests/{}", REPOSITORIES[key.0], key.1);
        self.app.delete(&path).await.ok(202);
        let text = self.expected.remove(&key).unwrap();
        self.expected
            .retain(|(r, _), other| *r != key.0 || *other != text);
        self.app.get(&path).await.ok(404);
        self.counts.deleted.fetch_add(1, Relaxed);
    }

    /// An upload that nobody finishes, or whose digest is wrong.
    async fn give_up(&mut self, repository: usize) {
        let location = self.app.upload(REPOSITORIES[repository]).await;
        self.app
            .request("PATCH", &location, &[], vec![1; 3000])
            .await
            .ok(202);
        match self.random.below(3) {
            0 => drop(self.app.delete(&location).await.ok(204)),
            1 => {
                let wrong = Digest::sha256(b"something else");
                let path = format!("{location}?digest={wrong}");
                self.app
                    .request("PUT", &path, &[], "")
                    .await
                    .is(400, "DIGEST_INVALID");
            }
            _ => {}
        }
    }

    async fn verify(&self, app: &App) {
        for ((repository, reference), text) in &self.expected {
            let name = REPOSITORIES[*repository];
            let path = format!("/v2/{name}/manifests/{reference}");
            let answer = app.get(&path).await.ok(200);
            assert_eq!(&answer.body[..], text.as_bytes(), "{path}");
            self.pull_blobs(name, text, true).await;
        }
    }
}

fn seconds() -> u64 {
    let set = std::env::var("RREGISTRY_SOAK_SECONDS").ok();
    set.and_then(|n| n.parse().ok()).unwrap_or(3)
}

#[test]
fn everything_at_once_for_a_while() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    println!("{}", runtime.block_on(soak(Duration::from_secs(seconds()))));
}

async fn soak(time: Duration) -> String {
    let contents: Arc<Vec<_>> = Arc::new(
        (0..CONTENTS)
            .map(content)
            .map(|bytes| {
                let digest = crate::harness::sized(&bytes);
                (bytes, digest)
            })
            .collect(),
    );
    let app = Arc::new(App::configured(|_| {}, SETTINGS).await);
    let counts = Arc::new(Counts::default());
    let until = Instant::now() + time;
    let stop = Arc::new(AtomicBool::new(false));
    let mut helpers = JoinSet::new();
    {
        let (app, counts, stop) = (Arc::clone(&app), Arc::clone(&counts), Arc::clone(&stop));
        helpers.spawn(async move {
            let options = CollectOptions {
                grace: Duration::from_secs(1),
                dry_run: false,
                every_file: true,
            };
            while !stop.load(Relaxed) {
                let done = app.registry.collect(options).await.unwrap();
                counts.collected.fetch_add(done.blob_count, Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
    {
        let (app, stop) = (Arc::clone(&app), Arc::clone(&stop));
        helpers.spawn(async move {
            let work = tempfile::tempdir().unwrap();
            while !stop.load(Relaxed) {
                app.registry.back_up().await.unwrap();
                app.registry
                    .expire_uploads(Duration::from_secs(2))
                    .await
                    .unwrap();
                let options = ExportOptions {
                    what: vec![REPOSITORIES[0].to_owned()],
                    output: work.path().join("a.tar"),
                    link: false,
                };
                // What is deleted while it is planned cannot be exported: that is told.
                if let Err(e) = app.registry.export(&options).await {
                    assert!(
                        e.to_string().contains("no manifest")
                            || e.to_string().contains("not known"),
                        "{e}"
                    );
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
    }
    let mut clients = JoinSet::new();
    for id in 0..CLIENTS {
        let client = Client {
            app: Arc::clone(&app),
            contents: Arc::clone(&contents),
            counts: Arc::clone(&counts),
            id,
            serial: 0,
            random: Random(0x9e37_79b9_7f4a_7c15 ^ (id + 1)),
            expected: BTreeMap::new(),
        };
        clients.spawn(client.run(until));
    }
    let mut clients = clients.join_all().await;
    stop.store(true, Relaxed);
    helpers.join_all().await;
    for client in &clients {
        client.verify(&app).await;
    }
    let check = CheckOptions {
        deep: true,
        repair: false,
    };
    assert_eq!(app.registry.check(check).await.unwrap().problems, []);
    // And a new process finds the same.
    for client in &mut clients {
        client.app = Arc::new(App::new().await);
    }
    let app = Arc::into_inner(app).unwrap().restart().await;
    let app = Arc::new(app);
    for client in &mut clients {
        client.app = Arc::clone(&app);
        client.verify(&app).await;
    }
    assert_eq!(app.registry.check(check).await.unwrap().problems, []);
    // Nothing that is not needed stays for good.
    // Tags first: an index with a tag keeps what it lists.
    for digests in [false, true] {
        for client in &clients {
            let keys = client.expected.keys();
            for (repository, reference) in keys.filter(|(_, r)| r.contains(':') == digests) {
                let path = format!("/v2/{}/manifests/{reference}", REPOSITORIES[*repository]);
                app.delete(&path).await.ok(202);
            }
        }
    }
    let options = CollectOptions {
        grace: Duration::ZERO,
        dry_run: false,
        every_file: true,
    };
    app.registry.collect(options).await.unwrap();
    let report = app.registry.usage_report().await.unwrap();
    assert_eq!((report.bytes, report.repositories), (0, Vec::new()));
    let count = |n: &AtomicU64| n.load(Relaxed);
    assert!(count(&counts.pushed) > 0 && count(&counts.pulled) > 0);
    format!(
        "{} pushes ({} begun again), {} pulls, {} deletions, {} blobs collected",
        count(&counts.pushed),
        count(&counts.again),
        count(&counts.pulled),
        count(&counts.deleted),
        count(&counts.collected)
    )
}

/// As many layers as an overlay may have, an empty one among them, and by either algorithm.
#[tokio::test]
async fn an_image_of_127_layers_and_a_layer_of_nothing() {
    let app = App::new().await;
    let config = app.blob("app", b"{}").await;
    let mut layers = vec![app.blob("app", b"").await];
    for i in 1..127_u32 {
        layers.push(app.blob("app", &i.to_be_bytes()).await);
    }
    assert_eq!(layers[0], Digest::empty());
    let text = image(&config, &layers.iter().collect::<Vec<_>>()).to_string();
    app.put_manifest("/v2/app/manifests/deep", MANIFEST, text.as_bytes())
        .await
        .ok(201);
    let app = app.restart().await;
    let pulled = app.get("/v2/app/manifests/deep").await.ok(200);
    assert_eq!(&pulled.body[..], text.as_bytes());
    for layer in &layers {
        let answer = app.get(&format!("/v2/app/blobs/{layer}")).await.ok(200);
        assert_eq!(Digest::sha256(&answer.body), *layer);
    }
    let empty = app.get(&format!("/v2/app/blobs/{}", layers[0])).await;
    assert_eq!((empty.header("content-length"), empty.body.len()), ("0", 0));
    let long = Algorithm::Sha512.digest(b"");
    let path = format!("/v2/app/blobs/uploads/?digest={long}");
    app.request("POST", &path, &[], "").await.ok(201);
    app.get(&format!("/v2/app/blobs/{long}")).await.ok(200);
}
