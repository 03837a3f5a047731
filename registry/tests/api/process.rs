//! The program itself, as its users run it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use oci::Digest;

use crate::{postgres, s3};

const PROGRAM: &str = env!("CARGO_BIN_EXE_rregistry");

/// A running registry; killed when dropped.
pub struct Process {
    pub child: Child,
    /// Host and port; with the scheme before it, when that is https.
    pub addr: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn command() -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear();
    command
}

/// The same for a directory, with the database that tests run on.
pub fn command_in(dir: &Path) -> Command {
    let mut command = command();
    command.env("RREGISTRY_DATA_DIR", dir);
    if let Some(url) = postgres::asked_url(dir) {
        command.env("RREGISTRY_DATABASE", url);
    }
    command
}

/// The same for a directory whose blobs are in an object store, reached at `addr`.
pub fn on_store(dir: &Path, addr: std::net::SocketAddr) -> Command {
    let mut command = command_in(dir);
    command
        .env("RREGISTRY_STORAGE_BACKEND", "s3")
        .env("RREGISTRY_STORAGE_BUCKET", s3::bucket(dir))
        .env("RREGISTRY_STORAGE_PREFIX", s3::PREFIX)
        .env("RREGISTRY_STORAGE_ENDPOINT", format!("http://{addr}"))
        .env("AWS_ACCESS_KEY_ID", s3::KEY)
        .env("AWS_SECRET_ACCESS_KEY", s3::SECRET);
    command
}

pub fn serve(dir: &Path) -> Process {
    serve_with(dir, &[])
}

/// With further arguments.
pub fn serve_with(dir: &Path, args: &[&str]) -> Process {
    start(
        command_in(dir)
            .args(["serve", "--addr", "127.0.0.1:0"])
            .args(args),
    )
}

/// Starts a registry and waits until it listens.
pub fn start(command: &mut Command) -> Process {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let addr = line.trim().strip_prefix("listening on ").unwrap();
    Process {
        addr: addr.trim_start_matches("http://").to_owned(),
        child,
    }
}

impl Process {
    /// A request on a connection of its own; the whole answer.
    pub fn send(&self, method: &str, path: &str, body: &[u8]) -> String {
        send(&self.addr, method, path, body).unwrap()
    }

    /// What a path gives, which has to be 200.
    pub fn get(&self, path: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(&self.addr).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|found| found == b"\r\n\r\n");
        let body = answer.split_off(end.unwrap() + 4);
        assert!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        body
    }

    /// SIGKILL, now.
    pub fn kill(&self) -> bool {
        self.signal("KILL")
    }

    /// Another signal.
    pub fn signal(&self, name: &str) -> bool {
        let id = self.child.id().to_string();
        Command::new("kill")
            .args([&format!("-{name}"), &id])
            .status()
            .is_ok_and(|s| s.success())
    }
}

pub fn send(addr: &str, method: &str, path: &str, body: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(addr)?;
    let kind = if method == "PUT" {
        crate::harness::MANIFEST
    } else {
        "application/octet-stream"
    };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

#[test]
fn killed_at_once_after_an_acknowledgement_it_still_has_everything() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let process = serve(dir.path());
        for old in 0..round {
            let digest = Digest::sha256(format!("blob {old}").as_bytes());
            let answer = process.send("GET", &format!("/v2/app/blobs/{digest}"), b"");
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(answer.ends_with(&format!("\r\n\r\nblob {old}")), "{answer}");
        }
        let bytes = format!("blob {round}");
        let digest = Digest::sha256(bytes.as_bytes());
        let path = format!("/v2/app/blobs/uploads/?digest={digest}");
        let answer = process.send("POST", &path, bytes.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        // Dropped: SIGKILL, without a chance to tidy up.
    }
}

