//! A registry in which nothing changes for now.

use http::StatusCode;
use http::header::{ALLOW, HeaderValue};

use crate::http::answer::ApiError;
use crate::http::api::Api;

/// Refuses what would change something while nothing is to change.
pub(in crate::http) fn check(api: &Api) -> Result<(), ApiError> {
    if !api.is_read_only() {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "UNSUPPORTED",
        "the registry is read-only for now (storage.read_only)",
        serde_json::Value::Null,
    )
    .with_header(ALLOW, HeaderValue::from_static("GET, HEAD")))
}
