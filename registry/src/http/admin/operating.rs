//! What operators look at: what happened, upstreams, and whether anything may change.

use axum::response::Response;
use serde_json::{Value, json};

use super::shown::{bad, show};
use crate::http::answer::ApiError;
use crate::http::api::Api;
use crate::http::request::Query;
use crate::meta::ActivityQuery;

/// Lines of a page when the client does not say.
const PAGE: u32 = 100;
/// Lines of a page at most.
const MOST: u32 = 1000;

pub(super) async fn activity(api: &Api, query: &Query) -> Result<Response, ApiError> {
    let text = |name: &str| {
        let given = query.get(name).filter(|text| !text.is_empty());
        given.map(str::to_owned)
    };
    let before = match text("before") {
        None => None,
        Some(text) => match text.parse() {
            Ok(number) => Some(number),
            Err(_) => return Err(bad("before", "a number", &text)),
        },
    };
    let n = query.n()?.unwrap_or(PAGE).clamp(1, MOST);
    let wanted = ActivityQuery {
        user: text("user"),
        repository: text("repository"),
        action: text("action"),
        before,
        n,
    };
    let found = api.registry.activity(&wanted).await?;
    let full = found.len() == n as usize;
    let next = found.last().filter(|_| full).map(|last| last.number);
    let lines = found.into_iter().map(|one| Value::Object(one.line));
    show(&json!({ "activity": lines.collect::<Vec<_>>(), "next": next }))
}

pub(super) async fn mirrors(api: &Api) -> Result<Response, ApiError> {
    let mirror = match &api.mirror {
        Some(mirror) => Some(mirror.state().await?),
        None => None,
    };
    show(&json!({ "mirror": mirror }))
}

pub(super) fn state(api: &Api) -> Result<Response, ApiError> {
    show(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "read_only": api.is_read_only(),
        "delete_enabled": api.delete_enabled,
    }))
}
