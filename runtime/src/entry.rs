//! What to run in a container that runs.

use crate::caps::Capability;
use crate::limits::Ulimit;
use crate::window::WindowSize;

/// What to run in a container that runs.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// The command.
    pub argv: Vec<String>,
    /// Environment as `NAME=value`; `HOME` is added from the container's passwd when missing.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// Docker's USER syntax, by the container's own passwd and group.
    pub user: String,
    /// Supplementary groups beside those of the user.
    pub groups: Vec<u32>,
    /// Capabilities, where the user is root.
    pub capabilities: Vec<Capability>,
    /// Applies the system call filter.
    pub seccomp: bool,
    /// Executing a file gives no privileges.
    pub no_new_privileges: bool,
    /// Per-process limits.
    pub ulimits: Vec<Ulimit>,
    /// It has a terminal, of this size at first.
    pub terminal: Option<WindowSize>,
}
