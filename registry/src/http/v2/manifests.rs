//! `/v2/<name>/manifests/<reference>`

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::header::{
    CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, LOCATION, USER_AGENT, WARNING,
};
use http::request::Parts;
use http::{Method, StatusCode};
use oci::MediaType;
use oci::manifest::MAX_MANIFEST_SIZE;

use crate::events::RequestOrigin;
use crate::http::answer::{
    ApiError, CONTENT_DIGEST, OCI_SUBJECT, OCI_TAG, empty, not_modified, value,
};
use crate::http::guards::mirrored::warning;
use crate::http::request::Query;
use crate::http::request::conditions::{self, Read};
use crate::mirror::Mirror;
use crate::name::{ManifestRef, RepositoryName, Tag};
use crate::service::{Push, Registry, ServiceError};

pub(super) async fn get(
    registry: &Arc<Registry>,
    mirror: Option<&Arc<Mirror>>,
    name: &RepositoryName,
    reference: &ManifestRef,
    request: &Parts,
    by: &RequestOrigin,
) -> Result<Response, ApiError> {
    let (manifest, stale) = match mirror {
        None => (registry.manifest(name, reference).await?, None),
        Some(mirror) => {
            let shown = mirror.manifest(name, reference).await?;
            (shown.manifest, shown.stale)
        }
    };
    let mut response = match conditions::read(&request.headers, &manifest.row.digest) {
        Read::Failed => return Err(ServiceError::Precondition.into()),
        Read::NotModified => not_modified(),
        Read::Full => {
            let mut response = Response::new(Body::from(manifest.bytes.clone()));
            response
                .headers_mut()
                .insert(CONTENT_LENGTH, HeaderValue::from(manifest.bytes.len()));
            response
        }
    };
    let head = request.method == Method::HEAD;
    if !head {
        registry.manifest_pulled(name, reference, &manifest, by);
    }
    // docker and containerd ask for what a tag is, and for no more where they have that. By digest
    // a HEAD says nothing: clients that push ask so as well.
    if !head || matches!(reference, ManifestRef::Tag(_)) {
        let agent = request.headers.get(USER_AGENT);
        let agent = agent.and_then(|v| v.to_str().ok()).unwrap_or_default();
        registry.note_pull(name, &manifest, agent);
    }
    let digest = manifest.row.digest.to_string();
    let etag = value(format_args!("\"{digest}\""));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, value(&manifest.row.media_type));
    headers.insert(CONTENT_DIGEST, value(digest));
    headers.insert(ETAG, etag);
    if let Some(stale) = stale {
        headers.insert(WARNING, warning(stale));
    }
    Ok(response)
}

pub(super) async fn put(
    registry: &Arc<Registry>,
    name: &RepositoryName,
    reference: &ManifestRef,
    request: &Parts,
    body: Body,
    by: &RequestOrigin,
) -> Result<Response, ApiError> {
    let query = Query::of(request)?;
    let tags = match reference {
        ManifestRef::Digest(_) => query
            .all("tag")
            .map(str::parse)
            .collect::<Result<Vec<Tag>, _>>()
            .map_err(ServiceError::from)?,
        ManifestRef::Tag(_) => Vec::new(),
    };
    let push = Push {
        bytes: read(&request.headers, body).await?,
        content_type: content_type(&request.headers),
        tags: tags.clone(),
        precondition: conditions::write(&request.headers),
    };
    let pushed = registry.put_manifest(name, reference, push, by).await?;
    let mut response = empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    let digest = &pushed.digest;
    headers.insert(
        LOCATION,
        value(format_args!("/v2/{name}/manifests/{digest}")),
    );
    headers.insert(CONTENT_DIGEST, value(digest));
    if let Some(subject) = &pushed.subject {
        headers.insert(OCI_SUBJECT, value(subject));
    }
    for tag in &tags {
        headers.append(OCI_TAG, value(tag));
    }
    Ok(response)
}

pub(super) async fn delete(
    registry: &Arc<Registry>,
    name: &RepositoryName,
    reference: &ManifestRef,
    request: &Parts,
    by: &RequestOrigin,
) -> Result<Response, ApiError> {
    let precondition = conditions::write(&request.headers);
    registry
        .delete_manifest(name, reference, precondition, by)
        .await?;
    Ok(empty(StatusCode::ACCEPTED))
}

/// The media type that a manifest comes as, without parameters.
fn content_type(headers: &HeaderMap) -> Option<MediaType> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = text.split(';').next().unwrap_or_default().trim();
    (!essence.is_empty()).then(|| MediaType::new(essence))
}

/// A manifest's bytes, never more than the limit.
async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    let too_large = || ServiceError::ManifestTooLarge(MAX_MANIFEST_SIZE);
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse::<usize>().ok());
    if announced.is_some_and(|len| len > MAX_MANIFEST_SIZE) {
        return Err(too_large().into());
    }
    let mut body = body.into_data_stream();
    let mut bytes = BytesMut::with_capacity(announced.unwrap_or_default());
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|e| {
            ServiceError::ManifestInvalid(format!("reading the request body failed: {e}"))
        })?;
        if bytes.len() + chunk.len() > MAX_MANIFEST_SIZE {
            return Err(too_large().into());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}
