//! Blobs in a store that speaks Azure's protocol: npm's azurite, which is Microsoft's.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use oci::Digest;
use registry::service::{CheckOptions, CollectOptions, Problem};
use registry::storage::{Backend, ObjectSettings, Service};

use crate::faulty::{Fault, Faulty};
use crate::harness::{App, packages};
use crate::objects::{bytes, pulled, pushed_in_chunks};
use crate::process::{command_in, send, start, text};

/// The account that every azurite has, and its key, as Microsoft documents them.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const CONTAINER: &str = "images";

/// A store that ends with the test.
struct Azurite {
    child: Child,
    addr: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Drop for Azurite {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Azurite {
    fn start() -> Option<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = packages("azurite")?;
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new("node")
            .arg(folder.join("node_modules/.bin/azurite-blob"))
            .args(["--blobPort", "0", "--inMemoryPersistence"])
            .arg("--disableTelemetry")
            .current_dir(dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let addr = lines.find_map(|line| {
            let line = line.unwrap();
            let (_, addr) = line.split_once("successfully listens on http://")?;
            Some(addr.trim().parse().unwrap())
        });
        // What it says of each request has to go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self {
            child,
            addr: addr.expect("an address"),
            _dir: dir,
        })
    }

    /// A `PUT` that is signed as "Authorize with Shared Key" says, with the `kind` of a blob.
    async fn put(&self, path: &str, query: Option<(&str, &str)>, kind: Option<&str>, body: &[u8]) {
        let now = jiff::Timestamp::now();
        let date = jiff::fmt::rfc2822::DateTimePrinter::new()
            .timestamp_to_rfc9110_string(&now)
            .unwrap();
        let kind_line = kind.map_or(String::new(), |kind| format!("x-ms-blob-type:{kind}\n"));
        let length = match body.len() {
            0 => String::new(),
            len => len.to_string(),
        };
        let query_line = query.map_or(String::new(), |(name, value)| format!("\n{name}:{value}"));
        let signed = format!(
            "PUT\n\n\n{length}\n\n\n\n\n\n\n\n\n{kind_line}x-ms-date:{date}\n\
             x-ms-version:2023-11-03\n/{ACCOUNT}/{ACCOUNT}/{path}{query_line}"
        );
        let key = STANDARD.decode(KEY).unwrap();
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
        let signature = STANDARD.encode(ring::hmac::sign(&key, signed.as_bytes()));
        let query = query.map_or(String::new(), |(name, value)| format!("?{name}={value}"));
        let mut asked = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .build()
            .unwrap()
            .put(format!("http://{}/{ACCOUNT}/{path}{query}", self.addr))
            .header("x-ms-date", date)
            .header("x-ms-version", "2023-11-03")
            .header("authorization", format!("SharedKey {ACCOUNT}:{signature}"))
            .body(body.to_vec());
        if let Some(kind) = kind {
            asked = asked.header("x-ms-blob-type", kind);
        }
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 201, "{answer:?}");
    }

    /// The program on it.
    fn command(&self, dir: &Path) -> Command {
        let mut command = command_in(dir);
        command
            .env("RREGISTRY_STORAGE_BACKEND", "azure")
            .env("RREGISTRY_STORAGE_BUCKET", CONTAINER)
            .env("RREGISTRY_STORAGE_PREFIX", "r/")
            .env("RREGISTRY_STORAGE_ENDPOINT", endpoint(self.addr))
            .env("RREGISTRY_STORAGE_ACCESS_KEY", ACCOUNT)
            .env("RREGISTRY_STORAGE_SECRET_KEY", KEY);
        command
    }
}

fn endpoint(addr: SocketAddr) -> String {
    format!("http://{addr}/{ACCOUNT}")
}

