//! Errors as the distribution spec has them: a status, and codes in JSON.

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode};
use oci::Digest;
use oci::digest::DigestError;
use serde_json::{Value, json};

use super::body::json as json_answer;
use crate::meta::MetaError;
use crate::name::{ManifestRef, NameError, RepositoryName};
use crate::route::RouteError;
use crate::service::ServiceError;
use crate::storage::{StorageError, UploadError};

/// An answer that says no.
#[derive(Debug)]
pub(in crate::http) struct ApiError {
    status: StatusCode,
    errors: Vec<Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    refused: bool,
}

/// The code of an answer that says no, for the log, as an extension of it.
#[derive(Clone, Debug)]
pub(in crate::http) struct Refusal {
    /// The first error's code.
    pub(in crate::http) code: String,
    /// What it says.
    pub(in crate::http) message: String,
    /// Whether somebody was kept from something, rather than asked to log in first.
    pub(in crate::http) kept_out: bool,
}

impl ApiError {
    pub(in crate::http) fn new(
        status: StatusCode,
        code: &str,
        message: impl Into<String>,
        detail: Value,
    ) -> Self {
        Self {
            status,
            errors: vec![json!({
                "code": code,
                "message": message.into(),
                "detail": detail,
            })],
            headers: Vec::new(),
            refused: false,
        }
    }

    /// The answer as a problem in JSON (RFC 9457), with the same errors in it.
    pub(in crate::http) fn problem(self) -> Response {
        let first = self.errors.first();
        let detail = first.map(|error| error["message"].clone());
        let body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "detail": detail,
            "errors": self.errors,
        });
        let mut response = self.into_response();
        let body = body.to_string();
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        *response.body_mut() = body.into();
        response
    }

    /// The same as a refusal of who asked, which operators want to know of.
    pub(in crate::http) fn refused(mut self) -> Self {
        self.refused = true;
        self
    }

    pub(in crate::http) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(in crate::http) fn digest(text: &str, cause: DigestError) -> Self {
        ServiceError::DigestFormat {
            text: text.to_owned(),
            cause,
        }
        .into()
    }

    pub(in crate::http) fn from_route(e: RouteError, method: &Method) -> Self {
        let bad = |code, message: String, detail| {
            Self::new(StatusCode::BAD_REQUEST, code, message, detail)
        };
        match e {
            RouteError::NotFound => Self::new(
                StatusCode::NOT_FOUND,
                "UNSUPPORTED",
                "no such path in the registry API",
                Value::Null,
            ),
            RouteError::Method(allow) => Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "UNSUPPORTED",
                format!("{method} is not supported here; {allow} are"),
                Value::Null,
            )
            .with_header(ALLOW, HeaderValue::from_static(allow)),
            RouteError::Name(name) => bad(
                "NAME_INVALID",
                NameError::Repository.to_string(),
                json!({ "name": name }),
            ),
            RouteError::Digest(digest) => bad(
                "DIGEST_INVALID",
                "not a digest of a supported algorithm (sha256, sha512)".to_owned(),
                json!({ "digest": digest }),
            ),
            // No manifest can have such a tag: asking for one finds none, pushing one is wrong.
            RouteError::Reference(tag) if method == Method::PUT => bad(
                "TAG_INVALID",
                NameError::Tag.to_string(),
                json!({ "tag": tag }),
            ),
            RouteError::Reference(tag) => Self::new(
                StatusCode::NOT_FOUND,
                "MANIFEST_UNKNOWN",
                "manifest unknown",
                json!({ "tag": tag }),
            ),
            RouteError::Upload(id) => Self::new(
                StatusCode::NOT_FOUND,
                "BLOB_UPLOAD_UNKNOWN",
                "blob upload unknown to registry",
                json!({ "id": id }),
            ),
        }
    }
}

impl From<ServiceError> for ApiError {
    fn from(e: ServiceError) -> Self {
        let message = e.to_string();
        match e {
            ServiceError::BlobUnknown(digest) => Self::new(
                StatusCode::NOT_FOUND,
                "BLOB_UNKNOWN",
                "blob unknown to registry",
                json!({ "digest": digest.to_string() }),
            ),
            ServiceError::ManifestUnknown {
                repository,
                reference,
            } => manifest_unknown(&repository, &reference),
            ServiceError::NothingToRestore(name) => Self::new(
                StatusCode::NOT_FOUND,
                "MANIFEST_UNKNOWN",
                message,
                json!({ "name": name.as_str() }),
            ),
            ServiceError::NameUnknown(name) => Self::new(
                StatusCode::NOT_FOUND,
                "NAME_UNKNOWN",
                "repository name not known to registry",
                json!({ "name": name.as_str() }),
            ),
            ServiceError::Name(name) => {
                let code = match name {
                    NameError::Repository => "NAME_INVALID",
                    NameError::Tag => "TAG_INVALID",
                    NameError::Upload => "BLOB_UPLOAD_UNKNOWN",
                };
                Self::new(StatusCode::BAD_REQUEST, code, message, Value::Null)
            }
            ServiceError::DigestFormat { text, .. } => Self::new(
                StatusCode::BAD_REQUEST,
                "DIGEST_INVALID",
                message,
                json!({ "digest": text }),
            ),
            ServiceError::DigestMismatch { expected, actual } => Self::new(
                StatusCode::BAD_REQUEST,
                "DIGEST_INVALID",
                "provided digest did not match uploaded content",
                json!({ "digest": expected.to_string(), "actual": actual.to_string() }),
            ),
            ServiceError::TagImmutable(tag) | ServiceError::Needed(tag) => Self::new(
                StatusCode::FORBIDDEN,
                "DENIED",
                message,
                json!({ "tag": tag }),
            ),
            ServiceError::Precondition => Self::new(
                StatusCode::PRECONDITION_FAILED,
                "DENIED",
                message,
                Value::Null,
            ),
            ServiceError::ManifestInvalid(_) => Self::new(
                StatusCode::BAD_REQUEST,
                "MANIFEST_INVALID",
                message,
                Value::Null,
            ),
            ServiceError::ManifestTooLarge(limit) => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "MANIFEST_INVALID",
                message,
                json!({ "limit": limit }),
            ),
            ServiceError::ManifestBlobUnknown(digests) => blobs_unknown(&digests),
            ServiceError::Quota(e) => Self::new(
                StatusCode::FORBIDDEN,
                "DENIED",
                message,
                json!({ "limit": e.limit, "used": e.used, "wanted": e.wanted }),
            ),
            ServiceError::TooManyUploads => too_many_uploads(message),
            ServiceError::Upload(e) => upload(&e),
            ServiceError::Storage(e) => storage(&e),
            ServiceError::Meta(e @ (MetaError::Unreachable(_) | MetaError::Taken(_))) => {
                unavailable(&e.to_string(), "the registry's database does not answer")
            }
            ServiceError::Archive(_)
            | ServiceError::Output(_)
            | ServiceError::Inside(_)
            | ServiceError::NoBackup(_)
            | ServiceError::NoDatabase(_)
            | ServiceError::NotEmpty(_)
            | ServiceError::DatabaseMissing(_)
            | ServiceError::DatabaseSound(_)
            | ServiceError::Meta(_) => failed(&message),
        }
    }
}

