//! `GET /v1/search`, which is what `docker search` asks: all that is left of Docker's first API.
//!
//! docker asks for `/v1/_ping` before, by HTTPS and then without, and takes any answer to that.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use serde_json::json;

use super::handler::show;
use super::lists::found;
use crate::http::answer::{ApiError, Served};
use crate::http::api::Api;
use crate::http::guards::access::{Needs, challenge, unauthorized};
use crate::http::guards::{Caller, access, throttle};
use crate::http::request::Query;

/// Answers a search as Docker's index does.
pub(in crate::http) async fn docker(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (request, _) = request.into_parts();
    let mut user = None;
    let answer = serve(&api, &request, &mut user).await;
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    let label = "search";
    response.extensions_mut().insert(Served { label, user });
    response
}

async fn serve(
    api: &Api,
    request: &Parts,
    user: &mut Option<String>,
) -> Result<Response, ApiError> {
    let counted = throttle::password(api, request)?;
    let authorized = access::authorize_for(api, &Needs::Filter, request, user).await;
    let name = authorized.as_ref().ok().and_then(Caller::name);
    throttle::authenticated(api, request, name, counted)?;
    let caller = authorized?;
    let query = Query::of(request)?;
    let found = found(api, &caller, &query).await?;
    if let Some(auth) = &api.auth
        && caller.is_anonymous()
        && found.is_empty()
    {
        // There may be more for those who log in.
        let challenge = challenge(api, auth, &Needs::Filter, request, None);
        return Err(unauthorized(challenge, "authentication required"));
    }
    let results = found.iter().map(|entry| {
        json!({
            "name": entry.name,
            "description": entry.description,
            "star_count": 0,
            "is_official": false,
            "is_automated": false,
        })
    });
    show(&json!({
        "query": query.get("q").unwrap_or_default(),
        "num_results": found.len(),
        "num_pages": 1,
        "page": 1,
        "page_size": found.len(),
        "results": results.collect::<Vec<_>>(),
    }))
}
