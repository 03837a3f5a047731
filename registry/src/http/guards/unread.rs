//! Request bodies that an answer left unread.
//!
//! On an HTTP/1 connection the next request comes after the body of this one: what an early
//! answer did not read is read and thrown away, if it is little. If it is much, the answer says
//! that the connection ends, and the connection lingers. HTTP/2 ends the one stream instead.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONNECTION, EXPECT, HeaderValue};
use http::{StatusCode, Version};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::oneshot;

use crate::linger::Linger;

/// Bytes that are read for nothing, to keep a connection.
const DISCARD: u64 = 256 << 10;
/// How long they may take.
const TIME: Duration = Duration::from_secs(1);

/// What a request needs once it is answered.
#[derive(Debug)]
pub(in crate::http) struct Unread {
    /// Gives the body back, unless it was read to its end.
    back: Option<oneshot::Receiver<Left>>,
    /// The client waits with the body until it is told to send it.
    expects: bool,
    linger: Option<Linger>,
}

#[derive(Debug)]
struct Left {
    body: Body,
    begun: bool,
}

impl Unread {
    /// Lends the body to whoever handles the request.
    pub(in crate::http) fn watch(request: Request) -> (Request, Self) {
        let mut unread = Self {
            back: None,
            expects: request.headers().contains_key(EXPECT),
            linger: request.extensions().get().cloned(),
        };
        if request.version() > Version::HTTP_11 || request.body().is_end_stream() {
            return (request, unread);
        }
        let (give, back) = oneshot::channel();
        unread.back = Some(back);
        let request = request.map(|body| {
            Body::new(Lent {
                body: Some(body),
                begun: false,
                give: Some(give),
            })
        });
        (request, unread)
    }

    /// Sees to it that the connection can go on after this answer, or that it ends well.
    pub(in crate::http) async fn settle(self, mut response: Response) -> Response {
        // Whoever had the body has let go of it: this is their answer.
        let Some(Ok(left)) = self.back.map(|mut back| back.try_recv()) else {
            return response;
        };
        // Who was never told to send the body may or may not send it: what comes next could be
        // either that or another request.
        let waits = self.expects && !left.begun;
        // Who sent too slowly has been waited for enough.
        let slow = response.status() == StatusCode::REQUEST_TIMEOUT;
        if waits || slow || !discarded(left.body).await {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
            if let Some(linger) = self.linger {
                linger.ask();
            }
        }
        response
    }
}

/// Whether all of the body could be thrown away.
async fn discarded(mut body: Body) -> bool {
    if body.size_hint().lower() > DISCARD {
        return false;
    }
    let discard = async {
        let mut len = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            len += frame.data_ref().map_or(0, Bytes::len) as u64;
            if len > DISCARD {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(TIME, discard).await.unwrap_or(false)
}

/// A body that is given back when it is dropped before its end.
#[derive(Debug)]
struct Lent {
    body: Option<Body>,
    begun: bool,
    give: Option<oneshot::Sender<Left>>,
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        this.begun = true;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            this.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let exact = || SizeHint::with_exact(0);
        self.body.as_ref().map_or_else(exact, Body::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(body), Some(give)) = (self.body.take(), self.give.take())
            && !body.is_end_stream()
        {
            let begun = self.begun;
            // Nobody waits for it when the request itself was given up.
            let _ = give.send(Left { body, begun });
        }
    }
}
