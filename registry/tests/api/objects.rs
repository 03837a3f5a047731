//! Blobs in an object store: what is so there, and with stores that fail.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use http::Method;
use oci::{Algorithm, Digest};
use registry::policy::Policy;
use registry::service::{CheckOptions, CollectOptions, Problem, Registry, ServiceError};
use registry::storage::Backend;

use crate::faulty::{Fault, Faulty};
use crate::harness::{App, MANIFEST, image, sized};
use crate::process::{on_store, start};
use crate::s3;

/// Bytes that are no repetition of a few.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut all = Vec::with_capacity(len + 8);
    while all.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        all.extend_from_slice(&state.to_le_bytes());
    }
    all.truncate(len);
    all
}

const NONE: [PathBuf; 0] = [];

async fn app() -> App {
    let dir = tempfile::tempdir().unwrap();
    let backend = s3::on_store(dir.path(), s3::server().addr);
    App::on(dir, &backend).await
}

/// All files below a folder.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut all = Vec::new();
    for path in entries.map(|entry| entry.path()) {
        match path.is_dir() {
            true => all.extend(files(&path)),
            false => all.push(path),
        }
    }
    all
}

pub fn object(dir: &Path, digest: &Digest) -> PathBuf {
    let objects = s3::server().objects(dir).join("blobs/sha256");
    objects.join(&digest.hex()[..2]).join(digest.hex())
}

pub async fn pushed_in_chunks(app: &App, name: &str, content: &[u8], chunk: usize) -> Digest {
    let location = app.upload(name).await;
    let mut at = 0;
    for part in content.chunks(chunk) {
        let range = format!("{at}-{}", at + part.len() - 1);
        let headers = [("content-range", range.as_str())];
        let answer = app
            .request("PATCH", &location, &headers, part.to_vec())
            .await;
        answer.ok(202);
        at += part.len();
    }
    let digest = sized(content);
    let path = format!("{location}?digest={digest}");
    app.request("PUT", &path, &[], Body::empty()).await.ok(201);
    digest
}

