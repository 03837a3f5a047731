//! Which handler answers which path.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::StatusCode;
use tower_http::catch_panic::CatchPanicLayer;

use super::answer::ApiError;
use super::api::Api;
use super::operations::{health, metrics, token};
use super::{admin, around, v2};

/// Every path: those that are fixed stand here, all others are the API's to know.
pub fn router(api: Api) -> Router {
    let api = Arc::new(api);
    // Asked in another way than they answer, fixed paths are as good as not there.
    let read = || any(v2::handle);
    let mut router = Router::new()
        .route("/", read().get(health::alive))
        .route("/healthz", read().get(health::alive))
        .route("/readyz", read().get(health::ready))
        .route("/auth/token", any(token::handle))
        .route("/api/v1/{*path}", any(admin::handle))
        .route("/v1/search", read().get(admin::docker))
        .fallback(v2::handle);
    if api.metrics_enabled {
        router = router.route("/metrics", read().get(metrics::handle));
    }
    router
        .layer(from_fn_with_state(Arc::clone(&api), around::handle))
        // A bug in one answer must not take the connection, and other requests on it, along.
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(api)
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
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
