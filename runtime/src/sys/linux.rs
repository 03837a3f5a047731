//! The real system calls.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};
use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets, LinkNameSpaceType};

use super::raw;
use super::syscall::{Attrs, FsType, Syscall};
use crate::limits::{Resource, Ulimit};
use crate::mount::Propagation;
use crate::node::Node;
use crate::seccomp::Instruction;
use crate::window::WindowSize;

/// Type of devpts, statfs(2).
const DEVPTS: u32 = 0x1cd1;

/// How often a path is tried again at once, and then after a millisecond each, when something was
/// moved or mounted meanwhile.
const AT_ONCE: u32 = 64;
const MOST_TRIES: u32 = 5000;

/// Asks the running kernel.
pub(crate) struct Linux;

/// Opens what lies below a directory, with links followed inside it.
pub(crate) fn open_in(dir: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let path = path.trim_start_matches('/');
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve) {
            // So that `..` could not be followed for sure.
            Err(Errno::AGAIN) if tries < MOST_TRIES => {
                tries += 1;
                if tries > AT_ONCE {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
            }
            opened => return Ok(opened?),
        }
    }
}

/// Makes a file system and a detached mount of it.
pub(crate) fn new_mount(fs: &FsType, attrs: Attrs) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(fs.name.as_str(), FsOpenFlags::FSOPEN_CLOEXEC)?;
    // What mount(8) shows as the device.
    if !fs.options.iter().any(|(key, _)| key == "source") {
        rustix::mount::fsconfig_set_string(context.as_fd(), "source", fs.name.as_str())?;
    }
    for (key, value) in &fs.options {
        match value.as_str() {
            "" => rustix::mount::fsconfig_set_flag(context.as_fd(), key.as_str())?,
            value => rustix::mount::fsconfig_set_string(context.as_fd(), key.as_str(), value)?,
        }
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    let mut flags = MountAttrFlags::empty();
    flags.set(MountAttrFlags::MOUNT_ATTR_RDONLY, attrs.readonly);
    flags.set(MountAttrFlags::MOUNT_ATTR_NOSUID, attrs.nosuid);
    flags.set(MountAttrFlags::MOUNT_ATTR_NODEV, attrs.nodev);
    flags.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, attrs.noexec);
    Ok(rustix::mount::fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        flags,
    )?)
}

impl Syscall for Linux {
    fn setsid(&self) -> io::Result<()> {
        rustix::process::setsid()?;
        Ok(())
    }

    fn join_network(&self, netns: BorrowedFd<'_>) -> io::Result<()> {
        Ok(rustix::thread::move_into_link_name_space(
            netns,
            Some(LinkNameSpaceType::Network),
        )?)
    }

    fn raise_loopback(&self) -> io::Result<()> {
        raw::raise_loopback()
    }

