//! `rregistry serve`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{Failure, err, out};
use crate::http::router;
use crate::server::Server;
use crate::service::Registry;

/// How often unfinished uploads are looked through.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(3600);
/// How long an upload may rest.
const UPLOAD_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long requests may take to finish when the server stops.
const DRAIN: Duration = Duration::from_secs(30);

/// Serve images until interrupted.
///
/// Everything is kept under one directory: blobs in files named by their digests, what is known
/// about them in a SQLite database. The line "listening on http://…" is printed when clients can
/// connect. SIGTERM and Ctrl-C let requests in flight finish.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Where to listen: address and port. Port 0 takes a free one.
    #[arg(long, env = "RREGISTRY_ADDR", default_value = "127.0.0.1:5000")]
    addr: SocketAddr,

    /// Where content and metadata are kept [default: /var/lib/rregistry, or
    /// $XDG_DATA_HOME/rregistry for users other than root].
    #[arg(long, env = "RREGISTRY_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// What to log to standard error: error, warn, info, debug or trace.
    #[arg(
        long,
        env = "RREGISTRY_LOG",
        value_name = "LEVEL",
        default_value = "warn"
    )]
    log: String,
}

pub(super) fn run(options: &Serve) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&options.log)
        .map_err(|e| format!("--log {}: {e}; try error, warn, info or debug", options.log))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let data_dir = match &options.data_dir {
        Some(dir) => dir.clone(),
        None => default_data_dir()?,
    };
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(options.addr, data_dir))
}

async fn serve(addr: SocketAddr, data_dir: PathBuf) -> Result<(), Failure> {
    let registry = Arc::new(Registry::open(&data_dir).await?);
    let server = Server::bind(addr)
        .await
        .map_err(|e| format!("cannot listen on {addr}: {e}; choose another with --addr"))?;
    let bound = server.local_addr()?;
    if !bound.ip().is_loopback() {
        err(&format!(
            "rregistry: WARNING: {bound} can be reached from other machines, without TLS or \
             passwords: anybody there can read, replace and delete every image. Listen on \
             127.0.0.1 (--addr 127.0.0.1:{port}), or put a proxy with TLS and authentication in \
             front.\n",
            port = bound.port()
        ));
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    out(&format!("listening on http://{bound}\n"))?;
    let expiry = tokio::spawn(expire(Arc::clone(&registry)));
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    server.run(router(Arc::clone(&registry)), stop, DRAIN).await;
    expiry.abort();
    registry.close().await;
    Ok(())
}

async fn expire(registry: Arc<Registry>) {
    let mut tick = tokio::time::interval(EXPIRY_INTERVAL);
    loop {
        tick.tick().await;
        match registry.expire_uploads(UPLOAD_AGE).await {
            Ok(0) => {}
            Ok(uploads) => tracing::info!(uploads, "unfinished uploads expired"),
            Err(e) => tracing::warn!(error = %e, "expiring uploads failed"),
        }
    }
}

fn default_data_dir() -> Result<PathBuf, Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/rregistry".into());
    }
    let base = std::env::var_os("XDG_DATA_HOME")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share")));
    match base {
        Some(base) => Ok(base.join("rregistry")),
        None => Err("neither XDG_DATA_HOME nor HOME is set: say --data-dir DIR".into()),
    }
}
