//! What a container has of its own, and what it shares with this machine or another container.

use serde::{Deserialize, Serialize};

use crate::inhabitant::Inhabitant;

/// Which namespaces a container shares; without this it has each of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// Its processes.
    pub pid: PidSpace,
    /// Its shared memory, semaphores and message queues.
    pub ipc: IpcSpace,
    /// This machine's name.
    pub uts: bool,
    /// It sees where in this machine's control groups it is.
    pub cgroup: bool,
}

/// Which processes a container sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PidSpace {
    /// Its own.
    #[default]
    Own,
    /// All of this machine.
    Host,
    /// Those of another container too.
    Of(Inhabitant),
}

/// Whose shared memory, semaphores and message queues a container has; what is at /dev/shm is
/// [`crate::shared_memory`]'s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpcSpace {
    /// Its own.
    #[default]
    Own,
    /// This machine's.
    Host,
    /// Another container's.
    Of(Inhabitant),
}

/// How a container sees its control groups at /sys/fs/cgroup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CgroupView {
    /// Not at all.
    #[default]
    Hidden,
    /// As docker shows them.
    ReadOnly,
    /// It may make groups in those that systemd uses.
    Systemd,
    /// It may write to all.
    Writable,
}
