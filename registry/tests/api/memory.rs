//! What a running registry takes of memory, whatever is sent to it.

use std::io::{Read, Write};
use std::net::TcpStream;

use oci::Digest;
use oci::digest::Hasher;

use crate::process::{Process, serve};

/// What it may take at most, without the pages of the program itself: those of a release are some
/// 16 MiB, those of this build many more, and all of them are the page cache's.
const LIMIT: u64 = (64 - 16) << 20;

/// The most memory that a process ever had for its data.
fn peak(process: &Process) -> u64 {
    let path = format!("/proc/{}/status", process.child.id());
    let status = std::fs::read_to_string(path).unwrap();
    let bytes = |name: &str| {
        let line = status.lines().find(|l| l.starts_with(name)).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib << 10
    };
    bytes("VmHWM:") - bytes("RssFile:")
}

/// A blob of `n` times `part`.
fn digest(part: &[u8], n: u64) -> Digest {
    let mut hasher: Hasher = oci::Algorithm::Sha256.hasher();
    for _ in 0..n {
        hasher.update(part);
    }
    hasher.finish()
}

/// Sends it, as `docker push` does: in chunks, without saying how much there is.
fn push(addr: &str, part: &[u8], n: u64, digest: &Digest) {
    let mut stream = TcpStream::connect(addr).unwrap();
    let head = format!(
        "POST /v2/app/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: x\r\n\
         Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..n {
        write!(stream, "{:x}\r\n", part.len()).unwrap();
        stream.write_all(part).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

/// Reads a blob to its end, without keeping it.
fn pull(addr: &str, digest: &Digest) {
    let mut stream = TcpStream::connect(addr).unwrap();
    let head =
        format!("GET /v2/app/blobs/{digest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut buffer = vec![0; 256 << 10];
    let mut head = Vec::new();
    let end = loop {
        let n = stream.read(&mut buffer[..1]).unwrap();
        assert!(n > 0, "no answer");
        head.push(buffer[0]);
        if head.ends_with(b"\r\n\r\n") {
            break String::from_utf8(head).unwrap();
        }
    };
    assert!(end.starts_with("HTTP/1.1 200"), "{end}");
    let mut hasher = oci::Algorithm::Sha256.hasher();
    loop {
        let n = stream.read(&mut buffer).unwrap();
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
    }
    assert_eq!(hasher.finish(), *digest);
}

/// A number that the environment may set.
fn setting(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// `RREGISTRY_TEST_BLOB_MIB` says how large each is.
#[test]
fn sixty_four_pushes_at_once_stay_within_64_mib() {
    let dir = tempfile::tempdir().unwrap();
    let process = serve(dir.path());
    // Together far more than the limit.
    let n = setting("RREGISTRY_TEST_BLOB_MIB", 12);
    let peak = peak_of_pushes(&process, n);
    println!("{} MiB", peak >> 20);
    assert!(peak < LIMIT, "{} MiB", peak >> 20);
}

/// What a registry takes while 64 blobs of `n` MiB are pushed to it at once, and some pulled.
pub fn peak_of_pushes(process: &Process, n: u64) -> u64 {
    let blobs: Vec<(Vec<u8>, Digest)> = (0..64_u8)
        .map(|i| {
            let part = vec![i; 1 << 20];
            let digest = digest(&part, n);
            (part, digest)
        })
        .collect();
    std::thread::scope(|scope| {
        for (part, digest) in &blobs {
            scope.spawn(|| push(&process.addr, part, n, digest));
        }
    });
    std::thread::scope(|scope| {
        for (_, digest) in blobs.iter().take(16) {
            scope.spawn(|| pull(&process.addr, digest));
        }
    });
    peak(process)
}

/// `RREGISTRY_TEST_LARGE_GIB` says how large it is.
#[test]
fn a_very_large_layer_passes_through_without_being_kept() {
    let gib = setting("RREGISTRY_TEST_LARGE_GIB", 1);
    let dir = tempfile::tempdir().unwrap();
    let process = serve(dir.path());
    let (part, n) = (vec![0; 4 << 20], gib << 8);
    let digest = digest(&part, n);
    push(&process.addr, &part, n, &digest);
    pull(&process.addr, &digest);
    let peak = peak(&process);
    println!("{} MiB", peak >> 20);
    assert!(peak < LIMIT, "{} MiB", peak >> 20);
}
