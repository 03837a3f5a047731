//! What to run in a container that runs.

use serde::{Deserialize, Serialize};

use crate::caps::Capability;
use crate::limits::Ulimit;
use crate::seccomp::SeccompProfile;
use crate::window::WindowSize;

/// What to run in a container that runs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Entry {
    /// The command.
    pub argv: Vec<String>,
    /// Environment as `NAME=value`; `HOME` is added from the container's passwd when missing.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// Docker's USER syntax, by the container's own passwd and group.
    pub user: String,
    /// Supplementary groups beside those of the user, by number or by name in the container.
    pub groups: Vec<String>,
    /// Capabilities, where the user is root.
    pub capabilities: Vec<Capability>,
    /// Applies the default system call filter.
    pub seccomp: bool,
    /// Another filter in its place.
    pub profile: Option<SeccompProfile>,
    /// Executing a file gives no privileges.
    pub no_new_privileges: bool,
    /// Per-process limits.
    pub ulimits: Vec<Ulimit>,
    /// How likely it is killed when the host has no memory left, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// It has a terminal, of this size at first.
    pub terminal: Option<WindowSize>,
}
