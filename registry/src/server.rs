//! Listening: connections in, and a calm end.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::causes::with_causes;
use crate::http::Peer;
use crate::limits::Open;
use crate::linger::{Linger, Lingering};
use crate::metrics::Metrics;
use crate::tls::Reloading;

/// How long a client may take for a request's head, idle time between requests included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a client may take for its part of the TLS handshake.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes read from, and gathered for, one HTTP/1 connection at most. Twice that may be in use
/// while a body comes in: 64 of them at once are to stay within 64 MiB with all else.
const HTTP1_BUFFER: usize = 96 << 10;
/// Streams that one HTTP/2 connection may have open.
const HTTP2_STREAMS: u32 = 128;
/// Pause after the system refused a connection: out of file descriptors, for one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Streams that a client reset before they were taken up, on one connection: more are an attack
/// ("rapid reset"), and the connection is closed.
const HTTP2_RESETS: usize = 32;
/// Streams that we had to reset, on one connection.
const HTTP2_ERRORS: usize = 128;

/// A bound listener.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    tls: Option<Reloading>,
    connections: Arc<Open<IpAddr>>,
    metrics: Arc<Metrics>,
}

impl Server {
    /// Binds `addr`; port 0 takes a free one. With `tls`, clients must speak it.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub async fn bind(addr: SocketAddr, tls: Option<Reloading>) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(addr).await?,
            tls,
            connections: Open::new(0, 0),
            metrics: Arc::default(),
        })
    }

    /// Lets no more than so many connections in, and no more of one address; 0 is no limit. What
    /// is refused is counted.
    #[must_use]
    pub fn limited(mut self, all: u32, each: u32, metrics: Arc<Metrics>) -> Self {
        self.connections = Open::new(each as usize, all as usize);
        self.metrics = metrics;
        self
    }

    /// The address that is really bound.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`, then lets requests in flight finish for up to `drain`.
    pub async fn run(self, router: Router, stop: impl Future<Output = ()>, drain: Duration) {
        let connections = GracefulShutdown::new();
        let builder = builder();
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = &mut stop => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let Some(slot) = self.connections.connect(peer.ip()) else {
                        self.metrics.limited.connections.fetch_add(1, Relaxed);
                        tracing::debug!(%peer, "one connection too many");
                        continue;
                    };
                    // Answers are written whole; waiting for more to send would only delay them.
                    let _ = stream.set_nodelay(true);
                    let (builder, router) = (builder.clone(), router.clone());
                    let watcher = connections.watcher();
                    match self.tls.as_ref().map(Reloading::acceptor) {
                        None => {
                            tokio::spawn(async move {
                                let _slot = slot;
                                serve(builder, stream, peer, router, watcher).await;
                            });
                        }
                        Some(acceptor) => {
                            tokio::spawn(async move {
                                let _slot = slot;
                                let hello = acceptor.accept(stream);
                                match tokio::time::timeout(HELLO_TIMEOUT, hello).await {
                                    Ok(Ok(stream)) => {
                                        serve(builder, stream, peer, router, watcher).await;
                                    }
                                    Ok(Err(e)) => {
                                        tracing::debug!(error = %e, "a TLS handshake failed");
                                    }
                                    Err(_) => tracing::debug!("a TLS handshake took too long"),
                                }
                            });
                        }
                    }
                }
                Err(e) => {
                    tracing::warn!(error = %e, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        let open = connections.count();
        if open > 0 {
            tracing::info!(open, "draining");
        }
        if tokio::time::timeout(drain, connections.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("some requests did not finish in time; they are cut off");
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HTTP1_BUFFER)
        // Bodies are sent from where they were read; gathered into one buffer, a download of a
        // large blob would be copied, and kept, once more.
        .writev(true)
        // Scripts grep for the names as the documents spell them.
        .title_case_headers(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEAD_TIMEOUT)
        .max_concurrent_streams(HTTP2_STREAMS)
        .max_pending_accept_reset_streams(HTTP2_RESETS)
        .max_local_error_reset_streams(HTTP2_ERRORS)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    builder
}

async fn serve<S>(
    builder: Builder<TokioExecutor>,
    stream: S,
    peer: SocketAddr,
    router: Router,
    watcher: Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let linger = Linger::default();
    let stream = Lingering::new(stream, linger.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        let extensions = request.extensions_mut();
        extensions.insert(Peer(peer));
        extensions.insert(linger.clone());
        router.clone().oneshot(request)
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(e) = watcher.watch(connection).await {
        // Clients hang up; that is their right.
        tracing::debug!(error = with_causes(&*e), "a connection ended");
    }
}
