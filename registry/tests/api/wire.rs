//! What only shows on a connection: bodies that an answer does not read, and the like.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use oci::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::App;

/// A connection, and what was read of it too early.
struct Wire(TcpStream, Vec<u8>);

impl Wire {
    async fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream, Vec::new())
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The head and body of the next answer.
    async fn answer(&mut self) -> (String, Vec<u8>) {
        let end = loop {
            if let Some(at) = self.1.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.read().await > 0, "closed after {:?}", self.1);
        };
        let head: Vec<u8> = self.1.drain(..end).collect();
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let len = head.split("content-length: ").nth(1).map_or(0, |rest| {
            rest.split("\r\n").next().unwrap().parse().unwrap()
        });
        while self.1.len() < len {
            assert!(self.read().await > 0, "closed within a body");
        }
        (head, self.1.drain(..len).collect())
    }

    async fn read(&mut self) -> usize {
        let read = self.0.read_buf(&mut self.1);
        let read = tokio::time::timeout(Duration::from_secs(20), read).await;
        read.expect("no answer").unwrap()
    }

    /// Checks that the connection still answers.
    async fn goes_on(&mut self, what: &str) {
        self.send("GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let (head, body) = self.answer().await;
        assert!(head.starts_with("http/1.1 200"), "{what}: {head}");
        assert_eq!(body, b"{}");
    }
}

