//! Opening paths inside a root, whatever processes make of them meanwhile.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

/// How often a path is tried again on which something was moved.
const TRIES: usize = 1000;

/// Opens a path in a root, links followed inside it (openat2(2), `RESOLVE_IN_ROOT`).
pub(super) fn open(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let path = match path.trim_start_matches('/') {
        "" => ".",
        path => path,
    };
    let flags = flags | OFlags::CLOEXEC;
    let mut tries = 0;
    loop {
        match openat2(root, path, flags, Mode::empty(), inside) {
            // Somewhere on this machine something was moved, so that the kernel cannot say for sure
            // where `..` leads.
            Err(Errno::AGAIN) if tries < TRIES => tries += 1,
            opened => return opened,
        }
    }
}
