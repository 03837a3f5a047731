//! The thread that starts all containers.
//!
//! The parent-death signal of a process is sent when the *thread* that started it ends. Threads
//! of a pool come and go; this one lives as long as the process.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};

use rustix::fs::{Mode, OFlags};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use crate::sync::lock;
use crate::sys::{self, Child};
use crate::{init, self_exe};

/// An init to be started.
#[derive(Debug)]
pub(crate) struct Start {
    /// Its descriptors 0, 1, 2, …
    pub(crate) fds: Vec<OwnedFd>,
    /// Namespaces that are made for it, `CLONE_NEW*`.
    pub(crate) namespaces: i32,
    /// A process whose PID namespace it is born in, in place of this one's.
    pub(crate) beside: Option<OwnedFd>,
    /// A process whose IPC namespace it shares, in place of this one's.
    pub(crate) ipc: Option<OwnedFd>,
    /// What it is shown with where processes are listed.
    pub(crate) words: Vec<CString>,
}

struct Request {
    start: Start,
    answer: Sender<io::Result<Child>>,
}

/// Starts the init.
pub(crate) fn start_init(start: Start) -> io::Result<Child> {
    static THREAD: OnceLock<Mutex<Sender<Request>>> = OnceLock::new();
    let requests = THREAD.get_or_init(|| {
        let (sender, receiver) = channel::<Request>();
        let serve = move || {
            for request in receiver {
                let _ = request.answer.send(serve_one(&request.start));
            }
        };
        // When the thread cannot be made the receiver is dropped and every request fails.
        let _ = std::thread::Builder::new()
            .name("container-spawn".to_owned())
            .spawn(serve);
        Mutex::new(sender)
    });
    let gone = |_| io::Error::other("the thread that starts containers is gone");
    let (answer, answered) = channel();
    let sender = lock(requests).clone();
    sender
        .send(Request { start, answer })
        .map_err(|e| gone(e.to_string()))?;
    answered.recv().map_err(|e| gone(e.to_string()))?
}

fn serve_one(start: &Start) -> io::Result<Child> {
    let fds: Vec<_> = start.fds.iter().map(AsFd::as_fd).collect();
    let words = start.words.iter().map(CString::as_c_str);
    let argv: Vec<_> = std::iter::once(init::ARG0).chain(words).collect();
    let exe = self_exe::sealed()?;
    let pid = (&start.beside, "pid", ThreadNameSpaceType::PROCESS_ID);
    let ipc = ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION;
    let mut own = Vec::new();
    let mut joined = Ok(());
    for (other, name, kind) in [pid, (&start.ipc, "ipc", ipc)] {
        let Some(other) = other else {
            continue;
        };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let path = format!("/proc/thread-self/ns/{name}");
        own.push((rustix::fs::open(path, flags, Mode::empty())?, kind));
        // Of PIDs only where this thread's children are born changes. Both change back again.
        joined = joined.and_then(|()| move_into_thread_name_spaces(other.as_fd(), kind));
    }
    let child = match joined {
        Ok(()) => sys::clone_process(exe, &argv, &fds, start.namespaces),
        Err(errno) => Err(errno.into()),
    };
    for (own, kind) in own {
        move_into_thread_name_spaces(own.as_fd(), kind)?;
    }
    child
}
