//! HTTP: requests into calls of the service, and its answers back.
//!
//! One handler for every path: [`Route::parse`] says what a request is, one file for each
//! resource answers it. A HEAD is answered as its GET without the body, so that the headers
//! cannot differ.

mod blobs;
mod error;
mod listing;
mod manifests;
mod query;
mod range;
mod uploads;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};

use crate::name::RepositoryName;
use crate::route::Route;
use crate::service::Registry;
use error::ApiError;

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The whole API.
pub fn router(registry: Arc<Registry>) -> Router {
    Router::new().fallback(handle).with_state(registry)
}

async fn handle(State(registry): State<Arc<Registry>>, request: Request) -> Response {
    let (request, body) = request.into_parts();
    let path = request.uri.path();
    let head = request.method == Method::HEAD;
    let mut response = match Route::parse(&request.method, path) {
        Ok(route) => dispatch(&registry, route, request, body)
            .await
            .unwrap_or_else(IntoResponse::into_response),
        Err(e) if path == "/" && e == crate::route::RouteError::NotFound => {
            // Load balancers ask here whether anybody is listening.
            StatusCode::OK.into_response()
        }
        Err(e) => ApiError::from_route(e, &request.method).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    headers.insert(
        http::header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if head {
        *response.body_mut() = Body::empty();
    }
    response
}

async fn dispatch(
    registry: &Arc<Registry>,
    route: Route,
    request: Parts,
    body: Body,
) -> Result<Response, ApiError> {
    match route {
        Route::Base => Ok(json("{}".into())),
        Route::Catalog => listing::catalog(registry, &request).await,
        Route::ListTags(name) => listing::tags(registry, &name, &request).await,
        Route::Referrers(name, digest) => {
            listing::referrers(registry, &name, &digest, &request).await
        }
        Route::GetManifest(name, reference) => {
            manifests::get(registry, &name, &reference, &request).await
        }
        Route::PutManifest(name, reference) => {
            manifests::put(registry, &name, &reference, &request, body).await
        }
        Route::DeleteManifest(name, reference) => {
            manifests::delete(registry, &name, &reference).await
        }
        Route::GetBlob(name, digest) => blobs::get(registry, &name, &digest, &request).await,
        Route::DeleteBlob(name, digest) => blobs::delete(registry, &name, &digest).await,
        Route::StartUpload(name) => uploads::start(registry, &name, &request, body).await,
        Route::UploadStatus(name, id) => uploads::status(registry, &name, id).await,
        Route::AppendUpload(name, id) => uploads::append(registry, &name, id, &request, body).await,
        Route::FinishUpload(name, id) => uploads::finish(registry, &name, id, &request, body).await,
        Route::CancelUpload(name, id) => uploads::cancel(registry, &name, id).await,
    }
}

/// A JSON answer.
fn json(body: String) -> Response {
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    *response.body_mut() = body.into();
    response
}

/// An answer without a body.
fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT {
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(0));
    }
    response
}

/// A header's value from text that its type keeps within what headers can hold.
fn value(text: impl std::fmt::Display) -> HeaderValue {
    // Names, digests and IDs are plain ASCII, so that this cannot fail.
    HeaderValue::try_from(text.to_string()).unwrap_or(HeaderValue::from_static(""))
}

fn blob_location(repository: &RepositoryName, digest: &oci::Digest) -> HeaderValue {
    value(format_args!("/v2/{repository}/blobs/{digest}"))
}

/// Whether `If-None-Match` names this entity tag, so that the client has the content already.
fn not_modified(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers
        .get_all(http::header::IF_NONE_MATCH)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == "*" || tag.as_bytes() == etag.as_bytes())
}
