//! Why a configuration cannot be used.

use std::path::{Path, PathBuf};

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read or written.
    #[error("{what} {}: {cause}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        cause: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and how to mend it.
        reason: String,
    },
    /// A credential helper failed.
    #[error("credential helper {program}: {reason}")]
    Helper {
        /// The program.
        program: String,
        /// Why.
        reason: String,
    },
    /// The TLS library refuses what it was given.
    #[error("TLS for {host}: {reason}")]
    Tls {
        /// The registry.
        host: String,
        /// Why.
        reason: String,
    },
}

impl ConfigError {
    pub(crate) fn io(what: &'static str, path: &Path, cause: std::io::Error) -> Self {
        Self::Io {
            what,
            path: path.to_owned(),
            cause,
        }
    }

    pub(crate) fn invalid(path: &Path, reason: impl Into<String>) -> Self {
        Self::Invalid {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}
