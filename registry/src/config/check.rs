//! All settings, checked.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::database;
use super::error::{ConfigError, wrong};
use super::http::{Http, http};
use super::listen::ListenAddr;
use super::login;
use super::mirroring;
use super::settings::Settings;
use super::storing;
use crate::auth::settings as auth;
use crate::events::Webhook;
use crate::meta::{Place, Server};
use crate::mirror::settings::MirrorSettings;
use crate::policy::Policy;
use crate::quota::Quotas;
use crate::replication::settings::Replicate;
use crate::storage::Backend;
use crate::units::size;

/// Certificate, key, and who may sign client certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The chain.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// Signers of client certificates.
    pub client_ca: Option<PathBuf>,
}

/// What clients may not go beyond; 0 is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Connections open.
    pub connections: u32,
    /// Connections of one address.
    pub connections_per_address: u32,
    /// Uploads that one client sends at once.
    pub uploads: u32,
    /// Unfinished uploads.
    pub upload_sessions: u32,
    /// Unfinished uploads of one client.
    pub upload_sessions_per_client: u32,
    /// Requests a second of one client.
    pub request_rate: u32,
    /// Requests at once of one client.
    pub request_burst: u32,
    /// How long to wait for progress of a request's body.
    pub body_idle: Duration,
    /// How long a new connection is waited for until it asks something.
    pub first_request: Duration,
    /// How long a connection may rest between requests.
    pub idle: Duration,
    /// How long to wait for a client to take more of an answer.
    pub send_idle: Duration,
}

/// All settings, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub addr: ListenAddr,
    /// Where clients reach it, without a slash at the end.
    pub url: Option<String>,
    /// Where everything is kept; the default depends on the user.
    pub data_dir: Option<PathBuf>,
    /// Where blobs are kept.
    pub backend: Backend,
    /// The database server; without one, the database is a file beside the blobs.
    pub database: Option<Server>,
    /// How long to drain.
    pub drain: Duration,
    /// What to log.
    pub log_level: String,
    /// Log lines as JSON.
    pub log_json: bool,
    /// Log requests.
    pub log_access: bool,
    /// TLS, when it is on.
    pub tls: Option<Tls>,
    /// How clients log in, and what they may do.
    pub auth: auth::Settings,
    /// Whether anything can be deleted through the API.
    pub delete_enabled: bool,
    /// How long an unfinished upload may rest.
    pub uploads_expire_after: Duration,
    /// How often garbage is collected.
    pub gc_interval: Option<Duration>,
    /// How long what nothing needs is kept.
    pub gc_grace: Duration,
    /// How often the database is copied.
    pub backup_interval: Option<Duration>,
    /// What clients may not go beyond.
    pub limits: Limits,
    /// Whether there is a web page.
    pub web: bool,
    /// Whether /metrics answers.
    pub metrics: bool,
    /// Where it answers, and health, when that is not beside the API.
    pub metrics_addr: Option<ListenAddr>,
    /// What is in front.
    pub http: Http,
    /// Whether nothing can be pushed or deleted.
    pub read_only: bool,
    /// Where it is noted what changed.
    pub audit: Option<PathBuf>,
    /// How often files are looked at.
    pub reload: Option<Duration>,
    /// What happens to tags.
    pub policy: Policy,
    /// Who is told what happens.
    pub webhooks: Vec<Webhook>,
    /// What is mirrored.
    pub mirror: MirrorSettings,
    /// What is replicated.
    pub replicate: Vec<Replicate>,
}

impl Config {
    /// Where the database of a data directory is.
    pub fn place(&self, data_dir: &Path) -> Place {
        match &self.database {
            Some(server) => Place::Server(server.clone()),
            None => Place::File(data_dir.join("registry.db")),
        }
    }
}

impl Settings {
    /// Checks everything.
    ///
    /// # Errors
    /// [`ConfigError::Value`] and [`ConfigError::Conflict`], with their place where it is known.
    pub fn check(self) -> Result<Config, ConfigError> {
        let places = self.places.clone();
        self.checked().map_err(|error| places.with(error))
    }

