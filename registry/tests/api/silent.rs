//! Clients that hold a connection and ask nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use crate::process::{Process, serve_with};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame, and the acknowledgment of the server's.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0];

fn process(limits: &str) -> (tempfile::TempDir, Process) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("registry.toml");
    std::fs::write(&file, format!("[limits]\n{limits}\n")).unwrap();
    let data = dir.path().join("data");
    let process = serve_with(&data, &["--config", file.to_str().unwrap()]);
    (dir, process)
}

fn open(process: &Process, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(&process.addr).unwrap();
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

/// A connection from another address of this machine.
fn open_from(process: &Process, last: u8) -> TcpStream {
    let to: SocketAddr = process.addr.parse().unwrap();
    let from = SocketAddr::from(([127, 0, 0, last], 0));
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &from).unwrap();
    connect(&socket, &to).unwrap();
    let stream = TcpStream::from(socket);
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).unwrap();
    stream
}

/// Whether the server has not yet closed its end of a connection of which much is still unread:
/// the reader cannot tell, but the system's table of connections does.
fn server_keeps(process: &Process, stream: &TcpStream) -> bool {
    let server = process.addr.parse::<SocketAddr>().unwrap().port();
    let client = stream.local_addr().unwrap().port();
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    table.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = |field: &str| u16::from_str_radix(&field[field.len() - 4..], 16).unwrap();
        // 01 is ESTABLISHED.
        port(fields[1]) == server && port(fields[2]) == client && fields[3] == "01"
    })
}

/// Whether the server closes the connection, whatever it says before.
fn ends(mut stream: TcpStream) -> bool {
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => true,
        Err(e) => e.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

fn answers(stream: &mut TcpStream) -> bool {
    if stream
        .write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        .is_err()
    {
        return false;
    }
    let (mut answer, mut some) = (Vec::new(), [0; 1024]);
    while !answer.ends_with(b"\r\n\r\n{}") {
        match stream.read(&mut some) {
            Ok(len) if len > 0 => answer.extend_from_slice(&some[..len]),
            _ => return false,
        }
    }
    answer.starts_with(b"HTTP/1.1 200")
}

#[test]
fn connections_that_ask_nothing_end_whatever_they_speak() {
    let (_dir, process) = process("first_request = \"500ms\"\nidle = \"1h\"");
    let whole = [PREFACE, SETTINGS].concat();
    let held: Vec<(&str, TcpStream)> = [
        ("nothing", &b""[..]),
        ("a letter", b"G"),
        ("a request line", b"GET /v2/ HTTP/1.1\r\n"),
        ("half a head", b"GET /v2/ HTTP/1.1\r\nHost: x\r\nA"),
        ("a letter of the preface", b"P"),
        ("half a preface", &PREFACE[..12]),
        ("a preface", PREFACE),
        ("HTTP/2 without a request", &whole),
        ("a frame's head", &[PREFACE, &[0, 0, 8]].concat()),
        ("no HTTP", b"\x16\x03\x01"),
    ]
    .map(|(what, bytes)| (what, open(&process, bytes)))
    .into();
    // Who asked once has the other patience.
    let mut asked = open(&process, b"");
    assert!(answers(&mut asked));
    for (what, stream) in held {
        assert!(ends(stream), "{what}");
    }
    let mut rest = Vec::new();
    asked.set_nonblocking(true).unwrap();
    let e = asked.read_to_end(&mut rest).unwrap_err();
    assert_eq!(e.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn heads_that_trickle_end_too() {
    let (_dir, process) = process("first_request = \"1s\"");
    for begin in ["GET /v2/ HTTP/1.1\r\nHost: x\r\nA: ", "PRI * "] {
        let stream = open(&process, begin.as_bytes());
        let mut trickle = stream.try_clone().unwrap();
        let trickling = std::thread::spawn(move || {
            for _ in 0..100 {
                if trickle.write_all(b"H").is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        assert!(ends(stream), "{begin}");
        trickling.join().unwrap();
    }
}

#[test]
fn connections_that_rest_between_requests_end() {
    let (_dir, process) = process("idle = \"500ms\"");
    for begin in [&b""[..], b"GET /v2/ HT"] {
        let mut stream = open(&process, b"");
        assert!(answers(&mut stream));
        stream.write_all(begin).unwrap();
        assert!(ends(stream));
    }
    // HEADERS of `GET http://x/` and the end of its stream, in the words of HPACK's static table.
    let get = [0, 0, 6, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84, 0x41, 1, b'x'];
    assert!(ends(open(&process, &[PREFACE, SETTINGS, &get].concat())));
}

#[test]
fn who_does_not_take_an_answer_does_not_keep_the_connection() {
    let (_dir, process) = process("send_idle = \"1s\"");
    // More than the system's buffers take.
    let content = vec![7; 64 << 20];
    let digest = oci::Digest::sha256(&content);
    let path = format!("/v2/app/blobs/uploads/?digest={digest}");
    assert!(
        process
            .send("POST", &path, &content)
            .starts_with("HTTP/1.1 201")
    );
    let get = format!("GET /v2/app/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut stream = open(&process, get.as_bytes());
    // It asked, takes the beginning and then nothing, until the server has had enough of it.
    let mut came = vec![0; 12];
    stream.read_exact(&mut came).unwrap();
    let begun = Instant::now();
    while server_keeps(&process, &stream) {
        assert!(begun.elapsed() < Duration::from_secs(120), "kept for ever");
        std::thread::sleep(Duration::from_millis(100));
    }
    let _ = stream.read_to_end(&mut came);
    assert!(came.starts_with(b"HTTP/1.1 200"));
    assert!(came.len() < content.len(), "{} bytes came", came.len());
    // Who takes it, slowly, gets all of it.
    let mut stream = open(&process, get.as_bytes());
    let mut len = 0;
    let mut some = vec![0; 4 << 20];
    while len < content.len() {
        let read = stream.read(&mut some).unwrap();
        assert!(read > 0, "closed after {len} bytes");
        len += read;
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn addresses_that_hold_all_connections_keep_nobody_out() {
    let (_dir, process) = process(
        "connections = 19\nconnections_per_address = 3\nfirst_request = \"1h\"\nidle = \"1h\"",
    );
    // One of them has most.
    let held: Vec<TcpStream> = [1_u8]
        .into_iter()
        .chain((1..=9).flat_map(|last| [last, last]))
        .map(|last| open_from(&process, last))
        .collect();
    let mut other = open_from(&process, 20);
    assert!(answers(&mut other));
    // They gain nothing by trying again.
    let mut again = open_from(&process, 1);
    assert!(!answers(&mut again));
    assert!(answers(&mut other));
    assert!(ends(held.into_iter().next().unwrap()));
}
