//! The guard: a small process that outlives this one just long enough to clean up.
//!
//! `PR_SET_PDEATHSIG` is cleared when a container's first process executes a setuid program, and
//! a process may clear it itself. So the guard holds a pidfd of every container; when the socket
//! to its parent closes, whatever the reason, it kills them and removes their control groups.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};

use crate::sync::lock;
use crate::{cgroup, self_exe, sys};

/// `argv[0]` of the guard.
pub(crate) const ARG0: &CStr = c"container-guard";
const SOCKET_FD: i32 = 3;
/// Longest message, in bytes: a number and some cgroup paths.
const MAX_MESSAGE: usize = 32 << 10;

#[derive(Serialize, Deserialize)]
enum Message {
    /// Control groups that are about to be made.
    Add {
        id: u64,
        cgroups: Vec<PathBuf>,
    },
    /// Comes with the pidfd.
    Started {
        id: u64,
    },
    Remove {
        id: u64,
    },
}

/// This process's end of the socket to its guard.
struct Guard {
    socket: OwnedFd,
    next: Mutex<u64>,
}

/// A container that the guard watches, until dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    id: u64,
}

/// Has the guard watch a container from now on: its control groups may be made after this.
pub(crate) fn watch(cgroups: Vec<PathBuf>) -> io::Result<Watch> {
    let guard = guard()?;
    let id = {
        let mut next = lock(&guard.next);
        *next += 1;
        *next
    };
    guard.send(&Message::Add { id, cgroups }, None)?;
    Ok(Watch { id })
}

impl Watch {
    /// The container has a process.
    pub(crate) fn started(&self, pidfd: BorrowedFd<'_>) -> io::Result<()> {
        guard()?.send(&Message::Started { id: self.id }, Some(pidfd))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Ok(guard) = guard() {
            // A guard that is gone has nothing to forget.
            let _ = guard.send(&Message::Remove { id: self.id }, None);
        }
    }
}

fn guard() -> io::Result<&'static Guard> {
    static GUARD: OnceLock<Guard> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(guard) = GUARD.get() {
        return Ok(guard);
    }
    let _starting = lock(&STARTING);
    if let Some(guard) = GUARD.get() {
        return Ok(guard);
    }
    let guard = start()?;
    Ok(GUARD.get_or_init(|| guard))
}

fn start() -> io::Result<Guard> {
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    let fds = [null.as_fd(), null.as_fd(), null.as_fd(), theirs.as_fd()];
    sys::clone_process(self_exe::sealed()?, &[ARG0], &fds, 0)?;
    Ok(Guard {
        socket: ours,
        next: Mutex::new(0),
    })
}

impl Guard {
    fn send(&self, message: &Message, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        let fds: Vec<i32> = fd.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
        let flags = MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(
            self.socket.as_raw_fd(),
            &[IoSlice::new(&bytes)],
            control,
            flags,
            None,
        )?;
        Ok(())
    }
}

/// The guard's own life: remembers what it is told, cleans up at the end.
pub(crate) fn run() -> i32 {
    let Some(socket) = sys::inherited(SOCKET_FD) else {
        return 125;
    };
    // Signals from the parent's terminal or session are not meant for it.
    let _ = rustix::process::setsid();
    let mut watched: HashMap<u64, (Option<OwnedFd>, Vec<PathBuf>)> = HashMap::new();
    while let Ok(Some((message, pidfd))) = receive(&socket) {
        match message {
            Message::Add { id, cgroups } => {
                watched.insert(id, (None, cgroups));
            }
            Message::Started { id } => {
                if let Some(container) = watched.get_mut(&id) {
                    container.0 = pidfd;
                }
            }
            Message::Remove { id } => {
                watched.remove(&id);
            }
        }
    }
    for (pidfd, _) in watched.values() {
        if let Some(pidfd) = pidfd {
            let _ = rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
        }
    }
    for (_, cgroups) in watched.into_values() {
        cgroup::remove_all(&cgroups);
    }
    0
}

/// The next message; nothing when the parent has gone.
fn receive(socket: &OwnedFd) -> io::Result<Option<(Message, Option<OwnedFd>)>> {
    let mut buffer = vec![0u8; MAX_MESSAGE];
    let mut space = nix::cmsg_space!([i32; 1]);
    let (length, fd) = loop {
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        match recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags) {
            Ok(message) => {
                let fd = message.cmsgs()?.find_map(|control| match control {
                    ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
                    _ => None,
                });
                break (message.bytes, fd);
            }
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    };
    let fd = fd.and_then(sys::inherited);
    if length == 0 {
        return Ok(None);
    }
    Ok(Some((serde_json::from_slice(&buffer[..length])?, fd)))
}
