//! `rregistry serve`

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tracing_subscriber::EnvFilter;

use super::failure::{Failure, err, out};
use super::settings::{Settings, data_dir, strange_variables};
use crate::auth::Auth;
use crate::config::{Config, ListenAddr};
use crate::control;
use crate::events::Subscribers;
use crate::http::{Api, router};
use crate::metrics::Metrics;
use crate::mirror::Mirror;
use crate::server::{Patience, Server};
use crate::service::{CollectOptions, Registry};
use crate::tls::Reloading;
use crate::webhook::Deliveries;

/// How often unfinished uploads are looked through.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(3600);
/// How long commands of `rregistry gc` and the like may take to be answered at the end.
const ANSWERS: Duration = Duration::from_secs(1);

/// How often it is written down which manifests were pulled.
const PULLS_INTERVAL: Duration = Duration::from_secs(60);

/// Serve images until interrupted.
///
/// Everything is kept under one directory: blobs in files named by their digests, what is known
/// about them in a SQLite database. The line "listening on http://…" is printed when clients can
/// connect. SIGTERM and Ctrl-C let requests in flight finish; SIGHUP reads certificates,
/// passwords and a token server's keys again (passwords are also when their file changes).
///
/// Every setting has an environment variable too: see `rregistry config --explain`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    settings: Settings,

    /// Where to listen, such as 127.0.0.1:5000, :5000 or localhost:5000; port 0 takes a free one
    /// [default: 127.0.0.1:5000].
    #[arg(long)]
    addr: Option<String>,

    /// What to log to standard error: error, warn, info, debug or trace [default: warn].
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
}

pub(super) fn run(options: Serve) -> Result<(), Failure> {
    let mut settings = options.settings.read()?;
    if let Some(addr) = options.addr {
        settings.set("addr", addr);
    }
    if let Some(level) = options.log {
        settings.set("log.level", level);
    }
    let config = settings.check()?;
    let level = &config.log_level;
    let filter = filter(level)?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colors())
        .with_writer(std::io::stderr);
    if config.log_json {
        log.json().init();
    } else {
        log.init();
    }
    for name in strange_variables()? {
        tracing::warn!(
            name,
            "a variable is no setting; `rregistry config --explain` lists them"
        );
    }
    let data_dir = data_dir(&config)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(config, &data_dir))
}

/// Whether log lines have colours: for people at a terminal who did not say no (no-color.org).
fn colors() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && std::io::stderr().is_terminal()
}

/// One of the levels, or a filter of several parts, as experts write them.
fn filter(level: &str) -> Result<EnvFilter, Failure> {
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::from(format!(
            "log.level = {level}: {why}; try error, warn, info, debug or trace"
        ))
    };
    // A single word that is no level would be taken for the name of a module, and log nothing.
    if !level.contains(['=', ',']) && !levels.iter().any(|l| level.eq_ignore_ascii_case(l)) {
        return Err(wrong(&"no such level"));
    }
    EnvFilter::try_new(level).map_err(|e| wrong(&e))
}

