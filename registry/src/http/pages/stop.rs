//! Why there is no page.

use crate::http::answer::ApiError;
use crate::service::ServiceError;

/// Why there is no page.
#[derive(Debug)]
pub(super) enum Stop {
    /// Something is wrong, or refused.
    Error(ApiError),
    /// Whoever asks may see it once they are logged in.
    Login,
    /// It is at another path.
    Elsewhere(String),
}

impl From<ApiError> for Stop {
    fn from(e: ApiError) -> Self {
        Self::Error(e)
    }
}

impl From<ServiceError> for Stop {
    fn from(e: ServiceError) -> Self {
        match e {
            ServiceError::ManifestUnknown {
                repository,
                reference,
            } => Self::missing(format!("{repository} has no image {reference}.")),
            ServiceError::NameUnknown(name) => {
                Self::missing(format!("There is no repository {name}."))
            }
            ServiceError::BlobUnknown(_) => Self::missing("This is not in the registry any more."),
            e => Self::Error(e.into()),
        }
    }
}

impl Stop {
    /// Something that was asked for is not there.
    pub(super) fn missing(what: impl Into<String>) -> Self {
        Self::error(http::StatusCode::NOT_FOUND, "UNSUPPORTED", what)
    }

    /// What was asked for is nothing that can be asked for.
    pub(super) fn bad(why: impl Into<String>) -> Self {
        Self::error(http::StatusCode::BAD_REQUEST, "UNSUPPORTED", why)
    }

    /// Whoever asks may not.
    pub(super) fn denied(why: impl Into<String>) -> Self {
        let status = http::StatusCode::FORBIDDEN;
        let error = ApiError::new(status, "DENIED", why, serde_json::Value::Null);
        Self::Error(error.refused())
    }

    fn error(status: http::StatusCode, code: &str, why: impl Into<String>) -> Self {
        Self::Error(ApiError::new(status, code, why, serde_json::Value::Null))
    }
}
