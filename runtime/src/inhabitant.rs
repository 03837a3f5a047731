//! A container that runs, by its first process.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::cgroup::start_time;
use crate::error::{Error, Result};
use crate::sys;

/// A container that runs, by its first process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inhabitant {
    /// The number of its first process.
    pub pid: i32,
    /// When that was started, in clock ticks since boot: numbers are used again.
    pub started: u64,
}

impl Inhabitant {
    /// The process of this number, if there is one.
    pub fn of(pid: i32) -> Option<Self> {
        let number = u32::try_from(pid).ok()?;
        let started = start_time(number)?;
        Some(Self { pid, started })
    }

    /// A handle on the process, if it still is the same.
    pub(crate) fn open(self) -> Option<OwnedFd> {
        let pid = Pid::from_raw(self.pid)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // Whose number it is now, and it cannot change any more.
        (Self::of(self.pid)? == self).then_some(pidfd)
    }

    /// A handle on the process.
    pub(crate) fn handle(self) -> Result<OwnedFd> {
        self.open().ok_or_else(gone)
    }

    /// Whether it still runs.
    pub fn is_there(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// The root of its file system, as it sees it.
    ///
    /// # Errors
    /// [`Error::Setup`] when it has ended.
    pub fn root(self) -> Result<OwnedFd> {
        let pidfd = self.open().ok_or_else(gone)?;
        let path = format!("/proc/{}/root", self.pid);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&path, flags, Mode::empty())
            .map_err(|errno| Error::setup("open the container's root", errno))?;
        match sys::send_signal(pidfd.as_fd(), 0) {
            Ok(()) if self.is_there() => Ok(root),
            _ => Err(gone()),
        }
    }
}

pub(crate) fn gone() -> Error {
    let cause = io::Error::from_raw_os_error(nix::libc::ESRCH);
    Error::setup("find the container's process", cause)
}
