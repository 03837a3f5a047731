//! A sealed copy of the running program, for re-executing it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, OnceLock};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use crate::sync::lock;

/// The copy, made once a process.
///
/// A process in the container can open `/proc/self/exe` of the init for a moment. What it finds
/// there is this copy, which nobody can write to: not the host's program (CVE-2019-5736).
pub(crate) fn sealed() -> io::Result<BorrowedFd<'static>> {
    static COPY: OnceLock<OwnedFd> = OnceLock::new();
    static MAKING: Mutex<()> = Mutex::new(());
    if let Some(copy) = COPY.get() {
        return Ok(copy.as_fd());
    }
    let _making = lock(&MAKING);
    if let Some(copy) = COPY.get() {
        return Ok(copy.as_fd());
    }
    let copy = copy()?;
    Ok(COPY.get_or_init(|| copy).as_fd())
}

fn copy() -> io::Result<OwnedFd> {
    let exe = File::open("/proc/self/exe")?;
    let mut left = exe.metadata()?.len();
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Hosts may forbid executing memory files that are not made for it (vm.memfd_noexec).
    let fd = match memfd_create("container-init", flags | MemfdFlags::EXEC) {
        Err(rustix::io::Errno::INVAL) => memfd_create("container-init", flags)?,
        other => other?,
    };
    while left > 0 {
        let chunk = usize::try_from(left).unwrap_or(usize::MAX);
        let sent = rustix::fs::sendfile(&fd, &exe, None, chunk)?;
        if sent == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left -= sent as u64;
    }
    fcntl_add_seals(
        &fd,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    Ok(fd)
}
