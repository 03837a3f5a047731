//! Opening paths inside a root, whatever processes make of them meanwhile.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

/// How often a path is tried again at once, and then after a millisecond each, when something was
/// moved or mounted meanwhile.
const AT_ONCE: u32 = 64;
const TRIES: u32 = 5000;

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
            // Somewhere on this machine something was moved or mounted, so that the kernel cannot
            // say for sure where `..` leads.
            Err(Errno::AGAIN) if tries < TRIES => {
                tries += 1;
                if tries > AT_ONCE {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            opened => return opened,
        }
    }
}