async fn serve(config: Config, data_dir: &Path) -> Result<(), Failure> {
    let tls = config.tls.clone().map(Reloading::new).transpose()?;
    let subscribers = Subscribers::new(&config.webhooks, node(&config.addr));
    let registry = Registry::with_policy(data_dir, config.policy.clone()).await?;
    let registry = Arc::new(registry.telling(subscribers));
    let deliveries = Deliveries::start(&registry).await?;
    let mirror = Mirror::open(&config.mirror, &registry).await?;
    let auth = Auth::open(&config.auth, data_dir)?.map(Arc::new);
    if let Some(auth) = auth.clone() {
        // The token server may start later than we do.
        tokio::spawn(async move {
            if let Err(e) = auth.reload_keys().await {
                tracing::error!(error = %e, "the token server's keys cannot be had yet");
            }
        });
    }
    let server = listen(&config.addr, tls.clone()).await?;
    let bound = server.local_addr()?;
    if !bound.ip().is_loopback() {
        warn(&bound, auth.is_some(), tls.is_some());
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let metrics = Arc::new(Metrics::default());
    let limits = &config.limits;
    let server = server.limited(
        connections(limits.connections, open_files()),
        limits.connections_per_address,
        Arc::clone(&metrics),
    );
    let server = server.patient(Patience {
        first: limits.first_request,
        next: limits.idle,
        sending: limits.send_idle,
    });
    let (close, closing) = tokio::sync::oneshot::channel::<()>();
    let commands = control::listen(
        data_dir,
        Arc::clone(&registry),
        Arc::clone(&metrics),
        mirror.clone(),
        // Sent or dropped, it is the end.
        async { closing.await.unwrap_or_default() },
    )?;
    let tasks = [
        Some(expire(Arc::clone(&registry), config.uploads_expire_after)),
        Some(note_pulls(Arc::clone(&registry))),
        Some(fill_lists(Arc::clone(&registry))),
        config.gc_interval.map(|interval| {
            let (registry, metrics) = (Arc::clone(&registry), Arc::clone(&metrics));
            collect(registry, metrics, interval, config.gc_grace)
        }),
        config
            .backup_interval
            .map(|interval| back_up(Arc::clone(&registry), interval)),
        Some(reload(auth.clone(), tls.clone())?),
        mirror
            .clone()
            .map(|mirror| tokio::spawn(mirror.run_limits())),
    ];
    let scheme = if tls.is_some() { "https" } else { "http" };
    out(&format!("listening on {scheme}://{bound}\n"))?;
    let (stopped, stopped_at) = tokio::sync::oneshot::channel();
    let collecting = Arc::clone(&registry);
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        collecting.stop_collecting();
        let _ = stopped.send(Instant::now());
    };
    let api = Api::new(Arc::clone(&registry), auth, metrics, &config).mirroring(mirror);
    server.run(router(api), stop, config.drain).await;
    let drained = stopped_at.await.map_or(Duration::ZERO, |at| at.elapsed());
    deliveries.stop(config.drain.saturating_sub(drained)).await;
    for task in tasks.into_iter().flatten() {
        task.abort();
    }
    // A collection has ended by now; who asked for it is told so.
    drop(close);
    let _ = tokio::time::timeout(ANSWERS, commands).await;
    control::forget(data_dir);
    registry.close().await;
    Ok(())
}

/// Listens on the first address that can be had.
async fn listen(addr: &ListenAddr, tls: Option<Reloading>) -> Result<Server, Failure> {
    let wrong = |e: std::io::Error| {
        Failure::from(format!(
            "cannot listen on {addr}: {e}; choose another with --addr"
        ))
    };
    let mut last = std::io::Error::other("the name has no address");
    for addr in addr.resolve().await.map_err(wrong)? {
        match Server::bind(addr, tls.clone()).await {
            Ok(server) => return Ok(server),
            // Where there is one of the two addresses only, it is the other one's turn.
            Err(e) => last = e,
        }
    }
    Err(wrong(last))
}

/// What this registry calls itself when it tells others: its machine's name and its port.
fn node(addr: &ListenAddr) -> String {
    let system = rustix::system::uname();
    format!("{}:{}", system.nodename().to_string_lossy(), addr.port())
}

/// Raises how many files may be open to what the system allows; how many that is.
fn open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(e) => {
            tracing::warn!(error = %e, "the limit of open files stays as it is");
            limit.current
        }
    }
}

/// How many connections are let in: as configured, but a quarter of the files that may be open is
/// for content.
fn connections(configured: u32, files: Option<u64>) -> u32 {
    let possible = files.map_or(u32::MAX, |files| {
        u32::try_from(files - files / 4).unwrap_or(u32::MAX)
    });
    if configured == 0 && possible == u32::MAX {
        return 0;
    }
    if configured == 0 {
        return possible;
    }
    if possible < configured {
        tracing::warn!(
            configured,
            possible,
            "fewer connections than limits.connections: the system allows few open files"
        );
    }
    configured.min(possible)
}

