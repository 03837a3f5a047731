//! What can go wrong in this crate.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::plan::CHANGE_DIR;
use crate::users::UserError;

/// Result of the crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a container, an overlay or a network could not be made. Each message tells its cause
/// itself; `source` is never set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The command does not exist in the container: exit code 127.
    #[error("{message}")]
    CommandNotFound {
        /// In Docker's words: `exec: "foo": executable file not found in $PATH`.
        message: String,
    },
    /// The command exists but cannot be executed: exit code 126.
    #[error("{message}")]
    CommandNotExecutable {
        /// In Docker's words: `exec: "./foo": permission denied`.
        message: String,
    },
    /// Something needs a privilege this process does not have.
    #[error("{what} needs root with CAP_SYS_ADMIN: run with sudo, or in a privileged container")]
    NotPermitted {
        /// What was being done.
        what: String,
    },
    /// The working directory is not inside the root file system.
    #[error("working directory {cwd:?} is outside of the container's root file system")]
    CwdOutsideRoot {
        /// The working directory as given.
        cwd: String,
    },
    /// The USER could not be resolved.
    #[error(transparent)]
    User(#[from] UserError),
    /// The specification cannot be run.
    #[error("invalid container specification: {0}")]
    InvalidSpec(String),
    /// A mount point in the image cannot be used.
    #[error("cannot mount on {target} in the container: {reason}")]
    MountPoint {
        /// Path in the container.
        target: String,
        /// What is the matter with it.
        reason: String,
    },
    /// A step of setting the container up failed.
    #[error("container set-up: {step}: {cause}")]
    Setup {
        /// The step, for people.
        step: String,
        /// The system's answer.
        cause: io::Error,
    },
    /// The init process ended without saying why.
    #[error("container init ended unexpectedly ({0})")]
    InitDied(String),
    /// Mounting an overlay failed.
    #[error("overlay mount of {layers} lower directories: {step}: {cause}")]
    Overlay {
        /// How many lower directories there are.
        layers: usize,
        /// Which call failed.
        step: String,
        /// The system's answer, with the kernel's own message when it gave one.
        cause: io::Error,
    },
    /// Control groups cannot enforce a limit that was asked for.
    #[error("cgroup {path}: {step}: {cause}", path = path.display())]
    Cgroup {
        /// Control group or file.
        path: PathBuf,
        /// What was being done.
        step: String,
        /// The system's answer.
        cause: io::Error,
    },
    /// The host has no control group controller for a limit that was asked for.
    #[error("this host has no {controller} cgroup controller, which {limit} needs")]
    NoController {
        /// Controller name.
        controller: &'static str,
        /// The limit, as the flag that asks for it.
        limit: &'static str,
    },
    /// The network cannot be made.
    #[error("cannot set up the network: {step}: {cause}; --network host needs none")]
    Network {
        /// What was being done.
        step: String,
        /// The system's answer.
        cause: io::Error,
    },
    /// Every address of the network is in use.
    #[error("every address of the network {0} is in use; --network host needs none")]
    NoAddress(String),
    /// The address that was asked for is another's, or the host's.
    #[error("Address already in use")]
    AddressTaken(IpAddr),
    /// The link that a network stands on is not there, or nothing can stand on it.
    #[error("{0}")]
    Parent(String),
    /// The network was removed meanwhile.
    #[error("network {0} not found")]
    NoNetwork(String),
    /// No private subnet is free for the bridge.
    #[error("no free private subnet for the network; --network host needs none")]
    NoSubnet,
}

impl Error {
    /// The exit code Docker gives a command that failed this way: 127 not found, 126 not
    /// executable, 125 everything else.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::CommandNotFound { .. } => 127,
            Self::CommandNotExecutable { .. } => 126,
            _ => 125,
        }
    }

    /// The exit code that Docker gives a command which was to join a container and failed this way.
    /// A working directory that is not there, or is none, counts as a command that is not found.
    pub fn exit_code_inside(&self) -> i32 {
        match self {
            Self::Setup { step, cause } if step.starts_with(CHANGE_DIR) => match cause.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => 127,
                io::ErrorKind::PermissionDenied => 126,
                _ => self.exit_code(),
            },
            _ => self.exit_code(),
        }
    }

    pub(crate) fn setup(step: impl Into<String>, cause: impl Into<io::Error>) -> Self {
        let (step, cause) = (step.into(), cause.into());
        if lacks_privilege(&cause) {
            return Self::NotPermitted { what: step };
        }
        Self::Setup { step, cause }
    }
}

/// Whether an operation failed because this process is not privileged, rather than because of
/// what it was applied to.
pub(crate) fn lacks_privilege(error: &io::Error) -> bool {
    use rustix::thread::{CapabilitySet, capabilities};
    error.kind() == io::ErrorKind::PermissionDenied
        && !capabilities(None).is_ok_and(|own| own.effective.contains(CapabilitySet::SYS_ADMIN))
}
