//! Shared memory of another container.

use std::os::fd::{AsFd as _, OwnedFd};

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::mount::OpenTreeFlags;
use rustix::thread::ThreadNameSpaceType;

use crate::error::{Error, Result};
use crate::inhabitant::Inhabitant;

/// What another container has at /dev/shm, as a mount that is nowhere yet.
///
/// # Errors
/// [`Error::Setup`] when it has ended, or has put a link there.
pub fn shared_memory(inhabitant: Inhabitant) -> Result<OwnedFd> {
    let clone = || {
        let failed = |errno| Error::setup("open another container's /dev/shm", errno);
        let pidfd = inhabitant.handle()?;
        unshare(CloneFlags::CLONE_FS)
            .map_err(|errno| Error::setup("leave the other threads", errno))?;
        rustix::thread::move_into_thread_name_spaces(pidfd.as_fd(), ThreadNameSpaceType::MOUNT)
            .map_err(|errno| Error::setup("join another container's mounts", errno))?;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let root = rustix::fs::open("/", flags | OFlags::DIRECTORY, Mode::empty());
        let place = rustix::fs::openat2(
            root.map_err(failed)?,
            "dev/shm",
            flags,
            Mode::empty(),
            ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH,
        )
        .map_err(failed)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH;
        rustix::mount::open_tree(&place, "", flags).map_err(failed)
    };
    // A thread of its own: it is the one that changes namespaces, and ends right after.
    std::thread::scope(|scope| scope.spawn(clone).join())
        .unwrap_or_else(|_| Err(crate::inhabitant::gone()))
}
