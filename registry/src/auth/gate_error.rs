//! Why nobody can be let in at all.

use super::external::KeysError;
use super::htpasswd::HtpasswdError;
use super::personal::PersonalError;
use super::token::KeyError;

/// Why nobody can be let in at all.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The password file cannot be used.
    #[error(transparent)]
    Htpasswd(#[from] HtpasswdError),
    /// The key for tokens cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The token server's keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The file of personal tokens cannot be used.
    #[error(transparent)]
    Personal(#[from] PersonalError),
    /// Reading files panicked, or was cancelled by shutdown.
    #[error("reading what is needed to log in ended unexpectedly: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// Nobody would have to log in any more.
    #[error("nobody would have to log in any more: that needs a restart")]
    Opened,
    /// There would be no rules any more.
    #[error("without any rule whoever is logged in may do everything: that needs a restart")]
    NoRules,
}
