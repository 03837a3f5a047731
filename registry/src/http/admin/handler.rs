//! One handler for every path below `/api/v1/`: [`AdminRoute::parse`] says what a request is.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::HeaderValue;
use http::request::Parts;
use serde_json::Value;

use super::shown::{bad, show};
use super::{changes, lists, operating, replication, tokens};
use crate::admin_route::AdminRoute;
use crate::auth::rules::Access;
use crate::http::answer::{self, ApiError, Served};
use crate::http::api::Api;
use crate::http::guards::access::Needs;
use crate::http::guards::{Caller, access, read_only, throttle};
use crate::http::request::Query;

/// What all of it is, for programs.
const OPENAPI: &str = include_str!("openapi.json");

/// Answers a request below `/api/v1/`.
pub(in crate::http) async fn handle(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (request, body) = request.into_parts();
    let route = match AdminRoute::parse(&request.method, request.uri.path()) {
        Ok(route) => route,
        Err(e) => {
            return match throttle::request(&api, &request, None) {
                Ok(()) => ApiError::from_route(e, &request.method).problem(),
                Err(refused) => refused.into_response(),
            };
        }
    };
    let label = route.label();
    let mut user = None;
    let answer = serve(&api, route, request, body, &mut user).await;
    let mut response = answer.unwrap_or_else(ApiError::problem);
    response.extensions_mut().insert(Served { label, user });
    response
}

/// What a route needs.
fn needs(route: &AdminRoute) -> Needs {
    let (name, access) = match route {
        // Of itself nothing: what the caller may not read is not shown.
        AdminRoute::OpenApi | AdminRoute::Repositories | AdminRoute::Search => {
            return Needs::Filter;
        }
        AdminRoute::Usage
        | AdminRoute::Collect
        | AdminRoute::Replication
        | AdminRoute::Replicate(_)
        | AdminRoute::Activity
        | AdminRoute::Mirrors
        | AdminRoute::State => return Needs::Operator,
        AdminRoute::Tokens | AdminRoute::MakeToken | AdminRoute::RevokeToken(_) => {
            return Needs::Person;
        }
        AdminRoute::Repository(name)
        | AdminRoute::Tags(name)
        | AdminRoute::History(name)
        | AdminRoute::Image(name, _) => (name, Access::Pull),
        AdminRoute::Restore(name) => (name, Access::Push),
        AdminRoute::DeleteRepository(name) | AdminRoute::DeleteManifest(name, _) => {
            (name, Access::Delete)
        }
    };
    Needs::Right(name.clone(), access)
}

async fn serve(
    api: &Api,
    route: AdminRoute,
    request: Parts,
    body: Body,
    user: &mut Option<String>,
) -> Result<Response, ApiError> {
    let counted = throttle::password(api, &request)?;
    let authorized = access::authorize_for(api, &needs(&route), &request, user).await;
    let name = authorized.as_ref().ok().and_then(Caller::name);
    throttle::authenticated(api, &request, name, counted)?;
    let caller = authorized?;
    let query = Query::of(&request)?;
    let trial = trial(&query)?;
    if route.changes() && !trial {
        read_only::check(api)?;
    }
    if !api.delete_enabled && route.deletes() && !trial {
        return Err(ApiError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "UNSUPPORTED",
            "deleting is disabled in this registry (delete.enabled)",
            Value::Null,
        )
        .with_header(http::header::ALLOW, HeaderValue::from_static("GET, HEAD")));
    }
    match route {
        AdminRoute::OpenApi => Ok(answer::json(OPENAPI.to_owned())),
        AdminRoute::Repositories => lists::repositories(api, &caller, &query).await,
        AdminRoute::Search => lists::search(api, &caller, &query).await,
        AdminRoute::Repository(name) => show(&api.registry.repository_entry(&name).await?),
        AdminRoute::Tags(name) => lists::tags(api, &name, &query).await,
        AdminRoute::History(name) => lists::history(api, &name, &query).await,
        AdminRoute::Image(name, reference) => show(&api.registry.image(&name, &reference).await?),
        AdminRoute::Usage => show(&api.registry.usage_report().await?),
        AdminRoute::Replication => replication::rules(api).await,
        AdminRoute::Replicate(name) => replication::run(api, &name).await,
        AdminRoute::DeleteRepository(name) => {
            changes::delete_repository(api, &caller, &request, &name, trial).await
        }
        AdminRoute::DeleteManifest(name, reference) => {
            changes::delete_manifest(api, &caller, &request, &name, &reference, trial).await
        }
        AdminRoute::Restore(name) => changes::restore(api, &caller, &request, body, &name).await,
        AdminRoute::Collect => changes::collect(api, &caller, &request, body).await,
        AdminRoute::Activity => operating::activity(api, &query).await,
        AdminRoute::Mirrors => operating::mirrors(api).await,
        AdminRoute::State => operating::state(api),
        AdminRoute::Tokens => tokens::list(api, &caller, &query).await,
        AdminRoute::MakeToken => tokens::make(api, &caller, &request, body).await,
        AdminRoute::RevokeToken(id) => tokens::revoke(api, &caller, &request, &id).await,
    }
}

/// Whether a deletion is only to say what it would take.
fn trial(query: &Query) -> Result<bool, ApiError> {
    match query.get("dry_run") {
        None | Some("false") => Ok(false),
        Some("" | "true") => Ok(true),
        Some(other) => Err(bad("dry_run", "true or false", other)),
    }
}
