//! What stories of containers have in common: each line typed to rbuild and to a dockerd, and what
//! is known of a container.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use e2e::{Docker, Done, Missing, Store, modern_docker};
use nix::unistd::Pid;
use serde_json::Value;

/// How often docker is asked again for what it lost.
const RETRIES: usize = 5;

/// What both print, with what is each one's own left out.
pub fn plain(text: &str) -> String {
    let mut out = Vec::new();
    for line in text.lines() {
        let line = line.trim_end();
        let line = line.strip_prefix("ERROR: ").unwrap_or(line);
        let line = line.strip_prefix("docker: ").unwrap_or(line);
        let line = line.strip_prefix("Error: ").unwrap_or(line);
        let line = line
            .strip_prefix("Error response from daemon: ")
            .unwrap_or(line)
            .trim_end_matches('.');
        // docker 20.10's client sends its users to its help, and sometimes logs that it no longer
        // waits.
        let is_noise = |start: &&str| line.starts_with(*start);
        if line.is_empty() || ["See 'docker", "time=\""].iter().any(is_noise) {
            continue;
        }
        let words: Vec<&str> = line.split(' ').map(unnamed).collect();
        out.push(words.join(" "));
    }
    out.join("\n")
}

/// IDs are never the same.
fn unnamed(word: &str) -> &str {
    let word = word.strip_prefix("sha256:").unwrap_or(word);
    let bare = word.trim_matches(|c: char| !c.is_ascii_hexdigit());
    let is_id = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
    match bare.len() {
        64 | 12 if is_id(bare) => "ID",
        _ => word,
    }
}

/// The words of a line, in which quotes keep words together.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    words
}

/// A store, and a dockerd beside it.
#[derive(Debug)]
pub struct Both {
    /// Ours.
    pub ours: Store,
    /// docker's.
    pub docker: &'static Docker,
}

impl Both {
    /// With busybox in both.
    ///
    /// # Errors
    /// [`Missing`] without root or docker 28.
    pub fn new() -> Result<Self, Missing> {
        Ok(Self {
            ours: Store::busybox()?,
            docker: modern_docker()?,
        })
    }

    /// Runs lines on both, each of which must come to the same.
    #[track_caller]
    pub fn all_same(&self, lines: &[&str]) {
        let wrong: Vec<String> = lines.iter().filter_map(|line| self.same(line)).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// Runs a line on both; output, errors and exit codes are the same, or it is told how not.
    pub fn same(&self, line: &str) -> Option<String> {
        let (ours, theirs) = self.run(line);
        let of = |done: &Done| {
            let code = done.status.code();
            (code, plain(&done.out()), plain(&done.err()))
        };
        let (ours, mut theirs) = (of(&ours), of(&theirs));
        // On a busy machine docker's client may lose what a container says that is gone at once:
        // what leaves nothing behind is asked again.
        for _ in 0..RETRIES {
            let is_lost = theirs.1.is_empty() && theirs.0 == ours.0 && !ours.1.is_empty();
            if !(is_lost && line.starts_with("run --rm ")) {
                break;
            }
            theirs = of(&self.docker.cmd(words(line)).stdin("typed\n").run());
        }
        let text = || format!("{line}\n  rbuild: {ours:?}\n  docker: {theirs:?}");
        (ours != theirs).then(text)
    }

    /// Runs a line on both; output and exit codes are the same, and both give the same reason.
    pub fn alike(&self, line: &str, reason: &str) -> Option<String> {
        let (ours, theirs) = self.run(line);
        let of = |done: &Done| {
            let gives = plain(&done.err()).contains(reason);
            (done.status.code(), plain(&done.out()), gives)
        };
        let same = of(&ours) == of(&theirs) && of(&ours).2;
        let text = || format!("{line}\n  rbuild: {ours}\n  docker: {theirs}");
        (!same).then(text)
    }

    /// Runs a line on both; exit codes are the same.
    pub fn same_code(&self, line: &str) -> Option<String> {
        let (ours, theirs) = self.run(line);
        let text = || format!("{line}\n  rbuild: {ours}\n  docker: {theirs}");
        (ours.status.code() != theirs.status.code()).then(text)
    }

    /// Runs a line on both.
    pub fn run(&self, line: &str) -> (Done, Done) {
        let words = words(line);
        let ours = self.ours.rbuild(&words).stdin("typed\n").run();
        let theirs = self.docker.cmd(&words).stdin("typed\n").run();
        (ours, theirs)
    }
}

/// docker has the volumes of all stories at once: those about them take turns.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for something that is about to be.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What is known of a container.
pub fn inspect(store: &Store, name: &str) -> Value {
    let mut all = store.rbuild(["inspect", name]).ok().json();
    all[0].take()
}

/// The process that watches over a container.
pub fn monitor(pid: i32) -> Pid {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let parent = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1);
    Pid::from_raw(parent.unwrap().parse().unwrap())
}

/// Its first process.
pub fn pid_of(store: &Store, name: &str) -> i32 {
    let pid = inspect(store, name)["State"]["Pid"].as_i64().unwrap();
    i32::try_from(pid).unwrap()
}
