//! Why a step, and with it a build, failed.

use std::fmt;

use dockerfile::span::Span;
use oci::ChainId;

/// Why a step could not be done.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The process of a RUN failed. The command is not told again: whoever shows this has the
    /// instruction's place.
    #[error("process did not complete successfully: {status}")]
    Process {
        /// How it ended, in words.
        status: String,
        /// The exit code to pass on.
        code: u8,
    },
    /// A file of ADD was not downloaded.
    #[error("ADD {0}")]
    Download(crate::download::DownloadError),
    /// A repository of ADD was not fetched.
    #[error("ADD {0}")]
    Git(#[from] crate::git::GitError),
    /// Files could not be found, read or written.
    #[error(transparent)]
    Files(#[from] crate::files::FilesError),
    /// An image could not be found or fetched.
    #[error(transparent)]
    Image(#[from] images::ImageError),
    /// The local store failed.
    #[error("{what}: {cause}")]
    Store {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        cause: store::Error,
    },
    /// Layers that a step works on are not in the store any more.
    #[error("the layers of {0} are gone from the store")]
    LayersGone(ChainId),
    /// A layer that a shared cache promised cannot be had.
    #[error("{0}")]
    CacheLost(String),
    /// The layer of a step could not be made of its files.
    #[error(transparent)]
    Layer(#[from] oci::layer::TarError),
    /// No context has this name.
    #[error("no build context is named {0}")]
    NoSuchContext(String),
    /// A thread that did the work is lost.
    #[error("a worker thread failed: {0}")]
    Worker(#[from] tokio::task::JoinError),
    /// A step needs what only the command line can give.
    #[error("{what} (give it with {help})")]
    NotGiven {
        /// What is missing.
        what: String,
        /// The flag that gives it.
        help: String,
    },
    /// Anything else, told in full.
    #[error("{0}")]
    Other(String),
    /// The build was interrupted.
    #[error("the build was cancelled")]
    Cancelled,
}

impl From<crate::download::DownloadError> for StepError {
    fn from(error: crate::download::DownloadError) -> Self {
        Self::Download(error)
    }
}

impl StepError {
    /// An error with what was being done.
    pub fn other(what: &str, error: impl fmt::Display) -> Self {
        Self::Other(format!("{what}: {error}"))
    }

    /// The exit code of the whole build.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Process { code, .. } => (*code).max(1),
            Self::Cancelled => 130,
            _ => 1,
        }
    }
}

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum SolveError {
    /// The target is not among the stages of the graph.
    #[error("the target stage was not planned")]
    Unplanned,
    /// The Dockerfile is wrong.
    #[error(transparent)]
    Plan(#[from] crate::plan::PlanError),
    /// An instruction could not be done.
    #[error("failed to solve: {cause}")]
    Step {
        /// The instruction's place.
        span: Span,
        /// Why.
        cause: StepError,
    },
}

impl SolveError {
    /// Whether the build was ended by something else.
    pub fn is_canceled(&self) -> bool {
        let step = match self {
            Self::Step { cause, .. } => Some(cause),
            Self::Unplanned | Self::Plan(_) => None,
        };
        matches!(step, Some(StepError::Cancelled))
    }

    /// What a cache of other machines has promised and is not to be had; without that cache the
    /// build may go well.
    pub fn lost(&self) -> Option<&str> {
        match self {
            Self::Step {
                cause: StepError::CacheLost(lost),
                ..
            } => Some(lost),
            Self::Step { .. } | Self::Unplanned | Self::Plan(_) => None,
        }
    }
}
