//! `/v2/<name>/blobs/uploads/`

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderValue, LOCATION, RANGE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use oci::{Algorithm, Digest};
use serde_json::json;

use crate::events::RequestOrigin;
use crate::http::answer::{ApiError, CONTENT_DIGEST, UPLOAD_UUID, blob_location, empty, value};
use crate::http::api::Api;
use crate::http::guards::{Caller, throttle};
use crate::http::request::{Query, chunk};
use crate::name::{RepositoryName, UploadId};
use crate::service::{Intake, Registry, ServiceError};
use crate::storage::{ChunkRange, Upload, UploadError};

/// Begins an upload; or mounts a blob, or takes a whole one, when the query says so.
pub(super) async fn start(
    api: &Api,
    caller: &Caller,
    name: &RepositoryName,
    request: &Parts,
    body: Body,
    by: &RequestOrigin,
) -> Result<Response, ApiError> {
    let registry = &api.registry;
    let client = throttle::client(request, caller.name());
    let limits = api.throttle.sessions;
    let query = Query::of(request)?;
    if let Some(mount) = query.get("mount") {
        let digest = digest(mount)?;
        if mounted(registry, caller, name, query.get("from"), &digest, by).await? {
            return Ok(created(name, &digest));
        }
    }
    if let Some(text) = query.get("digest") {
        let digest = digest(text)?;
        let upload = registry
            .start_upload_of(client, limits, name, digest.algorithm(), false)
            .await?;
        let length = announced(&request.headers);
        let (this, whole, wanted) = (Arc::clone(registry), Arc::clone(&upload), digest.clone());
        // A task, which ends also when the client goes: nobody knows this session's name, so nobody
        // can go on with it.
        let filled = tokio::spawn(async move {
            let intake = Intake {
                length,
                digest: Some(&wanted),
            };
            let body = body.into_data_stream();
            let filled = this.append(&whole, body, None, intake).await;
            if let Err(e) = &filled
                && !matches!(e, ServiceError::Quota(_))
            {
                this.cancel_upload(&whole).await?;
            }
            filled
        });
        filled.await.map_err(ServiceError::from)??;
        registry.finish_upload(&upload, &digest, by).await?;
        return Ok(created(name, &digest));
    }
    let algorithm = match query.get("digest-algorithm") {
        None => Algorithm::Sha256,
        Some(text) => text.parse().map_err(|e| ApiError::digest(text, e))?,
    };
    let upload = registry
        .start_upload_of(client, limits, name, algorithm, true)
        .await?;
    Ok(progress(StatusCode::ACCEPTED, &upload))
}

async fn mounted(
    registry: &Arc<Registry>,
    caller: &Caller,
    name: &RepositoryName,
    from: Option<&str>,
    digest: &Digest,
    by: &RequestOrigin,
) -> Result<bool, ApiError> {
    if let Some(from) = from {
        let Ok(from) = from.parse::<RepositoryName>() else {
            return Ok(false);
        };
        // What the caller may not read is as good as not there.
        return Ok(caller.may_pull(from.as_str()) && registry.mount(&from, name, digest, by).await?);
    }
    for source in registry.repositories_with(digest).await? {
        // No token can be for repositories that the client doesn't know of.
        if caller.could_pull(source.as_str()) && registry.mount(&source, name, digest, by).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) async fn status(
    registry: &Arc<Registry>,
    name: &RepositoryName,
    id: UploadId,
) -> Result<Response, ApiError> {
    let upload = registry.upload(name, id).await?;
    let mut response = progress(StatusCode::NO_CONTENT, &upload);
    // Another request may be sending bytes right now.
    let so_far = up_to(upload.arrived());
    response.headers_mut().insert(RANGE, so_far);
    Ok(response)
}

pub(super) async fn append(
    registry: &Arc<Registry>,
    name: &RepositoryName,
    id: UploadId,
    request: &Parts,
    body: Body,
) -> Result<Response, ApiError> {
    let upload = registry.upload(name, id).await?;
    let range = content_range(&request.headers, &upload)?;
    let intake = intake(&request.headers, None);
    let body = body.into_data_stream();
    registry
        .append(&upload, body, range, intake)
        .await
        .map_err(|e| at(e, &upload))?;
    Ok(progress(StatusCode::ACCEPTED, &upload))
}

pub(super) async fn finish(
    registry: &Arc<Registry>,
    name: &RepositoryName,
    id: UploadId,
    request: &Parts,
    body: Body,
    by: &RequestOrigin,
) -> Result<Response, ApiError> {
    let query = Query::of(request)?;
    let Some(text) = query.get("digest") else {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "DIGEST_INVALID",
            "finishing an upload needs ?digest=",
            serde_json::Value::Null,
        ));
    };
    let digest = digest(text)?;
    let upload = registry.upload(name, id).await?;
    let range = content_range(&request.headers, &upload)?;
    let intake = intake(&request.headers, Some(&digest));
    let body = body.into_data_stream();
    registry
        .append(&upload, body, range, intake)
        .await
        .map_err(|e| at(e, &upload))?;
    registry.finish_upload(&upload, &digest, by).await?;
    Ok(created(name, &digest))
}

