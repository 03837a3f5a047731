//! The listener, and what becomes of each connection.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::activity::{Over, Patience};
use super::connections::{Connections, Place};
use super::plain;
use super::sending::Sending;
use super::socket::{Accepted, Listener};
use oci::causes::with_causes;

use crate::http::{ClientCertificate, Peer, SocketPeer};
use crate::linger::{Linger, Lingering};
use crate::metrics::Metrics;
use crate::proxies::{Hop, TrustedProxies};
use crate::tls::{self, Reloading};

/// How long a client may take for its part of the TLS handshake.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How often an HTTP/2 client has to show that it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(75);
/// How long a connection that is to end may take for its last words.
const GOODBYE: Duration = Duration::from_secs(1);
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
    listener: Listener,
    tls: Option<Reloading>,
    /// Who asks for many others.
    proxies: TrustedProxies,
    connections: Arc<Connections>,
    metrics: Arc<Metrics>,
    patience: Patience,
}

impl Server {
    /// Binds `addr`; port 0 takes a free one. With `tls`, clients must speak it.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub async fn bind(addr: SocketAddr, tls: Option<Reloading>) -> io::Result<Self> {
        Ok(Self::on(Listener::bind(addr).await?, tls))
    }

    /// Listens on a unix socket at `path`, which its owner and its group can use, and which goes
    /// with this. One that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// When something else is there, or the directory is not ours to write.
    pub fn bind_socket(path: &Path) -> io::Result<Self> {
        Ok(Self::on(Listener::bind_socket(path)?, None))
    }

    /// Takes over the TCP socket that systemd listens on for this process; `None` when it does not.
    ///
    /// # Errors
    /// When what systemd gave is something else.
    pub fn inherited(tls: Option<Reloading>) -> io::Result<Option<Self>> {
        let listener = Listener::inherited()?;
        Ok(listener.map(|listener| Self::on(listener, tls)))
    }

    fn on(listener: Listener, tls: Option<Reloading>) -> Self {
        Self {
            listener,
            tls,
            proxies: TrustedProxies::default(),
            connections: Connections::new(0, 0),
            metrics: Arc::default(),
            patience: Patience::default(),
        }
    }

    /// Lets these have as many connections as they like: each stands for many clients.
    #[must_use]
    pub fn trusting(mut self, proxies: Option<TrustedProxies>) -> Self {
        self.proxies = proxies.unwrap_or_default();
        self
    }

    /// Lets no more than so many connections in, and no more of one address; 0 is no limit. What
    /// is refused is counted.
    #[must_use]
    pub fn limited(mut self, all: u32, each: u32, metrics: Arc<Metrics>) -> Self {
        self.connections = Connections::new(each as usize, all as usize);
        self.metrics = metrics;
        self
    }

    /// Waits so long for clients.
    #[must_use]
    pub fn patient(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// The address that is really bound.
    ///
    /// # Errors
    /// When the system cannot say, and for a socket, which has none.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`, then lets requests in flight finish for up to `drain`.
    pub async fn run(self, router: Router, stop: impl Future<Output = ()>, drain: Duration) {
        let (stopping, stopped) = watch::channel(());
        let builder = builder();
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = &mut stop => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let Some(place) = self.admit(peer) else {
                        continue;
                    };
                    let connection = Connection {
                        builder: builder.clone(),
                        router: router.clone(),
                        peer,
                        place,
                        patience: self.patience,
                        stopped: stopped.clone(),
                    };
                    match (stream, self.tls.as_ref().map(Reloading::acceptor)) {
                        (Accepted::Socket(stream), _) => {
                            tokio::spawn(connection.serve(stream, false))
                        }
                        (Accepted::Tcp(stream), None) => {
                            tokio::spawn(connection.serve(stream, false))
                        }
                        (Accepted::Tcp(stream), Some(acceptor)) => {
                            tokio::spawn(connection.shake_hands(stream, acceptor))
                        }
                    };
                }
                Err(e) => {
                    tracing::warn!(error = %e, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop((self.listener, stopped));
        let open = stopping.receiver_count();
        if open > 0 {
            tracing::info!(open, "draining");
        }
        let _ = stopping.send(());
        if timeout(drain, stopping.closed()).await.is_err() {
            tracing::warn!("some requests did not finish in time; they are cut off");
        }
    }
}

impl Server {
    /// A place for one more connection, where there is one.
    fn admit(&self, peer: Option<SocketAddr>) -> Option<Place> {
        let hop = peer.map_or(Hop::Socket, |peer| Hop::Address(peer.ip()));
        let many = hop == Hop::Socket || self.proxies.include(hop);
        let place = match peer {
            Some(peer) => self.connections.admit(peer.ip(), many),
            None => self.connections.admit(Ipv4Addr::UNSPECIFIED.into(), many),
        };
        if place.is_none() {
            self.metrics.limited.connections.fetch_add(1, Relaxed);
            tracing::debug!(peer = %shown(peer), "one connection too many");
        }
        place
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // The patience of all protocols is one: see `activity`.
        .header_read_timeout(None)
        .max_buf_size(HTTP1_BUFFER)
        // Bodies are sent from where they were read; gathered into one buffer, a download of a
        // large blob would be copied, and kept, once more.
        .writev(true)
        // Scripts grep for the names as the documents spell them.
        .title_case_headers(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .max_concurrent_streams(HTTP2_STREAMS)
        .max_pending_accept_reset_streams(HTTP2_RESETS)
        .max_local_error_reset_streams(HTTP2_ERRORS)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    builder
}

/// One connection, and all that serving it takes.
#[derive(Debug)]
struct Connection {
    builder: Builder<TokioExecutor>,
    router: Router,
    /// None for a program of this machine, over a socket.
    peer: Option<SocketAddr>,
    place: Place,
    patience: Patience,
    stopped: watch::Receiver<()>,
}

impl Connection {
    /// Serves it over TLS.
    async fn shake_hands(mut self, stream: TcpStream, acceptor: TlsAcceptor) {
        let hello = async {
            if plain::is_spoken(&stream).await? {
                plain::refuse(stream).await?;
                return Ok(None);
            }
            acceptor.accept(stream).await.map(Some)
        };
        let activity = Arc::clone(&self.place.activity);
        let shaken = tokio::select! {
            shaken = timeout(HELLO_TIMEOUT, hello) => shaken,
            over = activity.over(Patience { first: Duration::ZERO, ..self.patience }) => {
                tracing::debug!(%over, "a connection was ended");
                return;
            }
            // Nobody has asked for anything yet.
            _ = self.stopped.changed() => return,
        };
        match shaken {
            Ok(Ok(Some(stream))) => {
                activity.shaken_hands();
                let certified = stream.get_ref().1.peer_certificates().is_some();
                self.serve(stream, certified).await;
            }
            Ok(Ok(None)) => tracing::debug!("a client speaks no TLS"),
            Ok(Err(e)) => refused(self.peer, &e),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    /// Serves HTTP over a stream; `certified` when its client proved to have a certificate.
    async fn serve<S>(mut self, stream: S, certified: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let linger = Linger::default();
        let stream = Lingering::new(stream, linger.clone());
        let activity = Arc::clone(&self.place.activity);
        let (peer, router) = (self.peer, self.router);
        let asking = Arc::clone(&activity);
        let service = service_fn(move |mut request: Request<Incoming>| {
            let asked = asking.asked();
            let extensions = request.extensions_mut();
            match peer {
                Some(peer) => drop(extensions.insert(Peer(peer))),
                None => drop(extensions.insert(SocketPeer)),
            }
            extensions.insert(linger.clone());
            if certified {
                extensions.insert(ClientCertificate);
            }
            let answer = router.clone().oneshot(request);
            async move {
                let answer = answer.await?;
                Ok::<_, Infallible>(answer.map(|body| Sending::new(body, asked)))
            }
        });
        let connection = self.builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = self.stopped.changed() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    over = activity.over(self.patience) => return log(over),
                }
            }
            over = activity.over(self.patience) => {
                connection.as_mut().graceful_shutdown();
                if over != Over::Stuck {
                    let _ = timeout(GOODBYE, connection).await;
                }
                return log(over);
            }
        };
        if let Err(e) = ended {
            // Clients hang up; that is their right.
            tracing::debug!(error = with_causes(&*e), "a connection ended");
        }
    }
}

fn shown(peer: Option<SocketAddr>) -> String {
    peer.map_or_else(|| "a socket".to_owned(), |peer| peer.to_string())
}

/// Tells of a handshake that failed; in words, where it was the client's certificate.
fn refused(peer: Option<SocketAddr>, e: &io::Error) {
    match tls::about_client(e) {
        Some(reason) => {
            tracing::info!(client = %shown(peer), reason, "refused: the client's certificate");
        }
        None => tracing::debug!(error = %e, "a TLS handshake failed"),
    }
}

fn log(over: Over) {
    tracing::debug!(%over, "a connection was ended");
}
