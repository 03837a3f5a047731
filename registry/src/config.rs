//! `registry.toml`: every setting, where it comes from, and what it means.
//!
//! A setting comes from the command line, else from its environment variable, else from the file,
//! else from its default. [`KEYS`] is the one list of them: the file is checked against it, and
//! `rregistry config --explain` prints it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Value;

use crate::auth::rules::Rule;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in the file, table and key.
    pub name: &'static str,
    /// Its default, as it would stand in the file; empty when there is none.
    pub default: &'static str,
    /// What it means.
    pub help: &'static str,
}

/// Every setting.
pub const KEYS: &[Key] = &[
    Key {
        name: "addr",
        default: "\"127.0.0.1:5000\"",
        help: "Where to listen: address and port. Port 0 takes a free one.",
    },
    Key {
        name: "data_dir",
        default: "",
        help: "Where content and metadata are kept. Without it: /var/lib/rregistry for root, \
               $XDG_DATA_HOME/rregistry for others.",
    },
    Key {
        name: "drain",
        default: "\"30s\"",
        help: "How long requests in flight may take to finish when the server is told to stop.",
    },
    Key {
        name: "log.level",
        default: "\"warn\"",
        help: "What to log to standard error: error, warn, info, debug or trace.",
    },
    Key {
        name: "log.format",
        default: "\"text\"",
        help: "How log lines look: text or json.",
    },
    Key {
        name: "log.access",
        default: "false",
        help: "Log every request to standard output, in log.format.",
    },
    Key {
        name: "tls.cert",
        default: "",
        help: "Certificate chain in PEM, the server's own first. With tls.key it turns TLS on; \
               both are read again on SIGHUP.",
    },
    Key {
        name: "tls.key",
        default: "",
        help: "Private key in PEM for tls.cert.",
    },
    Key {
        name: "tls.client_ca",
        default: "",
        help: "Certificates in PEM of those who may sign client certificates. When set, a client \
               without such a certificate is not let in.",
    },
    Key {
        name: "auth.htpasswd",
        default: "",
        help: "File of users and bcrypt passwords, as made by `rregistry user add` or \
               `htpasswd -B`. When set, clients must log in, but for what access rules give to \
               everybody.",
    },
    Key {
        name: "auth.realm",
        default: "\"rregistry\"",
        help: "The realm that clients are shown when they must log in.",
    },
    Key {
        name: "delete.enabled",
        default: "true",
        help: "Whether manifests, tags and blobs can be deleted through the API.",
    },
    Key {
        name: "uploads.expire_after",
        default: "\"7d\"",
        help: "How long an unfinished upload may rest before it is removed.",
    },
    Key {
        name: "gc.interval",
        default: "\"1h\"",
        help: "How often garbage is collected while serving; \"0s\" for never.",
    },
    Key {
        name: "gc.grace",
        default: "\"24h\"",
        help: "How long a blob that no manifest needs is kept: at least as long as any push takes.",
    },
    Key {
        name: "metrics.enabled",
        default: "true",
        help: "Whether /metrics answers, in the format of Prometheus.",
    },
];

/// The tables that hold lists rather than settings, explained like them.
const LISTS: &[Key] = &[
    Key {
        name: "groups",
        default: "",
        help: "Groups of users, for access rules: [groups] then NAME = [\"USER\", …].",
    },
    Key {
        name: "access",
        default: "",
        help: "Who may do what: [[access]] with repository (a pattern: * within a part, ** across \
               parts), users and groups (\"*\" is everybody logged in, \"anonymous\" also who is \
               not), allow (pull, push, delete, admin). Each rule only adds. Without any rule, \
               whoever is logged in may do everything.",
    },
];

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

/// All settings, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub addr: SocketAddr,
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
    /// Whether anything can be deleted through the API.
    pub delete_enabled: bool,
    /// How long an unfinished upload may rest.
    pub uploads_expire_after: Duration,
    /// How often garbage is collected.
    pub gc_interval: Option<Duration>,
    /// How long what nothing needs is kept.
    pub gc_grace: Duration,
    /// Whether /metrics answers.
    pub metrics: bool,
    /// Groups of users.
    pub groups: BTreeMap<String, Vec<String>>,
    /// Who may do what.
    pub access: Vec<Rule>,
}

