//! What the init asks of the kernel, as a trait, and the values that it passes.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::limits::Ulimit;
use crate::mount::Propagation;
use crate::node::Node;
use crate::seccomp::Instruction;
use crate::window::WindowSize;

/// Attributes of one mount; they are never inherited from elsewhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Attrs {
    pub(crate) readonly: bool,
    pub(crate) nosuid: bool,
    pub(crate) nodev: bool,
    pub(crate) noexec: bool,
}

/// A file system to make and mount.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct FsType {
    pub(crate) name: String,
    pub(crate) options: Vec<(String, String)>,
}

/// What the init asks of the kernel. Paths are below the process's root directory, which
/// the init has already changed to the container's, unless said otherwise.
pub(crate) trait Syscall {
    fn setsid(&self) -> io::Result<()>;
    fn join_network(&self, netns: BorrowedFd<'_>) -> io::Result<()>;
    fn raise_loopback(&self) -> io::Result<()>;
    fn unshare_cgroup(&self) -> io::Result<()>;
    /// How likely this process is killed when memory runs out (proc_pid_oom_score_adj(5)).
    fn set_oom_score(&self, score: i32) -> io::Result<()>;
    /// Writes to a file that is there, by a path without links.
    fn write_setting(&self, path: &str, value: &str) -> io::Result<()>;
    fn set_hostname(&self, name: &str) -> io::Result<()>;
    fn set_domain(&self, name: &str) -> io::Result<()>;
    fn private_mounts(&self) -> io::Result<()>;
    /// Makes a detached mount this process's root and drops the old one.
    fn enter_root(&self, tree: BorrowedFd<'_>) -> io::Result<()>;
    /// Makes a file system and mounts it nowhere.
    fn make_mount(&self, fs: &FsType, attrs: Attrs) -> io::Result<OwnedFd>;
    /// A detached copy of the mount below `dir` at `name` (empty: `dir` itself).
    fn clone_tree(&self, dir: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd>;
    /// Sets attributes of a mount, and makes it private.
    fn set_attrs(&self, tree: BorrowedFd<'_>, attrs: Attrs, recursive: bool) -> io::Result<()>;
    /// The same, where it stays shared with what it was shared with.
    fn set_flags(&self, tree: BorrowedFd<'_>, attrs: Attrs, recursive: bool) -> io::Result<()>;
    /// Says who sees mounts that are made below it.
    fn set_propagation(
        &self,
        tree: BorrowedFd<'_>,
        how: Propagation,
        recursive: bool,
    ) -> io::Result<()>;
    /// Attaches a detached mount to what `open_path` returned.
    fn attach(&self, tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()>;
    /// Unmounts what is on top at `path`; open descriptors keep it alive.
    fn detach(&self, path: &str) -> io::Result<()>;
    /// Opens a path for mounting; no symbolic link is followed, a final one is opened itself.
    fn open_path(&self, path: &str) -> io::Result<OwnedFd>;
    /// Opens what lies below a directory, with links followed inside it.
    fn open_in(&self, dir: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd>;
    fn is_dir(&self, fd: BorrowedFd<'_>) -> io::Result<bool>;
    fn make_file(&self, dir: BorrowedFd<'_>, name: &str, content: &[u8]) -> io::Result<()>;
    /// Gives a file that was made an owner, a group and a mode.
    fn hand_over(
        &self,
        dir: BorrowedFd<'_>,
        name: &str,
        owner: (u32, u32),
        mode: u32,
    ) -> io::Result<()>;
    fn make_dir(&self, dir: BorrowedFd<'_>, name: &str) -> io::Result<()>;
    fn make_link(&self, dir: BorrowedFd<'_>, name: &str, target: &str) -> io::Result<()>;
    /// Makes a device node and checks that it is one.
    fn make_device(&self, dir: BorrowedFd<'_>, name: &str, node: &Node) -> io::Result<()>;
    fn set_umask(&self, mask: u32);
    fn reset_signals(&self) -> io::Result<()>;
    fn new_keyring(&self) -> io::Result<()>;
    fn set_ulimit(&self, limit: &Ulimit) -> io::Result<()>;
    /// Changes directory and returns what getcwd(2) says.
    fn change_dir(&self, path: &str) -> io::Result<String>;
    fn limit_bounding_set(&self, keep: u64) -> io::Result<()>;
    fn install_filter(&self, filter: &[Instruction]) -> io::Result<()>;
    /// From here on executing a file gives no privileges (prctl(2), `PR_SET_NO_NEW_PRIVS`).
    fn forbid_new_privileges(&self) -> io::Result<()>;
    /// Makes the pipes among the standard streams the user's.
    fn own_pipes(&self, uid: u32) -> io::Result<()>;
    fn set_identity(&self, uid: u32, gid: u32, groups: &[u32]) -> io::Result<()>;
    fn set_capabilities(&self, mask: u64) -> io::Result<()>;
    /// Makes a terminal of the devpts at /dev/pts: its master and the end for the process.
    fn open_terminal(&self, size: WindowSize) -> io::Result<(OwnedFd, OwnedFd)>;
    /// Makes a terminal the session's, and the standard streams.
    fn take_terminal(&self, slave: BorrowedFd<'_>) -> io::Result<()>;
    /// Hands a descriptor to whoever has the other end of the socket.
    fn send(&self, socket: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> io::Result<()>;
    /// Joins all namespaces of a process but its PID and user namespaces.
    fn join_namespaces(&self, pidfd: BorrowedFd<'_>) -> io::Result<()>;
    /// Keeps others from looking into this process (prctl(2), `PR_SET_DUMPABLE`).
    fn hide(&self) -> io::Result<()>;
    /// Makes what is missing of a path; links are followed, inside the root.
    fn make_dirs(&self, path: &str) -> io::Result<()>;
    fn die_with_parent(&self) -> io::Result<()>;
    /// Whether the file may be executed: `Ok` when it may.
    fn check_executable(&self, path: &str) -> io::Result<()>;
    /// Replaces the process; returns only on failure.
    fn exec(&self, path: &str, argv: &[String], env: &[String]) -> io::Error;
}
