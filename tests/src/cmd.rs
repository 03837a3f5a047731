//! Commands that are run, and what came of them.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// A command in the making. It sees only the variables that are given to it.
#[derive(Clone, Debug)]
pub struct Cmd {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    stdin: Option<Vec<u8>>,
    limit: Duration,
}

impl Cmd {
    /// Runs `program`, which has the search path and nothing else in its environment.
    pub fn new(program: impl AsRef<Path>) -> Self {
        let mut path = std::env::var_os("PATH").unwrap_or_default();
        path.push(":/usr/local/sbin:/usr/sbin:/sbin");
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: vec![("PATH".into(), path), ("LC_ALL".into(), "C.UTF-8".into())],
            dir: None,
            stdin: None,
            limit: Duration::from_secs(300),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, args: I) -> Self {
        self.args
            .extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Runs it by another program, which gets all of it as its last arguments.
    #[must_use]
    pub fn by(mut self, program: impl AsRef<Path>, args: &[&str]) -> Self {
        let own = std::mem::replace(&mut self.program, program.as_ref().to_owned());
        let own = std::iter::once(own.into_os_string()).chain(std::mem::take(&mut self.args));
        self.args = args.iter().map(OsString::from).chain(own).collect();
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs it in this folder.
    #[must_use]
    pub fn current_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = Some(dir.as_ref().to_owned());
        self
    }

    /// What it reads from standard input; nothing otherwise.
    #[must_use]
    pub fn stdin(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.stdin = Some(bytes.as_ref().to_owned());
        self
    }

    /// How long it may take, for what downloads or compiles.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The same on a terminal of that many columns, on which standard output and error are one.
    #[must_use]
    pub fn on_terminal(&self, columns: usize) -> Self {
        let words = std::iter::once(self.program.as_os_str())
            .chain(self.args.iter().map(OsString::as_os_str));
        let quoted: Vec<String> = words
            .map(|word| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''")))
            .collect();
        let line = format!("stty cols {columns} rows 40; {}", quoted.join(" "));
        Self {
            program: "script".into(),
            args: ["-qec", &line, "/dev/null"].map(OsString::from).to_vec(),
            ..self.clone()
        }
        .env("TERM", "xterm")
    }

    /// Runs it to its end, whatever that is.
    #[track_caller]
    pub fn run(&self) -> Done {
        self.spawn().wait()
    }

    /// Runs it; it has to succeed.
    #[track_caller]
    pub fn ok(&self) -> Done {
        let done = self.run();
        assert!(done.status.success(), "should have succeeded: {done}");
        done
    }

    /// Runs it; it has to fail with this exit code.
    #[track_caller]
    pub fn fails(&self, code: i32) -> Done {
        let done = self.run();
        assert_eq!(
            done.status.code(),
            Some(code),
            "should have failed with exit code {code}: {done}"
        );
        done
    }

    /// Starts it, in a process group of its own.
    #[track_caller]
    pub fn spawn(&self) -> Running {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env_clear()
            .envs(self.env.iter().map(|(n, v)| (n, v)))
            .stdin(if self.stdin.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("start {}: {e}", self.program.display()));
        if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), self.stdin.clone()) {
            // A program that stops reading early says so in its own words.
            std::thread::spawn(move || pipe.write_all(&bytes));
        }
        let out = Collector::start(child.stdout.take().unwrap());
        let err = Collector::start(child.stderr.take().unwrap());
        Running {
            what: self.to_string(),
            child,
            out,
            err,
            until: Instant::now() + self.limit,
            ended: false,
        }
    }
}

impl std::fmt::Display for Cmd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.program.display().fmt(f)?;
        for arg in &self.args {
            write!(f, " {}", arg.to_string_lossy())?;
        }
        Ok(())
    }
}

