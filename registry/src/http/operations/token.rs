//! `/auth/token`: a token for who proves to be somebody (Docker token authentication, token.md).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::json;

use super::oauth;
use crate::auth::{Auth, Identity, claimed};
use crate::clock::now;
use crate::http::answer::{self, ApiError, Served};
use crate::http::api::Api;
use crate::http::guards::access::rejected;
use crate::http::guards::{mirrored, throttle};
use crate::http::request::{Query, address};
use crate::route::RouteError;

/// Answers a request for a token. Where this registry makes none, there is nothing here.
pub(in crate::http) async fn handle(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (request, body) = request.into_parts();
    let Some(auth) = api.auth.as_ref().filter(|auth| auth.issues()) else {
        return ApiError::from_route(RouteError::NotFound, &request.method).into_response();
    };
    // Before a form is read or a password is tried.
    let answer = match throttle::request(&api, &request, None) {
        Ok(()) => give(&api, auth, &request, body).await,
        Err(refused) => Err(refused),
    };
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    let header = request.headers.get(AUTHORIZATION);
    let user = header.and_then(|v| v.to_str().ok()).and_then(claimed);
    if user.is_some() {
        let label = "none";
        response.extensions_mut().insert(Served { label, user });
    }
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn give(
    api: &Api,
    auth: &Arc<Auth>,
    request: &Parts,
    body: Body,
) -> Result<Response, ApiError> {
    match request.method {
        Method::GET => get(api, auth, request).await,
        Method::POST => match oauth::grant(auth, request, body).await {
            Ok(grant) => token(api, auth, grant),
            Err(refused) => Ok(refused.response()),
        },
        _ => Err(ApiError::from_route(
            RouteError::Method("GET, POST"),
            &request.method,
        )),
    }
}

async fn get(api: &Api, auth: &Arc<Auth>, request: &Parts) -> Result<Response, ApiError> {
    let header = request
        .headers
        .get(AUTHORIZATION)
        .map(|v| v.to_str().unwrap_or_default());
    let identity = auth
        .login(header, address(request))
        .await
        .map_err(|why| rejected(why, auth.basic_challenge(), "user or password is wrong"))?;
    let query = Query::of(request)?;
    // Several parameters, or one with spaces, which arrive as pluses.
    let scope: Vec<String> = query.all("scope").map(|s| s.replace('+', " ")).collect();
    let refresh_token = match &identity {
        Identity::User(user) if query.get("offline_token") == Some("true") => {
            auth.refresh_token(user)
        }
        _ => None,
    };
    let grant = oauth::Grant {
        identity,
        scope: scope.join(" "),
        refresh_token,
    };
    token(api, auth, grant)
}

/// The token itself.
fn token(api: &Api, auth: &Auth, grant: oauth::Grant) -> Result<Response, ApiError> {
    let scope = mirrored::with_mirrored(api, &grant.scope);
    let granted = auth.grant(&grant.identity, &scope);
    let scope: Vec<String> = granted
        .iter()
        .map(|g| format!("{}:{}:{}", g.kind, g.name, g.actions.join(",")))
        .collect();
    let issued = auth.issue(&grant.identity, granted, now());
    let (token, seconds) = issued.map_err(|e| {
        tracing::error!(error = %e, "a token could not be written");
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "UNKNOWN",
            "the registry failed; its log says why",
            serde_json::Value::Null,
        )
    })?;
    let mut body = json!({
        "token": token,
        "access_token": token,
        "token_type": "Bearer",
        "scope": scope.join(" "),
        "expires_in": seconds,
        "issued_at": jiff::Timestamp::now().to_string(),
    });
    if let Some(refresh_token) = grant.refresh_token {
        body["refresh_token"] = refresh_token.into();
    }
    Ok(answer::json(body.to_string()))
}
