//! `/metrics`: counters and gauges, as Prometheus reads them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderValue};

use crate::http::answer::{ApiError, text};
use crate::http::api::Api;
use crate::service::ServiceError;

/// Answers with the numbers of now.
pub(in crate::http) async fn handle(State(api): State<Arc<Api>>) -> Response {
    match render(&api).await {
        Ok(response) => response,
        Err(e) => ApiError::from(e).into_response(),
    }
}

async fn render(api: &Api) -> Result<Response, ServiceError> {
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
    if let Some(mirror) = &api.mirror {
        mirror.render(&mut counters);
    }
    if let Some(replication) = &api.replication {
        replication.render(&mut counters).await?;
    }
    let mut response = text(counters);
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    Ok(response)
}