pub(super) async fn cancel(
    registry: &Arc<Registry>,
    name: &RepositoryName,
    id: UploadId,
) -> Result<Response, ApiError> {
    let upload = registry.upload(name, id).await?;
    registry.cancel_upload(&upload).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

fn intake<'d>(headers: &HeaderMap, digest: Option<&'d Digest>) -> Intake<'d> {
    Intake {
        length: announced(headers),
        digest,
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn digest(text: &str) -> Result<Digest, ApiError> {
    text.parse().map_err(|e| ApiError::digest(text, e))
}

/// The chunk's place as the client says it, checked against how many bytes it sends.
fn content_range(headers: &HeaderMap, upload: &Upload) -> Result<Option<ChunkRange>, ApiError> {
    let Some(header) = headers.get(CONTENT_RANGE) else {
        return Ok(None);
    };
    let range = header.to_str().ok().and_then(chunk).ok_or_else(|| {
        let error = ApiError::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "BLOB_UPLOAD_INVALID",
            "Content-Range of a chunk is `first-last`, both numbers of bytes",
            serde_json::Value::Null,
        );
        with_progress(error, upload)
    })?;
    if range.start != upload.received() {
        let offset = upload.received();
        return Err(at(UploadError::OutOfOrder { offset }.into(), upload));
    }
    let announced = announced(headers);
    let expected = range.end - range.start + 1;
    if let Some(actual) = announced
        && actual != expected
    {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "SIZE_INVALID",
            "provided length did not match content length",
            json!({ "expected": expected, "actual": actual }),
        ));
    }
    Ok(Some(range))
}

/// Errors that the client recovers from by going on elsewhere say where.
fn at(e: ServiceError, upload: &Upload) -> ApiError {
    let out_of_order = matches!(e, ServiceError::Upload(UploadError::OutOfOrder { .. }));
    let error = ApiError::from(e);
    if out_of_order {
        with_progress(error, upload)
    } else {
        error
    }
}

fn with_progress(error: ApiError, upload: &Upload) -> ApiError {
    error
        .with_header(LOCATION, location(upload))
        .with_header(RANGE, range(upload))
        .with_header(UPLOAD_UUID, value(upload.id()))
}

fn location(upload: &Upload) -> HeaderValue {
    let (name, id) = (upload.repository(), upload.id());
    value(format_args!("/v2/{name}/blobs/uploads/{id}"))
}

/// The bytes that are there; an empty upload says `0-0` as well, as Docker's registry does.
fn range(upload: &Upload) -> HeaderValue {
    up_to(upload.received())
}

fn up_to(received: u64) -> HeaderValue {
    value(format_args!("0-{}", received.saturating_sub(1)))
}

fn progress(status: StatusCode, upload: &Upload) -> Response {
    let mut response = empty(status);
    let headers = response.headers_mut();
    headers.insert(LOCATION, location(upload));
    headers.insert(RANGE, range(upload));
    headers.insert(UPLOAD_UUID, value(upload.id()));
    response
}

fn created(name: &RepositoryName, digest: &Digest) -> Response {
    let mut response = empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    headers.insert(LOCATION, blob_location(name, digest));
    headers.insert(CONTENT_DIGEST, value(digest));
    response
}