fn backend(addr: SocketAddr) -> Backend {
    Backend::Objects(Box::new(ObjectSettings {
        service: Service::Azure,
        bucket: CONTAINER.to_owned(),
        prefix: "r/".to_owned(),
        endpoint: Some(endpoint(addr)),
        region: None,
        path_style: true,
        allow_http: true,
        ca: None,
        access_key: Some(ACCOUNT.to_owned()),
        secret_key: Some(KEY.to_owned()),
        redirect: true,
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_on_azures_store() {
    let Some(store) = Azurite::start() else {
        return;
    };
    store
        .put(CONTAINER, Some(("restype", "container")), None, b"")
        .await;
    let dir = tempfile::tempdir().unwrap();
    let run = || {
        start(
            store
                .command(dir.path())
                .args(["serve", "--addr", "127.0.0.1:0"]),
        )
    };

    // An upload goes on with another process, from a part and a bit.
    let layer = bytes(1, (11 << 20) + 7);
    let digest = Digest::sha256(&layer);
    let process = run();
    let begun = process.send("POST", "/v2/app/blobs/uploads/", b"");
    let location = begun
        .lines()
        .find_map(|line| line.strip_prefix("Location: "))
        .expect(&begun);
    let sent = process.send("PATCH", location, &layer[..6 << 20]);
    assert!(sent.starts_with("HTTP/1.1 202"), "{sent}");
    assert!(process.kill());
    drop(process);
    let process = run();
    let sent = process.send("PATCH", location, &layer[6 << 20..]);
    let all = format!("Range: 0-{}\r\n", layer.len() - 1);
    assert!(sent.contains(&all), "{sent}");
    let done = send(
        &process.addr,
        "PUT",
        &format!("{location}?digest={digest}"),
        b"",
    )
    .unwrap();
    assert!(done.starts_with("HTTP/1.1 201"), "{done}");
    assert!(process.get(&format!("/v2/app/blobs/{digest}")) == layer);
    assert!(process.kill());
    drop(process);

    // With a proxy before it, behind which copies are made later.
    let (faulty, addr) = Faulty::before(store.addr).await;
    let app = App::on(dir, &backend(addr)).await;
    let mut looked = 0;
    faulty.plan(move |head| {
        let copied = head.method == Method::HEAD && head.uri.path().contains("/blobs/");
        looked += usize::from(copied);
        match copied && looked <= 2 {
            true => Fault::Empty,
            false => Fault::None,
        }
    });
    let second = bytes(2, (5 << 20) + 1);
    let second_digest = pushed_in_chunks(&app, "app", &second, 4 << 20).await;
    faulty.heal();

    // Clients are sent to the store, also for a part.
    let path = format!("/v2/app/blobs/{second_digest}");
    let sent = app.get(&path).await.ok(307);
    let url = sent.header("location");
    assert!(url.starts_with(&endpoint(addr)), "{url}");
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    let client = client.build().unwrap();
    let part = client.get(url).header("range", "bytes=5-99").send().await;
    let part = part.unwrap();
    assert_eq!(part.status().as_u16(), 206);
    assert_eq!(part.bytes().await.unwrap(), second[5..100]);
    // What is small comes from here, also a part of it.
    let small = bytes(3, 1000);
    let small_digest = app.blob("app", &small).await;
    assert_eq!(pulled(&app, "app", &small_digest).await, small);
    let path = format!("/v2/app/blobs/{small_digest}");
    let part = app.request("GET", &path, &[("range", "bytes=-10")], Body::empty());
    assert_eq!(part.await.ok(206).body, small[990..]);

    // An image stays, and what it does not need goes: four blobs, and two that no row knows of,
    // in one folder.
    let (manifest, text_of) = app.image("app", "v1", "content").await;
    let strays = ["00", "01"].map(|end| format!("ab{}{end}", "0".repeat(60)));
    for stray in &strays {
        let path = format!("{CONTAINER}/r/blobs/sha256/ab/{stray}");
        store.put(&path, None, Some("BlockBlob"), b"stray").await;
    }
    let check = CheckOptions {
        deep: true,
        repair: false,
    };
    let found = app.registry.check(check).await.unwrap().problems;
    assert_eq!(found.len(), 2, "{found:?}");
    for (problem, stray) in found.iter().zip(&strays) {
        assert!(
            matches!(problem, Problem::Orphan { digest, size: 5 } if digest.hex() == stray),
            "{found:?}"
        );
    }
    let options = CollectOptions {
        grace: Duration::ZERO,
        dry_run: false,
        every_file: true,
    };
    let gone = app.registry.collect(options).await.unwrap();
    let unused = layer.len() + second.len() + small.len();
    assert_eq!((gone.blob_count, gone.bytes), (3, unused as u64));
    assert_eq!((gone.orphan_count, gone.orphan_bytes), (2, 10));
    app.get(&path).await.is(404, "BLOB_UNKNOWN");

    // It is all there without the registry, and with another one.
    let dir = app.stop().await;
    let checked = store.command(dir.path()).args(["fsck", "--deep"]).output();
    let config = "{\"c\":\"content\"}";
    let kept = config.len() + "content".len() + text_of.len();
    // The proxy's address is not the store's, which is the same all the same.
    assert_eq!(
        text(&checked.unwrap()),
        format!("3 blobs, {kept} bytes read and checked; 0 problems\n")
    );
    let process = start(
        store
            .command(dir.path())
            .args(["serve", "--addr", "127.0.0.1:0"]),
    );
    let answer = process.get(&format!("/v2/app/manifests/{manifest}"));
    assert_eq!(answer, text_of.as_bytes());
}
