//! Answers as JSON, and those to parameters that are none.

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use crate::http::answer::{self, ApiError};

/// The answer to a parameter that is none.
pub(super) fn bad(name: &str, wanted: &str, given: &str) -> ApiError {
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "UNSUPPORTED",
        format!("{name} is {wanted}"),
        json!({ name: given }),
    )
}

/// An answer as JSON.
pub(super) fn show(what: &impl Serialize) -> Result<Response, ApiError> {
    let text = serde_json::to_string(what).map_err(|e| {
        tracing::error!(error = %e, "an answer could not be written");
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "UNKNOWN",
            "the registry failed; its log says why",
            Value::Null,
        )
    })?;
    Ok(answer::json(text))
}
