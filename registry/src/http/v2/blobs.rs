//! `/v2/<name>/blobs/<digest>`

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue,
    IF_RANGE, LOCATION, RANGE,
};
use http::request::Parts;
use http::{Method, StatusCode};
use oci::Digest;

use crate::events::RequestOrigin;
use crate::http::answer::{ApiError, CONTENT_DIGEST, empty, not_modified, value};
use crate::http::request::conditions::{self, Read};
use crate::http::request::{Part, Wanted, wanted};
use crate::mirror::{Arriving, Mirror, MirroredBlob};
use crate::name::{RepositoryName, UploadId};
use crate::service::{Blob, Content, Registry, ServiceError, lost};
use crate::storage::{Segment, Served, read_segments};

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

pub(super) async fn get(
    registry: &Arc<Registry>,
    mirror: Option<&Arc<Mirror>>,
    name: &RepositoryName,
    digest: &Digest,
    request: &Parts,
    by: &RequestOrigin,
) -> Result<Response, ApiError> {
    let head = request.method == Method::HEAD;
    let here = match head {
        true => registry.lease_blob(name, digest).await,
        false => registry.blob(name, digest).await,
    };
    let found = match (here, mirror) {
        (Err(ServiceError::BlobUnknown(_)), Some(mirror)) => match head {
            true => Found::Told(mirror.blob_size(name, digest).await?),
            false => mirror.blob(name, digest).await?.into(),
        },
        (here, _) => Found::Here(here?),
    };
    let size = found.size();
    let text = digest.to_string();
    let etag = value(format_args!("\"{text}\""));
    let read = conditions::read(&request.headers, digest);
    if !head
        && read == Read::Full
        && let Found::Here(blob) = &found
        && let Some(url) = registry.elsewhere(blob).await?
    {
        registry.tell_blob_pull(by, name, digest, size);
        let mut response = empty(StatusCode::TEMPORARY_REDIRECT);
        let headers = response.headers_mut();
        headers.insert(LOCATION, value(url));
        headers.insert(CONTENT_DIGEST, value(text));
        // Other than the blob, the URL ends some day.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        return Ok(response);
    }
    let mut response = if read == Read::Failed {
        return Err(ServiceError::Precondition.into());
    } else if read == Read::NotModified {
        not_modified()
    } else {
        let plan = Plan::new(range_of(request, &etag, size), size);
        if plan.status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Err(ApiError::new(
                plan.status,
                "SIZE_INVALID",
                format!("the blob has {size} bytes; the range is outside, or is none"),
                serde_json::json!({ "size": size }),
            )
            .with_header(CONTENT_RANGE, value(format_args!("bytes */{size}"))));
        }
        let body = match &found {
            _ if head => Body::empty(),
            Found::Told(_) => Body::empty(),
            Found::Here(blob) => match registry.content(blob).await? {
                Content::Bytes(bytes) => plan.slice(&bytes),
                Content::Stored(Served::File(file)) => {
                    Body::from_stream(read_segments(file, plan.segments))
                }
                Content::Stored(Served::Object(object)) => {
                    let body = object.read(plan.segments).await;
                    let body = body.map_err(ServiceError::from)?;
                    Body::from_stream(body.ok_or_else(|| lost(blob))?)
                }
            },
            Found::Arriving(arriving) => Body::from_stream(arriving.read(plan.segments)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = plan.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(plan.len));
        headers.insert(CONTENT_TYPE, plan.content_type);
        if let Some(range) = plan.content_range {
            headers.insert(CONTENT_RANGE, range);
        }
        response
    };
    if !head {
        registry.tell_blob_pull(by, name, digest, size);
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_DIGEST, value(text));
    headers.insert(ETAG, etag);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // What a digest names never changes.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=31536000"));
    Ok(response)
}

pub(super) async fn delete(
    registry: &Arc<Registry>,
    name: &RepositoryName,
    digest: &Digest,
    request: &Parts,
    by: &RequestOrigin,
) -> Result<Response, ApiError> {
    // What a digest names never changes: it is there, or it is not.
    if !conditions::write(&request.headers).holds(Some(digest)) {
        registry.blob(name, digest).await?;
        return Err(ServiceError::Precondition.into());
    }
    registry.delete_blob(name, digest, by).await?;
    let mut response = empty(StatusCode::ACCEPTED);
    response.headers_mut().insert(CONTENT_DIGEST, value(digest));
    Ok(response)
}

