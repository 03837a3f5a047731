//! `[[webhook]]`: who is to be told, and of what. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer};

use super::happened::{Action, Happened};
use crate::pattern::matches;

/// Longest name of a webhook.
const MAX_NAME: usize = 64;

/// One webhook of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Its name, in the log, in metrics, and for what waits for it on disk.
    pub name: String,
    /// Where events are sent.
    pub url: String,
    /// Whether it is left alone for now.
    #[serde(default)]
    pub disabled: bool,
    /// Headers that go along.
    #[serde(default)]
    pub headers: Headers,
    /// Certificates in PEM that are trusted beside the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// How long a delivery may take.
    #[serde(default = "timeout", deserialize_with = "duration")]
    pub timeout: Duration,
    /// So many failures in a row are tried again at once.
    #[serde(default = "threshold")]
    pub threshold: u32,
    /// How long to wait after that; twice as long after each failure that follows.
    #[serde(default = "backoff", deserialize_with = "duration")]
    pub backoff: Duration,
    /// So many events wait at most; then the oldest are dropped.
    #[serde(default = "backlog")]
    pub backlog: u32,
    /// The repositories, as a pattern.
    #[serde(default = "everything")]
    pub repository: String,
    /// What is told; everything when empty.
    #[serde(default)]
    pub actions: Vec<Action>,
    /// What is not told.
    #[serde(default)]
    pub ignore: Ignore,
    /// Whether pushed manifests are told with what they name.
    #[serde(default)]
    pub include_references: bool,
}

/// What a webhook is not told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ignore {
    /// Events of these actions.
    #[serde(default)]
    pub actions: Vec<Action>,
    /// Events of things with these media types.
    #[serde(default)]
    pub mediatypes: Vec<String>,
}

/// Headers that go along with every delivery. They may be secrets: only their names are shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Headers(BTreeMap<String, Values>);

#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Many(Vec<String>),
}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Headers {
    /// As HTTP has them.
    ///
    /// # Errors
    /// The name of a header that cannot be one.
    pub fn to_map(&self) -> Result<http::HeaderMap, String> {
        let mut map = http::HeaderMap::new();
        for (name, values) in &self.0 {
            let wrong = || format!("header {name:?} is none, or has a value that it cannot have");
            let values = match values {
                Values::One(value) => std::slice::from_ref(value),
                Values::Many(values) => values,
            };
            for value in values {
                let mut value = HeaderValue::try_from(value).map_err(|_| wrong())?;
                value.set_sensitive(true);
                map.append(HeaderName::try_from(name).map_err(|_| wrong())?, value);
            }
        }
        Ok(map)
    }
}

fn timeout() -> Duration {
    Duration::from_secs(5)
}

fn threshold() -> u32 {
    5
}

fn backoff() -> Duration {
    Duration::from_secs(1)
}

fn backlog() -> u32 {
    10_000
}

fn everything() -> String {
    "**".to_owned()
}

fn duration<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(d)?;
    crate::units::duration(&text).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "{text:?} is no time: a number and a unit, such as 500ms, 5s or 1m"
        ))
    })
}

impl Webhook {
    /// Whether it can be used.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if self.name.is_empty() || self.name.len() > MAX_NAME || !self.name.bytes().all(fine) {
            return Err(format!(
                "name: 1 to {MAX_NAME} letters, digits, dots, dashes and underscores"
            ));
        }
        let url = reqwest::Url::parse(&self.url).map_err(|e| format!("url: {e}"))?;
        match url.scheme() {
            "https" => {}
            "http" if self.ca.is_some() => return Err("ca: only https has certificates".into()),
            "http" => {}
            other => return Err(format!("url: {other} is neither http nor https")),
        }
        if self.timeout.is_zero() {
            return Err("timeout: longer than nothing".into());
        }
        if self.backoff.is_zero() {
            return Err("backoff: longer than nothing".into());
        }
        if self.backlog == 0 {
            return Err("backlog: at least 1".into());
        }
        self.headers.to_map().map(drop)
    }

    /// Whether it is ever told of this action.
    pub(super) fn hears(&self, action: Action) -> bool {
        !self.disabled
            && (self.actions.is_empty() || self.actions.contains(&action))
            && !self.ignore.actions.contains(&action)
    }

    /// Whether it is told of this.
    pub(super) fn wants(&self, happened: &Happened<'_>) -> bool {
        let media_type = happened.target.media_type();
        self.hears(happened.action)
            && !self.ignore.mediatypes.iter().any(|m| m == media_type)
            && matches(&self.repository, happened.repository)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Target;
    use oci::Digest;

    fn webhook(more: &str) -> Result<Webhook, String> {
        let text = format!("name = \"a\"\nurl = \"https://x.example/e\"\n{more}");
        let webhook: Webhook = toml::from_str(&text).map_err(|e| e.to_string())?;
        webhook.check().map(|()| webhook)
    }

    #[test]
    fn filters_add_up() {
        let digest = Digest::sha256(b"x");
        let target = Target::Blob {
            digest: &digest,
            size: 1,
            from: None,
        };
        for (more, action, repository, wanted) in [
            ("", Action::Pull, "a/b", true),
            ("disabled = true", Action::Push, "a/b", false),
            ("repository = \"a/**\"", Action::Push, "a/b", true),
            ("repository = \"b/**\"", Action::Push, "a/b", false),
            (
                "actions = [\"push\", \"delete\"]",
                Action::Pull,
                "a/b",
                false,
            ),
            (
                "actions = [\"push\", \"delete\"]",
                Action::Delete,
                "a/b",
                true,
            ),
            ("ignore.actions = [\"pull\"]", Action::Pull, "a/b", false),
            (
                "ignore.mediatypes = [\"application/octet-stream\"]",
                Action::Push,
                "a/b",
                false,
            ),
        ] {
            let happened = Happened {
                action,
                repository,
                target,
            };
            assert_eq!(webhook(more).unwrap().wants(&happened), wanted, "{more}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for (more, message) in [
            ("timeout = \"0s\"", "timeout"),
            ("timeout = \"soon\"", "is no time"),
            ("backoff = \"0s\"", "backoff"),
            ("backlog = 0", "backlog"),
            ("headers = { \"a b\" = \"x\" }", "header \"a b\""),
            ("headers = { a = \"x\\ny\" }", "header \"a\""),
            ("actions = [\"shout\"]", "unknown variant"),
            ("ignored = {}", "unknown field"),
        ] {
            let error = webhook(more).unwrap_err();
            assert!(error.contains(message), "{more}: {error}");
        }
        for (text, message) in [
            ("name = \"\"\nurl = \"http://x\"", "name"),
            ("name = \"a\\\"b\"\nurl = \"http://x\"", "name"),
            ("name = \"a\"\nurl = \"nowhere\"", "url"),
            ("name = \"a\"\nurl = \"ftp://x\"", "neither http nor https"),
            ("name = \"a\"\nurl = \"http://x\"\nca = \"y\"", "ca"),
        ] {
            let webhook: Webhook = toml::from_str(text).unwrap();
            let error = webhook.check().unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn headers_are_not_shown() {
        let webhook = webhook("headers = { Authorization = [\"Bearer secret\"] }").unwrap();
        let shown = format!("{webhook:?}");
        assert!(shown.contains("Authorization") && !shown.contains("secret"));
        assert_eq!(
            webhook.headers.to_map().unwrap()["authorization"],
            "Bearer secret"
        );
    }
}
