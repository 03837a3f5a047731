//! The operations of a plan.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::hidden::Hidden;
use crate::limits::Ulimit;
use crate::mount::Propagation;
use crate::node::Node;
use crate::seccomp::Instruction;
use crate::sys::{Attrs, FsType};
use crate::window::WindowSize;

/// How [`Op::ChangeDir`] is called where it fails.
pub(crate) const CHANGE_DIR: &str = "change directory";

/// What the init does, in order, and then executes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) ops: Vec<Op>,
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<String>,
    /// The command is the child of this process, which passes signals on and reaps.
    pub(crate) reaper: bool,
}

/// One operation. Slots number the descriptors handed over; paths are free of symbolic links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Op {
    DieWithParent,
    NewSession,
    ResetSignals,
    NewKeyring,
    JoinNetwork {
        slot: usize,
    },
    RaiseLoopback,
    UnshareCgroup,
    /// Nobody may look into this process until it executes.
    Hide,
    /// Goes where a container is, all but its PID namespace, which the process is born in.
    JoinContainer {
        slot: usize,
    },
    /// Gives the session a terminal, whose master goes to the socket in `slot`.
    Terminal {
        slot: usize,
        size: WindowSize,
        /// It is /dev/console as well.
        console: bool,
    },
    MakeDirs {
        path: String,
    },
    OomScore {
        score: i32,
    },
    SetHostname {
        name: String,
    },
    SetDomain {
        name: String,
    },
    /// Sets what has this path below /proc/sys.
    Sysctl {
        path: String,
        value: String,
    },
    Umask {
        mask: u32,
    },
    PrivateMounts,
    EnterRoot {
        slot: usize,
    },
    Mount {
        fs: FsType,
        attrs: Attrs,
        target: String,
    },
    /// A memory file system that devices and files are bound from. Kernels before 6.15 clone
    /// only what is attached, so it is, until [`Op::DropScratch`].
    MakeScratch {
        target: String,
        /// In bytes; what it holds is the memory of the host.
        size: usize,
    },
    /// Takes the scratch file system's path away; what is bound from it stays.
    DropScratch {
        target: String,
    },
    Device {
        node: Node,
    },
    DevLink {
        name: String,
        target: String,
    },
    DevDir {
        name: String,
    },
    BindFile {
        name: String,
        text: String,
        target: String,
    },
    /// Puts a file into the scratch file system and keeps it at hand for [`Op::MountFile`], one
    /// after the other.
    StashFile {
        content: Hidden,
        uid: u32,
        gid: u32,
        mode: u32,
    },
    /// Shows the file that was stashed as the `index`-th.
    MountFile {
        index: usize,
        target: String,
    },
    /// Makes a symbolic link in a directory.
    Link {
        dir: String,
        name: String,
        target: String,
    },
    /// Makes what is missing of a path in the container's own /dev, or in what was mounted.
    MakePoint {
        path: String,
        dir: bool,
    },
    MountTree {
        slot: usize,
        /// What of it is shown; empty for all of it.
        below: String,
        attrs: Attrs,
        target: String,
        /// Only its topmost mount is read-only, where it is.
        writable_below: bool,
        propagation: Propagation,
        /// Of the mounts below it as well.
        propagates_below: bool,
    },
    ReadOnly {
        path: String,
    },
    Mask {
        path: String,
    },
    ReadOnlyRoot,
    Ulimit {
        limit: Ulimit,
    },
    ChangeDir {
        path: String,
    },
    BoundingSet {
        keep: u64,
    },
    /// Puts the default system call filter in place, as docker has it for these capabilities, or
    /// another one.
    Filter {
        program: Option<Vec<Instruction>>,
        capabilities: u64,
    },
    /// Executing a file gives no privileges any more, whatever its mode says.
    NoNewPrivileges,
    /// Standard output can then be opened again by name (`/dev/stdout`).
    OwnPipes {
        uid: u32,
    },
    Identity {
        uid: u32,
        gid: u32,
        groups: Vec<u32>,
    },
    Capabilities {
        mask: u64,
    },
}

impl fmt::Display for Op {
    /// What was being done, for error messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DieWithParent => f.write_str("tie to the parent process"),
            Self::NewSession => f.write_str("start a session"),
            Self::ResetSignals => f.write_str("reset signals"),
            Self::NewKeyring => f.write_str("make a session keyring"),
            Self::JoinNetwork { .. } => f.write_str("join the network namespace"),
            Self::RaiseLoopback => f.write_str("raise lo"),
            Self::Hide => f.write_str("hide from other processes"),
            Self::JoinContainer { .. } => f.write_str("join the container"),
            Self::Terminal { .. } => f.write_str("make a terminal"),
            Self::MakeDirs { path } => write!(f, "make the directory {path}"),
            Self::UnshareCgroup => f.write_str("make a cgroup namespace"),
            Self::OomScore { .. } => f.write_str("set the OOM score"),
            Self::SetHostname { name } => write!(f, "set host name {name:?}"),
            Self::SetDomain { name } => write!(f, "set domain name {name:?}"),
            Self::Sysctl { path, .. } => write!(f, "set {path}"),
            Self::Umask { mask } => write!(f, "set umask {mask:04o}"),
            Self::PrivateMounts => f.write_str("make mounts private"),
            Self::EnterRoot { .. } => f.write_str("enter the root file system"),
            Self::Mount { fs, target, .. } => write!(f, "mount {} on {target}", fs.name),
            Self::DropScratch { .. } => f.write_str("detach the private tmpfs"),
            Self::MakeScratch { .. } => f.write_str("make a private tmpfs"),
            Self::Device { node } => write!(f, "make {}", node.path),
            Self::DevLink { name, .. } => write!(f, "link /dev/{name}"),
            Self::Link { dir, name, .. } => write!(f, "link {dir}/{name}"),
            Self::DevDir { name } => write!(f, "make directory /dev/{name}"),
            Self::BindFile { target, .. } => write!(f, "provide {target}"),
            Self::StashFile { .. } => f.write_str("make a file in memory"),
            Self::MountFile { target, .. } => write!(f, "mount a file on {target}"),
            Self::MakePoint { path, .. } => write!(f, "make the mount point {path}"),
            Self::MountTree { target, .. } => write!(f, "bind on {target}"),
            Self::ReadOnly { path } => write!(f, "make {path} read-only"),
            Self::Mask { path } => write!(f, "mask {path}"),
            Self::ReadOnlyRoot => f.write_str("make the root file system read-only"),
            Self::Ulimit { limit } => write!(f, "set ulimit {:?}", limit.resource),
            Self::ChangeDir { path } => write!(f, "{CHANGE_DIR} to {path:?}"),
            Self::BoundingSet { .. } => f.write_str("limit the capability bounding set"),
            Self::Filter { .. } => f.write_str("install the system call filter"),
            Self::NoNewPrivileges => f.write_str("forbid new privileges"),
            Self::OwnPipes { .. } => f.write_str("hand standard output over"),
            Self::Identity { uid, gid, .. } => write!(f, "become user {uid}:{gid}"),
            Self::Capabilities { .. } => f.write_str("set capabilities"),
        }
    }
}