pub async fn pulled(app: &App, name: &str, digest: &Digest) -> Vec<u8> {
    let answer = app.get(&format!("/v2/{name}/blobs/{digest}")).await.ok(200);
    answer.body.to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_go_straight_through_in_parts_of_any_size() {
    let app = app().await;
    let content = bytes(1, (13 << 20) + 7);
    // Chunks that are smaller than a part, a part and a bit, and all at once.
    for chunk in [1_usize << 20, (5 << 20) + 1, 64 << 20] {
        let content = [&content[..], &chunk.to_le_bytes()].concat();
        let digest = pushed_in_chunks(&app, "app", &content, chunk).await;
        assert!(pulled(&app, "app", &digest).await == content, "{chunk}");
        assert_eq!(
            std::fs::metadata(object(app.path(), &digest))
                .unwrap()
                .len(),
            content.len() as u64
        );
    }
    for len in [0, 1, 5 << 20, (5 << 20) + 1, 10 << 20] {
        let content = bytes(2, len);
        let digest = app.blob("app", &content).await;
        assert!(pulled(&app, "app", &digest).await == content, "{len}");
    }
    // Nothing of it was written here, and of the uploads nothing is left there.
    assert_eq!(files(&app.path().join("staging")), NONE);
    assert!(!app.path().join("blobs").exists());
    assert_eq!(
        files(&s3::server().objects(app.path()).join("uploads")),
        NONE
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_read_where_they_are() {
    let app = app().await;
    let content = bytes(3, 700_000);
    let digest = app.blob("app", &content).await;
    let path = format!("/v2/app/blobs/{digest}");
    for (range, from, to) in [("0-0", 0, 1), ("5-99", 5, 100), ("-10", 699_990, 700_000)] {
        let headers = [("range", format!("bytes={range}"))];
        let headers = headers
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let answer = app
            .request("GET", &path, &headers, Body::empty())
            .await
            .ok(206);
        assert_eq!(answer.body, content[from..to]);
    }
    let several = app.request(
        "GET",
        &path,
        &[("range", "bytes=0-1,600000-600001")],
        Body::empty(),
    );
    let several = several.await.ok(206);
    let has = |part: &[u8]| several.body.windows(part.len()).any(|found| found == part);
    assert!(has(&content[..2]) && has(&content[600_000..600_002]));
}

/// Parts, sessions and what refers to them go with an upload that is given up.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_leaves_nothing() {
    let app = app().await;
    let objects = s3::server().objects(app.path());
    let wrong = Digest::sha256(b"other");
    for end in ["cancel", "wrong", "expire"] {
        let location = app.upload("app").await;
        let sent = app
            .request("PATCH", &location, &[], bytes(4, 11 << 20))
            .await;
        sent.ok(202);
        let session = files(&objects.join("uploads"));
        let session = session
            .iter()
            .find(|path| path.ends_with("session"))
            .unwrap();
        let session = std::fs::read(session).unwrap();
        let line = session.split(|byte| *byte == b'\n').next().unwrap();
        let line: serde_json::Value = serde_json::from_slice(line).unwrap();
        let begun = line["upload"].as_str().unwrap().to_owned();
        assert_eq!(s3::server().parts(&begun), 2);
        match end {
            "cancel" => drop(app.delete(&location).await.ok(204)),
            "wrong" => {
                let path = format!("{location}?digest={wrong}");
                let refused = app.request("PUT", &path, &[], Body::empty()).await;
                refused.is(400, "DIGEST_INVALID");
            }
            _ => {
                let hour = Duration::from_secs(3600);
                assert_eq!(app.registry.expire_uploads(hour).await.unwrap(), 0);
                assert_eq!(
                    app.registry.expire_uploads(Duration::ZERO).await.unwrap(),
                    1
                );
            }
        }
        app.get(&location).await.is(404, "BLOB_UPLOAD_UNKNOWN");
        assert_eq!(files(&objects.join("uploads")), NONE, "{end}");
        assert_eq!(s3::server().parts(&begun), 0, "{end}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_of_both_lacks_is_found() {
    let app = app().await;
    let check = |repair| {
        let options = CheckOptions { deep: true, repair };
        let registry = app.registry.clone();
        async move { registry.check(options).await.unwrap().problems }
    };
    app.image("app", "v1", "content").await;
    assert_eq!(check(false).await, []);
    let (gone, damaged) = (
        Digest::sha256(b"content"),
        app.blob("app", b"damaged").await,
    );
    std::fs::remove_file(object(app.path(), &gone)).unwrap();
    std::fs::write(object(app.path(), &damaged), b"Damaged").unwrap();
    let stray = Digest::sha256(b"stray");
    let place = object(app.path(), &stray);
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::write(&place, b"stray").unwrap();
    let mut found = check(true).await;
    found.sort_by_key(|problem| format!("{problem:?}"));
    assert!(
        matches!(&found[..], [
            Problem::Damaged { digest: one, .. },
            Problem::Missing { digest: two, .. },
            Problem::Orphan { digest: three, size: 5 },
        ] if (one, two, three) == (&damaged, &gone, &stray)),
        "{found:?}"
    );
    assert_eq!(check(false).await, []);
    assert!(!place.exists());
    // What is pushed again is there again.
    let again = app.blob("app", b"content").await;
    assert_eq!(pulled(&app, "app", &again).await, b"content");
}

/// A listing has many pages.
#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_swept_page_by_page() {
    let app = app().await;
    let kept = app.blob("app", b"kept").await;
    let shard = object(app.path(), &kept).parent().unwrap().to_owned();
    let begin = &kept.hex()[..2];
    for n in 0..1200 {
        std::fs::write(shard.join(format!("{begin}{n:062x}")), b"x").unwrap();
    }
    // What is not called like a blob is not ours.
    std::fs::write(shard.join("readme"), b"x").unwrap();
    let options = |grace| CollectOptions {
        grace: Duration::from_secs(grace),
        dry_run: false,
        every_file: true,
    };
    assert_eq!(
        app.registry
            .collect(options(3600))
            .await
            .unwrap()
            .orphan_count,
        0
    );
    let config = app.blob("app", b"{}").await;
    let text = image(&config, &[&kept]).to_string();
    let put = app
        .put_manifest("/v2/app/manifests/v1", MANIFEST, text.as_bytes())
        .await;
    put.ok(201);
    assert_eq!(
        app.registry.collect(options(0)).await.unwrap().orphan_count,
        1200
    );
    assert_eq!(pulled(&app, "app", &kept).await, b"kept");
    assert!(shard.join("readme").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_for_one_registry() {
    let dir = tempfile::tempdir().unwrap();
    let backend = s3::on_store(dir.path(), s3::server().addr);
    let open = async |dir: &Path, backend: &Backend| {
        Registry::with_backend(dir, Policy::default(), backend).await
    };
    let why = |opened: Result<Registry, ServiceError>| opened.unwrap_err().to_string();
    let app = App::on(dir, &backend).await;
    let other = tempfile::tempdir().unwrap();
    let refused = why(open(other.path(), &backend).await);
    assert!(
        refused.contains("holds the blobs of another registry"),
        "{refused}"
    );
    app.blob("app", b"content").await;
    let refused = why(open(other.path(), &backend).await);
    assert!(
        refused.contains("is missing, but there are blobs"),
        "{refused}"
    );
    let dir = app.stop().await;
    // The directory knows where they are.
    let refused = why(open(dir.path(), &Backend::Disk).await);
    assert!(refused.contains("say so with storage.backend"), "{refused}");
    let elsewhere = s3::on_store(other.path(), s3::server().addr);
    let refused = why(open(dir.path(), &elsewhere).await);
    assert!(refused.contains("none of them in s3://"), "{refused}");
    // One whose blobs are files.
    let on_disk = tempfile::tempdir().unwrap();
    open(on_disk.path(), &Backend::Disk)
        .await
        .unwrap()
        .close()
        .await;
    let fresh = s3::on_store(on_disk.path(), s3::server().addr);
    let refused = why(open(on_disk.path(), &fresh).await);
    assert!(refused.contains("are in files of it"), "{refused}");
    // Nothing of all that did any harm.
    let app = App::on(dir, &backend).await;
    let digest = Digest::sha256(b"content");
    assert_eq!(pulled(&app, "app", &digest).await, b"content");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_sent_to_the_store_where_they_may_be() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = s3::settings(dir.path(), s3::server().addr);
    settings.redirect = true;
    let app = App::on(dir, &Backend::Objects(Box::new(settings))).await;
    let (large, small) = (bytes(7, 100_000), bytes(8, 1000));
    let digest = app.blob("app", &large).await;
    let path = format!("/v2/app/blobs/{digest}");
    let sent = app.get(&path).await.ok(307);
    // It is good for minutes: nobody may keep it.
    assert_eq!(sent.header("cache-control"), "no-store");
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build()
        .unwrap();
    let there = client
        .get(sent.header("location"))
        .header("range", "bytes=5-9")
        .send()
        .await;
    let there = there.unwrap();
    assert_eq!(
        (
            there.status().as_u16(),
            there.bytes().await.unwrap().to_vec()
        ),
        (206, large[5..10].to_vec())
    );
    // Nothing else is there, and what is known here is told here.
    assert_eq!(
        app.head(&path).await.ok(200).header("content-length"),
        "100000"
    );
    let known = [("if-none-match", format!("\"{digest}\""))];
    let known = known
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    app.request("GET", &path, &known, Body::empty())
        .await
        .ok(304);
    let digest = app.blob("app", &small).await;
    assert_eq!(pulled(&app, "app", &digest).await, small);
}

async fn behind_faults() -> (App, Faulty) {
    let dir = tempfile::tempdir().unwrap();
    let (faulty, addr) = Faulty::before(s3::server().addr).await;
    let backend = s3::on_store(dir.path(), addr);
    (App::on(dir, &backend).await, faulty)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_now_and_then_is_survived() {
    use Fault::{Busy, Cut, Lost, None, Short, Slow};
    let (app, faulty) = behind_faults().await;
    for (seed, faults) in [
        (1, &[None, Busy][..]),
        (2, &[None, Lost]),
        (3, &[None, None, Cut, None, Short]),
        (4, &[Slow, None, Busy, Lost]),
    ] {
        faulty.in_turn(faults);
        let mut all = Vec::new();
        for len in [10, 300_000, 6 << 20] {
            let content = bytes(seed, len);
            all.push((app.blob("app", &content).await, content));
        }
        let content = bytes(seed + 100, (11 << 20) + 1);
        all.push((
            pushed_in_chunks(&app, "app", &content, 4 << 20).await,
            content,
        ));
        for (digest, content) in &all {
            assert!(pulled(&app, "app", digest).await == *content, "{faults:?}");
        }
        app.image("app", "v1", &format!("{seed}")).await;
        app.get("/v2/app/manifests/v1").await.ok(200);
    }
    faulty.heal();
    let options = CheckOptions {
        deep: true,
        repair: false,
    };
    assert_eq!(app.registry.check(options).await.unwrap().problems, []);
}

/// A client sees an error, or the right bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lies_is_never_believed() {
    let (app, faulty) = behind_faults().await;
    let (small, large) = (bytes(5, 10_000), bytes(6, 400_000));
    let small_digest = app.blob("app", &small).await;
    let large_digest = app.blob("app", &large).await;
    let addr = app.listen().await;
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build()
        .unwrap();
    let pull = async |digest: &Digest| {
        let answer = client
            .get(format!("http://{addr}/v2/app/blobs/{digest}"))
            .send()
            .await?;
        let status = answer.status().as_u16();
        Ok::<_, reqwest::Error>((status, answer.bytes().await?))
    };
    let gets = |fault| {
        move |head: &http::request::Parts| match head.method == Method::GET {
            true => fault,
            false => Fault::None,
        }
    };
    // What ends early, however often it is asked for, is no whole answer.
    faulty.plan(gets(Fault::Short));
    pull(&large_digest).await.unwrap_err();
    faulty.plan(gets(Fault::Lost));
    assert_eq!(pull(&large_digest).await.unwrap().0, 503);
    // What is kept in memory is verified first.
    faulty.plan(gets(Fault::Wrong));
    assert_eq!(pull(&small_digest).await.unwrap().0, 503);
    faulty.heal();
    assert!(pull(&small_digest).await.unwrap().1 == small);
    // In the middle of an answer: the connection ends.
    let path = object(app.path(), &large_digest);
    std::fs::write(&path, &large[..300_000]).unwrap();
    let cut = pull(&large_digest).await;
    assert!(
        cut.as_ref().is_err() || cut.as_ref().unwrap().0 == 503,
        "{cut:?}"
    );
    // A store that is away is no registry that is ready.
    faulty.plan(|_| Fault::Busy);
    app.get("/healthz").await.ok(200);
    app.get("/readyz").await.ok(503);
    let refused = app
        .post(&format!(
            "/v2/app/blobs/uploads/?digest={}",
            Digest::sha256(b"")
        ))
        .await;
    refused.is(503, "UNAVAILABLE");
    faulty.heal();
    app.get("/readyz").await.ok(200);
}

/// The process is killed again and again while images come; the next one has a directory of another
/// name, and goes on with the uploads that it finds in the store.
#[test]
fn what_was_acknowledged_outlives_its_process() {
    let mut dir = tempfile::tempdir().unwrap();
    let (bucket, addr) = (s3::bucket(dir.path()), s3::server().addr);
    let run = |dir: &Path| {
        let mut command = on_store(dir, addr);
        command.env("RREGISTRY_STORAGE_BUCKET", &bucket);
        start(command.args(["serve", "--addr", "127.0.0.1:0"]))
    };
    let mut process = run(dir.path());
    let mut acknowledged: Vec<(Digest, Vec<u8>)> = Vec::new();
    let content = bytes(99, 17 << 20);
    let begun = process.send("POST", "/v2/app/blobs/uploads/", b"");
    let location = begun
        .lines()
        .find_map(|line| line.strip_prefix("Location: "))
        .expect(&begun);
    let mut sent = 0;
    for round in 0..6_u64 {
        // The one long upload goes on.
        let next = (sent + (3 << 20)).min(content.len());
        let answer = process.send("PATCH", location, &content[sent..next]);
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
        assert!(
            answer.contains(&format!("Range: 0-{}\r\n", next - 1)),
            "{answer}"
        );
        sent = next;
        // Others are in the middle of it when the process is killed.
        let (addr, seen) = (process.addr.clone(), std::sync::Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for of in 0..4_u64 {
                let (addr, seen) = (&addr, &seen);
                scope.spawn(move || {
                    for n in 0.. {
                        let content = bytes(round * 1000 + of * 100 + n, 10 << (of * 7));
                        let digest = Algorithm::Sha256.digest(&content);
                        let path = format!("/v2/app/blobs/uploads/?digest={digest}");
                        let Ok(answer) = crate::process::send(addr, "POST", &path, &content) else {
                            return;
                        };
                        if !answer.starts_with("HTTP/1.1 201") {
                            return;
                        }
                        seen.lock().unwrap().push((digest, content));
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(150 + round * 37));
            assert!(process.kill());
        });
        acknowledged.extend(seen.into_inner().unwrap());
        drop(process);
        let moved = tempfile::tempdir().unwrap();
        std::fs::remove_dir(moved.path()).unwrap();
        std::fs::rename(dir.path(), moved.path()).unwrap();
        drop(std::mem::replace(&mut dir, moved));
        process = run(dir.path());
    }
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());
    let answer = process.send("PATCH", location, &content[sent..]);
    assert!(
        sent == content.len() || answer.starts_with("HTTP/1.1 202"),
        "{answer}"
    );
    let digest = Digest::sha256(&content);
    let answer = process.send("PUT", &format!("{location}?digest={digest}"), b"");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    acknowledged.push((digest, content));
    for (digest, content) in acknowledged {
        let answer = process.get(&format!("/v2/app/blobs/{digest}"));
        assert!(answer == content, "{digest}");
    }
}

#[test]
fn sixty_four_pushes_at_once_stay_within_128_mib() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = on_store(dir.path(), s3::server().addr);
    let process = start(command.args(["serve", "--addr", "127.0.0.1:0"]));
    let peak = crate::memory::peak_of_pushes(&process, 12);
    println!("{} MiB", peak >> 20);
    assert!(peak < 128 << 20, "{} MiB", peak >> 20);
}

#[test]
fn settings_of_stores_are_told_with_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("registry.toml");
    let told = |settings: &str, env: &[(&str, &str)]| {
        std::fs::write(&file, settings).unwrap();
        let mut command = crate::process::command();
        command.arg("config").arg("--config").arg(&file);
        let output = command.envs(env.iter().copied()).output().unwrap();
        crate::process::text(&output).replace(dir.path().to_str().unwrap(), "DIR")
    };
    for (settings, expected) in [
        (
            "addr = \":5000\"\n\n[storage]\nbackend = \"s3\"\n",
            "rregistry: DIR/registry.toml:4: storage.backend = \"s3\" needs storage.bucket\n",
        ),
        (
            "[storage]\nbucket = \"b\"\nbackend = \"s3\"\n",
            "rregistry: DIR/registry.toml:3: storage.backend = \"s3\" needs storage.region, or \
             storage.endpoint\n",
        ),
        (
            "[storage]\nbackend = \"s3\"\nbucket = \"b\"\nregion = \"eu-1\"\naccess_key = \"k\"\n",
            "rregistry: DIR/registry.toml:5: storage.access_key needs storage.secret_key or \
             storage.secret_key_file\n",
        ),
        (
            "[storage]\nbucket = \"b\"\n",
            "rregistry: DIR/registry.toml:2: storage.bucket is for storage.backend = \"s3\" or \
             \"azure\"\n",
        ),
        (
            "[storage]\nbackend = \"ftp\"\n",
            "rregistry: DIR/registry.toml:2: storage.backend = ftp: disk, s3 or azure\n",
        ),
        (
            "[storage]\nbackend = \"gcs\"\nbucket = \"b\"\n",
            "rregistry: DIR/registry.toml:2: storage.backend = gcs: Google's stores speak S3: use \
             \"s3\" with an HMAC key and storage.endpoint = \"https://storage.googleapis.com\"\n",
        ),
        (
            "[storage]\nbackend = \"s3\"\nbucket = \"b\"\nendpoint = \"http://10.0.0.1:9000\"\n",
            "rregistry: DIR/registry.toml:4: storage.endpoint = http://10.0.0.1:9000: images would go \
             over the network in the clear: use https://, or set storage.allow_http = true\n",
        ),
        (
            "[storage]\nbackend = \"s3\"\nbucket = \"b\"\nregion = \"eu-1\"\nprefix = \"a//b\"\n",
            "rregistry: DIR/registry.toml:5: storage.prefix = a//b: letters, digits, dots, dashes and \
             underscores, with slashes between\n",
        ),
    ] {
        assert_eq!(told(settings, &[]), expected);
    }
    assert_eq!(
        told("", &[("RREGISTRY_STORAGE_BACKEND", "azure")]),
        "rregistry: RREGISTRY_STORAGE_BACKEND: storage.backend = \"azure\" needs storage.bucket\n"
    );
    let fine =
        "[storage]\nbackend = \"s3\"\nbucket = \"b\"\nendpoint = \"http://127.0.0.1:9000\"\n";
    assert_eq!(told(fine, &[]), "the settings can be used\n");
}
