//! Settings as they came: from the file, the environment and the command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Value;

use super::error::{ConfigError, wrong};
use super::keys::{PREFIX, all, all_lists, env_name, similar, similar_variable};
use super::place::{Places, lists};
use crate::auth::federation::Federation;
use crate::auth::rules::Rule;
use crate::events::{Headers, Webhook};
use crate::mirror::settings::Upstream;
use crate::policy::{Immutable, Retention};
use crate::quota::Quota;
use crate::replication::settings::Replicate;
use crate::units::duration;

/// Keys that are said in a word where nothing else of their table is needed.
const SHORT: [(&str, &str); 1] = [("database", "database.url")];

/// What a word stands for.
fn long(name: &str) -> Option<&'static str> {
    let found = SHORT.iter().find(|(short, _)| *short == name);
    found.map(|(_, long)| *long)
}

/// The lists of a file.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Lists {
    #[serde(default)]
    pub(super) groups: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(super) access: Vec<Rule>,
    #[serde(default)]
    pub(super) immutable: Vec<Immutable>,
    #[serde(default)]
    pub(super) retention: Vec<Retention>,
    #[serde(default)]
    pub(super) quota: Vec<Quota>,
    #[serde(default)]
    pub(super) webhook: Vec<Webhook>,
    #[serde(default)]
    pub(super) oidc: Vec<Federation>,
    #[serde(default, rename = "http.headers")]
    pub(super) headers: Headers,
    #[serde(default)]
    pub(super) upstream: Vec<Upstream>,
    #[serde(default)]
    pub(super) replicate: Vec<Replicate>,
}

/// Settings as they came, before they are checked.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    values: BTreeMap<&'static str, Value>,
    pub(super) lists: Lists,
    /// Where they came from.
    pub(super) places: Places,
}

