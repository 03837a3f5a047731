//! Headers of the distribution API, and values for headers.

use http::header::{HeaderName, HeaderValue};

use crate::name::RepositoryName;

pub(in crate::http) const API_VERSION: HeaderName =
    HeaderName::from_static("docker-distribution-api-version");
pub(in crate::http) const CONTENT_DIGEST: HeaderName =
    HeaderName::from_static("docker-content-digest");
pub(in crate::http) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
pub(in crate::http) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(in crate::http) const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
pub(in crate::http) const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
pub(in crate::http) const OCI_FILTERS_APPLIED: HeaderName =
    HeaderName::from_static("oci-filters-applied");

/// A header's value from text that its type keeps within what headers can hold.
pub(in crate::http) fn value(text: impl std::fmt::Display) -> HeaderValue {
    // Names, digests and IDs are plain ASCII, so that this cannot fail.
    HeaderValue::try_from(text.to_string()).unwrap_or(HeaderValue::from_static(""))
}

/// Where a blob is.
pub(in crate::http) fn blob_location(
    repository: &RepositoryName,
    digest: &oci::Digest,
) -> HeaderValue {
    value(format_args!("/v2/{repository}/blobs/{digest}"))
}
