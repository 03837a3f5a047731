//! A running `rregistry`.

use std::path::PathBuf;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::{Cmd, Machine, Reply, Running, http, http_with, rregistry};

/// A registry on a free port of loopback, with data of its own. It ends with the test, also with
/// one that is killed.
#[derive(Debug)]
pub struct Registry {
    // Before its folder: the process has to end first.
    running: Option<Running>,
    address: String,
    /// The network namespace that it is in, if not in the tests'.
    namespace: Option<String>,
    dir: TempDir,
}

impl Default for Registry {
    fn default() -> Self {
        Self::start()
    }
}

impl Registry {
    /// Starts one, and waits until it listens.
    #[track_caller]
    pub fn start() -> Self {
        Self::configured("", &[])
    }

    /// The same with settings, a text of TOML, and users, whose names are their passwords. `$USERS`
    /// in the settings is the file of users.
    #[track_caller]
    pub fn configured(settings: &str, users: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("e2e-registry.").tempdir();
        let mut registry = Self {
            running: None,
            address: "127.0.0.1:0".to_owned(),
            namespace: None,
            dir: dir.expect("temporary folder"),
        };
        let file = registry.dir.path().join("users");
        for user in users {
            Cmd::new(rregistry())
                .args(["user", "add", user, "--file"])
                .arg(&file)
                .stdin(format!("{user}\n"))
                .ok();
        }
        let settings = settings.replace("$USERS", &file.to_string_lossy());
        std::fs::write(registry.settings(), settings).expect("write");
        registry.launch();
        registry
    }

    /// Ends it in order and starts it again on another machine, at an address of that one; on this
    /// one's loopback when none is named.
    #[track_caller]
    pub fn move_to(&mut self, machine: Option<(&Machine, &str)>) {
        self.end(Signal::SIGTERM);
        self.namespace = machine.map(|(machine, _)| machine.namespace());
        self.address = machine.map_or("127.0.0.1:0", |(_, address)| address).into();
        self.launch();
    }

    #[track_caller]
    fn launch(&mut self) {
        let entered = self.namespace.as_ref();
        let entered = entered.map(|path| ["nsenter".to_owned(), format!("--net={path}")]);
        // It dies with the thread of the test that started it.
        let running = Cmd::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .args(entered.into_iter().flatten())
            .arg(rregistry())
            .args(["serve", "--addr", &self.address, "--data-dir"])
            .arg(self.data())
            .arg("--config")
            .arg(self.settings())
            .limit(std::time::Duration::from_secs(3600))
            .spawn();
        let line = running.until_out("\n");
        let address = line.trim().rsplit("http://").next().expect("an address");
        address.clone_into(&mut self.address);
        self.running = Some(running);
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A name in this registry: `127.0.0.1:PORT/NAME`.
    pub fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Where its data is.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn settings(&self) -> PathBuf {
        self.dir.path().join("registry.toml")
    }

    /// The access log up to now, where `log.access` asks for one.
    #[track_caller]
    pub fn log(&self) -> String {
        let Some(running) = &self.running else {
            return String::new();
        };
        // Lines are written once requests are answered: one more, and all before it are there.
        let mark = format!("/v2/?mark={}", running.out_so_far().len());
        self.get(&mark);
        running.until_out(&mark)
    }

    /// Kills it without warning.
    #[track_caller]
    pub fn kill(&mut self) {
        self.end(Signal::SIGKILL);
    }

    /// `GET`
    #[track_caller]
    pub fn get(&self, path: &str) -> Reply {
        http(&self.address, "GET", path)
    }

    /// A request.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        http_with(&self.address, method, path, headers, body)
    }

    /// Kills it without warning and starts it again, on the same port.
    #[track_caller]
    pub fn kill_and_restart(&mut self) {
        self.end(Signal::SIGKILL);
        self.launch();
    }

    /// Ends it in order and starts it again, on the same port.
    #[track_caller]
    pub fn restart(&mut self) {
        self.end(Signal::SIGTERM);
        self.launch();
    }

    #[track_caller]
    fn end(&mut self, signal: Signal) {
        if let Some(running) = self.running.take() {
            running.signal(signal);
            let done = running.wait();
            let orderly = done.status.success() || done.signal() == Some(signal as i32);
            assert!(orderly, "the registry did not end well: {done}");
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end(Signal::SIGTERM);
        }
    }
}
