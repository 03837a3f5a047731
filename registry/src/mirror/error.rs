//! Why something is neither here nor can be had.

use std::time::Duration;

use crate::service::ServiceError;

/// Why something is neither here nor can be had.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// It is unknown, or this registry failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// No upstream that might have it answers.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// No upstream that might have something answers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{upstream} does not answer for it: {why}")]
pub struct Unavailable {
    /// The upstream's URL.
    pub upstream: String,
    /// What it said, or what failed.
    pub why: String,
    /// Whether it said that it is asked too often.
    pub limited: bool,
    /// When to come back.
    pub retry_after: Option<Duration>,
}

/// Why mirroring cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file of an upstream's settings cannot be read.
    #[error("upstream {url}: {path}: {cause}")]
    Read {
        /// The upstream.
        url: String,
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It cannot be connected to as it is set.
    #[error("upstream {url}: {cause}")]
    Client {
        /// The upstream.
        url: String,
        /// Why.
        cause: client::Error,
    },
}
