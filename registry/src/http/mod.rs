//! HTTP: requests into calls of the service, and its answers back.
//!
//! One handler for every path: [`Route::parse`] says what a request is, one file for each
//! resource answers it. A HEAD is answered as its GET without the body, so that the headers
//! cannot differ.

mod access;
mod blobs;
mod conditions;
mod error;
mod listing;
mod log;
mod manifests;
mod oauth;
mod origin;
mod pace;
mod query;
mod range;
mod throttle;
mod token;
mod unread;
mod uploads;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode, Version};
use http_body::{Body as _, Frame};
use tower_http::catch_panic::CatchPanicLayer;

use crate::auth::Auth;
use crate::config::Config;
use crate::events::RequestOrigin;
use crate::metrics::{Answered, Metrics};
use crate::name::RepositoryName;
use crate::route::{Route, RouteError};
use crate::service::{Registry, ServiceError};
use access::Caller;
use error::ApiError;
use log::AccessLog;
pub use origin::Peer;
use throttle::Throttle;
use unread::Unread;

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What requests are served with.
#[derive(Debug)]
pub struct Api {
    registry: Arc<Registry>,
    auth: Option<Arc<Auth>>,
    /// What clients reach this server by.
    scheme: &'static str,
    /// Where clients reach this server, when it is not what they say.
    url: Option<String>,
    delete_enabled: bool,
    metrics: Arc<Metrics>,
    metrics_enabled: bool,
    access_log: Option<AccessLog>,
    throttle: Throttle,
    body_idle: Option<Duration>,
}

impl Api {
    /// An API that lets everybody do everything.
    pub fn open(registry: Arc<Registry>) -> Self {
        Self {
            registry,
            auth: None,
            scheme: "http",
            url: None,
            delete_enabled: true,
            metrics: Arc::default(),
            metrics_enabled: true,
            access_log: None,
            throttle: Throttle::default(),
            body_idle: None,
        }
    }

    /// An API as the configuration has it.
    pub fn new(
        registry: Arc<Registry>,
        auth: Option<Arc<Auth>>,
        metrics: Arc<Metrics>,
        config: &Config,
    ) -> Self {
        Self {
            auth,
            scheme: if config.tls.is_some() {
                "https"
            } else {
                "http"
            },
            url: config.url.clone(),
            delete_enabled: config.delete_enabled,
            metrics,
            metrics_enabled: config.metrics,
            access_log: config.log_access.then_some(AccessLog {
                json: config.log_json,
            }),
            throttle: Throttle::new(&config.limits),
            body_idle: (!config.limits.body_idle.is_zero()).then_some(config.limits.body_idle),
            ..Self::open(registry)
        }
    }
}

/// The whole API.
pub fn router(api: Api) -> Router {
    // A bug in one answer must not take the connection, and other requests on it, along.
    Router::new()
        .fallback(handle)
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(Arc::new(api))
}

fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(
        panic = text.unwrap_or("unknown"),
        "a request could not be answered"
    );
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    let message = "the registry made a mistake; its log tells more";
    ApiError::new(status, "UNKNOWN", message, serde_json::Value::Null).into_response()
}

async fn handle(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (request, unread) = Unread::watch(request);
    let response = answer(&api, request).await;
    unread.settle(response).await
}

async fn answer(api: &Api, request: Request) -> Response {
    let begun = Instant::now();
    let (request, body) = request.into_parts();
    let head = request.method == Method::HEAD;
    let received = length(&request.headers);
    let line = api.access_log.as_ref().map(|log| log.begin(&request));
    let (body, cut) = match api.body_idle {
        Some(patience) if !body.is_end_stream() => {
            let (body, cut) = pace::paced(body, patience);
            (body, Some(cut))
        }
        _ => (body, None),
    };
    let route = Route::parse(&request.method, request.uri.path());
    let (label, user, mut response) = match route {
        _ if !names_one_host(&request) => ("none", None, hostless().into_response()),
        Ok(route) => {
            let label = route.label();
            let mut user = None;
            let id = line.as_ref().map(|line| line.id.as_str());
            let answer = serve(api, route, request, body, id, &mut user).await;
            (
                label,
                user,
                answer.unwrap_or_else(IntoResponse::into_response),
            )
        }
        Err(e) => ("none", None, elsewhere(api, e, &request, body).await),
    };
    if cut.is_some_and(|cut| cut.is_cut()) {
        response = throttle::too_slow(api).into_response();
    }
    let headers = response.headers_mut();
    headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    headers.insert(
        http::header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let sent = if head { 0 } else { length(headers) };
    if let Some(line) = &line {
        headers.insert(REQUEST_ID, value(&line.id));
    }
    let answered = Answered {
        label,
        status: response.status().as_u16(),
        time: begun.elapsed(),
        sent,
        received,
    };
    api.metrics.count(answered);
    if let Some(line) = line {
        line.end(answered, user.as_deref().unwrap_or("-"));
    }
    if head && response.status() != StatusCode::NOT_MODIFIED {
        *response.body_mut() = Body::empty();
    }
    response
}

/// HTTP/1.1 asks for exactly one `Host` (RFC 9112, section 3.2), so that all on the way agree on
/// whom a request is for.
fn names_one_host(request: &Parts) -> bool {
    request.version != Version::HTTP_11 || request.headers.get_all(HOST).iter().count() == 1
}

fn hostless() -> ApiError {
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "UNSUPPORTED",
        "a request has one Host header",
        serde_json::Value::Null,
    )
}

