//! Request bodies that come too slowly are cut.
//!
//! Only the time that is spent waiting for the client counts, and a client that sends a byte now
//! and then has not sent anything.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// Bytes that are worth new patience.
const PROGRESS: usize = 1024;

/// What the body fails with.
#[derive(Debug, thiserror::Error)]
#[error("the request's body came too slowly")]
struct TooSlow;

/// A body with a limit to how long it may be waited for.
struct Paced {
    body: Body,
    patience: Duration,
    /// What is left of it.
    left: Duration,
    /// Bytes since it was whole.
    came: usize,
    /// Since when the client is being waited for.
    waiting: Option<Instant>,
    sleep: Pin<Box<Sleep>>,
    cut: Cut,
}

/// Whether a body was cut.
#[derive(Clone, Debug, Default)]
pub(in crate::http) struct Cut(Arc<AtomicBool>);

impl Cut {
    /// Whether it was.
    pub(in crate::http) fn is_cut(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// A body that is waited for no longer than `patience` for each bit of progress.
pub(in crate::http) fn paced(body: Body, patience: Duration) -> (Body, Cut) {
    let cut = Cut::default();
    let paced = Paced {
        body,
        patience,
        left: patience,
        came: 0,
        waiting: None,
        sleep: Box::pin(tokio::time::sleep(patience)),
        cut: cut.clone(),
    };
    (Body::new(paced), cut)
}

impl http_body::Body for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(item) => {
                if let Some(since) = this.waiting.take() {
                    this.left = this.left.saturating_sub(since.elapsed());
                }
                if let Some(Ok(frame)) = &item {
                    this.came += frame.data_ref().map_or(0, Bytes::len);
                }
                if this.came >= PROGRESS {
                    this.came = 0;
                    this.left = this.patience;
                }
                Poll::Ready(item)
            }
            Poll::Pending => {
                if this.waiting.is_none() {
                    let now = Instant::now();
                    this.waiting = Some(now);
                    this.sleep.as_mut().reset(now + this.left);
                }
                ready!(this.sleep.as_mut().poll(context));
                this.cut.0.store(true, Relaxed);
                Poll::Ready(Some(Err(axum::Error::new(TooSlow))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use http_body_util::BodyExt;

    /// A body of chunks of `len` bytes, one each `pause` milliseconds.
    fn body(len: usize, pause: u64, chunks: usize) -> Body {
        let chunks = futures_util::stream::iter(0..chunks).then(move |_| async move {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            Ok::<_, std::io::Error>(Bytes::from(vec![0; len]))
        });
        Body::from_stream(chunks)
    }

    #[tokio::test]
    async fn slow_bodies_are_cut_and_long_ones_are_not() {
        let patience = Duration::from_millis(300);
        // Longer than the patience altogether, but always going on.
        let (steady, cut) = paced(body(PROGRESS, 30, 20), patience);
        let whole = steady.collect().await.unwrap().to_bytes();
        assert_eq!((whole.len(), cut.is_cut()), (20 * PROGRESS, false));
        // A byte now and then.
        let (trickle, cut) = paced(body(1, 30, 100), patience);
        assert!(trickle.collect().await.is_err());
        assert!(cut.is_cut());
        let (stalled, cut) = paced(body(PROGRESS, 60_000, 1), patience);
        assert!(stalled.collect().await.is_err());
        assert!(cut.is_cut());
    }

    #[tokio::test]
    async fn time_that_the_server_takes_is_not_the_clients() {
        let patience = Duration::from_millis(200);
        let (paced, cut) = paced(body(10, 10, 4), patience);
        let mut stream = paced.into_data_stream();
        let mut len = 0;
        while let Some(chunk) = stream.next().await {
            len += chunk.unwrap().len();
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        assert_eq!((len, cut.is_cut()), (40, false));
    }
}