fn status(head: &str) -> u16 {
    head[9..12].parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn early_answers_leave_the_connection_usable() {
    let app = App::new().await;
    let blob = app.blob("a", b"hello").await;
    let upload = app.upload("a").await;
    let addr = app.listen().await;
    let unknown = "/v2/a/blobs/uploads/6b0c1e88-4f5a-4d1f-9f0e-2d6f8b6c1a55";
    for (request, code) in [
        (
            format!("PATCH {upload} HTTP/1.1\r\nContent-Range: 7-9"),
            416,
        ),
        (format!("PATCH {unknown} HTTP/1.1"), 404),
        ("PUT /v2/UP/manifests/v1 HTTP/1.1".into(), 400),
        (format!("PUT {upload}?digest=sha256:x HTTP/1.1"), 400),
        (
            format!("POST /v2/b/blobs/uploads/?mount={blob}&from=a HTTP/1.1"),
            201,
        ),
        ("POST /v2/b/blobs/uploads/ HTTP/1.1".into(), 202),
        (format!("GET /v2/a/blobs/{blob} HTTP/1.1"), 200),
        (format!("HEAD /v2/a/blobs/{blob} HTTP/1.1"), 200),
        ("GET /nowhere HTTP/1.1".into(), 404),
    ] {
        for len in [3usize, 200_000] {
            for chunked in [false, true] {
                let mut wire = Wire::open(addr).await;
                let framing = if chunked {
                    "Transfer-Encoding: chunked".to_owned()
                } else {
                    format!("Content-Length: {len}")
                };
                wire.send(format!("{request}\r\nHost: x\r\n{framing}\r\n\r\n"))
                    .await;
                tokio::time::sleep(Duration::from_millis(50)).await;
                let mut body = vec![b'x'; len];
                if chunked {
                    body = [format!("{len:x}\r\n").as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
                }
                wire.send(body).await;
                let (head, _) = if request.starts_with("HEAD") {
                    // Its length is that of a body that does not come.
                    while !wire.1.ends_with(b"\r\n\r\n") {
                        assert!(wire.read().await > 0);
                    }
                    let head = String::from_utf8(std::mem::take(&mut wire.1)).unwrap();
                    (head.to_lowercase(), Vec::new())
                } else {
                    wire.answer().await
                };
                assert_eq!(status(&head), code, "{request}: {head}");
                assert!(!head.contains("connection: close"), "{request}: {head}");
                wire.goes_on(&request).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_too_much_reads_why() {
    let app = App::new().await;
    let addr = app.listen().await;
    let put = "PUT /v2/a/manifests/v1 HTTP/1.1\r\nHost: x";
    let len = 9 << 20;
    for (framing, announced) in [
        (format!("Content-Length: {len}"), true),
        ("Transfer-Encoding: chunked".to_owned(), false),
    ] {
        let mut wire = Wire::open(addr).await;
        wire.send(format!("{put}\r\n{framing}\r\n\r\n")).await;
        // All of it first, as simple clients do, and not all at once.
        for _ in 0..9 {
            if !announced {
                wire.send(format!("{:x}\r\n", 1 << 20)).await;
            }
            wire.send(vec![b' '; 1 << 20]).await;
            if !announced {
                wire.send("\r\n").await;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (head, body) = wire.answer().await;
        assert_eq!(status(&head), 413, "{head}");
        assert!(head.contains("connection: close"), "{head}");
        assert!(String::from_utf8_lossy(&body).contains("MANIFEST_INVALID"));
        assert_eq!(wire.read().await, 0);
    }
}

/// A layer that a quota refuses, of a client that reads nothing until it has sent all of it; and
/// the connection goes on after a small one.
#[tokio::test(flavor = "multi_thread")]
async fn who_finds_no_room_reads_why() {
    let settings = "[[quota]]\nrepository = \"**\"\neach = \"1000B\"";
    let app = App::configured(|_| {}, settings).await;
    let addr = app.listen().await;
    let digest = Digest::sha256(b"x");
    for (mib, chunked) in [(0, false), (0, true), (100, false), (100, true)] {
        let parts = if mib == 0 { 1 } else { mib };
        let part = if mib == 0 { 2000 } else { 1 << 20 };
        let framing = if chunked {
            "Transfer-Encoding: chunked".to_owned()
        } else {
            format!("Content-Length: {}", parts * part)
        };
        let mut wire = Wire::open(addr).await;
        wire.send(format!(
            "POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n"
        ))
        .await;
        for _ in 0..parts {
            if chunked {
                wire.send(format!("{part:x}\r\n")).await;
            }
            wire.send(vec![b'x'; part]).await;
            if chunked {
                wire.send("\r\n").await;
            }
        }
        if chunked {
            wire.send("0\r\n\r\n").await;
        }
        let (head, body) = wire.answer().await;
        assert_eq!(status(&head), 403, "{head}");
        let body = String::from_utf8_lossy(&body);
        assert!(body.contains("may store 1000 B"), "{body}");
        assert_eq!(head.contains("connection: close"), mib > 0, "{head}");
        if mib == 0 {
            wire.goes_on("a small body without room").await;
        } else {
            assert_eq!(wire.read().await, 0);
        }
    }
    assert_eq!(app.registry.open_uploads(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_holds_no_answer_up() {
    let app = App::new().await;
    let addr = app.listen().await;
    let mut wire = Wire::open(addr).await;
    let begun = std::time::Instant::now();
    wire.send("GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        .await;
    let (head, _) = wire.answer().await;
    assert!(head.contains("connection: close"), "{head}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// What is read for nothing is read without a pace: an early answer stays what it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_body_that_nobody_reads_is_no_timeout() {
    let app = App::configured(|_| {}, "limits.body_idle = \"100ms\"\n").await;
    let addr = app.listen().await;
    let get = "GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n";
    let mut wire = Wire::open(addr).await;
    wire.send(get).await;
    // Longer than the pace, shorter than what a connection is kept for.
    tokio::time::sleep(Duration::from_millis(300)).await;
    wire.send("123456789").await;
    let (head, _) = wire.answer().await;
    assert_eq!(status(&head), 200, "{head}");
    wire.goes_on("a body that was late").await;
    wire.send(get).await;
    let (head, _) = wire.answer().await;
    assert_eq!(status(&head), 200, "{head}");
    assert!(head.contains("connection: close"), "{head}");

    // Where it is read, it is one.
    let mut wire = Wire::open(addr).await;
    wire.send("PUT /v2/a/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        .await;
    let (head, _) = wire.answer().await;
    assert_eq!(status(&head), 408, "{head}");
    assert!(head.contains("connection: close"), "{head}");
    assert_eq!(wire.read().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_with_a_body_reads_why() {
    let settings = "limits.request_rate = 1\nlimits.request_burst = 1\n";
    let app = App::configured(|_| {}, settings).await;
    let addr = app.listen().await;
    for (len, closes) in [(1000, false), (9 << 20, true)] {
        // A refusal comes within some seconds, however slow this machine is.
        for _ in 0..100 {
            let mut wire = Wire::open(addr).await;
            wire.send(format!(
                "PUT /v2/a/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: {len}\r\n\r\n"
            ))
            .await;
            wire.send(vec![b' '; len]).await;
            let (head, body) = wire.answer().await;
            if status(&head) != 429 {
                continue;
            }
            assert!(String::from_utf8_lossy(&body).contains("TOOMANYREQUESTS"));
            assert_eq!(head.contains("connection: close"), closes, "{head}");
            if closes {
                assert_eq!(wire.read().await, 0);
                return;
            }
            wire.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
            assert_eq!(status(&wire.answer().await.0), 200);
            break;
        }
    }
    panic!("never refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_continue_that_does_not_come_is_not_misread() {
    let app = App::new().await;
    let addr = app.listen().await;
    let digest = Digest::sha256(b"hello");
    let mut wire = Wire::open(addr).await;
    let expect = "Host: x\r\nContent-Length: 5\r\nExpect: 100-continue";
    let post = format!("POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\n{expect}\r\n\r\n");
    wire.send(&post).await;
    let (head, _) = wire.answer().await;
    assert_eq!(status(&head), 100);
    wire.send("hello").await;
    assert_eq!(status(&wire.answer().await.0), 201);
    wire.goes_on("a body that was asked for").await;

    wire.send(post.replace(&digest.to_string(), "sha256:x"))
        .await;
    let (head, _) = wire.answer().await;
    assert_eq!(status(&head), 400, "{head}");
    assert!(head.contains("connection: close"), "{head}");
    // Sent on regardless, it is not answered: nobody can say whether it is the body.
    let _ = wire
        .0
        .write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    drop(wire.0.shutdown().await);
    assert_eq!(wire.0.read_buf(&mut wire.1).await.unwrap_or(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_modified_has_no_length() {
    let app = App::new().await;
    let (manifest, _) = app.image("a", "v1", "x").await;
    let blob = app.blob("a", b"hello").await;
    let addr = app.listen().await;
    for (path, tag) in [
        ("manifests/v1".to_owned(), &manifest),
        (format!("blobs/{blob}"), &blob),
    ] {
        for method in ["GET", "HEAD"] {
            let mut wire = Wire::open(addr).await;
            wire.send(format!(
                "{method} /v2/a/{path} HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"{tag}\"\r\n\r\n"
            ))
            .await;
            let (head, _) = wire.answer().await;
            assert_eq!(status(&head), 304);
            assert!(!head.contains("content-length"), "{method}: {head}");
            assert!(!head.contains("transfer-encoding"), "{method}: {head}");
            wire.goes_on(method).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_names_one_host() {
    let app = App::new().await;
    let addr = app.listen().await;
    for (head, code) in [
        ("GET /v2/ HTTP/1.1\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\n\r\n", 400),
        ("GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("GET /v2/ HTTP/1.0\r\n\r\n", 200),
    ] {
        let mut wire = Wire::open(addr).await;
        wire.send(head).await;
        assert_eq!(status(&wire.answer().await.0), code, "{head}");
    }
}

/// HTTP/2 ends one stream, whatever is left of its body, and the others go on.
#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_ends_one_stream() {
    let app = App::new().await;
    let stream = TcpStream::connect(app.listen().await).await.unwrap();
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut client, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        for (method, path, body, status) in [
            ("PUT", "/v2/a/manifests/v1", vec![b' '; 9 << 20], 413),
            ("PUT", "/v2/UP/manifests/v1", vec![b' '; 1 << 20], 400),
            ("GET", "/v2/", Vec::new(), 200),
        ] {
            let uri = format!("http://localhost{path}");
            let request = http::Request::builder().method(method).uri(uri);
            let request = request.body(Body::from(body)).unwrap();
            client.ready().await.unwrap();
            let response = client.send_request(request).await.unwrap();
            assert_eq!(response.status(), status, "{method} {path}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(body.starts_with(b"{"));
        }
    }
}
