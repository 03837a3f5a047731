//! `/auth/token`: a token for who proves to be somebody (Docker token authentication, token.md).

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderValue};
use http::request::Parts;
use serde_json::json;

use super::access::unauthorized;
use super::error::ApiError;
use super::query::Query;
use super::{Api, json, throttle};
use crate::auth::{Auth, Identity};
use crate::meta::now;

/// The path.
pub(super) const PATH: &str = "/auth/token";

/// Answers a request for a token; `None` when this registry makes none.
pub(super) async fn get(api: &Api, request: &Parts) -> Option<Response> {
    let auth = api.auth.as_ref()?;
    if !auth.issues() {
        return None;
    }
    if let Err(refused) = throttle::request(api, request, None) {
        return Some(refused.into_response());
    }
    Some(
        token(auth, request)
            .await
            .unwrap_or_else(IntoResponse::into_response),
    )
}

async fn token(auth: &Arc<Auth>, request: &Parts) -> Result<Response, ApiError> {
    let header = request
        .headers
        .get(AUTHORIZATION)
        .map(|v| v.to_str().unwrap_or_default());
    let identity = auth
        .login(header)
        .await
        .map_err(|_| unauthorized(auth.basic_challenge(), "user or password is wrong"))?;
    let query = Query::of(request);
    // Several parameters, or one with spaces, which arrive as pluses.
    let scope: Vec<String> = query.all("scope").map(|s| s.replace('+', " ")).collect();
    let granted = auth.grant(&identity, &scope.join(" "));
    let user = match &identity {
        Identity::Anonymous => "",
        Identity::User(user) => user,
    };
    let (token, seconds) = auth.issue(user, granted, now()).map_err(|e| {
        tracing::error!(error = %e, "a token could not be written");
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "UNKNOWN",
            "the registry failed; its log says why",
            serde_json::Value::Null,
        )
    })?;
    let mut response = json(
        json!({
            "token": token,
            "access_token": token,
            "expires_in": seconds,
            "issued_at": jiff::Timestamp::now().to_string(),
        })
        .to_string(),
    );
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