    fn checked(self) -> Result<Config, ConfigError> {
        let tls = self.tls()?;
        let auth = login::auth(&self)?;
        let interval = self.duration("gc.interval")?;
        check_webhooks(&self.lists.webhook)?;
        let backup = self.duration("backup.interval")?;
        let quotas = self.quotas()?;
        let sparse = self.boolean("manifests.sparse_indexes")?;
        let delete_needed = self.boolean("delete.needed")?;
        let no_pulls = self.list("pulls.ignore_agents")?;
        let reload = self.duration("reload.interval")?;
        let addr: ListenAddr = self.parse("addr")?;
        if tls.is_some() && matches!(addr, ListenAddr::Socket(_)) {
            return Err(ConfigError::Conflict(
                "tls.cert with addr = unix:…: on a unix socket it is the proxy in front that \
                 speaks TLS; leave tls.cert and tls.key out",
            ));
        }
        let mirror = mirroring::mirror(&self)?;
        let replicate = mirroring::replicate(&self)?;
        Ok(Config {
            addr,
            url: self
                .url("url")?
                .map(|url| url.trim_end_matches('/').to_owned()),
            data_dir: self.path("data_dir")?,
            backend: storing::backend(&self)?,
            database: database::database(&self)?,
            drain: self.duration("drain")?,
            log_level: self.level()?,
            log_json: match self.text("log.format")?.as_str() {
                "json" => true,
                "text" => false,
                other => return Err(wrong("log.format", other, "text or json")),
            },
            log_access: self.boolean("log.access")?,
            tls,
            auth,
            delete_enabled: self.boolean("delete.enabled")?,
            uploads_expire_after: self.duration("uploads.expire_after")?,
            gc_interval: (!interval.is_zero()).then_some(interval),
            gc_grace: self.duration("gc.grace")?,
            backup_interval: (!backup.is_zero()).then_some(backup),
            limits: self.limits()?,
            web: self.boolean("web.enabled")?,
            metrics: self.boolean("metrics.enabled")?,
            metrics_addr: match self.given("metrics.addr")? {
                None => None,
                Some(_) => Some(self.parse("metrics.addr")?),
            },
            http: http(&self)?,
            read_only: self.boolean("storage.read_only")?,
            audit: self.path("audit.file")?,
            reload: (!reload.is_zero()).then_some(reload),
            policy: Policy {
                immutable: self.lists.immutable,
                retention: self.lists.retention,
                quotas,
                sparse_indexes: sparse,
                delete_needed,
                no_pulls,
            },
            webhooks: self.lists.webhook,
            mirror,
            replicate,
        })
    }

    fn tls(&self) -> Result<Option<Tls>, ConfigError> {
        match (self.path("tls.cert")?, self.path("tls.key")?) {
            (Some(cert), Some(key)) => Ok(Some(Tls {
                cert,
                key,
                client_ca: self.path("tls.client_ca")?,
            })),
            (None, None) if self.path("tls.client_ca")?.is_none() => Ok(None),
            _ => Err(ConfigError::Conflict("TLS needs both tls.cert and tls.key")),
        }
    }

    fn limits(&self) -> Result<Limits, ConfigError> {
        Ok(Limits {
            connections: self.number("limits.connections")?,
            connections_per_address: self.number("limits.connections_per_address")?,
            uploads: self.number("limits.uploads")?,
            upload_sessions: self.number("limits.upload_sessions")?,
            upload_sessions_per_client: self.number("limits.upload_sessions_per_client")?,
            request_rate: self.number("limits.request_rate")?,
            request_burst: self.number("limits.request_burst")?,
            body_idle: self.duration("limits.body_idle")?,
            first_request: self.duration("limits.first_request")?,
            idle: self.duration("limits.idle")?,
            send_idle: self.duration("limits.send_idle")?,
        })
    }

    /// What is logged: one of the levels, or a filter of several parts, as experts write them.
    fn level(&self) -> Result<String, ConfigError> {
        const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
        let level = self.text("log.level")?;
        let refused = |why: &dyn std::fmt::Display| {
            let why = format!("{why}; try error, warn, info, debug or trace");
            wrong("log.level", &level, why)
        };
        // A single word that is no level would be taken for the name of a module, and log nothing.
        let is_single = !level.contains(['=', ',']);
        if is_single && !LEVELS.iter().any(|own| level.eq_ignore_ascii_case(own)) {
            return Err(refused(&"no such level"));
        }
        match EnvFilter::try_new(&level) {
            Ok(_) => Ok(level),
            Err(why) => Err(refused(&why)),
        }
    }

    fn quotas(&self) -> Result<Quotas, ConfigError> {
        let rules = self.lists.quota.clone();
        if rules
            .iter()
            .any(|q| q.each.is_none() && q.together.is_none())
        {
            return Err(ConfigError::Conflict(
                "a [[quota]] needs each (for every repository it matches) or together (for all of \
                 them)",
            ));
        }
        let text = self.text("storage.quota")?;
        let total = if text.is_empty() {
            None
        } else {
            let why = "a number and a unit, such as 500MiB, 10GiB or 2TB";
            Some(size(&text).ok_or_else(|| wrong("storage.quota", &text, why))?)
        };
        Ok(Quotas { rules, total })
    }
}

fn check_webhooks(webhooks: &[Webhook]) -> Result<(), ConfigError> {
    let mut names = BTreeSet::new();
    for webhook in webhooks {
        webhook
            .check()
            .map_err(|why| wrong("webhook", &webhook.name, why))?;
        if !names.insert(&webhook.name) {
            return Err(wrong(
                "webhook",
                &webhook.name,
                "there are two of this name",
            ));
        }
    }
    Ok(())
}
