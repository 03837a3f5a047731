//! Debian's docker-registry, the reference implementation.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use tempfile::TempDir;

use crate::{Cmd, Missing, Running, program};

/// One that runs on a free port of loopback, with data of its own.
#[derive(Debug)]
pub struct DockerRegistry {
    // Before its folder: the process has to end first.
    _running: Running,
    address: String,
    _dir: TempDir,
}

impl DockerRegistry {
    /// Starts one, and waits until it listens.
    ///
    /// # Errors
    /// [`Missing`] when it is not installed.
    pub fn start() -> Result<Self, Missing> {
        let program = program("docker-registry")?;
        let dir = tempfile::tempdir().expect("temporary folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = free.local_addr().expect("address").to_string();
        drop(free);
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n\
             http: {{addr: \"{address}\"}}\n",
            dir.path().display()
        );
        let file = dir.path().join("config.yml");
        std::fs::write(&file, config).expect("write");
        // It dies with the thread of the test that started it.
        let running = Cmd::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .arg("serve")
            .arg(&file)
            .env("OTEL_TRACES_EXPORTER", "none")
            .spawn();
        for _ in 0..400 {
            if TcpStream::connect(&address).is_ok() {
                return Ok(Self {
                    _running: running,
                    address,
                    _dir: dir,
                });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("docker-registry does not listen on {address}");
    }

    /// A name in this registry: `127.0.0.1:PORT/NAME`.
    pub fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }
}
