//! What is done around every answer: the log, the metrics, headers that all have, and bodies that
//! come slowly or not at all.
//!
//! A HEAD is answered as its GET without the body, so that the headers cannot differ.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, StatusCode, Version};
use http_body::Body as _;

use super::answer::{API_VERSION, ApiError, REQUEST_ID, Refusal, Served, value};
use super::api::Api;
use super::guards::pace::{Cut, paced};
use super::guards::{Unread, throttle};
use super::operations::health;
use super::request::{ClientCertificate, RequestId, address, see_through};
use crate::metrics::Answered;
use crate::route::repository_in;

/// Has a request answered, and sees to it that its connection can go on.
pub(super) async fn handle(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let (request, unread) = Unread::watch(request);
    let response = answer(&api, request, next).await;
    unread.settle(response).await
}

async fn answer(api: &Api, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let (mut request, body) = request.into_parts();
    if let Some(proxies) = &api.front.proxies {
        see_through(proxies, &mut request);
    }
    let head = request.method == Method::HEAD;
    let received = length(&request.headers);
    let line = api.access_log.as_ref().map(|log| log.begin(&request));
    if let Some(line) = &line {
        request.extensions.insert(RequestId(line.id.clone()));
    }
    let told = Told::of(&request);
    let (body, cut) = waited_for(api, body);
    let mut response = match refusal(api, &request) {
        None => next.run(Request::from_parts(request, body)).await,
        Some(refusal) => {
            drop(body);
            refusal.into_response()
        }
    };
    let served = response.extensions_mut().remove::<Served>();
    let (label, user) = served.map_or(("none", None), |served| (served.label, served.user));
    let refusal = response.extensions_mut().remove::<Refusal>();
    let code = refusal
        .as_ref()
        .map_or("-", |refusal| refusal.code.as_str());
    if let Some(refusal) = &refusal {
        tell(refusal, response.status(), user.as_deref(), &told);
    }
    let code = code.to_owned();
    if cut.is_some_and(|cut| cut.is_cut()) {
        response = throttle::too_slow(api).into_response();
    }
    let headers = response.headers_mut();
    let own: Vec<HeaderName> = match api.front.headers.is_empty() {
        true => Vec::new(),
        false => headers.keys().cloned().collect(),
    };
    for (name, value) in &api.front.headers {
        if !own.contains(name) {
            headers.append(name, value.clone());
        }
    }
    headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    headers
        .entry(X_CONTENT_TYPE_OPTIONS)
        .or_insert(HeaderValue::from_static("nosniff"));
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
        line.end(answered, user.as_deref().unwrap_or("-"), &code);
    }
    if head && response.status() != StatusCode::NOT_MODIFIED {
        *response.body_mut() = Body::empty();
    }
    response
}

/// A body that is not waited for too long, where there is a limit to that.
fn waited_for(api: &Api, body: Body) -> (Body, Option<Cut>) {
    match api.body_idle {
        Some(patience) if !body.is_end_stream() => {
            let (body, cut) = paced(body, patience);
            (body, Some(cut))
        }
        _ => (body, None),
    }
}

/// What the log says of a request that was refused.
struct Told {
    client: IpAddr,
    method: Method,
    path: String,
}

impl Told {
    fn of(request: &http::request::Parts) -> Self {
        Self {
            client: address(request),
            method: request.method.clone(),
            path: request.uri.path().to_owned(),
        }
    }
}

/// Tells of a request that was refused, in quotes where a client could have made it up. Who was
/// kept from something is worth a warning. What is only not there is no refusal, and what failed
/// here is told where it failed.
fn tell(refusal: &Refusal, status: StatusCode, user: Option<&str>, told: &Told) {
    let repository = repository_in(&told.path);
    let repository = repository.as_ref().map_or("-", |name| name.as_str());
    macro_rules! line {
        ($level:expr) => {
            tracing::event!(
                $level,
                status = status.as_u16(),
                code = refusal.code,
                reason = ?refusal.message,
                user = ?user.unwrap_or("-"),
                repository,
                client = %told.client,
                method = %told.method,
                path = ?told.path,
                "refused"
            )
        };
    }
    match status {
        _ if refusal.kept_out => line!(tracing::Level::WARN),
        StatusCode::NOT_FOUND | StatusCode::RANGE_NOT_SATISFIABLE => line!(tracing::Level::DEBUG),
        status if status.is_client_error() => line!(tracing::Level::INFO),
        _ => line!(tracing::Level::DEBUG),
    }
}

/// What is wrong with a request, whatever it is for.
fn refusal(api: &Api, request: &http::request::Parts) -> Option<ApiError> {
    if !names_one_host(request) {
        return Some(hostless());
    }
    let certified = request.extensions.get::<ClientCertificate>().is_some();
    (api.certificates && !certified && !health::is_asked(request)).then(uncertified)
}

/// HTTP/1.1 asks for exactly one `Host` (RFC 9112, section 3.2), so that all on the way agree on
/// whom a request is for.
fn names_one_host(request: &http::request::Parts) -> bool {
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

fn uncertified() -> ApiError {
    ApiError::new(
        StatusCode::FORBIDDEN,
        "DENIED",
        "a client certificate is needed (tls.client_ca)",
        serde_json::Value::Null,
    )
    .refused()
}

fn length(headers: &HeaderMap) -> u64 {
    headers
        .get(CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse().ok())
        .unwrap_or(0)
}
