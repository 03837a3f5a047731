//! `rregistry serve`

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tracing_subscriber::EnvFilter;

use super::failure::{Failure, err, out};
use super::followed::{Followed, note_people};
use super::settings::{Settings, data_dir, strange_variables};
use crate::audit::Audit;
use crate::auth::Auth;
use crate::config::{self, Config, ListenAddr};
use crate::control;
use crate::events::Subscribers;
use crate::http::{Api, operators_router, router};
use crate::metrics::Metrics;
use crate::mirror::Mirror;
use crate::replication::Replication;
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
/// How long small files may wait to be synced together.
const SETTLE_INTERVAL: Duration = Duration::from_secs(10);

/// How often who does not lead asks whether that has changed.
const LEADING_INTERVAL: Duration = Duration::from_secs(2);

/// Serve images until interrupted.
///
/// Everything is kept under one directory: blobs in files named by their digests, what is known
/// about them in a SQLite database. With storage.backend the blobs are in an object store (S3,
/// Google, Azure), with database.url what is known about them in PostgreSQL. The line "listening on http://…" is printed when clients can
/// connect. SIGTERM and Ctrl-C let requests in flight finish. Certificates, passwords, keys and
/// access rules are read again when their files change, and on SIGHUP.
///
/// Every setting has an environment variable too: see `rregistry config --explain`.
#[derive(Clone, Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    settings: Settings,

    /// Where to listen: 127.0.0.1:5000, :5000, localhost:5000, or unix:PATH for a socket; port 0
    /// takes a free one [default: 127.0.0.1:5000].
    #[arg(long)]
    addr: Option<String>,

    /// What to log to standard error: error, warn, info, debug or trace [default: warn].
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
}

impl Serve {
    /// The settings as they are now.
    fn read(&self) -> Result<config::Settings, Failure> {
        let mut settings = self.settings.read()?;
        if let Some(addr) = &self.addr {
            settings.set("addr", addr.clone());
        }
        if let Some(level) = &self.log {
            settings.set("log.level", level.clone());
        }
        Ok(settings)
    }
}