    fn unshare_cgroup(&self) -> io::Result<()> {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWCGROUP)?;
        Ok(())
    }

    fn set_oom_score(&self, score: i32) -> io::Result<()> {
        std::fs::write("/proc/self/oom_score_adj", score.to_string())
    }

    fn write_setting(&self, path: &str, value: &str) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        let file = rustix::fs::openat2(CWD, path, flags, Mode::empty(), resolve)?;
        // One write: the kernel takes each for a value of its own.
        match rustix::io::write(&file, value.as_bytes())? {
            written if written == value.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    fn set_domain(&self, name: &str) -> io::Result<()> {
        Ok(rustix::system::setdomainname(name.as_bytes())?)
    }

    fn set_hostname(&self, name: &str) -> io::Result<()> {
        Ok(rustix::system::sethostname(name.as_bytes())?)
    }

    fn private_mounts(&self) -> io::Result<()> {
        let flags = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
        Ok(rustix::mount::mount_change("/", flags)?)
    }

    fn enter_root(&self, tree: BorrowedFd<'_>) -> io::Result<()> {
        rustix::mount::move_mount(tree, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        rustix::process::fchdir(tree)?;
        rustix::process::pivot_root(".", ".")?;
        rustix::mount::unmount(".", UnmountFlags::DETACH)?;
        Ok(rustix::process::chdir("/")?)
    }

    fn make_mount(&self, fs: &FsType, attrs: Attrs) -> io::Result<OwnedFd> {
        new_mount(fs, attrs)
    }

    fn clone_tree(&self, dir: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
        Ok(rustix::mount::open_tree(dir, name, flags)?)
    }

    fn set_attrs(&self, tree: BorrowedFd<'_>, attrs: Attrs, recursive: bool) -> io::Result<()> {
        raw::mount_setattr(tree, attrs, recursive)
    }

    fn set_flags(&self, tree: BorrowedFd<'_>, attrs: Attrs, recursive: bool) -> io::Result<()> {
        raw::mount_flags(tree, attrs, recursive)
    }

    fn set_propagation(
        &self,
        tree: BorrowedFd<'_>,
        how: Propagation,
        recursive: bool,
    ) -> io::Result<()> {
        raw::mount_propagation(tree, how, recursive)
    }

    fn attach(&self, tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
        let flags =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        Ok(rustix::mount::move_mount(tree, "", target, "", flags)?)
    }

    fn detach(&self, path: &str) -> io::Result<()> {
        Ok(rustix::mount::unmount(
            path,
            UnmountFlags::DETACH | UnmountFlags::NOFOLLOW,
        )?)
    }

    fn open_path(&self, path: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        Ok(rustix::fs::openat2(
            CWD,
            path,
            flags,
            Mode::empty(),
            resolve,
        )?)
    }

    fn is_dir(&self, fd: BorrowedFd<'_>) -> io::Result<bool> {
        let stat = rustix::fs::fstat(fd)?;
        Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }

    fn open_in(&self, dir: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
        open_in(dir, path)
    }

    fn hand_over(
        &self,
        dir: BorrowedFd<'_>,
        name: &str,
        (uid, gid): (u32, u32),
        mode: u32,
    ) -> io::Result<()> {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        let mode = Mode::from_raw_mode(mode);
        Ok(rustix::fs::chmodat(dir, name, mode, AtFlags::empty())?)
    }

    fn make_file(&self, dir: BorrowedFd<'_>, name: &str, content: &[u8]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o644))?;
        io::Write::write_all(&mut std::fs::File::from(file), content)
    }

    fn make_dir(&self, dir: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755))?)
    }

    fn make_link(&self, dir: BorrowedFd<'_>, name: &str, target: &str) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, dir, name)?)
    }

    fn make_device(&self, dir: BorrowedFd<'_>, name: &str, node: &Node) -> io::Result<()> {
        let number = rustix::fs::makedev(node.major, node.minor);
        let kind = match node.block {
            true => FileType::BlockDevice,
            false => FileType::CharacterDevice,
        };
        rustix::fs::mknodat(dir, name, kind, Mode::from_raw_mode(node.mode), number)?;
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != kind || stat.st_rdev != number {
            return Err(Errno::NODEV.into());
        }
        self.hand_over(dir, name, (node.uid, node.gid), node.mode)
    }

    fn set_umask(&self, mask: u32) {
        rustix::process::umask(Mode::from_raw_mode(mask));
    }

    fn reset_signals(&self) -> io::Result<()> {
        raw::reset_signals()
    }

    fn new_keyring(&self) -> io::Result<()> {
        raw::new_keyring()
    }

    fn set_ulimit(&self, limit: &Ulimit) -> io::Result<()> {
        raw::set_rlimit(number_of(limit.resource), limit.soft, limit.hard)
    }

    fn change_dir(&self, path: &str) -> io::Result<String> {
        rustix::process::chdir(path)?;
        let cwd = rustix::process::getcwd(Vec::new())?;
        Ok(cwd.to_string_lossy().into_owned())
    }

    fn limit_bounding_set(&self, keep: u64) -> io::Result<()> {
        for number in 0..64u64 {
            let set = CapabilitySet::from_bits_retain(1 << number);
            match rustix::thread::capability_is_in_bounding_set(set) {
                Ok(true) if keep & (1 << number) == 0 => {
                    rustix::thread::remove_capability_from_bounding_set(set)?;
                }
                Ok(_) => {}
                // Beyond the last capability this kernel knows.
                Err(Errno::INVAL) => break,
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn install_filter(&self, filter: &[Instruction]) -> io::Result<()> {
        raw::install_filter(filter)
    }

    fn forbid_new_privileges(&self) -> io::Result<()> {
        Ok(rustix::thread::set_no_new_privs(true)?)
    }

    fn own_pipes(&self, uid: u32) -> io::Result<()> {
        use rustix::stdio::{stderr, stdin, stdout};
        for stream in [stdin(), stdout(), stderr()] {
            let stat = rustix::fs::fstat(stream)?;
            let terminal = (136..144).contains(&rustix::fs::major(stat.st_rdev));
            let owned = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Fifo => true,
                FileType::CharacterDevice => terminal,
                _ => false,
            };
            if owned {
                rustix::fs::fchown(stream, Some(Uid::from_raw(uid)), None)?;
            }
        }
        Ok(())
    }

    fn set_identity(&self, uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
        let groups: Vec<Gid> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        rustix::thread::set_thread_groups(&groups)?;
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        Ok(rustix::thread::set_thread_res_uid(uid, uid, uid)?)
    }

    fn set_capabilities(&self, mask: u64) -> io::Result<()> {
        let held = CapabilitySet::from_bits_retain(mask);
        let inheritable = CapabilitySet::empty();
        let sets = CapabilitySets {
            effective: held,
            permitted: held,
            inheritable,
        };
        rustix::thread::set_capabilities(None, sets)?;
        match rustix::thread::clear_ambient_capability_set() {
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn open_terminal(&self, size: WindowSize) -> io::Result<(OwnedFd, OwnedFd)> {
        use rustix::pty::OpenptFlags;
        // In a container that is joined, anything may be there.
        let dir = self.open_path("/dev/pts")?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let master = rustix::fs::openat(&dir, "ptmx", flags, Mode::empty())?;
        let is_devpts = rustix::fs::fstatfs(&master)?.f_type == rustix::fs::FsWord::from(DEVPTS);
        let number = rustix::fs::fstat(&master)?.st_rdev;
        if !is_devpts || number != rustix::fs::makedev(5, 2) {
            return Err(Errno::NOTTY.into());
        }
        rustix::pty::unlockpt(&master)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
        let size = rustix::termios::Winsize {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&master, size)?;
        Ok((master, slave))
    }

    fn take_terminal(&self, slave: BorrowedFd<'_>) -> io::Result<()> {
        rustix::process::ioctl_tiocsctty(slave)?;
        rustix::stdio::dup2_stdin(slave)?;
        rustix::stdio::dup2_stdout(slave)?;
        Ok(rustix::stdio::dup2_stderr(slave)?)
    }

    fn send(&self, socket: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> io::Result<()> {
        use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        let fds = [fd];
        rights.push(SendAncillaryMessage::ScmRights(&fds));
        let bytes = [io::IoSlice::new(b"t")];
        sendmsg(socket, &bytes, &mut rights, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    fn join_namespaces(&self, pidfd: BorrowedFd<'_>) -> io::Result<()> {
        use rustix::thread::ThreadNameSpaceType as Kind;
        let kinds = Kind::MOUNT | Kind::NETWORK | Kind::INTER_PROCESS_COMMUNICATION;
        let kinds = kinds | Kind::HOST_NAME_AND_NIS_DOMAIN_NAME | Kind::CONTROL_GROUP;
        Ok(rustix::thread::move_into_thread_name_spaces(pidfd, kinds)?)
    }

    fn hide(&self) -> io::Result<()> {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
    }

    fn make_dirs(&self, path: &str) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn die_with_parent(&self) -> io::Result<()> {
        use rustix::process::{Signal, set_parent_process_death_signal};
        Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
    }

    fn check_executable(&self, path: &str) -> io::Result<()> {
        let stat = rustix::fs::stat(path)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        rustix::fs::accessat(CWD, path, rustix::fs::Access::EXEC_OK, AtFlags::EACCESS)?;
        Ok(())
    }

    fn exec(&self, path: &str, argv: &[String], env: &[String]) -> io::Error {
        let c_strings = |strings: &[String]| {
            strings
                .iter()
                .map(|s| CString::new(s.as_str()))
                .collect::<Result<Vec<_>, _>>()
        };
        let path = CString::new(std::ffi::OsStr::new(path).as_bytes());
        match (path, c_strings(argv), c_strings(env)) {
            (Ok(path), Ok(argv), Ok(env)) => match nix::unistd::execve(&path, &argv, &env) {
                Ok(never) => match never {},
                Err(errno) => errno.into(),
            },
            _ => Errno::INVAL.into(),
        }
    }
}

/// The number setrlimit(2) knows a resource by (the same on x86_64 and aarch64).
fn number_of(resource: Resource) -> u32 {
    match resource {
        Resource::Cpu => 0,
        Resource::Fsize => 1,
        Resource::Data => 2,
        Resource::Stack => 3,
        Resource::Core => 4,
        Resource::Rss => 5,
        Resource::Nproc => 6,
        Resource::Nofile => 7,
        Resource::Memlock => 8,
        Resource::Locks => 10,
        Resource::Sigpending => 11,
        Resource::Msgqueue => 12,
        Resource::Nice => 13,
        Resource::Rtprio => 14,
        Resource::Rttime => 15,
    }
}
