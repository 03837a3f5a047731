//! What can go wrong. The sentences are docker's.

use std::io;
use std::path::{Path, PathBuf};

use crate::status::Status;

/// The result of the crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be done with a container.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store says why.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The runtime says why.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A name that no container can have.
    #[error("Invalid container name ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
    InvalidName(String),
    /// Neither the image nor the user says what to run.
    #[error("no command specified")]
    NoCommand,
    /// It could not be started; the exit code is docker's.
    #[error("{message}")]
    NotStarted {
        /// Why.
        message: String,
        /// 125, 126 or 127.
        code: i32,
    },
    /// It does not run.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// A signal that is none.
    #[error("cannot kill container: {typed}: {cause}")]
    NoSignal {
        /// As the container was named.
        typed: String,
        /// What is wrong with the signal.
        cause: Box<Error>,
    },
    /// It does not run, so that nothing can be sent to it.
    #[error("cannot kill container: {typed}: container {id} is not running")]
    NotKilled {
        /// As it was named.
        typed: String,
        /// The container's ID.
        id: String,
    },
    /// It stands still; by the name that was typed.
    #[error("Container {0} is paused, unpause the container before exec")]
    Paused(String),
    /// It stands still already.
    #[error("Container {0} is already paused")]
    PausedAlready(String),
    /// It does not stand still.
    #[error("Container {0} is not paused")]
    NotPaused(String),
    /// It waits to be started again.
    #[error("Container {0} is restarting, wait until the container is running")]
    Restarting(String),
    /// It stands still, and so cannot be started.
    #[error("cannot start a paused container, try unpause instead")]
    StartPaused,
    /// It is being removed.
    #[error("container is marked for removal and cannot be started")]
    StartRemoved,
    /// It runs, and force was not asked for.
    #[error(
        "cannot remove container \"{name}\": container is {status}: {}",
        advice(*.status)
    )]
    Runs {
        /// Its name.
        name: String,
        /// What it is doing.
        status: Status,
    },
    /// It was renamed to what it is called.
    #[error("Renaming a container with the same name as its current name")]
    SameName,
    /// A file of a container could not be read or written.
    #[error("{what} {}: {cause}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which path.
        path: PathBuf,
        /// Why it failed.
        cause: io::Error,
    },
    /// The monitor could not be talked to.
    #[error("talk to the monitor of container {id}: {cause}")]
    Monitor {
        /// The container's ID.
        id: String,
        /// Why.
        cause: io::Error,
    },
    /// What a container was made with cannot be read.
    #[error("the record of container {id} is damaged: {cause}; `rbuild rm -f` removes it")]
    Record {
        /// The container's ID.
        id: String,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
    /// What a network was made with cannot be read.
    #[error("the record of network {name} is damaged: {cause}; `rbuild network rm` removes it")]
    NetworkRecord {
        /// The network's name.
        name: String,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
    /// A network that is always there.
    #[error("{0} is a pre-defined network and cannot be removed")]
    NetworkPredefined(String),
    /// Containers that run are on it.
    #[error("error while removing network: network {network} has active endpoints ({endpoints})")]
    NetworkUsed {
        /// The network's name.
        network: String,
        /// Names and IDs, as docker lists them.
        endpoints: String,
    },
    /// A background task was cancelled because the program is ending.
    #[error("the work was cut short: {0}")]
    Cancelled(#[from] tokio::task::JoinError),
}

fn advice(status: Status) -> &'static str {
    match status {
        Status::Paused => "unpause and then stop the container before removing or force remove",
        _ => "stop the container before removing or force remove",
    }
}

impl Error {
    /// The exit code that docker ends with when a container could not be run for this reason.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::NotStarted { code, .. } => *code,
            // What is started goes through a monitor, which has its own answer.
            Self::Runtime(error) => Self::code_inside(error),
            // docker's client goes by the words, whatever it was that is not there.
            Self::Invalid(text) if text.contains("no such file or directory") => 127,
            _ => 125,
        }
    }

    /// Whether it is wrong with what the container was made with, so that docker would not have
    /// made it.
    pub fn is_of_making(&self) -> bool {
        matches!(self, Self::NotStarted { message, .. } if message.starts_with("Cannot mkdir: "))
    }

    /// The same of a further command in a container.
    pub(crate) fn code_inside(error: &runtime::Error) -> i32 {
        error.exit_code_inside()
    }

    pub(crate) fn io(what: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io {
            what,
            path: path.as_ref().to_owned(),
            cause,
        }
    }
}