impl Settings {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError::Read`], [`ConfigError::Toml`], [`ConfigError::Unknown`].
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::Read {
            path: path.to_owned(),
            cause,
        })?;
        Self::from_text(&text, path)
    }

    pub(super) fn from_text(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let toml = |cause| ConfigError::Toml {
            path: path.to_owned(),
            cause: Box::new(cause),
        };
        let mut table: toml::Table = text.parse().map_err(toml)?;
        for list in all_lists() {
            match list.name.split_once('.') {
                None => drop(table.remove(list.name)),
                Some((outer, name)) => {
                    if let Some(Value::Table(outer)) = table.get_mut(outer) {
                        outer.remove(name);
                    }
                }
            }
        }
        let mut settings = Self {
            values: BTreeMap::new(),
            lists: lists(text).map_err(toml)?,
            places: Places::of(text, path),
        };
        for (short, long) in SHORT {
            let place = settings.places.get(short).map(str::to_owned);
            if let (Some(place), None) = (place, settings.places.get(long)) {
                settings.places.put(long, place);
            }
        }
        let added = settings.add_table("", table, path);
        added.map_err(|error| settings.places.with(error))?;
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
            let name = match &value {
                Value::Table(_) => name,
                _ => long(&name).map_or(name, str::to_owned),
            };
            match (all().find(|k| k.name == name), value) {
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

    /// The keys and lists that have other values there.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let keys = all().map(|key| key.name);
        let mut names: Vec<_> = keys
            .filter(|name| self.value(name) != other.value(name))
            .collect();
        let (ours, theirs) = (&self.lists, &other.lists);
        let lists = [
            ("groups", ours.groups == theirs.groups),
            ("access", ours.access == theirs.access),
            ("immutable", ours.immutable == theirs.immutable),
            ("retention", ours.retention == theirs.retention),
            ("quota", ours.quota == theirs.quota),
            ("webhook", ours.webhook == theirs.webhook),
            ("oidc", ours.oidc == theirs.oidc),
            ("upstream", ours.upstream == theirs.upstream),
            ("http.headers", ours.headers == theirs.headers),
            ("upstream", ours.upstream == theirs.upstream),
            ("replicate", ours.replicate == theirs.replicate),
        ];
        names.extend(
            lists
                .iter()
                .filter(|(_, same)| !same)
                .map(|(name, _)| *name),
        );
        names
    }

    /// Lets environment variables override what the file says.
    pub fn override_from(&mut self, env: impl Fn(&str) -> Option<String>) {
        let short = SHORT.iter().map(|(short, long)| (env_name(short), *long));
        let names = all().map(|key| (env_name(key.name), key.name));
        for (name, key) in short.chain(names) {
            if let Some(text) = env(&name) {
                self.set(key, text);
                self.places.put(key, name);
            }
        }
    }

    /// Refuses a variable that means to be a setting and is none: what it was to protect would be
    /// open without a word. Those that are like no setting are given back: others may use them.
    ///
    /// # Errors
    /// [`ConfigError::Variable`].
    pub fn check_names(
        names: impl IntoIterator<Item = String>,
    ) -> Result<Vec<String>, ConfigError> {
        let mut strange = Vec::new();
        for name in names {
            let Some(rest) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let short = SHORT.iter().any(|(short, _)| env_name(short) == name);
            let known = short || rest == "CONFIG" || all().any(|key| env_name(key.name) == name);
            if known || is_of_kubernetes(rest) {
                continue;
            }
            let list = all_lists().find(|list| env_name(list.name) == name);
            let (list, similar) = (list.map(|list| list.name), similar_variable(&name));
            if list.is_some() || similar.is_some() {
                return Err(ConfigError::Variable {
                    name,
                    list,
                    similar,
                });
            }
            strange.push(name);
        }
        Ok(strange)
    }

    /// Whether a key was set to anything but its default, or nothing.
    pub(super) fn is_set(&self, name: &str) -> bool {
        let Some(value) = self.values.get(name) else {
            return false;
        };
        let default = all().find(|key| key.name == name).map(|key| key.default);
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        !text.is_empty() && Some(text.as_str()) != default
    }

    /// Where a key is set, for the beginning of a message: the file and its line, or the variable.
    pub(super) fn place(&self, name: &str) -> String {
        let place = self.places.get(name);
        place.map_or_else(String::new, |place| format!("{place}: "))
    }

    /// Sets one key from text, as the command line and the environment have it.
    pub fn set(&mut self, name: &'static str, text: String) {
        self.places.forget(name);
        // Numbers and booleans are read from text as well.
        self.values.insert(name, Value::String(text));
    }

    /// The http or https URL of a key, if there is one.
    pub(super) fn url(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
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
    fn value(&self, name: &str) -> Option<Value> {
        if let Some(value) = self.values.get(name) {
            return Some(value.clone());
        }
        let default = all().find(|k| k.name == name)?.default;
        let table: toml::Table = format!("v = {default}").parse().ok()?;
        table.get("v").cloned()
    }

    /// The text of a key that may be left out, or left empty.
    pub(super) fn given(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        Ok(self.optional_text(name)?.filter(|text| !text.is_empty()))
    }

    fn optional_text(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, other, "a text in quotes")),
        }
    }

    pub(super) fn text(&self, name: &'static str) -> Result<String, ConfigError> {
        Ok(self.optional_text(name)?.unwrap_or_default())
    }

    pub(super) fn path(&self, name: &'static str) -> Result<Option<PathBuf>, ConfigError> {
        Ok(self
            .optional_text(name)?
            .filter(|text| !text.is_empty())
            .map(PathBuf::from))
    }

    /// Several texts: a list of them in a file, or one text with commas between them.
    pub(super) fn list(&self, name: &'static str) -> Result<Vec<String>, ConfigError> {
        let wanted = "a list of texts in quotes, or one text with commas between them";
        let texts = match self.value(name) {
            Some(Value::Array(values)) => values
                .into_iter()
                .map(|value| match value {
                    Value::String(text) => Ok(text),
                    other => Err(wrong(name, other, wanted)),
                })
                .collect::<Result<Vec<_>, _>>()?,
            Some(Value::String(text)) => text.split(',').map(str::to_owned).collect(),
            Some(other) => return Err(wrong(name, other, wanted)),
            None => Vec::new(),
        };
        let texts = texts.iter().map(|text| text.trim().to_owned());
        Ok(texts.filter(|text| !text.is_empty()).collect())
    }

    pub(super) fn boolean(&self, name: &'static str) -> Result<bool, ConfigError> {
        let value = self.value(name);
        let read = match &value {
            Some(Value::Boolean(value)) => Some(*value),
            Some(Value::String(text)) => boolean(text),
            _ => None,
        };
        match (read, value) {
            (Some(value), _) => Ok(value),
            (None, other) => Err(wrong(
                name,
                other.map_or_else(String::new, |v| v.to_string()),
                "true or false",
            )),
        }
    }

    pub(super) fn number(&self, name: &'static str) -> Result<u32, ConfigError> {
        let number = match self.value(name) {
            Some(Value::Integer(number)) => u32::try_from(number).ok(),
            Some(Value::String(text)) => text.parse().ok(),
            _ => None,
        };
        let given = || self.value(name).map_or_else(String::new, |v| v.to_string());
        number.ok_or_else(|| wrong(name, given(), "a whole number, 0 or more"))
    }

    pub(super) fn parse<T: std::str::FromStr>(&self, name: &'static str) -> Result<T, ConfigError>
    where
        T::Err: std::fmt::Display,
    {
        let text = self.text(name)?;
        text.parse().map_err(|e: T::Err| wrong(name, &text, e))
    }

    pub(super) fn duration(&self, name: &'static str) -> Result<Duration, ConfigError> {
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

/// Whether this is what Kubernetes tells containers of a service that is called as we are, or
/// begins so.
fn is_of_kubernetes(rest: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // PORT_5000_TCP, PORT_5000_TCP_ADDR and so on.
    let of_port = |text: &str| {
        let mut parts = text.split('_');
        let number = parts.next().is_some_and(digits);
        let protocol = parts
            .next()
            .is_some_and(|p| ["TCP", "UDP", "SCTP"].contains(&p));
        let what = parts.next();
        let fits = what.is_none_or(|what| ["PROTO", "PORT", "ADDR"].contains(&what));
        number && protocol && fits && parts.next().is_none()
    };
    // Of which service it is comes first; ours may be all of the prefix.
    let begins = std::iter::once(0).chain(rest.match_indices('_').map(|(at, _)| at + 1));
    begins.filter_map(|at| rest.get(at..)).any(|end| {
        end == "SERVICE_HOST"
            || end == "SERVICE_PORT"
            || end.starts_with("SERVICE_PORT_")
            || end == "PORT"
            || end.strip_prefix("PORT_").is_some_and(of_port)
    })
}

/// A boolean in the words of Go's `strconv.ParseBool`, which users of Docker's registry know.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
