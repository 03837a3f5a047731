//! System calls that neither nix nor rustix wraps.

use std::ffi::c_long;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

use super::syscall::Attrs;
use crate::mount::Propagation;
use crate::seccomp::Instruction;

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

const MOUNT_ATTR_RDONLY: u64 = 0x1;
const MOUNT_ATTR_NOSUID: u64 = 0x2;
const MOUNT_ATTR_NODEV: u64 = 0x4;
const MOUNT_ATTR_NOEXEC: u64 = 0x8;
const AT_RECURSIVE: i32 = 0x8000;

fn checked(result: c_long) -> io::Result<c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// mount_setattr(2): adds attributes to a mount, and to those below it when `recursive`; they
/// become private.
pub(crate) fn mount_setattr(tree: BorrowedFd<'_>, attrs: Attrs, recursive: bool) -> io::Result<()> {
    let attr = MountAttr {
        attr_set: bits(attrs),
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    set_mount_attr(tree, &attr, recursive)
}

/// The same, where propagation stays as it is.
pub(crate) fn mount_flags(tree: BorrowedFd<'_>, attrs: Attrs, recursive: bool) -> io::Result<()> {
    let attr = MountAttr {
        attr_set: bits(attrs),
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    set_mount_attr(tree, &attr, recursive)
}

/// Says who sees mounts that are made below a mount, and with `recursive` below those in it. One
/// that is cloned of a shared mount is shared already.
pub(crate) fn mount_propagation(
    tree: BorrowedFd<'_>,
    how: Propagation,
    recursive: bool,
) -> io::Result<()> {
    let attr = MountAttr {
        attr_set: 0,
        attr_clr: 0,
        propagation: match how {
            Propagation::Private => libc::MS_PRIVATE,
            Propagation::Slave => libc::MS_SLAVE,
            Propagation::Shared => libc::MS_SHARED,
        },
        userns_fd: 0,
    };
    set_mount_attr(tree, &attr, recursive)
}

fn bits(attrs: Attrs) -> u64 {
    let mut set = 0;
    for (on, bit) in [
        (attrs.readonly, MOUNT_ATTR_RDONLY),
        (attrs.nosuid, MOUNT_ATTR_NOSUID),
        (attrs.nodev, MOUNT_ATTR_NODEV),
        (attrs.noexec, MOUNT_ATTR_NOEXEC),
    ] {
        if on {
            set |= bit;
        }
    }
    set
}

/// Lets device nodes work that are in a mount.
pub(crate) fn allow_devices(tree: BorrowedFd<'_>) -> io::Result<()> {
    let attr = MountAttr {
        attr_set: 0,
        attr_clr: MOUNT_ATTR_NODEV,
        propagation: 0,
        userns_fd: 0,
    };
    set_mount_attr(tree, &attr, false)
}

fn set_mount_attr(tree: BorrowedFd<'_>, attr: &MountAttr, recursive: bool) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a NUL-terminated constant, the attribute structure lives across the
    // call and its size is passed with it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    checked(result).map(drop)
}

/// sync_file_range(2): writes what is dirty of so much of a file, and waits until it is on the way
/// to the disk and back. It says nothing of the file's own data, such as its size.
pub(crate) fn sync_file_range(file: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
    const ALL: u32 = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    let (Ok(offset), Ok(len)) = (offset.try_into(), len.try_into()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // SAFETY: it takes no pointer.
    let result = unsafe { libc::sync_file_range(file.as_raw_fd(), offset, len, ALL) };
    checked(result.into()).map(drop)
}

/// Installs a seccomp filter without `no_new_privs`, which needs CAP_SYS_ADMIN.
pub(super) fn install_filter(filter: &[Instruction]) -> io::Result<()> {
    #[repr(C)]
    struct Program {
        len: u16,
        filter: *const Instruction,
    }
    let len = u16::try_from(filter.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "filter too long"))?;
    let program = Program {
        len,
        filter: filter.as_ptr(),
    };
    // SAFETY: `Instruction` has the layout of `struct sock_filter`, `Program` that of
    // `struct sock_fprog`; both live across the call and the kernel copies them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    };
    checked(result).map(drop)
}

/// pidfd_send_signal(2) by the signal's number, real-time ones too; 0 only looks.
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    // SAFETY: numbers only; no signal information is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            number,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    checked(result).map(drop)
}

/// Gives the process a session keyring of its own, so that the host's keys stay out of reach.
pub(super) fn new_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: i32 = 1;
    // SAFETY: a null name asks for an anonymous keyring; no memory is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        )
    };
    checked(result).map(drop)
}

/// Sets `lo` up in the network namespace of the calling thread.
pub(crate) fn raise_loopback() -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: all-zero bytes are a valid `ifreq`: arrays of integers and a union of such.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(*b"lo") {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads the `ifreq` that lives across the call.
    let result = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as libc::Ioctl,
            &raw const request,
        )
    };
    checked(c_long::from(result)).map(drop)
}

/// setrlimit(2) by resource number.
pub(super) fn set_rlimit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the new limits live across the call, the old ones are not asked for.
    let result = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            &raw const limit,
            std::ptr::null_mut::<libc::rlimit64>(),
        )
    };
    checked(result).map(drop)
}

/// Gives every signal its default action and unblocks all.
pub(super) fn reset_signals() -> io::Result<()> {
    /// `struct sigaction` of the kernel, all zero: SIG_DFL without flags.
    const DEFAULT: [u64; 4] = [0; 4];
    for number in 1..=64 {
        if matches!(number, libc::SIGKILL | libc::SIGSTOP) {
            continue;
        }
        // Not through the C library, which keeps signals 32 and 33 to itself.
        // SAFETY: the new action is at least as long as the kernel reads (32 bytes), the old one
        // is not asked for; the set size of 8 bytes is the only one the kernel takes.
        let result = unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                number,
                DEFAULT.as_ptr(),
                std::ptr::null_mut::<u64>(),
                8usize,
            )
        };
        checked(result)?;
    }
    nix::sys::signal::SigSet::empty().thread_set_mask()?;
    Ok(())
}