/// Killed while several clients push: whatever was acknowledged is there and whole, and the disk
/// holds what the database says. `RREGISTRY_TEST_KILLS` says how often.
#[test]
fn killed_in_the_middle_of_pushes_it_loses_nothing_acknowledged() {
    let kills: usize = std::env::var("RREGISTRY_TEST_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(10);
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<(String, String)> = Vec::new();
    for round in 0..kills {
        let process = serve(dir.path());
        for (path, text) in acknowledged.iter().rev().take(50) {
            let answer = process.send("GET", path, b"");
            assert!(answer.ends_with(text.as_str()), "{path}: {answer}");
        }
        let addr = &process.addr;
        let pushed = std::thread::scope(|scope| {
            let pushers: Vec<_> = (0..3)
                .map(|pusher| scope.spawn(move || push_until_it_dies(addr, round, pusher)))
                .collect();
            // Different moments of a push in each round.
            std::thread::sleep(std::time::Duration::from_millis(
                20 + (round as u64 * 37) % 150,
            ));
            assert!(process.kill());
            pushers
                .into_iter()
                .flat_map(|pusher| pusher.join().unwrap())
                .collect::<Vec<_>>()
        });
        acknowledged.extend(pushed);
    }
    let checked = command_in(dir.path())
        .args(["fsck", "--deep", "--repair"])
        .output()
        .unwrap();
    let report = text(&checked);
    // A file whose row did not make it is all that a kill may leave.
    assert!(
        !report.contains("missing") && !report.contains("instead"),
        "{report}"
    );
    assert!(checked.status.success(), "{report}");
    let process = serve(dir.path());
    for (path, text) in &acknowledged {
        let answer = process.send("GET", path, b"");
        assert!(answer.ends_with(text.as_str()), "{path}: {answer}");
    }
}

/// Pushes images; those that were acknowledged.
fn push_until_it_dies(addr: &str, round: usize, pusher: usize) -> Vec<(String, String)> {
    let mut acknowledged = Vec::new();
    for i in 0.. {
        let layer = format!("layer {round} {pusher} {i} ").repeat(1 + i * 400);
        let mut digests = Vec::new();
        for bytes in ["{}".as_bytes(), layer.as_bytes()] {
            let digest = crate::harness::sized(bytes);
            let path = format!("/v2/app{pusher}/blobs/uploads/?digest={digest}");
            match send(addr, "POST", &path, bytes) {
                Ok(answer) if answer.starts_with("HTTP/1.1 201") => digests.push(digest),
                _ => return acknowledged,
            }
        }
        let text = crate::harness::image(&digests[0], &[&digests[1]]).to_string();
        let path = format!("/v2/app{pusher}/manifests/t{round}-{i}");
        match send(addr, "PUT", &path, text.as_bytes()) {
            Ok(answer) if answer.starts_with("HTTP/1.1 201") => acknowledged.push((path, text)),
            _ => return acknowledged,
        }
    }
    acknowledged
}

#[test]
fn one_directory_one_process_and_gc_goes_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let process = serve(dir.path());
    let second = command_in(dir.path())
        .args(["serve", "--addr", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert!(!second.status.success());
    assert!(
        text(&second).contains("in use by another rregistry"),
        "{}",
        text(&second)
    );

    let digest = Digest::sha256(b"stray");
    process.send(
        "POST",
        &format!("/v2/app/blobs/uploads/?digest={digest}"),
        b"stray",
    );
    let gc = |args: &[&str]| {
        let output = command_in(dir.path())
            .args(["gc", "--grace", "0s"])
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    assert!(gc(&["--dry-run"]).contains(&format!("would remove app@{digest}")));
    let done = gc(&[]);
    assert!(done.contains("freed 1 blobs, 5 bytes"), "{done}");
    let answer = process.send("GET", &format!("/v2/app/blobs/{digest}"), b"");
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    drop(process);
    // And without a running registry, here.
    assert!(gc(&[]).contains("freed 0 blobs"));
}

#[test]
fn usage_is_shown_by_the_running_registry_and_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let settings = dir.path().join("registry.toml");
    std::fs::write(
        &settings,
        "[storage]\nquota = \"1GiB\"\n[[quota]]\nrepository = \"app\"\neach = \"10KiB\"\n",
    )
    .unwrap();
    let process = serve_with(dir.path(), &["--config", settings.to_str().unwrap()]);
    let bytes = [b'x'; 5000];
    let digest = Digest::sha256(&bytes);
    let path = format!("/v2/app/blobs/uploads/?digest={digest}");
    assert!(
        process
            .send("POST", &path, &bytes)
            .starts_with("HTTP/1.1 201")
    );
    // Far more than what the sockets on the way hold: the answer comes through all the same.
    let large = vec![1; 30 << 20];
    let path = format!("/v2/app/blobs/uploads/?digest={}", Digest::sha256(&large));
    let refused = process.send("POST", &path, &large);
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    assert!(
        refused.contains("repository app may store 10.0 KiB, 4.8 KiB are used"),
        "{refused}"
    );

    let usage = |args: &[&str]| {
        let output = command_in(dir.path())
            .args([
                "usage",
                "--config",
                settings.to_str().unwrap(),
                "--data-dir",
            ])
            .arg(dir.path())
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    let served = (usage(&[]), usage(&["--format", "json"]));
    assert!(
        served
            .0
            .contains("app            4.8 KiB  10.0 KiB  48.8 %"),
        "{}",
        served.0
    );
    assert!(served.1.contains("\"bytes\": 5000"), "{}", served.1);
    drop(process);
    assert_eq!((usage(&[]), usage(&["--format", "json"])), served);
}

#[test]
fn a_running_registry_exports_and_imports() {
    let dir = tempfile::tempdir().unwrap();
    let process = serve(dir.path());
    let digest = crate::harness::sized(b"{}");
    let path = format!("/v2/app/blobs/uploads/?digest={digest}");
    assert!(
        process
            .send("POST", &path, b"{}")
            .starts_with("HTTP/1.1 201")
    );
    let manifest = crate::harness::image(&digest, &[]).to_string();
    process.send("PUT", "/v2/app/manifests/v1", manifest.as_bytes());
    let work = tempfile::tempdir().unwrap();
    // Relative to where the command is run, not to where the registry is.
    let run = |args: &[&str]| {
        let output = command_in(dir.path())
            .args(args)
            .arg("--data-dir")
            .arg(dir.path())
            .current_dir(work.path())
            .output()
            .unwrap();
        (output.status.success(), text(&output))
    };
    let done = run(&["export", "app", "-o", "app.tar"]);
    assert_eq!(
        done,
        (
            true,
            "exported 1 tags, 1 manifests; 2 blobs, ".to_owned()
                + &format!("{} bytes\n", manifest.len() + 2)
        )
    );
    let (ok, said) = run(&["import", "app.tar", "copy"]);
    assert!(
        ok && said.contains("imported 1 repositories, 1 tags, 1 manifests; 0 new"),
        "{said}"
    );
    let answer = process.send("GET", "/v2/copy/manifests/v1", b"");
    assert!(answer.ends_with(&manifest), "{answer}");
    let (ok, said) = run(&["export", "app:none", "-o", "app.tar"]);
    assert!(!ok && said.contains("app has no manifest none"), "{said}");
    // And without a running registry, here.
    drop(process);
    assert!(run(&["export", "copy:v1", "-o", "layout"]).0);
    let (ok, said) = run(&["import", "layout", "again"]);
    assert!(ok, "{said}");
    let (ok, said) = run(&["import", "layout"]);
    assert!(!ok && said.contains("name one after the layout"), "{said}");
}

#[test]
fn users_are_managed_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("htpasswd");
    let user = |args: &[&str], password: &str| {
        let mut child = command()
            .arg("user")
            .args(args)
            .arg("--file")
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(password.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    };
    assert!(user(&["add", "alice"], "secret\n").status.success());
    assert!(user(&["add", "bob"], "secret").status.success());
    let again = user(&["add", "alice"], "x");
    assert!(!again.status.success());
    assert!(
        text(&again).contains("user passwd alice"),
        "{}",
        text(&again)
    );
    assert!(user(&["passwd", "alice"], "other").status.success());
    assert!(user(&["rm", "bob"], "").status.success());
    assert_eq!(text(&user(&["ls"], "")), "alice\n");
    let users = registry::auth::htpasswd::Htpasswd::read(&file).unwrap();
    assert!(users.verify("alice", "other"));
}

#[test]
fn mistakes_are_told_clearly() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("registry.toml");
    std::fs::write(&file, "[gc]\ngrase = \"1h\"\n").unwrap();
    let output = command()
        .args(["serve", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("did you mean `gc.grace`?"),
        "{}",
        text(&output)
    );

    let output = command()
        .args(["serve", "--addr", "nowhere", "--data-dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert!(
        text(&output).contains("addr = nowhere"),
        "{}",
        text(&output)
    );

    let explained = command().args(["config", "--explain"]).output().unwrap();
    std::fs::write(&file, &explained.stdout).unwrap();
    let checked = command()
        .args(["config", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(text(&checked), "the settings can be used\n");
}

/// Two ways to read one request are how requests are smuggled past a proxy: such a request is
/// refused, or answered as one and the connection closed.
#[test]
fn ambiguous_requests_bring_no_second_one_along() {
    let dir = tempfile::tempdir().unwrap();
    let process = serve(dir.path());
    let hidden = "GET /v2/_catalog HTTP/1.1\r\nHost: x\r\n\r\n";
    let len = hidden.len();
    for head in [
        format!("Content-Length: {len}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {len}\r\n\r\n0\r\n\r\n"),
        format!("Content-Length: 0\r\nContent-Length: {len}\r\n\r\n"),
        format!("Transfer-Encoding: xchunked\r\nContent-Length: {len}\r\n\r\n"),
        format!("Content-Length: +{len}\r\n\r\n"),
        "Content-Length : 0\r\n\r\n".to_owned(),
    ] {
        let mut stream = TcpStream::connect(&process.addr).unwrap();
        let request = format!("POST /v2/app/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n{head}{hidden}");
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        // Refusing, the server may reset the connection: what came before that counts.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.contains("repositories"), "{head:?}: {answer}");
    }
    assert!(process.send("GET", "/v2/", b"").starts_with("HTTP/1.1 200"));
}

#[test]
fn who_can_be_reached_by_others_is_warned_and_told_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut child = command()
        .args(["serve", "--addr", "0.0.0.0:0", "--data-dir"])
        .arg(&data)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.starts_with("listening on http://0.0.0.0:"), "{line}");
    // SIGTERM: a calm end.
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .unwrap()
            .success()
    );
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let warning = text(&output);
    for part in ["WARNING", "auth.htpasswd", "--addr 127.0.0.1:"] {
        assert!(warning.contains(part), "{warning}");
    }
    // What it keeps is nobody else's business.
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&data).unwrap());
    assert_eq!(mode & 0o777, 0o700);
}