pub(super) fn run(options: Serve) -> Result<(), Failure> {
    let settings = options.read()?;
    let config = settings.clone().check()?;
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
        .block_on(serve(options, settings, config, &data_dir))
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

async fn serve(
    options: Serve,
    settings: config::Settings,
    config: Config,
    data_dir: &Path,
) -> Result<(), Failure> {
    let tls = config.tls.clone().map(Reloading::new).transpose()?;
    let node = node(&config.addr);
    let subscribers = Subscribers::with_activity(&config.webhooks, node, config.audit.is_some());
    let (policy, place) = (config.policy.clone(), config.place(data_dir));
    let registry = Registry::with_database(data_dir, policy, &config.backend, &place).await?;
    let registry = Arc::new(registry.telling(subscribers));
    let deliveries = Deliveries::start(&registry).await?;
    let audit = match &config.audit {
        Some(path) => Some(Audit::start(&registry, path).await.map_err(unwritable)?),
        None => None,
    };
    let mirror = Mirror::open(&config.mirror, &registry).await?;
    let read_only = Arc::new(AtomicBool::new(config.read_only));
    let replication =
        Replication::start(&config.replicate, &registry, mirror.as_ref(), &read_only).await?;
    let auth = asked(&config, data_dir, &registry).await?;
    let server = main_server(&config.addr, tls.clone()).await?;
    let bound = server.local_addr().ok();
    if let Some(bound) = bound.filter(|bound| !bound.ip().is_loopback()) {
        warn(&bound, auth.is_some(), tls.is_some());
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let metrics = Arc::new(Metrics::default());
    let server = limited(server, &config, &metrics);
    let operators = operators(&config, &registry, &metrics).await?;
    let (close, closing) = tokio::sync::oneshot::channel::<()>();
    let commands = control::listen(
        data_dir,
        Arc::clone(&registry),
        Arc::clone(&metrics),
        mirror.clone(),
        Arc::clone(&replication),
        // Sent or dropped, it is the end.
        async { closing.await.unwrap_or_default() },
    )?;
    let mut tasks = chores(&config, &registry, &metrics, &read_only);
    let followed = Followed {
        file: options.settings.config.clone(),
        read: Arc::new(move || options.read()),
        settings,
        auth: auth.clone(),
        tls,
        read_only: Arc::clone(&read_only),
        registry: Arc::clone(&registry),
    };
    tasks.extend(followed.follow(config.reload)?);
    tasks.extend(operators);
    let mirroring = mirror.clone();
    tasks.extend(mirroring.map(|mirror| tokio::spawn(mirror.run_limits())));
    let scheme = match config.tls {
        Some(_) => "https",
        None => "http",
    };
    match bound {
        Some(bound) => out(&format!("listening on {scheme}://{bound}\n"))?,
        None => out(&format!("listening on {}\n", config.addr))?,
    }
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
    let api = Api::new(Arc::clone(&registry), auth, metrics, &config)
        .read_only_when(read_only)
        .mirroring(mirror)
        .replicating(Arc::clone(&replication));
    server.run(router(api), stop, config.drain).await;
    replication.stop().await;
    let drained = stopped_at.await.map_or(Duration::ZERO, |at| at.elapsed());
    deliveries.stop(config.drain.saturating_sub(drained)).await;
    if let Some(audit) = audit {
        audit.stop(config.drain.saturating_sub(drained)).await;
    }
    for task in tasks {
        task.abort();
    }
    // A collection has ended by now; who asked for it is told so.
    drop(close);
    let _ = tokio::time::timeout(ANSWERS, commands).await;
    control::forget(data_dir);
    registry.close().await;
    Ok(())
}

/// Who is asked who somebody is.
async fn asked(
    config: &Config,
    data_dir: &Path,
    registry: &Registry,
) -> Result<Option<Arc<Auth>>, Failure> {
    let auth = Auth::open(&config.auth, data_dir)?.map(Arc::new);
    if let Some(auth) = auth.clone() {
        note_people(&auth, registry).await;
        // The token server may start later than we do.
        tokio::spawn(async move {
            if let Err(e) = auth.reload_keys().await {
                tracing::error!(error = %e, "the token server's keys cannot be had yet");
            }
        });
    }
    Ok(auth)
}

fn unwritable(e: std::io::Error) -> Failure {
    format!("audit.file: {e}").into()
}

/// What is done from time to time.
fn chores(
    config: &Config,
    registry: &Arc<Registry>,
    metrics: &Arc<Metrics>,
    read_only: &Arc<AtomicBool>,
) -> Vec<JoinHandle<()>> {
    let tasks = [
        Some(expire(
            Arc::clone(registry),
            config.uploads_expire_after,
            Arc::clone(read_only),
        )),
        Some(note_pulls(Arc::clone(registry))),
        Some(settle(Arc::clone(registry))),
        Some(fill_lists(Arc::clone(registry))),
        config.gc_interval.map(|interval| {
            let (registry, metrics) = (Arc::clone(registry), Arc::clone(metrics));
            collect(
                registry,
                metrics,
                interval,
                config.gc_grace,
                Arc::clone(read_only),
            )
        }),
        config
            .backup_interval
            .map(|interval| back_up(Arc::clone(registry), interval)),
    ];
    tasks.into_iter().flatten().collect()
}

/// A server with the settings' limits.
fn limited(server: Server, config: &Config, metrics: &Arc<Metrics>) -> Server {
    let limits = &config.limits;
    server
        .trusting(config.http.proxies.clone())
        .limited(
            connections(limits.connections, open_files()),
            limits.connections_per_address,
            Arc::clone(metrics),
        )
        .patient(Patience {
            first: limits.first_request,
            next: limits.idle,
            sending: limits.send_idle,
        })
}

/// Serves metrics and health at an address of their own, where the settings have one.
async fn operators(
    config: &Config,
    registry: &Arc<Registry>,
    metrics: &Arc<Metrics>,
) -> Result<Option<JoinHandle<()>>, Failure> {
    let Some(addr) = &config.metrics_addr else {
        return Ok(None);
    };
    let server = listen(addr, None, "metrics.addr").await?;
    let limits = &config.limits;
    let server = server.patient(Patience {
        first: limits.first_request,
        next: limits.idle,
        sending: limits.send_idle,
    });
    let bound = server
        .local_addr()
        .map_or_else(|_| addr.to_string(), |bound| bound.to_string());
    tracing::info!(addr = bound, "metrics and health");
    let router = operators_router(Arc::clone(registry), Arc::clone(metrics));
    let run = server.run(router, std::future::pending(), Duration::ZERO);
    Ok(Some(tokio::spawn(run)))
}

/// What systemd listens on counts before what the settings say.
async fn main_server(addr: &ListenAddr, tls: Option<Reloading>) -> Result<Server, Failure> {
    let given = Server::inherited(tls.clone())
        .map_err(|e| format!("cannot use the socket that systemd gave: {e}"))?;
    match given {
        Some(server) => Ok(server),
        None => listen(addr, tls, "--addr").await,
    }
}

/// Listens on the first address that can be had; `setting` chooses another.
async fn listen(
    addr: &ListenAddr,
    tls: Option<Reloading>,
    setting: &str,
) -> Result<Server, Failure> {
    let wrong = |e: std::io::Error| {
        Failure::from(format!(
            "cannot listen on {addr}: {e}; choose another with {setting}"
        ))
    };
    if let Some(path) = addr.socket() {
        return Server::bind_socket(path).map_err(wrong);
    }
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

/// What this registry calls itself when it tells others: its machine's name, and its port where
/// it has one.
pub(super) fn node(addr: &ListenAddr) -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    match addr.port() {
        Some(port) => format!("{name}:{port}"),
        None => name.into_owned(),
    }
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

fn expire(registry: Arc<Registry>, age: Duration, read_only: Arc<AtomicBool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(EXPIRY_INTERVAL);
        loop {
            tick.tick().await;
            if read_only.load(Relaxed) || !registry.leads() {
                continue;
            }
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

/// Makes small files durable from time to time: the database holds their content until then.
fn settle(registry: Arc<Registry>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(SETTLE_INTERVAL);
        loop {
            tick.tick().await;
            if let Err(e) = registry.settle().await {
                tracing::warn!(error = %e, "small files are not synced yet");
            }
            if let Err(e) = registry.beat().await {
                tracing::warn!(error = %e, "other processes may take this one for gone");
            }
        }
    })
}

/// Puts into lists what an older version stored.
fn fill_lists(registry: Arc<Registry>) -> JoinHandle<()> {
    tokio::spawn(async move {
        // Whoever leads does it, and goes on with what another one left.
        let mut tick = tokio::time::interval(LEADING_INTERVAL);
        while !registry.leads() {
            tick.tick().await;
        }
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
    read_only: Arc<AtomicBool>,
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
            if started.elapsed() < grace || read_only.load(Relaxed) || !registry.leads() {
                continue;
            }
            let options = CollectOptions {
                grace,
                dry_run: false,
                every_file: false,
            };
            let done = control::collect(&registry, &metrics, options, &None).await;
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
            if !registry.leads() {
                continue;
            }
            if let Err(e) = registry.back_up().await {
                tracing::warn!(error = %e, "the database was not copied");
            }
        }
    })
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