/// Others can reach this registry: say what they could do, and how to mend it.
fn warn(bound: &SocketAddr, auth: bool, tls: bool) {
    let port = bound.port();
    let danger = match (auth, tls) {
        (true, true) => return,
        (false, _) => {
            "without passwords: anybody there can read, replace and delete every image. Set \
             auth.htpasswd (see `rregistry user add`)"
        }
        (true, false) => {
            "without TLS: whoever listens on the way sees passwords and images. Set tls.cert and \
             tls.key, or put a proxy with TLS in front"
        }
    };
    err(&format!(
        "rregistry: WARNING: {bound} can be reached from other machines, {danger}, or listen on \
         this machine only with --addr 127.0.0.1:{port}.\n"
    ));
}

fn expire(registry: Arc<Registry>, age: Duration) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(EXPIRY_INTERVAL);
        loop {
            tick.tick().await;
            match registry.expire_uploads(age).await {
                Ok(0) => {}
                Ok(uploads) => tracing::info!(uploads, "unfinished uploads expired"),
                Err(e) => tracing::warn!(error = %e, "expiring uploads failed"),
            }
        }
    })
}

/// Writes down from time to time what was pulled: rules would let go what a crash makes forget.
fn note_pulls(registry: Arc<Registry>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(PULLS_INTERVAL);
        loop {
            tick.tick().await;
            if let Err(e) = registry.flush_pulls().await {
                tracing::warn!(error = %e, "when manifests were last pulled is not noted");
            }
        }
    })
}

/// Puts into lists what an older version stored.
fn fill_lists(registry: Arc<Registry>) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(e) = registry.fill_lists().await {
            tracing::warn!(error = %e, "what was stored before is not in all lists yet");
        }
    })
}

fn collect(
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    interval: Duration,
    grace: Duration,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let started = tokio::time::Instant::now();
        let mut tick = tokio::time::interval(interval);
        // The first tick comes at once.
        tick.tick().await;
        loop {
            tick.tick().await;
            // What clients were told before a restart is not known any more: their time to push
            // begins anew with this process.
            if started.elapsed() < grace {
                continue;
            }
            let options = CollectOptions {
                grace,
                dry_run: false,
                every_file: false,
            };
            let done = control::collect(&registry, &metrics, options).await;
            if let Ok(done) = &done
                && done.suspect_count > 0
            {
                tracing::warn!(
                    files = done.suspect_count,
                    "blob files are newer than the database was when it was opened: if it is an \
                     older copy, `rregistry fsck --rebuild` finds their images again"
                );
            }
            match done {
                Ok(done) if done.blob_count == 0 && done.orphan_count == 0 => {}
                Ok(done) => {
                    tracing::info!(
                        blobs = done.blob_count,
                        bytes = done.bytes,
                        orphans = done.orphan_count,
                        "garbage collected"
                    );
                }
                Err(e) => tracing::warn!(error = %e, "collecting garbage failed"),
            }
        }
    })
}

/// Copies the database, at once and then from time to time.
fn back_up(registry: Arc<Registry>, interval: Duration) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(interval);
        loop {
            tick.tick().await;
            if let Err(e) = registry.back_up().await {
                tracing::warn!(error = %e, "the database was not copied");
            }
        }
    })
}

/// Reads certificates, passwords and keys again on SIGHUP.
fn reload(auth: Option<Arc<Auth>>, tls: Option<Reloading>) -> Result<JoinHandle<()>, Failure> {
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            if let Some(auth) = &auth {
                match auth.reload_passwords() {
                    Ok(false) => {}
                    Ok(true) => tracing::info!("passwords read again"),
                    Err(e) => tracing::error!(error = %e, "passwords stay as they were"),
                }
                match auth.reload_keys().await {
                    Ok(None) => {}
                    Ok(Some(keys)) => tracing::info!(keys, "the token server's keys read again"),
                    Err(e) => tracing::error!(error = %e, "the keys for tokens stay as they were"),
                }
            }
            if let Some(tls) = &tls {
                match tls.reload() {
                    Ok(()) => tracing::info!("certificates read again"),
                    Err(e) => tracing::error!(error = %e, "certificates stay as they were"),
                }
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::connections;

    #[test]
    fn connections_leave_files_for_content() {
        for (configured, files, expected) in [
            (8192, None, 8192),
            (8192, Some(1024), 768),
            (100, Some(1024), 100),
            (0, Some(1024), 768),
            (0, None, 0),
        ] {
            assert_eq!(connections(configured, files), expected);
        }
    }
}
