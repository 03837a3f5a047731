//! What answers are made of: bodies, headers, errors as the specification has them.

mod body;
mod error;
mod headers;
mod served;

pub(super) use body::{empty, json, not_modified, text};
pub(super) use error::{ApiError, Refusal};
pub(super) use headers::{
    API_VERSION, CONTENT_DIGEST, OCI_FILTERS_APPLIED, OCI_SUBJECT, OCI_TAG, REQUEST_ID,
    UPLOAD_UUID, blob_location, value,
};
pub(super) use served::Served;
