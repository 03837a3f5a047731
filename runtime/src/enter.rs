//! A further process in a container that runs.
//!
//! It is born in the container's PID namespace and joins the others by itself, as a sealed copy of
//! this program that nobody may look into (CVE-2019-5736): what a hostile container has put in the
//! place of its files is resolved inside it, and never followed out of it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::{Pid, Signal, kill_process_group};
use rustix::thread::ThreadNameSpaceType;

use crate::cgroup::Group;
use crate::container::{ExitStatus, Stdio};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::inhabitant::Inhabitant;
use crate::line::{Heard, Line};
use crate::sys::{self, Child};
use crate::users::{self, Identity, UserError};
use crate::{init, plan, self_exe};

/// A process that was started by [`enter`]. Dropping it lets it run.
#[derive(Debug)]
pub struct Entered {
    child: Child,
    terminal: Option<OwnedFd>,
}

/// Runs `entry` in the container of `inhabitant`, in its control groups.
///
/// # Errors
/// As [`crate::Container::spawn`].
pub fn enter(
    inhabitant: Inhabitant,
    group: &Group,
    entry: &Entry,
    stdio: Stdio,
) -> Result<Entered> {
    if entry.argv.is_empty() {
        return Err(Error::InvalidSpec("no command".to_owned()));
    }
    let pidfd = inhabitant.handle()?;
    let root = inhabitant.root()?;
    let mut identity = identity(root.as_fd(), &entry.user)?;
    identity
        .groups
        .extend(users::group_ids(root.as_fd(), &entry.groups)?);
    let plan = plan::entry(entry, &identity);
    let (line, ends) = Line::new(entry.terminal.is_some())?;
    let mut fds = stdio.or_null()?;
    fds.extend([ends.plan, ends.errors]);
    let container = pidfd.try_clone();
    fds.push(container.map_err(|error| Error::setup("duplicate a descriptor", error))?);
    fds.extend(ends.terminal);
    let child = born_in(pidfd.as_fd(), &fds)
        .map_err(|error| Error::setup("start a process in the container", error))?;
    drop(fds);
    let entered = Entered {
        child,
        terminal: None,
    };
    if let Err(error) = group.add(entered.child.pid) {
        entered.kill();
        let _ = entered.wait();
        return Err(error);
    }
    match line.talk(&plan)? {
        Heard::Running { terminal } => Ok(Entered {
            terminal,
            ..entered
        }),
        Heard::Died => Err(Error::InitDied(entered.wait()?.to_string())),
        Heard::Failed(error) => {
            entered.wait()?;
            Err(error)
        }
    }
}

/// Who the command runs as. A database that the container has spoiled keeps nobody out who is known
/// by number.
fn identity(root: BorrowedFd<'_>, user: &str) -> Result<Identity> {
    match users::lookup(root, user) {
        Err(spoiled @ UserError::Database { .. }) => {
            users::resolve(user, "", "").map_err(|_| spoiled.into())
        }
        other => Ok(other?),
    }
}

/// Starts the init in the PID namespace of a process.
fn born_in(pidfd: BorrowedFd<'_>, fds: &[OwnedFd]) -> io::Result<Child> {
    // A thread of its own: its children are born elsewhere from now on.
    let start = || {
        let kind = ThreadNameSpaceType::PROCESS_ID;
        rustix::thread::move_into_thread_name_spaces(pidfd, kind)?;
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        sys::clone_process(self_exe::sealed()?, &[init::ARG0], &fds, 0)
    };
    std::thread::scope(|scope| scope.spawn(start).join())
        .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

impl Entered {
    /// Its number, in this process's PID namespace.
    pub fn pid(&self) -> i32 {
        self.child.pid
    }

    /// Becomes readable when it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    /// The master of its terminal, the first time that it is asked for.
    pub fn terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    /// Kills it, and what it has started that is still in its process group.
    pub fn kill(&self) {
        // Its number is not another's before somebody has waited for it.
        if let Some(group) = Pid::from_raw(self.child.pid) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = sys::send_signal(self.child.pidfd.as_fd(), nix::libc::SIGKILL);
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// [`Error::Setup`] when it cannot be waited for.
    pub fn wait(self) -> Result<ExitStatus> {
        let (code, signal) = sys::wait_child(self.child.pidfd.as_fd())
            .map_err(|error| Error::setup("wait for the process", error))?;
        Ok(ExitStatus {
            code,
            signal,
            oom_killed: false,
        })
    }
}
