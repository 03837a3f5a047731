//! `registry.toml`: every setting, where it comes from, and what it means.
//!
//! A setting comes from the command line, else from its environment variable, else from the file,
//! else from its default. [`KEYS`] is the one list of them: the file is checked against it, and
//! `rregistry config --explain` prints it.

mod keys;
mod size;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Value;

pub use keys::{KEYS, Key, env_name, explain};
use keys::{LISTS, similar};
pub use size::{show_size, size};

use crate::auth::rules::Rule;
use crate::events::Webhook;
use crate::outgoing::is_here;
use crate::policy::{Immutable, Policy, Retention};
use crate::quota::{Quota, Quotas};

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no TOML, or a list in it is not as it should be.
    #[error("{path}: {source}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// A key that there is not.
    #[error("{path}: unknown key `{key}`{}", suggest(.similar))]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The key that was meant, perhaps.
        similar: Option<&'static str>,
    },
    /// A value that its key cannot have.
    #[error("{key} = {value}: {why}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What it should be.
        why: String,
    },
    /// Settings that do not go together.
    #[error("{0}")]
    Conflict(&'static str),
}

fn suggest(similar: &Option<&'static str>) -> String {
    match similar {
        Some(similar) => format!("; did you mean `{similar}`?"),
        None => "; `rregistry config --explain` lists all keys".to_owned(),
    }
}

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

/// Tokens, when they are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// How long each is good for.
    pub lifetime: Duration,
    /// Where clients get them, when it is not where they ask.
    pub url: Option<String>,
    /// What they are for.
    pub service: String,
    /// Who makes them, when we do not.
    pub issuer: Option<Issuer>,
}

/// A token server elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// Its name, as tokens have it.
    pub name: String,
    /// Its public keys.
    pub jwks: Jwks,
    /// Certificates that are trusted beside the system's where its keys are.
    pub ca: Option<PathBuf>,
}

/// Where public keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Jwks {
    /// In a file.
    File(PathBuf),
    /// At a URL.
    Url(String),
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
    /// Requests a second of one client.
    pub request_rate: u32,
    /// Requests at once of one client.
    pub request_burst: u32,
    /// How long to wait for progress of a request's body.
    pub body_idle: Duration,
}

/// All settings, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub addr: SocketAddr,
    /// Where clients reach it, without a slash at the end.
    pub url: Option<String>,
    /// Where everything is kept; the default depends on the user.
    pub data_dir: Option<PathBuf>,
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
    /// Users and passwords, when clients must log in.
    pub htpasswd: Option<PathBuf>,
    /// What clients are shown when they must log in.
    pub realm: String,
    /// Tokens instead of passwords with every request.
    pub token: Option<Token>,
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
    /// Whether /metrics answers.
    pub metrics: bool,
    /// Groups of users.
    pub groups: BTreeMap<String, Vec<String>>,
    /// Who may do what.
    pub access: Vec<Rule>,
    /// What happens to tags.
    pub policy: Policy,
    /// Who is told what happens.
    pub webhooks: Vec<Webhook>,
}

/// The lists of a file.
#[derive(Debug, Default, Deserialize)]
struct Lists {
    #[serde(default)]
    groups: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    access: Vec<Rule>,
    #[serde(default)]
    immutable: Vec<Immutable>,
    #[serde(default)]
    retention: Vec<Retention>,
    #[serde(default)]
    quota: Vec<Quota>,
    #[serde(default)]
    webhook: Vec<Webhook>,
}

/// Settings as they came, before they are checked.
#[derive(Debug, Default)]
pub struct Settings {
    values: BTreeMap<&'static str, Value>,
    lists: Lists,
}

