//! What one client may not do to others.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use axum::body::Body;
use base64::Engine;
use bytes::Bytes;
use oci::Digest;
use registry::auth::htpasswd::Htpasswd;

use crate::harness::App;
use crate::process::{Process, serve_with};

fn process(settings: &str) -> (tempfile::TempDir, Process) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("registry.toml");
    std::fs::write(&file, settings).unwrap();
    let process = serve_with(
        &dir.path().join("data"),
        &["--config", file.to_str().unwrap()],
    );
    (dir, process)
}

async fn metric(app: &App, line: &str) {
    let text = app.get("/metrics").await.ok(200).body;
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(text.contains(line), "{line} in\n{text}");
}

#[tokio::test]
async fn who_asks_too_often_is_told_to_wait() {
    let app = App::configured(
        |dir| {
            let mut users = Htpasswd::default();
            for user in ["alice", "bob", "carol"] {
                users.add(user, user).unwrap();
            }
            users.write(&dir.join("htpasswd")).unwrap();
        },
        "auth.htpasswd = \"$DIR/htpasswd\"\nlimits.request_rate = 1\nlimits.request_burst = 3\n",
    )
    .await;
    let get = async |user: &str, password: &str| {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let header = format!("Basic {pair}");
        app.request("GET", "/v2/", &[("authorization", &header)], "")
            .await
    };
    // A refusal comes within the burst and some seconds, however slow this machine is.
    let refused = async |user: &str, password: &str, before: u16| {
        for _ in 0..100 {
            let answer = get(user, password).await;
            if answer.status == 429 {
                return answer;
            }
            assert_eq!(answer.status.as_u16(), before);
        }
        panic!("{user} is never refused");
    };
    let answer = refused("alice", "alice", 200).await;
    answer.is(429, "TOOMANYREQUESTS");
    assert_eq!(answer.header("retry-after"), "1");
    // Others are not concerned, neither users nor those who are none.
    get("bob", "bob").await.ok(200);
    app.get("/v2/").await.ok(401);
    app.get("/healthz").await.ok(200);
    // Guessing passwords counts as well: for the address, not for the user.
    refused("bob", "guess", 401).await;
    get("bob", "bob").await.ok(200);
    // A guess that is right is not even looked at, unless it was known before.
    refused("carol", "guess", 401).await;
    get("carol", "carol").await.is(429, "TOOMANYREQUESTS");
    metric(&app, "rregistry_limited_total{what=\"requests\"}").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    get("alice", "alice").await.ok(200);
    get("carol", "carol").await.ok(200);
}

#[tokio::test]
async fn guesses_that_come_at_once_are_counted_before_they_are_looked_at() {
    let app = App::configured(
        |dir| {
            let mut users = Htpasswd::default();
            users.add("alice", "right").unwrap();
            users.write(&dir.join("htpasswd")).unwrap();
        },
        "auth.htpasswd = \"$DIR/htpasswd\"\nlimits.request_rate = 1\nlimits.request_burst = 2\n",
    )
    .await;
    let guesses = (0..20).map(|i| {
        let app = &app;
        async move {
            let guess = format!("alice:guess{i}");
            let pair = base64::engine::general_purpose::STANDARD.encode(guess);
            let header = format!("Basic {pair}");
            let answer = app
                .request("GET", "/v2/", &[("authorization", &header)], "")
                .await;
            answer.status.as_u16()
        }
    });
    let answers = futures_util::future::join_all(guesses).await;
    let looked_at = answers.iter().filter(|status| **status == 401).count();
    // The burst, and what came in anew meanwhile.
    assert!((1..10).contains(&looked_at), "{answers:?}");
    assert!(answers.iter().all(|status| [401, 429].contains(status)));
}

#[tokio::test]
async fn what_is_not_of_the_api_is_counted_too() {
    let app = App::configured(
        |_| {},
        "limits.request_rate = 1\nlimits.request_burst = 2\n",
    )
    .await;
    let mut refused = false;
    for _ in 0..50 {
        refused |= app.get("/v2/UPPER/tags/list").await.status == 429;
    }
    assert!(refused);
    for path in ["/healthz", "/readyz", "/metrics"] {
        app.get(path).await.ok(200);
    }
}