/// The lists of a file.
#[derive(Debug, Default, Deserialize)]
struct Lists {
    #[serde(default)]
    groups: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    access: Vec<Rule>,
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
        // Booleans are the only values that are not text.
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
        if htpasswd.is_none() && !self.lists.access.is_empty() {
            return Err(ConfigError::Conflict(
                "access rules need users: set auth.htpasswd",
            ));
        }
        let interval = self.duration("gc.interval")?;
        Ok(Config {
            addr: self.parse("addr")?,
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
            delete_enabled: self.boolean("delete.enabled")?,
            uploads_expire_after: self.duration("uploads.expire_after")?,
            gc_interval: (!interval.is_zero()).then_some(interval),
            gc_grace: self.duration("gc.grace")?,
            metrics: self.boolean("metrics.enabled")?,
            groups: self.lists.groups,
            access: self.lists.access,
        })
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

/// Reads `30s`, `15m`, `24h`, `7d`.
pub fn duration(text: &str) -> Option<Duration> {
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

/// The environment variable of a key.
pub fn env_name(key: &str) -> String {
    format!("RREGISTRY_{}", key.to_uppercase().replace('.', "_"))
}

/// The key that was meant, if one is near enough.
fn similar(name: &str) -> Option<&'static str> {
    KEYS.iter()
        .chain(LISTS)
        .map(|key| (distance(name, key.name), key.name))
        .filter(|(distance, key)| *distance <= 1 + key.len() / 4)
        .min()
        .map(|(_, key)| key)
}

/// The edit distance between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Every key with its default, its variable and its meaning, as a file that can be used.
pub fn explain() -> String {
    let mut out = String::from(
        "# registry.toml: settings of rregistry, each with its default.\n\
         # Environment variables override the file; the command line overrides both.\n",
    );
    let mut table = "";
    for key in KEYS {
        let (own, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if own != table {
            table = own;
            out.push_str(&format!("\n[{table}]\n"));
        }
        out.push('\n');
        comment(&mut out, key.help);
        out.push_str(&format!("# Environment: {}\n", env_name(key.name)));
        if key.default.is_empty() {
            out.push_str(&format!("#{name} = \"\"\n"));
        } else {
            out.push_str(&format!("{name} = {}\n", key.default));
        }
    }
    for list in LISTS {
        out.push('\n');
        comment(&mut out, list.help);
    }
    out.push_str(
        "#[groups]\n#developers = [\"alice\", \"bob\"]\n\
         #[[access]]\n#repository = \"team/**\"\n#groups = [\"developers\"]\n\
         #allow = [\"pull\", \"push\"]\n",
    );
    out
}

/// Wraps a text into comment lines.
fn comment(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + word.len() > 95 {
            out.push_str(&line);
            out.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        Settings::from_text(text, Path::new("registry.toml"))?.check()
    }

    #[test]
    fn the_explanation_is_a_file_that_sets_the_defaults() {
        let defaults = read("").unwrap();
        let explained = read(&explain()).unwrap();
        assert_eq!(format!("{defaults:?}"), format!("{explained:?}"));
        assert!(defaults.addr.ip().is_loopback());
        for key in KEYS {
            assert!(explain().contains(&env_name(key.name)), "{}", key.name);
        }
    }

    #[test]
    fn unknown_keys_are_refused_with_what_was_meant() {
        for (text, message) in [
            (
                "[gc]\ngrase = \"1h\"",
                "unknown key `gc.grase`; did you mean `gc.grace`?",
            ),
            ("adr = \"x\"", "unknown key `adr`; did you mean `addr`?"),
            (
                "[tls]\ncertificate = \"x\"",
                "unknown key `tls.certificate`; `rregistry config",
            ),
            (
                "[[acess]]\nrepository = \"a\"",
                "unknown key `acess`; did you mean `access`?",
            ),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn wrong_values_say_what_is_right() {
        for (text, message) in [
            (
                "addr = \"nowhere\"",
                "addr = nowhere: invalid socket address",
            ),
            ("drain = \"soon\"", "drain = soon: a number and a unit"),
            ("drain = 30", "drain = 30: a text in quotes"),
            ("[delete]\nenabled = \"maybe\"", "true or false"),
            ("[log]\nformat = \"xml\"", "text or json"),
            ("[tls]\ncert = \"a\"", "TLS needs both"),
            (
                "[[access]]\nrepository = \"**\"\nallow = [\"pull\"]",
                "access rules need users",
            ),
            ("[[access]]\nrepo = \"**\"", "unknown field `repo`"),
            ("addr = ", "TOML parse error"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let mut settings =
            Settings::from_text("[gc]\ngrace = \"1h\"", Path::new("registry.toml")).unwrap();
        settings.override_from(|name| match name {
            "RREGISTRY_GC_GRACE" => Some("2h".into()),
            "RREGISTRY_DELETE_ENABLED" => Some("false".into()),
            _ => None,
        });
        let config = settings.check().unwrap();
        assert_eq!(config.gc_grace, Duration::from_secs(7200));
        assert!(!config.delete_enabled);
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("90s"), Some(Duration::from_secs(90)));
        assert_eq!(duration("7d"), Some(Duration::from_secs(604_800)));
        for bad in ["", "s", "5", "-1s", "1w", "99999999999999999999d", "1é"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
