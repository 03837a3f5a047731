//! Personal tokens: what a person has, makes and revokes.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use serde::Deserialize;
use serde_json::{Value, json};

use super::changes::read;
use super::shown::{bad, show};
use crate::auth::personal::{PersonalError, end};
use crate::auth::{Auth, OwnToken, TokensError, User};
use crate::clock::now;
use crate::events::{Action, Noted};
use crate::http::answer::ApiError;
use crate::http::api::Api;
use crate::http::guards::Caller;
use crate::http::request::Query;
use crate::http::v2::origin;

/// How long a token is good for that says nothing of it.
const LIFETIME: &str = "365d";

/// A token that is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct MakeRequest {
    #[serde(default)]
    note: String,
    expires: Option<String>,
}

/// Whose tokens they are, and who keeps them.
fn person<'c>(api: &'c Api, caller: &'c Caller) -> Result<(&'c Arc<Auth>, &'c User), ApiError> {
    match (&api.auth, caller.user()) {
        (Some(auth), Some(user)) => Ok((auth, user)),
        _ => Err(problem(TokensError::Nobody)),
    }
}

pub(super) async fn list(api: &Api, caller: &Caller, query: &Query) -> Result<Response, ApiError> {
    let (auth, user) = person(api, caller)?;
    let all = match query.get("all") {
        None | Some("false") => false,
        Some("" | "true") => true,
        Some(other) => return Err(bad("all", "true or false", other)),
    };
    if all && !caller.is_operator() {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "DENIED",
            "the tokens of all users are for those who may do everything",
            json!({ "user": &**user }),
        )
        .refused());
    }
    let tokens = auth.tokens((!all).then_some(&**user)).await;
    show(&json!({ "tokens": tokens.map_err(problem)? }))
}

pub(super) async fn make(
    api: &Api,
    caller: &Caller,
    request: &Parts,
    body: Body,
) -> Result<Response, ApiError> {
    let (auth, user) = person(api, caller)?;
    let wanted: MakeRequest = read(request, body).await?;
    let expires = wanted.expires.as_deref().unwrap_or(LIFETIME);
    let expires = end(expires, now()).map_err(|e| problem(e.into()))?;
    let made = auth.make_token(user, &wanted.note, expires).await;
    let (text, made) = made.map_err(problem)?;
    note(api, caller, request, "token.make", &made).await;
    let mut response = show(&json!({ "token": text, "made": made }))?;
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

pub(super) async fn revoke(
    api: &Api,
    caller: &Caller,
    request: &Parts,
    id: &str,
) -> Result<Response, ApiError> {
    let (auth, user) = person(api, caller)?;
    let own = (!caller.is_operator()).then_some(&**user);
    let gone = auth.revoke_token(id, own).await.map_err(problem)?;
    note(api, caller, request, "token.revoke", &gone).await;
    show(&json!({ "revoked": gone }))
}

/// Notes what became of a token, and who did it.
pub(in crate::http) async fn note(
    api: &Api,
    caller: &Caller,
    request: &Parts,
    action: &'static str,
    token: &OwnToken,
) {
    let by = origin::acting(api, caller, &[Action::Push], request);
    let noted = Noted::new(action)
        .with("of", token.user.as_str())
        .with("token", token.id.as_str())
        .with("note", token.note.as_str());
    api.registry.note(&by, &[noted]).await;
}

fn problem(e: TokensError) -> ApiError {
    let (status, code) = match &e {
        TokensError::Personal(PersonalError::Unknown(id)) => {
            let message = format!("there is no personal token {id}");
            return ApiError::new(StatusCode::NOT_FOUND, "UNSUPPORTED", message, Value::Null);
        }
        TokensError::Nobody => (StatusCode::NOT_FOUND, "UNSUPPORTED"),
        TokensError::Program => (StatusCode::FORBIDDEN, "DENIED"),
        TokensError::Personal(
            PersonalError::Note | PersonalError::Time(_) | PersonalError::Many,
        ) => (StatusCode::BAD_REQUEST, "UNSUPPORTED"),
        TokensError::Personal(_) => {
            tracing::error!(error = %e, "personal tokens cannot be changed");
            let why = "the registry failed; its log says why";
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            return ApiError::new(status, "UNKNOWN", why, Value::Null);
        }
    };
    ApiError::new(status, code, e.to_string(), Value::Null)
}
