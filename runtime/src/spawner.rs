//! The thread that starts all containers.
//!
//! The parent-death signal of a process is sent when the *thread* that started it ends. Threads
//! of a pool come and go; this one lives as long as the process.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};

use crate::sync::lock;
use crate::sys::{self, Child};
use crate::{init, self_exe};

struct Request {
    fds: Vec<OwnedFd>,
    namespaces: i32,
    answer: Sender<io::Result<Child>>,
}

/// Starts the init with `fds` as its descriptors 0, 1, 2, … in new `namespaces`.
pub(crate) fn start_init(fds: Vec<OwnedFd>, namespaces: i32) -> io::Result<Child> {
    static THREAD: OnceLock<Mutex<Sender<Request>>> = OnceLock::new();
    let requests = THREAD.get_or_init(|| {
        let (sender, receiver) = channel::<Request>();
        let serve = move || {
            for request in receiver {
                let fds: Vec<_> = request.fds.iter().map(AsFd::as_fd).collect();
                let started = self_exe::sealed()
                    .and_then(|exe| sys::clone_process(exe, init::ARG0, &fds, request.namespaces));
                let _ = request.answer.send(started);
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
        .send(Request {
            fds,
            namespaces,
            answer,
        })
        .map_err(|e| gone(e.to_string()))?;
    answered.recv().map_err(|e| gone(e.to_string()))?
}
