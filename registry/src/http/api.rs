//! What requests are served with: the registry, who is let in, and the settings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use http::request::Parts;

use super::log::AccessLog;
use super::request::origin;
use crate::auth::Auth;
use crate::auth::sessions::Sessions;
use crate::config::{Config, Http, Limits};
use crate::limits::{Client, Open, Rates};
use crate::metrics::Metrics;
use crate::mirror::Mirror;
use crate::replication::Replication;
use crate::service::{Registry, UploadLimits};

/// How long what nothing needs is kept where no settings say.
const GRACE: Duration = Duration::from_secs(24 * 3600);

/// What requests are served with.
#[derive(Debug)]
pub struct Api {
    pub(super) registry: Arc<Registry>,
    pub(super) auth: Option<Arc<Auth>>,
    /// What clients reach this server by.
    pub(super) scheme: &'static str,
    /// Where clients reach this server, when it is not what they say.
    pub(super) url: Option<String>,
    /// Whether clients need a certificate.
    pub(super) certificates: bool,
    pub(super) delete_enabled: bool,
    /// How long what nothing needs is kept.
    pub(super) gc_grace: Duration,
    pub(super) metrics: Arc<Metrics>,
    pub(super) metrics_enabled: bool,
    pub(super) access_log: Option<AccessLog>,
    pub(super) throttle: Throttle,
    pub(super) body_idle: Option<Duration>,
    /// Who is logged in with a browser; `None` where there is no web page.
    pub(super) sessions: Option<Sessions>,
    /// What is in front.
    pub(super) front: Http,
    /// Whether nothing changes; it may be said while serving.
    read_only: Arc<AtomicBool>,
    /// Other registries that are asked for what is not here.
    pub(super) mirror: Option<Arc<Mirror>>,
    /// Registries at which images are kept the same.
    pub(super) replication: Option<Arc<Replication>>,
}

impl Api {
    /// An API that lets everybody do everything.
    pub fn open(registry: Arc<Registry>) -> Self {
        Self {
            registry,
            auth: None,
            scheme: "http",
            url: None,
            certificates: false,
            delete_enabled: true,
            gc_grace: GRACE,
            metrics: Arc::default(),
            metrics_enabled: true,
            access_log: None,
            throttle: Throttle::default(),
            body_idle: None,
            sessions: sessions(),
            front: Http::default(),
            read_only: Arc::default(),
            mirror: None,
            replication: None,
        }
    }

    /// The same, read-only for as long as somebody else says so.
    #[must_use]
    pub fn read_only_when(mut self, read_only: Arc<AtomicBool>) -> Self {
        self.read_only = read_only;
        self
    }

    /// Whether nothing can be pushed or deleted.
    pub(super) fn is_read_only(&self) -> bool {
        self.read_only.load(Relaxed)
    }

    /// What operators' own programs ask, and nothing else.
    pub(super) fn of_operators(registry: Arc<Registry>, metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            ..Self::open(registry)
        }
    }

    /// The same beside a mirror.
    pub fn mirroring(self, mirror: Option<Arc<Mirror>>) -> Self {
        Self { mirror, ..self }
    }

    /// The same beside replication.
    pub fn replicating(self, replication: Arc<Replication>) -> Self {
        Self {
            replication: Some(replication),
            ..self
        }
    }

    /// Whether anything is replicated.
    pub(super) fn has_replication(&self) -> bool {
        let replication = self.replication.as_ref();
        replication.is_some_and(|replication| replication.has_rules())
    }

    /// An API as the configuration has it.
    pub fn new(
        registry: Arc<Registry>,
        auth: Option<Arc<Auth>>,
        metrics: Arc<Metrics>,
        config: &Config,
    ) -> Self {
        Self {
            auth,
            scheme: if config.tls.is_some() {
                "https"
            } else {
                "http"
            },
            url: config.url.clone(),
            certificates: config
                .tls
                .as_ref()
                .is_some_and(|tls| tls.client_ca.is_some()),
            delete_enabled: config.delete_enabled,
            gc_grace: config.gc_grace,
            metrics,
            // Where it has an address of its own it answers there alone.
            metrics_enabled: config.metrics && config.metrics_addr.is_none(),
            front: config.http.clone(),
            read_only: Arc::new(config.read_only.into()),
            access_log: config.log_access.then_some(AccessLog {
                json: config.log_json,
            }),
            throttle: Throttle::new(&config.limits),
            sessions: if config.web { sessions() } else { None },
            body_idle: (!config.limits.body_idle.is_zero()).then_some(config.limits.body_idle),
            ..Self::open(registry)
        }
    }

    /// Where this registry is, as the settings have it; else the scheme and host that were asked,
    /// as the client sees them.
    pub(super) fn base(&self, request: &Parts) -> String {
        if let Some(url) = &self.url {
            return url.clone();
        }
        origin(request, self.scheme)
    }
}

/// Nobody is logged in yet. Without random numbers there is no page.
fn sessions() -> Option<Sessions> {
    let sessions = Sessions::new();
    sessions
        .inspect_err(|e| tracing::error!(error = %e, "there is no web page"))
        .ok()
}

/// The limits that are on.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    pub(super) rates: Option<Rates>,
    pub(super) uploads: Option<Arc<Open<Client>>>,
    pub(super) sessions: UploadLimits,
}

impl Throttle {
    fn new(limits: &Limits) -> Self {
        let rate = limits.request_rate;
        Self {
            rates: (rate > 0).then(|| Rates::new(rate, limits.request_burst)),
            sessions: UploadLimits {
                each: limits.upload_sessions_per_client as usize,
                all: limits.upload_sessions as usize,
            },
            uploads: (limits.uploads > 0).then(|| Open::new(limits.uploads as usize, 0)),
        }
    }
}
