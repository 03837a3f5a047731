//! What load balancers ask: is anybody listening, and can it serve?

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;

use crate::http::answer::text;
use crate::http::api::Api;

/// Whether a request is for these: whoever reaches the port may ask them.
pub(in crate::http) fn is_asked(request: &Parts) -> bool {
    matches!(request.uri.path(), "/" | "/healthz" | "/readyz")
}

/// `/` and `/healthz`: somebody is listening.
pub(in crate::http) async fn alive() -> Response {
    text("ok\n".to_owned())
}

/// `/readyz`: the metadata can be read.
pub(in crate::http) async fn ready(State(api): State<Arc<Api>>) -> Response {
    match api.registry.ready().await {
        Ok(()) => text("ok\n".to_owned()),
        Err(e) => {
            tracing::error!(error = %e, "not ready");
            let mut response = text("the metadata cannot be read\n".to_owned());
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response
        }
    }
}
