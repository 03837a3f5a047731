//! Being asked to end.

use std::io;
use std::os::fd::OwnedFd;

use nix::sys::signal::{SigSet, Signal};

use crate::sys;

/// A descriptor that becomes readable when this process is asked to end (SIGTERM), which does not
/// end it any more. Call it before a thread is started.
///
/// # Errors
/// When descriptors run out.
pub fn terminations() -> io::Result<OwnedFd> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set.thread_block()?;
    sys::signal_descriptor(&set)
}