impl Settings {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError::Read`], [`ConfigError::Toml`], [`ConfigError::Unknown`].
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::from_text(&text, path)
    }

    fn from_text(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let toml = |source| ConfigError::Toml {
            path: path.to_owned(),
            source: Box::new(source),
        };
        let mut table: toml::Table = text.parse().map_err(toml)?;
        let mut lists = toml::Table::new();
        for list in LISTS {
            if let Some(value) = table.remove(list.name) {
                lists.insert(list.name.to_owned(), value);
            }
        }
        let mut settings = Self {
            values: BTreeMap::new(),
            lists: Value::Table(lists).try_into().map_err(toml)?,
        };
        settings.add_table("", table, path)?;
        Ok(settings)
    }

    fn add_table(
        &mut self,
        prefix: &str,
        table: toml::Table,
        path: &Path,
    ) -> Result<(), ConfigError> {
        for (key, value) in table {
            let name = format!("{prefix}{key}");
            match (KEYS.iter().find(|k| k.name == name), value) {
                (Some(key), value) => {
                    self.values.insert(key.name, value);
                }
                (None, Value::Table(inner)) => {
                    self.add_table(&format!("{name}."), inner, path)?;
                }
                (None, _) => {
                    return Err(ConfigError::Unknown {
                        path: path.to_owned(),
                        similar: similar(&name),
                        key: name,
                    });
                }
            }
        }
        Ok(())
    }

    /// Lets environment variables override what the file says.
    pub fn override_from(&mut self, env: impl Fn(&str) -> Option<String>) {
        for key in KEYS {
            if let Some(text) = env(&env_name(key.name)) {
                self.set(key.name, text);
            }
        }
    }

    /// Sets one key from text, as the command line and the environment have it.
    pub fn set(&mut self, name: &'static str, text: String) {
        // Numbers are read from text as well; booleans are not.
        let value = match text.as_str() {
            "true" => Value::Boolean(true),
            "false" => Value::Boolean(false),
            _ => Value::String(text),
        };
        self.values.insert(name, value);
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`ConfigError::Value`], [`ConfigError::Conflict`].
    pub fn check(self) -> Result<Config, ConfigError> {
        let tls = match (self.path("tls.cert")?, self.path("tls.key")?) {
            (Some(cert), Some(key)) => Some(Tls {
                cert,
                key,
                client_ca: self.path("tls.client_ca")?,
            }),
            (None, None) if self.path("tls.client_ca")?.is_none() => None,
            _ => {
                return Err(ConfigError::Conflict("TLS needs both tls.cert and tls.key"));
            }
        };
        let htpasswd = self.path("auth.htpasswd")?;
        let token = self.token()?;
        let elsewhere = token.as_ref().is_some_and(|t| t.issuer.is_some());
        match (&htpasswd, elsewhere) {
            (Some(_), true) => {
                return Err(ConfigError::Conflict(
                    "auth.htpasswd and auth.token_issuer: passwords are the token server's business",
                ));
            }
            (None, false) if !self.lists.access.is_empty() => {
                return Err(ConfigError::Conflict(
                    "access rules need users: set auth.htpasswd, or auth.token_issuer",
                ));
            }
            (None, false) if token.is_some() => {
                return Err(ConfigError::Conflict(
                    "auth.method = token needs users: set auth.htpasswd, or auth.token_issuer",
                ));
            }
            _ => {}
        }
        let interval = self.duration("gc.interval")?;
        check_webhooks(&self.lists.webhook)?;
        let backup = self.duration("backup.interval")?;
        let quotas = self.quotas()?;
        let sparse = self.boolean("manifests.sparse_indexes")?;
        Ok(Config {
            addr: self.parse("addr")?,
            url: self
                .url("url")?
                .map(|url| url.trim_end_matches('/').to_owned()),
            data_dir: self.path("data_dir")?,
            drain: self.duration("drain")?,
            log_level: self.text("log.level")?,
            log_json: match self.text("log.format")?.as_str() {
                "json" => true,
                "text" => false,
                other => return Err(wrong("log.format", other, "text or json")),
            },
            log_access: self.boolean("log.access")?,
            tls,
            htpasswd,
            realm: self.text("auth.realm")?,
            token,
            delete_enabled: self.boolean("delete.enabled")?,
            uploads_expire_after: self.duration("uploads.expire_after")?,
            gc_interval: (!interval.is_zero()).then_some(interval),
            gc_grace: self.duration("gc.grace")?,
            backup_interval: (!backup.is_zero()).then_some(backup),
            limits: Limits {
                connections: self.number("limits.connections")?,
                connections_per_address: self.number("limits.connections_per_address")?,
                uploads: self.number("limits.uploads")?,
                request_rate: self.number("limits.request_rate")?,
                request_burst: self.number("limits.request_burst")?,
                body_idle: self.duration("limits.body_idle")?,
            },
            metrics: self.boolean("metrics.enabled")?,
            groups: self.lists.groups,
            access: self.lists.access,
            policy: Policy {
                immutable: self.lists.immutable,
                retention: self.lists.retention,
                quotas,
                sparse_indexes: sparse,
            },
            webhooks: self.lists.webhook,
        })
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
        let text = self.optional_text("storage.quota")?.unwrap_or_default();
        let total = if text.is_empty() {
            None
        } else {
            let why = "a number and a unit, such as 500MiB, 10GiB or 2TB";
            Some(size(&text).ok_or_else(|| wrong("storage.quota", &text, why))?)
        };
        Ok(Quotas { rules, total })
    }

    fn token(&self) -> Result<Option<Token>, ConfigError> {
        let set = |name| -> Result<Option<String>, ConfigError> {
            Ok(self.optional_text(name)?.filter(|text| !text.is_empty()))
        };
        let url = self.url("auth.token_url")?;
        let lifetime = self.duration("auth.token_lifetime")?;
        if lifetime < Duration::from_secs(1) {
            let given = self.text("auth.token_lifetime")?;
            return Err(wrong("auth.token_lifetime", given, "a second or more"));
        }
        let issuer = match (set("auth.token_issuer")?, set("auth.jwks")?) {
            (None, None) if self.path("auth.jwks_ca")?.is_some() => {
                return Err(ConfigError::Conflict(
                    "auth.jwks_ca is for a token server: set auth.token_issuer and auth.jwks",
                ));
            }
            (None, None) => None,
            (Some(name), Some(jwks)) => Some(Issuer {
                name,
                jwks: keys_at(jwks)?,
                ca: self.path("auth.jwks_ca")?,
            }),
            _ => {
                return Err(ConfigError::Conflict(
                    "a token server needs both auth.token_issuer and auth.jwks",
                ));
            }
        };
        match self.text("auth.method")?.as_str() {
            "basic" if issuer.is_some() => Err(ConfigError::Conflict(
                "a token server needs auth.method = \"token\"",
            )),
            "basic" if url.is_some() || set("auth.token_service")?.is_some() => {
                Err(ConfigError::Conflict(
                    "auth.token_url and auth.token_service need auth.method = \"token\"",
                ))
            }
            "basic" => Ok(None),
            "token" if issuer.is_some() && url.is_none() => Err(ConfigError::Conflict(
                "a token server needs auth.token_url: where clients get tokens",
            )),
            "token" => Ok(Some(Token {
                lifetime,
                url,
                service: match set("auth.token_service")? {
                    Some(service) => service,
                    None => self.text("auth.realm")?,
                },
                issuer,
            })),
            other => Err(wrong("auth.method", other, "basic or token")),
        }
    }

    /// The http or https URL of a key, if there is one.
    fn url(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        let text = self.optional_text(name)?.filter(|text| !text.is_empty());
        let Some(text) = text else { return Ok(None) };
        let fits = text.parse::<http::Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some()
        });
        match fits {
            true => Ok(Some(text)),
            false => Err(wrong(
                name,
                text,
                "a URL, such as https://registry.example.com",
            )),
        }
    }

    /// The value, or the default; `None` when there is neither.
    fn value(&self, name: &'static str) -> Option<Value> {
        if let Some(value) = self.values.get(name) {
            return Some(value.clone());
        }
        let default = KEYS.iter().find(|k| k.name == name)?.default;
        let table: toml::Table = format!("v = {default}").parse().ok()?;
        table.get("v").cloned()
    }

    fn optional_text(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, other, "a text in quotes")),
        }
    }

    fn text(&self, name: &'static str) -> Result<String, ConfigError> {
        Ok(self.optional_text(name)?.unwrap_or_default())
    }

    fn path(&self, name: &'static str) -> Result<Option<PathBuf>, ConfigError> {
        Ok(self
            .optional_text(name)?
            .filter(|text| !text.is_empty())
            .map(PathBuf::from))
    }

    fn boolean(&self, name: &'static str) -> Result<bool, ConfigError> {
        match self.value(name) {
            Some(Value::Boolean(value)) => Ok(value),
            other => Err(wrong(
                name,
                other.map_or_else(String::new, |v| v.to_string()),
                "true or false",
            )),
        }
    }

    fn number(&self, name: &'static str) -> Result<u32, ConfigError> {
        let number = match self.value(name) {
            Some(Value::Integer(number)) => u32::try_from(number).ok(),
            Some(Value::String(text)) => text.parse().ok(),
            _ => None,
        };
        let given = || self.value(name).map_or_else(String::new, |v| v.to_string());
        number.ok_or_else(|| wrong(name, given(), "a whole number, 0 or more"))
    }

    fn parse<T: std::str::FromStr>(&self, name: &'static str) -> Result<T, ConfigError>
    where
        T::Err: std::fmt::Display,
    {
        let text = self.text(name)?;
        text.parse().map_err(|e: T::Err| wrong(name, &text, e))
    }

    fn duration(&self, name: &'static str) -> Result<Duration, ConfigError> {
        let text = self.text(name)?;
        duration(&text).ok_or_else(|| {
            wrong(
                name,
                &text,
                "a number and a unit, such as 30s, 15m, 24h or 7d",
            )
        })
    }
}

/// A file or a URL. Keys that come over plain http could be anybody's.
fn keys_at(text: String) -> Result<Jwks, ConfigError> {
    let Some((scheme, _)) = text.split_once("://") else {
        return Ok(Jwks::File(text.into()));
    };
    let url = reqwest::Url::parse(&text).map_err(|e| wrong("auth.jwks", &text, e))?;
    match scheme {
        "https" => Ok(Jwks::Url(text)),
        "http" if is_here(&url) => Ok(Jwks::Url(text)),
        _ => Err(wrong(
            "auth.jwks",
            &text,
            "a file or an https URL; http only on this machine",
        )),
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

fn wrong(
    key: &'static str,
    value: impl std::fmt::Display,
    why: impl std::fmt::Display,
) -> ConfigError {
    ConfigError::Value {
        key,
        value: value.to_string(),
        why: why.to_string(),
    }
}

/// Reads `500ms`, `30s`, `15m`, `24h`, `7d`.
pub fn duration(text: &str) -> Option<Duration> {
    if let Some(number) = text.strip_suffix("ms") {
        return Some(Duration::from_millis(number.parse().ok()?));
    }
    let unit = text.chars().last()?;
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return None,
    };
    Some(Duration::from_secs(number.checked_mul(seconds)?))
}

#[cfg(test)]
mod tests;
