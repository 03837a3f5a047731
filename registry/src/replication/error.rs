//! Why something is not replicated.

use std::path::PathBuf;
use std::time::Duration;

use client::{Error, RegistryError};
use oci::causes::with_causes;

use crate::meta::MetaError;
use crate::outgoing::pause;
use crate::service::ServiceError;

/// Why replication cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum ReplicationError {
    /// The other registry is nowhere.
    #[error("replicate {rule}: url = {url:?} is no http[s]://host[:port][/prefix]")]
    Url {
        /// The rule.
        rule: String,
        /// What it has.
        url: String,
    },
    /// The file of a password cannot be read.
    #[error("replicate {rule}: {path}: {cause}")]
    Read {
        /// The rule.
        rule: String,
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The other registry cannot be asked as it is set.
    #[error("replicate {rule}: {cause}")]
    Client {
        /// The rule.
        rule: String,
        /// Why.
        cause: Box<Error>,
    },
    /// There is no such rule.
    #[error("there is no [[replicate]] of the name {0:?} that is not disabled")]
    Unknown(String),
    /// The database failed.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

/// Whose trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The other registry does not answer, or lets us do nothing: all jobs would fail.
    Registry,
    /// It is asked too often, and says when to come back, if it does.
    Limited(Option<Duration>),
    /// This job's.
    Job,
}

/// Why a job is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub(super) struct Trouble {
    pub(super) why: String,
    pub(super) whose: Whose,
}

impl Trouble {
    /// Trouble of one job.
    pub(super) fn own(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            whose: Whose::Job,
        }
    }

    /// An answer that says no.
    pub(super) fn answered(cause: &RegistryError, why: String) -> Self {
        let asked = cause.retry_after.as_deref().and_then(pause);
        let whose = match cause.status.as_u16() {
            429 => Whose::Limited(asked),
            503 if asked.is_some() => Whose::Limited(asked),
            401 | 500..=599 => Whose::Registry,
            _ => Whose::Job,
        };
        Self { why, whose }
    }
}

impl From<Error> for Trouble {
    fn from(e: Error) -> Self {
        let why = with_causes(&e);
        if let Some(cause) = e.registry_error() {
            return Self::answered(cause, why);
        }
        let whose = match e {
            Error::Connect { .. } | Error::Transport { .. } => Whose::Registry,
            _ => Whose::Job,
        };
        Self { why, whose }
    }
}

impl From<ServiceError> for Trouble {
    fn from(e: ServiceError) -> Self {
        Self::own(with_causes(&e))
    }
}

impl From<MetaError> for Trouble {
    fn from(e: MetaError) -> Self {
        ServiceError::from(e).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::StatusCode;

    #[test]
    fn answers_say_whose_trouble_it_is() {
        for (status, later, whose) in [
            (429, Some("7"), Whose::Limited(Some(Duration::from_secs(7)))),
            (429, None, Whose::Limited(None)),
            (503, Some("1"), Whose::Limited(Some(Duration::from_secs(1)))),
            (503, None, Whose::Registry),
            (500, None, Whose::Registry),
            (401, None, Whose::Registry),
            (403, None, Whose::Job),
            (400, None, Whose::Job),
        ] {
            let cause = RegistryError {
                retry_after: later.map(str::to_owned),
                ..RegistryError::parse(StatusCode::from_u16(status).unwrap(), b"")
            };
            let trouble = Trouble::answered(&cause, "x".to_owned());
            assert_eq!(trouble.whose, whose, "{status}");
        }
    }
}
