//! A socket that systemd listens on (sd_listen_fds(3)).

use std::process::Command;

use crate::process::start;

/// Listens, and becomes the registry, as systemd does it.
const SYSTEMD: &str = "\
import os, socket, sys
listening = socket.create_server(('127.0.0.1', 0), backlog=16)
os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()), PORT=str(listening.getsockname()[1]))
open(sys.argv[1], 'w').write(os.environ['PORT'])
os.execv(sys.argv[2], sys.argv[2:])
";

#[test]
fn a_socket_that_is_given_is_listened_on() {
    let dir = tempfile::tempdir().unwrap();
    let port = dir.path().join("port");
    // Where the settings say to listen is not asked: nobody may listen there.
    let process = start(
        Command::new("python3")
            .args(["-c", SYSTEMD])
            .arg(&port)
            .arg(env!("CARGO_BIN_EXE_rregistry"))
            .args(["serve", "--addr", "192.0.2.1:5000", "--data-dir"])
            .arg(dir.path().join("data")),
    );
    let port = std::fs::read_to_string(port).unwrap();
    assert_eq!(process.addr, format!("127.0.0.1:{port}"));
    assert!(process.send("GET", "/v2/", b"").starts_with("HTTP/1.1 200"));
    // A user's own start is not taken for it: the process that is meant is named.
    let mut other = Command::new(env!("CARGO_BIN_EXE_rregistry"));
    other.args(["serve", "--addr", "127.0.0.1:0", "--data-dir"]);
    other.arg(dir.path().join("other"));
    let other = start(other.env("LISTEN_FDS", "1").env("LISTEN_PID", "1"));
    assert_ne!(other.addr, process.addr);
}
