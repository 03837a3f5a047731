//! The running program as nobody can write to it, for re-executing it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, fstat, memfd_create};

use crate::overlay;
use crate::sync::lock;

/// The program, opened once a process.
///
/// A process in the container can open `/proc/self/exe` of the init for a moment. What it finds
/// there is on an overlay that has nothing to write to, or a sealed copy in memory where that
/// cannot be made: never the host's program (CVE-2019-5736). The overlay costs no memory, which
/// counts where a process holds it as long as a container runs.
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
    let copy = on_overlay().map_or_else(copy, Ok)?;
    Ok(COPY.get_or_init(|| copy).as_fd())
}

/// The program's file, seen through an overlay of its folder without an upper directory; nothing
/// where that cannot be had, or shows another file.
fn on_overlay() -> Option<OwnedFd> {
    let exe = File::open("/proc/self/exe").ok()?;
    let path = std::fs::read_link("/proc/self/exe").ok()?;
    let (folder, name) = (path.parent()?, path.file_name()?);
    // Two lower directories are the least that an overlay takes, neither in the other. The first
    // is the one that is looked into.
    let mut others = ["/etc", "/run"].iter().map(Path::new);
    let other = others.find(|other| !folder.starts_with(other) && !other.starts_with(folder))?;
    let tree = overlay::mount_detached(&[folder, other], None).ok()?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = rustix::fs::openat(&tree, name, flags, Mode::empty()).ok()?;
    let (here, there) = (fstat(&exe).ok()?, fstat(&found).ok()?);
    // Somebody may have put a newer program into the place of this one.
    let same = here.st_ino == there.st_ino
        && here.st_size == there.st_size
        && here.st_mtime == there.st_mtime
        && here.st_mtime_nsec == there.st_mtime_nsec;
    same.then_some(found)
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
