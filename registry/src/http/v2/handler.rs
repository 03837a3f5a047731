//! One handler for every path of the API: [`Route::parse`] says what a request is.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::HeaderValue;
use http::request::Parts;
use http_body::Body as _;

use super::{blobs, listing, manifests, origin, uploads};
use crate::events::RequestOrigin;
use crate::http::answer::{ApiError, Served, json};
use crate::http::api::Api;
use crate::http::guards::{Caller, access, mirrored, read_only, throttle};
use crate::mirror::Mirror;
use crate::route::Route;

/// Answers a request for the API, and one for a path that is nowhere.
pub(in crate::http) async fn handle(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (request, body) = request.into_parts();
    let route = match Route::parse(&request.method, request.uri.path()) {
        Ok(route) => route,
        Err(e) => {
            return match throttle::request(&api, &request, None) {
                Ok(()) => ApiError::from_route(e, &request.method).into_response(),
                Err(refused) => refused.into_response(),
            };
        }
    };
    let label = route.label();
    let mut user = None;
    let answer = serve(&api, route, request, body, &mut user).await;
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    response.extensions_mut().insert(Served { label, user });
    response
}

/// A request with a route: let in, and answered.
async fn serve(
    api: &Api,
    route: Route,
    request: Parts,
    body: Body,
    user: &mut Option<String>,
) -> Result<Response, ApiError> {
    let counted = throttle::password(api, &request)?;
    let (route, mirror) = mirrored::meant(api, route, &request).await?;
    let authorized = access::authorize(api, &route, &request, user).await;
    let name = authorized.as_ref().ok().and_then(Caller::name);
    throttle::authenticated(api, &request, name, counted)?;
    let caller = authorized?;
    mirrored::refuse_push(api, &route)?;
    let empty = body.is_end_stream();
    let _slot = throttle::upload(api, &route, &request, caller.name(), empty)?;
    if route.changes() {
        read_only::check(api)?;
    }
    if !api.delete_enabled && matches!(route, Route::DeleteManifest(..) | Route::DeleteBlob(..)) {
        return Err(ApiError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "UNSUPPORTED",
            "deleting is disabled in this registry (delete.enabled)",
            serde_json::Value::Null,
        )
        .with_header(http::header::ALLOW, HeaderValue::from_static("GET, HEAD")));
    }
    let by = origin::of(api, &caller, &route, &request);
    let mirror = mirror.as_ref();
    dispatch(api, mirror, &caller, route, request, body, &by).await
}

/// Each route's handler.
async fn dispatch(
    api: &Api,
    mirror: Option<&Arc<Mirror>>,
    caller: &Caller,
    route: Route,
    request: Parts,
    body: Body,
    by: &RequestOrigin,
) -> Result<Response, ApiError> {
    let registry = &api.registry;
    match route {
        Route::Base => Ok(json("{}".into())),
        Route::Catalog => listing::catalog(api, caller, &request).await,
        Route::ListTags(name) => listing::tags(registry, mirror, &name, &request).await,
        Route::Referrers(name, digest) => {
            if let Some(mirror) = mirror {
                mirror.referrers(&name, &digest).await;
            }
            listing::referrers(registry, &name, &digest, &request).await
        }
        Route::GetManifest(name, reference) => {
            manifests::get(registry, mirror, &name, &reference, &request, by).await
        }
        Route::PutManifest(name, reference) => {
            manifests::put(registry, &name, &reference, &request, body, by).await
        }
        Route::DeleteManifest(name, reference) => {
            manifests::delete(registry, &name, &reference, &request, by).await
        }
        Route::GetBlob(name, digest) => {
            blobs::get(registry, mirror, &name, &digest, &request, by).await
        }
        Route::DeleteBlob(name, digest) => {
            blobs::delete(registry, &name, &digest, &request, by).await
        }
        Route::StartUpload(name) => uploads::start(api, caller, &name, &request, body, by).await,
        Route::UploadStatus(name, id) => uploads::status(registry, &name, id).await,
        Route::AppendUpload(name, id) => uploads::append(registry, &name, id, &request, body).await,
        Route::FinishUpload(name, id) => {
            uploads::finish(registry, &name, id, &request, body, by).await
        }
        Route::CancelUpload(name, id) => uploads::cancel(registry, &name, id).await,
    }
}
