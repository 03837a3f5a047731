//! Webhooks of the program itself: killed, stopped, misconfigured, over TLS.

use std::io::Write;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use oci::Digest;

use crate::process::{Process, command, serve_with};
use crate::webhooks::Receiver;

fn push(process: &Process, name: &str) {
    let digest = Digest::sha256(b"x");
    let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
    let answer = process.send("POST", &path, b"x");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

/// A registry in `dir` with `settings`.
fn serve(dir: &std::path::Path, settings: &str) -> Process {
    let file = dir.join("registry.toml");
    std::fs::write(&file, settings).unwrap();
    serve_with(&dir.join("data"), &["--config", file.to_str().unwrap()])
}

fn wait(child: &mut Child) {
    assert!(child.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_told_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody listens yet.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = closed.local_addr().unwrap().to_string();
    drop(closed);
    let settings =
        format!("[[webhook]]\nname = \"late\"\nurl = \"http://{addr}/\"\nbackoff = \"50ms\"\n");
    let names = ["one", "two", "three"];
    for name in names {
        let process = serve(dir.path(), &settings);
        push(&process, name);
        assert!(process.kill());
    }
    let receiver = Receiver::at(&addr).await;
    let process = serve(dir.path(), &settings);
    let events = receiver.events(3).await;
    let told: Vec<&str> = events
        .iter()
        .map(|e| e["target"]["repository"].as_str().unwrap())
        .collect();
    assert_eq!(told, names);
    let addr = events[0]["request"]["addr"].as_str().unwrap();
    assert!(addr.starts_with("127.0.0.1:"), "{addr}");
    drop(process);
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_it_delivers_what_waits() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    // It waits long enough to be told to stop meanwhile.
    receiver.seen(|seen| seen.answers = vec![500, 500]);
    let settings = receiver.config("threshold = 1\nbackoff = \"60s\"");
    let settings = settings.replacen("backoff = \"10ms\"\n", "", 1);
    let mut process = serve(dir.path(), &settings);
    push(&process, "app");
    while receiver.seen(|seen| seen.refused) < 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    receiver.seen(|seen| seen.answers.clear());
    assert!(process.signal("TERM"));
    wait(&mut process.child);
    assert_eq!(receiver.events(1).await.len(), 1);
}

#[test]
fn mistakes_in_webhooks_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("registry.toml");
    for (settings, message) in [
        (
            "[[webhook]]\nname = \"a\"\nurl = \"gopher://x\"\n",
            "webhook = a: url: gopher is neither http nor https",
        ),
        (
            "[[webhook]]\nname = \"a\"\nurl = \"https://x\"\nca = \"/nowhere.pem\"\n",
            "/nowhere.pem",
        ),
    ] {
        std::fs::write(&file, settings).unwrap();
        let child = command()
            .args(["serve", "--addr", "127.0.0.1:0", "--data-dir"])
            .arg(dir.path().join("data"))
            .arg("--config")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success());
        assert!(error.contains(message), "{error}");
    }
}

/// HTTPS: the server's certificate is verified, with the certificates in `ca` beside the system's.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_verified() {
    let Some((cert, key)) = certificate() else {
        println!("skipped: openssl is not installed");
        return;
    };
    let files = tempfile::tempdir().unwrap();
    let at = |name: &str, pem: &[u8]| {
        let path = files.path().join(name);
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(pem).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (cert, key) = (at("cert.pem", &cert), at("key.pem", &key));
    // The receiver is a registry with TLS: any 4xx shows that the handshake was fine.
    let settings = format!("[tls]\ncert = {cert:?}\nkey = {key:?}\n");
    let https = serve(files.path(), &settings);
    let port = https.addr.rsplit(':').next().unwrap();
    for (ca, why) in [
        (String::new(), "certificate"),
        (format!("ca = {cert:?}\n"), "405"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let settings = format!(
            "[[webhook]]\nname = \"tls\"\nurl = \"https://127.0.0.1:{port}/healthz\"\n{ca}"
        );
        let file = dir.path().join("registry.toml");
        std::fs::write(&file, settings).unwrap();
        let log = dir.path().join("log");
        let process = serve_with_log(
            &dir.path().join("data"),
            file.to_str().unwrap(),
            std::fs::File::create(&log).unwrap(),
        );
        push(&process, "app");
        let begun = Instant::now();
        let mut text = String::new();
        while !text.contains("a webhook fails") && begun.elapsed() < Duration::from_secs(10) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            text = std::fs::read_to_string(&log).unwrap();
        }
        let text = text.to_lowercase();
        assert!(
            text.contains(why) || (why == "405" && text.contains("404")),
            "{text}"
        );
    }
}

fn serve_with_log(data: &std::path::Path, config: &str, log: std::fs::File) -> Process {
    crate::process::start(
        command()
            .args(["serve", "--addr", "127.0.0.1:0", "--config", config])
            .arg("--data-dir")
            .arg(data)
            .stderr(log),
    )
}

/// A certificate for 127.0.0.1 and its key.
fn certificate() -> Option<(Vec<u8>, Vec<u8>)> {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let output = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
        .args(["ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=test", "-addext"])
        .args(["subjectAltName=IP:127.0.0.1", "-addext"])
        .args(["basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .ok()?;
    assert!(output.status.success());
    Some((std::fs::read(cert).unwrap(), std::fs::read(key).unwrap()))
}