/// Reads a pipe to its end while the program runs.
#[derive(Debug)]
struct Collector {
    seen: Arc<(Mutex<Vec<u8>>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    fn start(mut pipe: impl Read + Send + 'static) -> Self {
        let seen = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let shared = Arc::clone(&seen);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(n @ 1..) = pipe.read(&mut buffer) {
                shared.0.lock().unwrap().extend_from_slice(&buffer[..n]);
                shared.1.notify_all();
            }
        });
        let thread = Some(thread);
        Self { seen, thread }
    }

    fn wait_for(&self, text: &str, until: Instant) -> bool {
        let mut seen = self.seen.0.lock().unwrap();
        loop {
            if String::from_utf8_lossy(&seen).contains(text) {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let wait = left.min(Duration::from_millis(200));
            seen = self.seen.1.wait_timeout(seen, wait).unwrap().0;
        }
    }

    fn so_far(&self) -> Vec<u8> {
        self.seen.0.lock().unwrap().clone()
    }

    /// Everything; a process that was left behind with the pipe open must not block the test.
    fn finish(&mut self) -> Vec<u8> {
        if let Some(thread) = self.thread.take() {
            let until = Instant::now() + Duration::from_secs(10);
            while !thread.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        self.so_far()
    }
}

/// A command that runs. Dropped, it is ended with its whole process group.
#[derive(Debug)]
pub struct Running {
    what: String,
    child: Child,
    out: Collector,
    err: Collector,
    until: Instant,
    ended: bool,
}

impl Running {
    /// Its process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until its standard error holds `text`.
    #[track_caller]
    pub fn until_err(&self, text: &str) {
        assert!(
            self.err.wait_for(text, self.limit()),
            "{} never said {text:?} but:\n{}",
            self.what,
            String::from_utf8_lossy(&self.err.so_far())
        );
    }

    /// What its standard error holds so far.
    pub fn err_so_far(&self) -> String {
        String::from_utf8_lossy(&self.err.so_far()).into_owned()
    }

    /// Waits until its standard output holds `text`, and returns all there is of it.
    #[track_caller]
    pub fn until_out(&self, text: &str) -> String {
        assert!(
            self.out.wait_for(text, self.limit()),
            "{} never said {text:?} but:\n{}{}",
            self.what,
            String::from_utf8_lossy(&self.out.so_far()),
            String::from_utf8_lossy(&self.err.so_far())
        );
        String::from_utf8_lossy(&self.out.so_far()).into_owned()
    }

    /// What its standard output holds so far.
    pub fn out_so_far(&self) -> String {
        String::from_utf8_lossy(&self.out.so_far()).into_owned()
    }

    fn limit(&self) -> Instant {
        self.until.min(Instant::now() + Duration::from_secs(60))
    }

    /// Sends a signal to this process alone.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("signal");
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Done {
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                break status;
            }
            assert!(
                Instant::now() < self.until,
                "did not end in time: {}\n{}{}",
                self.what,
                String::from_utf8_lossy(&self.out.so_far()),
                String::from_utf8_lossy(&self.err.so_far())
            );
            std::thread::sleep(Duration::from_millis(2));
        };
        self.ended = true;
        Done {
            what: self.what.clone(),
            status,
            stdout: self.out.finish(),
            stderr: self.err.finish(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            let _ = killpg(self.pid(), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

/// A command that ended.
#[derive(Clone, Debug)]
pub struct Done {
    what: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Done {
    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|e| panic!("not JSON ({e}): {self}"))
    }

    /// Its standard output holds `text`.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(self.out().contains(text), "does not say {text:?}: {self}");
        self
    }

    /// Its standard error holds `text`.
    #[track_caller]
    pub fn tells(&self, text: &str) -> &Self {
        assert!(self.err().contains(text), "does not tell {text:?}: {self}");
        self
    }

    /// Its standard error does not hold `text`.
    #[track_caller]
    pub fn never_tells(&self, text: &str) -> &Self {
        assert!(!self.err().contains(text), "tells {text:?}: {self}");
        self
    }

    /// The signal that ended it, if one did.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        for (name, bytes) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            let all = String::from_utf8_lossy(bytes);
            let lines: Vec<&str> = all.lines().collect();
            // The end tells most; a long build log would hide it.
            let last = &lines[lines.len().saturating_sub(120)..];
            writeln!(text, "--- {name}\n{}", last.join("\n"))?;
        }
        write!(f, "{}\n--- {}\n{text}", self.what, self.status)
    }
}
