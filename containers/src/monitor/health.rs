//! Checking whether the container is well: a thread for each check, so that what hangs in the
//! container never keeps its monitor.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use runtime::{Entered, Group, Inhabitant, Stdio};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Timespec;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::health::{Check, Health, NO_CODE, Probe};
use crate::launch::Launch;
use crate::state;

/// What is kept of what a check says, in bytes.
const OUTPUT: usize = 4096;
const CHUNK: usize = 4096;
/// A thread of a check needs little.
const STACK: usize = 128 << 10;

/// Checks one run of a container. Dropping it ends the check that is being done.
#[derive(Debug)]
pub(super) struct Watch {
    probe: Probe,
    inhabitant: Inhabitant,
    /// When the container was started.
    since: Instant,
    next: Instant,
    /// What comes of the check that is being done, and when that was begun.
    running: Option<(UnixStream, Instant)>,
}

impl Watch {
    /// For a container that runs `since` then; nothing when it has no check.
    pub(super) fn new(launch: &Launch, health: &Health, pid: i32, since: Instant) -> Option<Self> {
        let probe = launch.health.clone()?;
        let now = Instant::now();
        let pause = probe.rhythm.pause(health.status, now - since);
        Some(Self {
            probe,
            inhabitant: Inhabitant::of(pid)?,
            since,
            next: now + pause,
            running: None,
        })
    }

    /// When there is something to be done; nothing while a check is being done.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        self.running.is_none().then_some(self.next)
    }

    /// Readable when a check has come to its end.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        let (result, _) = self.running.as_ref()?;
        Some(result.as_fd())
    }

    /// Begins the next check, if it is time.
    pub(super) fn go_on(&mut self, launch: &Launch) -> io::Result<()> {
        if self.running.is_some() || Instant::now() < self.next {
            return Ok(());
        }
        // Should it fail it is tried again then.
        self.next = Instant::now() + self.probe.rhythm.interval;
        let (ours, mut theirs) = UnixStream::pair()?;
        let (probe, inhabitant) = (self.probe.clone(), self.inhabitant);
        let (id, parent) = (launch.id.clone(), launch.spec.cgroup_parent().cloned());
        let work = move || {
            let start = state::now();
            let group = Group::named(&id, parent.as_ref());
            let done = group.and_then(|group| {
                let (stdio, output) = streams()?;
                let entered = runtime::enter(inhabitant, &group, &probe.entry, stdio)?;
                Ok(follow(entered, &output, &theirs, probe.rhythm.timeout))
            });
            let (exit_code, output) = done.unwrap_or_else(|error| {
                let text = format!(
                    "OCI runtime exec failed: exec failed: unable to start container process: \
                     {error}: unknown"
                );
                (NO_CODE, text)
            });
            let check = Check {
                start,
                end: state::now(),
                exit_code,
                output,
            };
            if let Ok(text) = serde_json::to_vec(&check) {
                // Nobody may want to know any more.
                let _ = theirs.write_all(&text);
            }
        };
        let thread = thread::Builder::new().name("health".to_owned());
        thread.stack_size(STACK).spawn(work)?;
        self.running = Some((ours, Instant::now()));
        Ok(())
    }

    /// Takes in what came of the check that has ended.
    pub(super) fn note(&mut self, health: &mut Health) -> io::Result<()> {
        let Some((mut result, began)) = self.running.take() else {
            return Ok(());
        };
        let mut text = Vec::new();
        result.read_to_end(&mut text)?;
        let rhythm = &self.probe.rhythm;
        health.note(serde_json::from_slice(&text)?, rhythm, began - self.since);
        let now = Instant::now();
        self.next = now + rhythm.pause(health.status, now - self.since);
        Ok(())
    }
}

/// One pipe for all that a check says.
fn streams() -> runtime::Result<(Stdio, OwnedFd)> {
    let failed = |cause: io::Error| runtime::Error::Setup {
        step: "make a pipe".to_owned(),
        cause,
    };
    let (output, theirs) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
    rustix::io::ioctl_fionbio(&output, true).map_err(|e| failed(e.into()))?;
    let stdio = Stdio {
        stdin: None,
        stdout: Some(theirs.try_clone().map_err(failed)?),
        stderr: Some(theirs),
    };
    Ok((stdio, output))
}

/// The beginning of what a check says.
#[derive(Debug, Default)]
struct Said {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Said {
    /// Reads what there is; false when no more will come.
    fn read(&mut self, output: &OwnedFd) -> bool {
        let mut chunk = [0u8; CHUNK];
        loop {
            match rustix::io::read(output, &mut chunk) {
                Ok(0) => return false,
                Ok(length) => {
                    let room = OUTPUT - self.bytes.len();
                    let kept = chunk.get(..length.min(room)).unwrap_or_default();
                    self.bytes.extend_from_slice(kept);
                    self.is_cut |= length > room;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
    }

    fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.bytes).into_owned();
        if self.is_cut {
            text.push_str("...");
        }
        text
    }
}

/// Waits for a check; returns its exit code and what it said. It is killed when its time is over,
/// or when nobody wants to know any more.
fn follow(
    entered: Entered,
    output: &OwnedFd,
    wanted: &UnixStream,
    timeout: Duration,
) -> (i32, String) {
    let until = Instant::now() + timeout;
    let mut said = Said::default();
    let mut more = true;
    let ended = loop {
        let left = until.saturating_duration_since(Instant::now());
        let mut fds = vec![
            PollFd::from_borrowed_fd(entered.pidfd(), PollFlags::IN),
            PollFd::from_borrowed_fd(wanted.as_fd(), PollFlags::IN),
        ];
        if more {
            fds.push(PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN));
        }
        let time = Timespec::try_from(left).ok();
        let found = poll(&mut fds, time.as_ref());
        let ready = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
        let (is_over, unwanted, speaks) = (ready(0), ready(1), ready(2));
        drop(fds);
        match found {
            Ok(0) => break false,
            Err(Errno::INTR) => continue,
            Err(_) => break false,
            Ok(_) => {}
        }
        if speaks {
            more = said.read(output);
        }
        if is_over {
            // What it has started may hold the pipe for ever.
            said.read(output);
            break true;
        }
        if unwanted {
            break false;
        }
    };
    if !ended {
        entered.kill();
    }
    let code = entered.wait().map_or(NO_CODE, |status| status.exit_code());
    match (ended, said.text()) {
        (true, text) => (code, text),
        (false, text) => {
            let mut told = format!(
                "Health check exceeded timeout ({})",
                golang::duration::write_duration(timeout)
            );
            if !text.is_empty() {
                told.push_str(": ");
                told.push_str(&text);
            }
            (NO_CODE, told)
        }
    }
}
