//! Bodies of answers, which say that they are being taken.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::activity::Asked;

/// A body whose request is answered when it is dropped.
#[derive(Debug)]
pub(super) struct Sending {
    body: Body,
    asked: Asked,
}

impl Sending {
    /// The body of an answer to a request.
    pub(super) fn new(body: Body, mut asked: Asked) -> Self {
        asked.sent();
        Self { body, asked }
    }
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        this.asked.sent();
        Pin::new(&mut this.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
