//! Answers by what their bodies are.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http_body::Frame;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A JSON answer.
pub(in crate::http) fn json(body: String) -> Response {
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    *response.body_mut() = body.into();
    response
}

/// A plain text answer.
pub(in crate::http) fn text(body: String) -> Response {
    let mut response = json(body);
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// An answer without a body.
pub(in crate::http) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT {
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(0));
    }
    response
}

/// An answer to who has the content already. A length would be the content's (RFC 9110, section
/// 15.4.5), so there is none.
pub(in crate::http) fn not_modified() -> Response {
    let mut response = Response::new(Body::new(NoLength));
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

/// An empty body that does not say that it is, and so gets no length from anybody on the way.
#[derive(Debug)]
struct NoLength;

impl http_body::Body for NoLength {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}
