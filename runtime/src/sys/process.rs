//! Starting a process in new namespaces from a multithreaded one.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

/// A started process.
#[derive(Debug)]
pub(crate) struct Child {
    /// Its number in this process's PID namespace.
    pub(crate) pid: i32,
    /// The handle that cannot be recycled.
    pub(crate) pidfd: OwnedFd,
}

struct Start<'a> {
    exe: RawFd,
    argv: *const *const c_char,
    envp: [*const c_char; 1],
    fds: &'a [RawFd],
    errno: c_int,
}

/// Executes `exe` in a child with `fds` as its descriptors 0, 1, 2, … and no others, an empty
/// environment and the arguments `argv`. `namespaces` are `CLONE_NEW*` flags.
///
/// The child borrows this process's memory until it executes (as vfork(2) does), so the cost does
/// not grow with the size of this process and no lock can be copied in a locked state.
pub(crate) fn clone_process(
    exe: BorrowedFd<'_>,
    argv: &[&CStr],
    fds: &[BorrowedFd<'_>],
    namespaces: c_int,
) -> io::Result<Child> {
    // First moved behind their places, so that putting them at 0, 1, 2, … cannot overwrite one
    // that is still to be moved. No further: the limit on descriptors may be low.
    let parked = RawFd::try_from(fds.len()).unwrap_or(RawFd::MAX);
    let owned: Vec<OwnedFd> = fds
        .iter()
        .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, parked))
        .collect::<Result<_, _>>()?;
    let exe = rustix::io::fcntl_dupfd_cloexec(exe, parked)?;
    let parked: Vec<RawFd> = owned.iter().map(AsRawFd::as_raw_fd).collect();
    let argv: Vec<*const c_char> = argv
        .iter()
        .map(|word| word.as_ptr())
        .chain([std::ptr::null()])
        .collect();
    let mut start = Start {
        exe: exe.as_raw_fd(),
        argv: argv.as_ptr(),
        envp: [std::ptr::null()],
        fds: &parked,
        errno: 0,
    };
    let mut stack = vec![0u8; 64 << 10];
    let mut pidfd: c_int = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD | namespaces;

    // A handler of this process must not run in the child while they share memory.
    let mut before = SigSet::empty();
    pthread_sigmask(
        SigmaskHow::SIG_SETMASK,
        Some(&SigSet::all()),
        Some(&mut before),
    )?;
    // SAFETY: the stack is this call's own and large enough for `enter`, the end of it is aligned
    // down to 16 bytes; `start` and `stack` outlive the child's use of them because CLONE_VFORK
    // suspends this thread until the child has executed or ended; `pidfd` is where CLONE_PIDFD
    // stores the descriptor.
    let pid = unsafe {
        let top = stack.as_mut_ptr().add(stack.len());
        let top = top.sub(top as usize % 16);
        libc::clone(
            enter,
            top.cast::<c_void>(),
            flags,
            (&raw mut start).cast::<c_void>(),
            &raw mut pidfd,
        )
    };
    let error = io::Error::last_os_error();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    if pid < 0 {
        return Err(error);
    }
    // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    // SAFETY: `start` is written through the pointer the child had, which the compiler does not
    // see; the child is done with it.
    let errno = unsafe { (&raw const start.errno).read_volatile() };
    if errno != 0 {
        let _ = wait_child(pidfd.as_fd());
        return Err(io::Error::from_raw_os_error(errno));
    }
    Ok(Child { pid, pidfd })
}

/// The child between clone and exec: system calls only, no allocation, no lock.
extern "C" fn enter(start: *mut c_void) -> c_int {
    let start = start.cast::<Start<'_>>();
    // SAFETY: `start` is the parent's structure, which is suspended until we execute or exit;
    // dup2, close_range, execveat and _exit are async-signal-safe, and the arrays they read are
    // NUL-terminated or of the length given.
    unsafe {
        let fds: &[RawFd] = (*start).fds;
        for (to, from) in fds.iter().enumerate() {
            if libc::dup2(*from, to as c_int) < 0 {
                (*start).errno = *libc::__errno_location();
                libc::_exit(127);
            }
        }
        libc::syscall(
            libc::SYS_close_range,
            fds.len(),
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
        libc::syscall(
            libc::SYS_execveat,
            (*start).exe,
            c"".as_ptr(),
            (*start).argv,
            (*start).envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
        (*start).errno = *libc::__errno_location();
        libc::_exit(127)
    }
}

/// Closes every descriptor from `first` on at the next exec.
pub(crate) fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: close_range takes numbers only, and CLOEXEC closes nothing now.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Closes every descriptor from 3 on, which whoever started this process has left open. To be
/// called before anything opens one.
pub(crate) fn close_inherited() {
    // SAFETY: nothing of this process owns one of these descriptors yet, as the caller promises.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32);
    }
}

/// A descriptor that becomes readable when one of some blocked signals has come (signalfd(2)).
pub(crate) fn signal_descriptor(set: &SigSet) -> io::Result<OwnedFd> {
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the set is a valid one, which the kernel reads; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, set.as_ref(), flags) };
    match fd {
        0.. => {
            // SAFETY: the kernel has just made it for us; nobody else knows it.
            Ok(unsafe { OwnedFd::from_raw_fd(fd) })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Waits for a child and reaps it: `Ok((code, signal))`, one of them set.
pub(crate) fn wait_child(pidfd: BorrowedFd<'_>) -> io::Result<(Option<i32>, Option<i32>)> {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    loop {
        match waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED) {
            Ok(Some(status)) => return Ok((status.exit_status(), status.terminating_signal())),
            Ok(None) => {}
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Takes over a descriptor this process was started with, when there is one of that number.
/// To be called once for each number, before anything else opens descriptors.
pub(crate) fn inherited(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: F_GETFD only looks whether the number is in use.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return None;
    }
    // SAFETY: the descriptor is open, and the init protocol makes this process its only owner.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}