/// What storage did not do.
fn storage(e: &StorageError) -> ApiError {
    if e.is_full() {
        tracing::error!(error = %e, "the disk is full");
        let message = "the registry's disk is full";
        let status = StatusCode::INSUFFICIENT_STORAGE;
        return ApiError::new(status, "DENIED", message, Value::Null);
    }
    if let StorageError::TooLarge(limit) = e {
        let (status, detail) = (StatusCode::PAYLOAD_TOO_LARGE, json!({ "limit": limit }));
        return ApiError::new(status, "SIZE_INVALID", e.to_string(), detail);
    }
    if e.is_unavailable() {
        let message = "the registry's object store does not answer as it should";
        return unavailable(&e.to_string(), message);
    }
    failed(&e.to_string())
}

/// What may be asked again in a while.
fn unavailable(why: &str, message: &str) -> ApiError {
    tracing::error!(error = %why, "a request failed");
    let status = StatusCode::SERVICE_UNAVAILABLE;
    ApiError::new(status, "UNAVAILABLE", message, Value::Null)
        .with_header(RETRY_AFTER, HeaderValue::from_static("5"))
}

/// What failed is for the log: clients need not know paths.
fn failed(why: &str) -> ApiError {
    tracing::error!(error = %why, "a request failed");
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    let message = "the registry failed; its log says why";
    ApiError::new(status, "UNKNOWN", message, Value::Null)
}

fn too_many_uploads(message: String) -> ApiError {
    let status = StatusCode::TOO_MANY_REQUESTS;
    ApiError::new(status, "TOOMANYREQUESTS", message, Value::Null)
        .with_header(RETRY_AFTER, HeaderValue::from_static("60"))
}

fn manifest_unknown(repository: &RepositoryName, reference: &ManifestRef) -> ApiError {
    let key = match reference {
        ManifestRef::Tag(_) => "tag",
        ManifestRef::Digest(_) => "digest",
    };
    ApiError::new(
        StatusCode::NOT_FOUND,
        "MANIFEST_UNKNOWN",
        "manifest unknown",
        json!({ "name": repository.as_str(), key: reference.to_string() }),
    )
}

/// One error for each blob that a manifest needs and nobody pushed.
fn blobs_unknown(digests: &[Digest]) -> ApiError {
    let unknown = |digest: &Digest| {
        json!({
            "code": "MANIFEST_BLOB_UNKNOWN",
            "message": "manifest references a manifest or blob unknown to registry",
            "detail": { "digest": digest.to_string() },
        })
    };
    ApiError {
        status: StatusCode::BAD_REQUEST,
        errors: digests.iter().map(unknown).collect(),
        headers: Vec::new(),
        refused: false,
    }
}

fn upload(e: &UploadError) -> ApiError {
    let (status, code, detail) = match e {
        UploadError::Unknown => (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", Value::Null),
        UploadError::Busy => (StatusCode::CONFLICT, "BLOB_UPLOAD_INVALID", Value::Null),
        UploadError::OutOfOrder { offset } => (
            StatusCode::RANGE_NOT_SATISFIABLE,
            "BLOB_UPLOAD_INVALID",
            json!({ "offset": offset }),
        ),
        UploadError::Size { expected, actual } => (
            StatusCode::BAD_REQUEST,
            "SIZE_INVALID",
            json!({ "expected": expected, "actual": actual }),
        ),
        UploadError::Digest { actual } => (
            StatusCode::BAD_REQUEST,
            "DIGEST_INVALID",
            json!({ "actual": actual.to_string() }),
        ),
        UploadError::Body(_) | UploadError::Storage(_) => {
            (StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", Value::Null)
        }
    };
    ApiError::new(status, code, e.to_string(), detail)
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let text = |name: &str| {
            let text = self.errors.first().and_then(|error| error[name].as_str());
            text.unwrap_or_default().to_owned()
        };
        let refusal = Refusal {
            code: text("code"),
            message: text("message"),
            kept_out: self.refused,
        };
        let mut response = json_answer(json!({ "errors": self.errors }).to_string());
        *response.status_mut() = self.status;
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response.extensions_mut().insert(refusal);
        response
    }
}
