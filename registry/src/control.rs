//! Commands to a running registry, over a socket in its directory that only its owner can open.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use oci::causes::with_causes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::events::{Noted, Origin, RequestOrigin};
use crate::metrics::Metrics;
use crate::mirror::{Mirror, WarmOptions, Warmed};
use crate::operate::{Operation, operate};
use crate::replication::{Replication, RuleReport};
use crate::service::{
    BackedUp, BackupOptions, CollectOptions, Collected, ExportOptions, Exported, ImportOptions,
    Imported, Registry, RestoreOptions, ServiceError, UsageReport,
};

/// Bytes of an answer that are read at most.
const MAX_ANSWER: usize = 64 << 20;
/// Lines that are noted in one transaction.
const NOTED: usize = 200;

/// Why a running registry did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The connection failed.
    #[error("talking to the running registry: {0}")]
    Io(io::Error),
    /// The connection failed within a request.
    #[error("talking to the running registry: {}", with_causes(.0))]
    Http(hyper::Error),
    /// It said no.
    #[error("the running registry: {0}")]
    Refused(String),
    /// It said something else.
    #[error("the running registry's answer is none: {0}")]
    Answer(String),
}

#[derive(Debug)]
struct Control {
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    mirror: Option<Arc<Mirror>>,
    replication: Arc<Replication>,
}

fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join("control.sock")
}

/// Listens for commands until `closing`; the task ends when those under way are answered.
///
/// # Errors
/// When the socket cannot be made.
pub fn listen(
    data_dir: &Path,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    mirror: Option<Arc<Mirror>>,
    replication: Arc<Replication>,
    closing: impl Future<Output = ()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let path = socket(data_dir);
    // Left by a process that was killed: the lock on the directory is ours, so nobody listens.
    let unready = path.with_extension("new");
    match std::fs::remove_file(&unready) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    // Under its name it can be found only once nobody else can open it.
    let listener = UnixListener::bind(&unready)?;
    std::fs::set_permissions(&unready, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&unready, &path)?;
    let router = Router::new()
        .route("/gc", post(gc))
        .route("/usage", post(usage))
        .route("/export", post(export))
        .route("/import", post(import))
        .route("/operate", post(operation))
        .route("/backup", post(backup))
        .route("/restore", post(restore))
        .route("/warm", post(warm))
        .route("/replication", post(replication_of))
        .with_state(Arc::new(Control {
            registry,
            metrics,
            mirror,
            replication,
        }));
    Ok(tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(closing);
        if let Err(e) = served.await {
            tracing::warn!(error = %e, "the control socket closed");
        }
    }))
}

/// Removes the socket of a server that has stopped; one that was killed leaves it for the next.
pub fn forget(data_dir: &Path) {
    let _ = std::fs::remove_file(socket(data_dir));
}

async fn gc(State(control): State<Arc<Control>>, Json(options): Json<CollectOptions>) -> Response {
    let by = here();
    answer(collect(&control.registry, &control.metrics, options, &by).await)
}

async fn usage(State(control): State<Arc<Control>>) -> Response {
    answer(control.registry.usage_report().await)
}

async fn export(State(control): State<Arc<Control>>, Json(what): Json<ExportOptions>) -> Response {
    answer(control.registry.export(&what).await)
}

async fn import(State(control): State<Arc<Control>>, Json(what): Json<ImportOptions>) -> Response {
    let done = control.registry.import_layout(&what).await;
    if done.is_ok() {
        let noted = Noted::new("import").with("from", what.layout.display().to_string());
        control.registry.note(&here(), &[noted]).await;
    }
    answer(done)
}

async fn warm(State(control): State<Arc<Control>>, Json(what): Json<WarmOptions>) -> Response {
    match &control.mirror {
        Some(mirror) => answer(Ok::<_, ServiceError>(mirror.warm(&what).await)),
        None => (StatusCode::CONFLICT, "it has no [[upstream]]").into_response(),
    }
}

/// How rules are doing, after one of them was told to hurry.
async fn replication_of(
    State(control): State<Arc<Control>>,
    Json(now): Json<Option<String>>,
) -> Response {
    if let Some(name) = now
        && let Err(e) = control.replication.hurry(&name).await
    {
        return (StatusCode::CONFLICT, e.to_string()).into_response();
    }
    answer(control.replication.report().await)
}

async fn operation(State(control): State<Arc<Control>>, Json(what): Json<Operation>) -> Response {
    answer(operate(&control.registry, &what, &here()).await)
}

async fn backup(State(control): State<Arc<Control>>, Json(what): Json<BackupOptions>) -> Response {
    let done = control.registry.back_up_to(&what).await;
    if done.is_ok() {
        let noted = Noted::new("backup").with("to", what.output.display().to_string());
        control.registry.note(&here(), &[noted]).await;
    }
    answer(done)
}

async fn restore(
    State(control): State<Arc<Control>>,
    Json(what): Json<RestoreOptions>,
) -> Response {
    let done = control.registry.restore(&what).await;
    if done.is_ok() {
        let noted = Noted::new("restore").with("from", what.from.display().to_string());
        control.registry.note(&here(), &[noted]).await;
    }
    answer(done)
}

fn answer<T: Serialize>(done: Result<T, impl std::fmt::Display>) -> Response {
    match done {
        Ok(done) => Json(done).into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
    }
}

/// Collects, and counts what went.
///
/// # Errors
/// As [`Registry::collect`].
pub async fn collect(
    registry: &Registry,
    metrics: &Metrics,
    options: CollectOptions,
    by: &RequestOrigin,
) -> Result<Collected, ServiceError> {
    let collected = registry.collect(options).await?;
    if !options.dry_run {
        note_collected(registry, &collected, by).await;
        metrics.gc_runs.fetch_add(1, Relaxed);
        metrics.gc_blobs.fetch_add(collected.blob_count, Relaxed);
        metrics.gc_bytes.fetch_add(collected.bytes, Relaxed);
    }
    Ok(collected)
}