fn length(headers: &HeaderMap) -> u64 {
    headers
        .get(CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse().ok())
        .unwrap_or(0)
}

/// Paths outside of the registry API.
async fn elsewhere(api: &Api, e: RouteError, request: &Parts, body: Body) -> Response {
    let read = matches!(request.method, Method::GET | Method::HEAD);
    match request.uri.path() {
        token::PATH => match token::answer(api, request, body).await {
            Some(response) => response,
            None => ApiError::from_route(e, &request.method).into_response(),
        },
        // Load balancers ask here whether anybody is listening.
        "/" | "/healthz" if read => text("ok\n".to_owned()),
        "/readyz" if read => match api.registry.ready().await {
            Ok(()) => text("ok\n".to_owned()),
            Err(e) => {
                tracing::error!(error = %e, "not ready");
                let mut response = text("the metadata cannot be read\n".to_owned());
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                response
            }
        },
        "/metrics" if read && api.metrics_enabled => match metrics(api).await {
            Ok(response) => response,
            Err(e) => ApiError::from(e).into_response(),
        },
        // All but what load balancers and monitors ask counts.
        _ if let Err(refused) = throttle::request(api, request, None) => refused.into_response(),
        _ => ApiError::from_route(e, &request.method).into_response(),
    }
}

async fn metrics(api: &Api) -> Result<Response, ServiceError> {
    let usage = api.registry.usage().await?;
    let gauges = [
        (
            "uploads_open",
            "Upload sessions in use.",
            api.registry.open_uploads(),
        ),
        ("repositories", "Repositories.", usage.repositories),
        (
            "manifests",
            "Manifests, counted in each repository.",
            usage.manifests,
        ),
        ("tags", "Tags.", usage.tags),
        ("blobs", "Blobs stored, manifests included.", usage.blobs),
        ("stored_bytes", "Bytes of the blobs stored.", usage.bytes),
    ];
    let mut counters = api.metrics.render(&gauges);
    if let Some(subscribers) = api.registry.subscribers() {
        subscribers.render(&mut counters, &api.registry.waiting_events().await?);
    }
    let mut response = text(counters);
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    Ok(response)
}

/// A request with a route: let in, and answered.
async fn serve(
    api: &Api,
    route: Route,
    request: Parts,
    body: Body,
    id: Option<&str>,
    user: &mut Option<String>,
) -> Result<Response, ApiError> {
    let counted = throttle::password(api, &request)?;
    let authorized = access::authorize(api, &route, &request).await;
    let name = authorized.as_ref().ok().and_then(Caller::name);
    throttle::authenticated(api, &request, name, counted)?;
    let caller = authorized?;
    let empty = body.is_end_stream();
    let _slot = throttle::upload(api, &route, &request, caller.name(), empty)?;
    if api.access_log.is_some() {
        *user = caller.name().map(str::to_owned);
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
    let by = origin::of(api, &caller, &route, &request, id);
    dispatch(api, &caller, route, request, body, &by).await
}

async fn dispatch(
    api: &Api,
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
        Route::ListTags(name) => listing::tags(registry, &name, &request).await,
        Route::Referrers(name, digest) => {
            listing::referrers(registry, &name, &digest, &request).await
        }
        Route::GetManifest(name, reference) => {
            manifests::get(registry, &name, &reference, &request, by).await
        }
        Route::PutManifest(name, reference) => {
            manifests::put(registry, &name, &reference, &request, body, by).await
        }
        Route::DeleteManifest(name, reference) => {
            manifests::delete(registry, &name, &reference, &request, by).await
        }
        Route::GetBlob(name, digest) => blobs::get(registry, &name, &digest, &request, by).await,
        Route::DeleteBlob(name, digest) => {
            blobs::delete(registry, &name, &digest, &request, by).await
        }
        Route::StartUpload(name) => {
            uploads::start(registry, caller, &name, &request, body, by).await
        }
        Route::UploadStatus(name, id) => uploads::status(registry, &name, id).await,
        Route::AppendUpload(name, id) => uploads::append(registry, &name, id, &request, body).await,
        Route::FinishUpload(name, id) => {
            uploads::finish(registry, &name, id, &request, body, by).await
        }
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

/// A plain text answer.
fn text(body: String) -> Response {
    let mut response = json(body);
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
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

/// An answer to who has the content already. A length would be the content's (RFC 9110, section
/// 15.4.5), so there is none.
fn not_modified() -> Response {
    let mut response = Response::new(Body::new(NoLength));
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

/// An empty body that does not say that it is, and so gets no length from anybody on the way.
#[derive(Debug)]
struct NoLength;

impl http_body::Body for NoLength {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}

/// A header's value from text that its type keeps within what headers can hold.
fn value(text: impl std::fmt::Display) -> HeaderValue {
    // Names, digests and IDs are plain ASCII, so that this cannot fail.
    HeaderValue::try_from(text.to_string()).unwrap_or(HeaderValue::from_static(""))
}

fn blob_location(repository: &RepositoryName, digest: &oci::Digest) -> HeaderValue {
    value(format_args!("/v2/{repository}/blobs/{digest}"))
}