/// Where a blob is.
enum Found {
    Here(Arc<Blob>),
    Arriving(Arriving),
    /// At an upstream, and of this size.
    Told(u64),
}

impl Found {
    fn size(&self) -> u64 {
        match self {
            Self::Here(blob) => blob.size,
            Self::Arriving(arriving) => arriving.size,
            Self::Told(size) => *size,
        }
    }
}

impl From<MirroredBlob> for Found {
    fn from(blob: MirroredBlob) -> Self {
        match blob {
            MirroredBlob::Here(blob) => Self::Here(blob),
            MirroredBlob::Arriving(arriving) => Self::Arriving(arriving),
        }
    }
}

/// What is wanted, unless `If-Range` says that the client's part is of something else. Only a GET
/// has ranges (RFC 9110, section 14.2).
fn range_of(request: &Parts, etag: &HeaderValue, size: u64) -> Wanted {
    let headers = &request.headers;
    let Some(range) = headers.get(RANGE).filter(|_| request.method == Method::GET) else {
        return Wanted::Whole;
    };
    if headers.get(IF_RANGE).is_some_and(|tag| tag != etag) {
        return Wanted::Whole;
    }
    range
        .to_str()
        .map_or(Wanted::Unsatisfiable, |range| wanted(range, size))
}

/// An answer's shape, before a byte is read.
struct Plan {
    status: StatusCode,
    len: u64,
    content_type: HeaderValue,
    content_range: Option<HeaderValue>,
    segments: Vec<Segment>,
}

impl Plan {
    fn new(wanted: Wanted, size: u64) -> Self {
        match wanted {
            Wanted::Whole => Self {
                status: StatusCode::OK,
                len: size,
                content_type: OCTETS,
                content_range: None,
                segments: vec![Segment::File {
                    offset: 0,
                    len: size,
                }],
            },
            Wanted::Unsatisfiable => Self {
                status: StatusCode::RANGE_NOT_SATISFIABLE,
                len: 0,
                content_type: OCTETS,
                content_range: None,
                segments: Vec::new(),
            },
            Wanted::Parts(parts) => match parts[..] {
                [part] => Self {
                    status: StatusCode::PARTIAL_CONTENT,
                    len: part.len,
                    content_type: OCTETS,
                    content_range: Some(value(content_range(part, size))),
                    segments: vec![part.into()],
                },
                _ => Self::multipart(&parts, size),
            },
        }
    }

    /// `multipart/byteranges` (RFC 9110, section 14.6).
    fn multipart(parts: &[Part], size: u64) -> Self {
        let boundary = UploadId::random();
        let mut segments = Vec::with_capacity(parts.len() * 2 + 1);
        let mut len = 0;
        for &part in parts {
            let head = format!(
                "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n\
                 Content-Range: {}\r\n\r\n",
                content_range(part, size)
            );
            len += head.len() as u64 + part.len;
            segments.push(Segment::Bytes(head.into()));
            segments.push(part.into());
        }
        let tail = format!("\r\n--{boundary}--\r\n");
        len += tail.len() as u64;
        segments.push(Segment::Bytes(tail.into()));
        Self {
            status: StatusCode::PARTIAL_CONTENT,
            len,
            content_type: value(format_args!("multipart/byteranges; boundary={boundary}")),
            content_range: None,
            segments,
        }
    }

    /// The body, of a blob that is in memory.
    fn slice(&self, bytes: &Bytes) -> Body {
        let part = |segment: &Segment| match segment {
            Segment::Bytes(bytes) => bytes.clone(),
            Segment::File { offset, len } => {
                // Parts lie within the blob, and the blob is in memory.
                let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(bytes.len());
                bytes.slice(at(*offset)..at(offset + len))
            }
        };
        match &self.segments[..] {
            [segment] => part(segment).into(),
            segments => segments.iter().flat_map(part).collect::<Bytes>().into(),
        }
    }
}

impl From<Part> for Segment {
    fn from(part: Part) -> Self {
        Self::File {
            offset: part.start,
            len: part.len,
        }
    }
}

fn content_range(part: Part, size: u64) -> String {
    format!("bytes {}-{}/{size}", part.start, part.start + part.len - 1)
}