/// Notes what a collection took, each tag and image that a rule let go, and the rest together.
async fn note_collected(registry: &Registry, collected: &Collected, by: &RequestOrigin) {
    let by_rule = |repository: &str| Noted {
        repository: repository.to_owned(),
        ..Noted::new("delete").with("reason", "retention")
    };
    let tags = collected.tags.iter().filter_map(|name| {
        let (repository, tag) = name.rsplit_once(':')?;
        let tag = Some(tag.to_owned());
        Some(Noted {
            tag,
            ..by_rule(repository)
        })
    });
    let manifests = collected.manifests.iter().filter_map(|name| {
        let (repository, digest) = name.split_once('@')?;
        let digest = Some(digest.to_owned());
        Some(Noted {
            digest,
            ..by_rule(repository)
        })
    });
    let mut noted: Vec<Noted> = tags.chain(manifests).collect();
    if collected.blob_count > 0 || collected.orphan_count > 0 || !noted.is_empty() {
        noted.push(
            Noted::new("collect")
                .with("tags", collected.tags.len())
                .with("manifests", collected.manifests.len())
                .with("blobs", collected.blob_count)
                .with("bytes", collected.bytes),
        );
    }
    // A transaction at a time that others hardly notice.
    for some in noted.chunks(NOTED) {
        registry.note(by, some).await;
    }
}

/// Who has a command of this machine done: nobody by name.
pub fn here() -> RequestOrigin {
    Some(Arc::new(Origin {
        user_agent: "rregistry on this machine".to_owned(),
        ..Origin::default()
    }))
}

/// Tells the registry that serves `data_dir` to collect; `None` when none does.
///
/// # Errors
/// [`ControlError`].
pub async fn request_gc(
    data_dir: &Path,
    options: CollectOptions,
) -> Result<Option<Collected>, ControlError> {
    request(data_dir, "/gc", &options).await
}

/// Asks the registry that serves `data_dir` what is used; `None` when none does.
///
/// # Errors
/// [`ControlError`].
pub async fn request_usage(data_dir: &Path) -> Result<Option<UsageReport>, ControlError> {
    request(data_dir, "/usage", &()).await
}

/// Lets the registry that serves `data_dir` export; `None` when none does.
///
/// # Errors
/// [`ControlError`].
pub async fn request_export(
    data_dir: &Path,
    options: &ExportOptions,
) -> Result<Option<Exported>, ControlError> {
    request(data_dir, "/export", options).await
}

/// Lets the registry that serves `data_dir` import a layout; `None` when none does.
///
/// # Errors
/// [`ControlError`].
pub async fn request_import(
    data_dir: &Path,
    options: &ImportOptions,
) -> Result<Option<Imported>, ControlError> {
    request(data_dir, "/import", options).await
}

/// Lets the registry that serves `data_dir` bring images; `None` when none does.
///
/// # Errors
/// [`ControlError`].
pub async fn request_warm(
    data_dir: &Path,
    options: &WarmOptions,
) -> Result<Option<Warmed>, ControlError> {
    request(data_dir, "/warm", options).await
}

/// Asks the registry that serves `data_dir` how replication is doing, after the rule `now`, if any,
/// was told to hurry; `None` when none does.
///
/// # Errors
/// [`ControlError`].
pub async fn request_replication(
    data_dir: &Path,
    now: Option<&str>,
) -> Result<Option<Vec<RuleReport>>, ControlError> {
    request(data_dir, "/replication", &now).await
}

/// Has the registry that serves `data_dir` do what an operator wants; `None` when none does.
///
/// # Errors
/// [`ControlError`].
pub async fn request_operation(
    data_dir: &Path,
    operation: &Operation,
) -> Result<Option<serde_json::Value>, ControlError> {
    request(data_dir, "/operate", operation).await
}

/// Lets the registry that serves `data_dir` write a backup; `None` when none does.
///
/// # Errors
/// [`ControlError`].
pub async fn request_backup(
    data_dir: &Path,
    options: &BackupOptions,
) -> Result<Option<BackedUp>, ControlError> {
    request(data_dir, "/backup", options).await
}

/// Lets the registry that serves `data_dir` put a backup back; `None` when none does.
///
/// # Errors
/// [`ControlError`].
pub async fn request_restore(
    data_dir: &Path,
    options: &RestoreOptions,
) -> Result<Option<Imported>, ControlError> {
    request(data_dir, "/restore", options).await
}

async fn request<Q: Serialize, A: DeserializeOwned>(
    data_dir: &Path,
    path: &str,
    query: &Q,
) -> Result<Option<A>, ControlError> {
    let stream = match UnixStream::connect(socket(data_dir)).await {
        Ok(stream) => stream,
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(e) => return Err(ControlError::Io(e)),
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(ControlError::Http)?;
    let connection = tokio::spawn(connection);
    let body = serde_json::to_vec(query).map_err(|e| ControlError::Answer(e.to_string()))?;
    let request = http::Request::post(path)
        .header("host", "control")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| ControlError::Answer(e.to_string()))?;
    let sent = sender.send_request(request).await;
    let response = sent.map_err(ControlError::Http)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await
        .map_err(|e| ControlError::Answer(with_causes(&*e)))?
        .to_bytes();
    drop(sender);
    connection.abort();
    if !status.is_success() {
        let text = String::from_utf8_lossy(&body).into_owned();
        return Err(ControlError::Refused(text));
    }
    serde_json::from_slice(&body)
        .map(Some)
        .map_err(|e| ControlError::Answer(e.to_string()))
}
