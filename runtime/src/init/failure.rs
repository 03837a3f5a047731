//! Why an init fails, as it tells its parent.

use std::io;

use serde::{Deserialize, Serialize};

/// Why the init did not become the user's process.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) enum Failure {
    /// An operation failed with this errno.
    Step { step: String, errno: i32 },
    /// The working directory is not below the root.
    Cwd { cwd: String },
    /// No such command.
    NotFound { message: String },
    /// The command cannot be executed.
    NotExecutable { message: String },
}

impl Failure {
    pub(super) fn step(step: impl ToString, error: &io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or(nix::libc::EINVAL);
        Self::Step {
            step: step.to_string(),
            errno,
        }
    }
}
