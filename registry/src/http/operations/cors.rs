//! Pages elsewhere whose scripts use this registry (CORS, in the Fetch standard).

use std::time::Duration;

use http::header::{
    ALLOW, CONTENT_LENGTH, CONTENT_RANGE, ETAG, LINK, LOCATION, RANGE, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::{HeaderName, Method};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::config::Cors;
use crate::http::answer::{
    API_VERSION, CONTENT_DIGEST, OCI_FILTERS_APPLIED, OCI_SUBJECT, OCI_TAG, REQUEST_ID, UPLOAD_UUID,
};

/// How long a browser need not ask again.
const REMEMBERED: Duration = Duration::from_secs(600);

/// What scripts may read of an answer, beside what they always may.
const EXPOSED: [HeaderName; 16] = [
    ALLOW,
    API_VERSION,
    CONTENT_DIGEST,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    ETAG,
    LINK,
    LOCATION,
    OCI_FILTERS_APPLIED,
    OCI_SUBJECT,
    OCI_TAG,
    RANGE,
    REQUEST_ID,
    RETRY_AFTER,
    UPLOAD_UUID,
    WWW_AUTHENTICATE,
];

/// Answers browsers' preflights, and tells them which pages may read the other answers.
pub(in crate::http) fn layer(cors: &Cors) -> CorsLayer {
    let origins = match cors.origins.is_empty() {
        true => AllowOrigin::any(),
        false => AllowOrigin::list(cors.origins.iter().cloned()),
    };
    CorsLayer::new()
        .allow_origin(origins)
        .allow_credentials(cors.credentials)
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(EXPOSED)
        .max_age(REMEMBERED)
}
