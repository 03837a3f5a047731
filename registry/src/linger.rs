//! Closing a connection whose client is still sending.
//!
//! A socket that is closed with bytes unread is reset, and the reset overtakes the answer: the
//! client sees a broken pipe instead of what it did wrong. So such a connection is closed for
//! writing first, and what still comes is read and thrown away for a while.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How long a client may go on sending.
const TIME: Duration = Duration::from_secs(10);
/// How much it may send.
const BYTES: usize = 1 << 30;

/// Asks a connection to linger when it ends; carried along with each of its requests.
#[derive(Clone, Debug, Default)]
pub struct Linger(Arc<AtomicBool>);

impl Linger {
    /// Asks for it.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A stream that lingers when it is shut down, if it was asked to.
#[derive(Debug)]
pub struct Lingering<S> {
    stream: S,
    linger: Linger,
    /// Once the writing half is closed.
    closed: Option<Pin<Box<Sleep>>>,
    time: Duration,
    left: usize,
}

impl<S> Lingering<S> {
    /// A stream that `linger` can be asked for.
    pub fn new(stream: S, linger: Linger) -> Self {
        Self {
            stream,
            linger,
            closed: None,
            time: TIME,
            left: BYTES,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let deadline = match &mut this.closed {
            Some(deadline) => deadline,
            None => {
                ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                if !this.linger.is_asked() {
                    return Poll::Ready(Ok(()));
                }
                this.closed.insert(Box::pin(tokio::time::sleep(this.time)))
            }
        };
        let mut scratch = [0; 16 << 10];
        while this.left > 0 && deadline.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {
                    this.left = this.left.saturating_sub(buffer.filled().len());
                }
                // The client has read its answer and gone, which is what this waits for.
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// How long the end takes, of a client that sends `len` bytes and reads its answer.
    async fn end(asked: bool, client_goes: bool, len: usize) -> Duration {
        let (server, mut client) = tokio::io::duplex(1024);
        let linger = Linger::default();
        let mut stream = Lingering {
            time: Duration::from_millis(300),
            left: 100_000,
            ..Lingering::new(server, linger.clone())
        };
        if asked {
            linger.ask();
        }
        let sending = tokio::spawn(async move {
            let sent = client.write_all(&vec![1; len]).await;
            let mut answer = Vec::new();
            let _ = client.read_to_end(&mut answer).await;
            if !client_goes {
                std::future::pending::<()>().await;
            }
            (sent.is_ok(), answer)
        });
        stream.write_all(b"answer").await.unwrap();
        let begun = std::time::Instant::now();
        stream.shutdown().await.unwrap();
        let took = begun.elapsed();
        drop(stream);
        if client_goes {
            let (sent, answer) = sending.await.unwrap();
            assert_eq!(sent, asked);
            assert_eq!(answer, b"answer");
        }
        took
    }

    #[tokio::test]
    async fn lingers_when_asked_until_the_client_goes_or_it_is_enough() {
        let time = Duration::from_millis(300);
        assert!(end(false, true, 5000).await < time);
        assert!(end(true, true, 5000).await < time);
        assert!(end(true, false, 5000).await >= time);
        assert!(end(true, false, 200_000).await < time);
    }
}