#[tokio::test]
async fn passwords_and_refresh_tokens_in_forms_are_counted() {
    let app = App::configured(
        |dir| {
            let mut users = Htpasswd::default();
            users.add("alice", "alice").unwrap();
            users.write(&dir.join("htpasswd")).unwrap();
        },
        "auth.htpasswd = \"$DIR/htpasswd\"\nauth.method = \"token\"\n\
         limits.request_rate = 1\nlimits.request_burst = 3\n",
    )
    .await;
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    let post = async |grant: &str| {
        let form = format!("{grant}&service=rregistry&client_id=x");
        app.request("POST", "/auth/token", &kind, form).await
    };
    let password = "grant_type=password&username=alice&access_type=offline&password=";
    let login = post(&format!("{password}alice")).await.ok(200).json();
    let token = login["refresh_token"].as_str().unwrap();
    let refresh = format!("grant_type=refresh_token&refresh_token={token}");
    let guess = format!("{password}guess");
    for (grant, status) in [(&guess, 400), (&refresh, 200)] {
        let mut answers = 0;
        while post(grant).await.status == status {
            answers += 1;
            assert!(answers < 100, "{grant} is never refused");
        }
        // Whatever else comes from there, right or wrong.
        for grant in [&guess, &refresh, &format!("{password}alice")] {
            let refused = post(grant).await;
            refused.is(429, "TOOMANYREQUESTS");
            assert_eq!(refused.header("retry-after"), "1");
            assert_eq!(refused.header("cache-control"), "no-store");
        }
        let refused = app.get("/auth/token?service=rregistry").await;
        refused.is(429, "TOOMANYREQUESTS");
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
}

#[tokio::test]
async fn so_many_uploads_at_once_and_no_more() {
    let app = App::configured(|_| {}, "limits.uploads = 2\n").await;
    let mut bodies = Vec::new();
    let mut sending = Vec::new();
    for _ in 0..2 {
        let (body, received) = tokio::sync::mpsc::channel(1);
        let stream = futures_util::stream::unfold(received, async |mut received| {
            let bytes: Bytes = received.recv().await?;
            Some((Ok::<_, std::io::Error>(bytes), received))
        });
        let location = app.upload("app").await;
        let request = http::Request::patch(&location)
            .body(Body::from_stream(stream))
            .unwrap();
        body.send("begun".into()).await.unwrap();
        sending.push((location, tokio::spawn(app.sending(request))));
        // Once that is taken, it is being received.
        drop(body.reserve().await.unwrap());
        bodies.push(body);
    }
    let digest = Digest::sha256(b"x");
    let path = format!("/v2/app/blobs/uploads/?digest={digest}");
    let refused = app.request("POST", &path, &[], "x").await;
    refused.is(429, "TOOMANYREQUESTS");
    assert_eq!(refused.header("retry-after"), "1");
    // To open a session, to read, and to ask how far an upload is, is always allowed.
    app.upload("app").await;
    app.get("/v2/_catalog").await.ok(200);
    app.get(&sending[0].0).await.ok(204);
    bodies.clear();
    for (_, task) in sending {
        task.await.unwrap().ok(202);
    }
    app.request("POST", &path, &[], "x").await.ok(201);
}

#[test]
fn a_slow_body_is_cut_and_what_came_is_kept() {
    let (_dir, process) = process("[limits]\nbody_idle = \"1s\"\n");
    let answer = process.send("POST", "/v2/app/blobs/uploads/", b"");
    let location = answer
        .lines()
        .find_map(|line| line.strip_prefix("Location: "))
        .unwrap()
        .to_owned();
    for (method, path) in [
        ("PATCH", location.as_str()),
        ("PUT", "/v2/app/manifests/v1"),
    ] {
        let mut stream = TcpStream::connect(&process.addr).unwrap();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let begun = Instant::now();
        // A byte now and then is no progress.
        let mut trickle = stream.try_clone().unwrap();
        let trickling = std::thread::spawn(move || {
            while begun.elapsed() < Duration::from_secs(5) && trickle.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        trickling.join().unwrap();
    }
    // The client goes on where it was cut.
    let answer = process.send("GET", &location, b"");
    let range = answer
        .lines()
        .find_map(|line| line.strip_prefix("Range: 0-"))
        .unwrap();
    let kept = range.trim().parse::<usize>().unwrap() + 1;
    assert!((1..30).contains(&kept), "{kept}");
    let whole = "x".repeat(100);
    let digest = Digest::sha256(whole.as_bytes());
    let rest = whole.as_bytes().get(kept..).unwrap();
    let answer = process.send("PUT", &format!("{location}?digest={digest}"), rest);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

/// Whether the server answers on this connection.
fn answers(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .and_then(|()| stream.read(&mut byte))
        .is_ok_and(|n| n == 1)
}

#[test]
fn so_many_connections_and_no_more() {
    for settings in ["connections_per_address = 3", "connections = 3"] {
        let (_dir, process) = process(&format!("[limits]\n{settings}\n"));
        let connect = || TcpStream::connect(&process.addr).unwrap();
        let mut open: Vec<_> = (0..3).map(|_| connect()).collect();
        assert!(open.iter_mut().all(answers));
        assert!(!answers(&mut connect()), "{settings}");
        open.pop();
        // The server notices a moment later.
        let deadline = Instant::now() + Duration::from_secs(10);
        while !answers(&mut connect()) {
            assert!(Instant::now() < deadline, "{settings}");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(answers(&mut open[0]));
    }
}

/// An HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = len[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Streams opened and reset at once cost the client nothing and the server a lot
/// (CVE-2023-44487): the connection is closed, telling the client to calm down.
#[test]
fn rapid_resets_end_the_connection() {
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const GOAWAY: u8 = 7;
    const ENHANCE_YOUR_CALM: u8 = 11;
    let (_dir, process) = process("");
    let mut stream = TcpStream::connect(&process.addr).unwrap();
    let timeout = Some(Duration::from_secs(20));
    stream.set_read_timeout(timeout).unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    // GET http://x/ in the words of HPACK's static table; the end of headers and stream.
    let get = [0x82, 0x86, 0x84, 0x41, 1, b'x'];
    for i in 0..5000 {
        bytes.extend(frame(HEADERS, 0x5, 2 * i + 1, &get));
        bytes.extend(frame(RST_STREAM, 0, 2 * i + 1, &8_u32.to_be_bytes()));
    }
    // The server may close before it has read all of it.
    let _ = stream.write_all(&bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let mut rest = &answer[..];
    let mut calm = false;
    while let Some((head, tail)) = rest.split_at_checked(9) {
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some((payload, tail)) = tail.split_at_checked(len) else {
            break;
        };
        calm |= head[3] == GOAWAY && payload[7] == ENHANCE_YOUR_CALM;
        rest = tail;
    }
    assert!(calm, "{} bytes came", answer.len());
    // Others are served on.
    assert!(process.send("GET", "/v2/", b"").starts_with("HTTP/1.1 200"));
}
