//! What is deleted, put back and collected.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body_util::{BodyExt, Limited};
use oci::Digest;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::shown::show;
use crate::control;
use crate::events::{Action, RequestOrigin};
use crate::http::answer::ApiError;
use crate::http::api::Api;
use crate::http::guards::Caller;
use crate::http::request::conditions;
use crate::http::v2::origin;
use crate::name::{ManifestRef, RepositoryName, Tag};
use crate::service::{CollectOptions, Preview, ServiceError};

/// Bytes of a request's body.
const MAX_BODY: usize = 64 << 10;

fn origin(api: &Api, caller: &Caller, request: &Parts, action: Action) -> RequestOrigin {
    origin::acting(api, caller, &[action], request)
}

pub(super) async fn delete_repository(
    api: &Api,
    caller: &Caller,
    request: &Parts,
    name: &RepositoryName,
    trial: bool,
) -> Result<Response, ApiError> {
    if trial {
        return show(&api.registry.preview_repository(name).await?);
    }
    let by = origin(api, caller, request, Action::Delete);
    let going = api.registry.delete_repository(name, &by).await?;
    show(&Preview {
        going,
        refused: None,
    })
}

pub(super) async fn delete_manifest(
    api: &Api,
    caller: &Caller,
    request: &Parts,
    name: &RepositoryName,
    reference: &ManifestRef,
    trial: bool,
) -> Result<Response, ApiError> {
    let preview = api.registry.preview_manifest(name, reference).await?;
    if trial {
        return show(&preview);
    }
    let by = origin(api, caller, request, Action::Delete);
    let precondition = conditions::write(&request.headers);
    let deleted = api
        .registry
        .delete_manifest(name, reference, precondition, &by);
    deleted.await?;
    show(&Preview {
        refused: None,
        ..preview
    })
}

/// What is put back.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RestoreRequest {
    tag: Option<String>,
    digest: Option<String>,
}

pub(super) async fn restore(
    api: &Api,
    caller: &Caller,
    request: &Parts,
    body: Body,
    name: &RepositoryName,
) -> Result<Response, ApiError> {
    let wanted: RestoreRequest = read(request, body).await?;
    let tag: Option<Tag> = match wanted.tag {
        Some(tag) => Some(tag.parse().map_err(ServiceError::from)?),
        None => None,
    };
    let digest: Option<Digest> = match &wanted.digest {
        Some(text) => Some(text.parse().map_err(|e| ApiError::digest(text, e))?),
        None => None,
    };
    let by = origin(api, caller, request, Action::Push);
    let restored = api
        .registry
        .undelete(name, tag.as_ref(), digest.as_ref(), &by)
        .await?;
    show(&json!({ "name": name.as_str(), "tags": restored }))
}

/// How garbage is collected.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CollectRequest {
    #[serde(default)]
    dry_run: bool,
}

pub(super) async fn collect(
    api: &Api,
    caller: &Caller,
    request: &Parts,
    body: Body,
) -> Result<Response, ApiError> {
    let wanted: CollectRequest = read(request, body).await?;
    let options = CollectOptions {
        grace: api.gc_grace,
        dry_run: wanted.dry_run,
        every_file: true,
    };
    let by = origin(api, caller, request, Action::Delete);
    show(&control::collect(&api.registry, &api.metrics, options, &by).await?)
}

/// A request's JSON. It has to say that it is that: no page of another site can have a browser send
/// it then, with the password that the browser remembers.
pub(super) async fn read<T: DeserializeOwned>(request: &Parts, body: Body) -> Result<T, ApiError> {
    let kind = request.headers.get(CONTENT_TYPE);
    let kind = kind.and_then(|v| v.to_str().ok()?.split(';').next());
    if !kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UNSUPPORTED",
            "the body is JSON, and Content-Type: application/json says so; {} will do",
            Value::Null,
        ));
    }
    let wrong =
        |why: String| ApiError::new(StatusCode::BAD_REQUEST, "UNSUPPORTED", why, Value::Null);
    let read = Limited::new(body, MAX_BODY).collect().await;
    let bytes = read
        .map_err(|e| wrong(format!("reading the body failed: {e}")))?
        .to_bytes();
    serde_json::from_slice(&bytes).map_err(|e| wrong(format!("the body: {e}")))
}
