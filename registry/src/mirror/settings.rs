//! `[[upstream]]` and `[mirror]`: what is mirrored, from where, and how much of it is kept. Pure.

use std::path::{Path, PathBuf};
use std::time::Duration;

use client::config::Credentials;
use serde::{Deserialize, Deserializer};

use crate::units::duration;

/// One upstream of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// The names here that it answers for, as a pattern.
    pub repository: String,
    /// Where it is: `http[s]://host[:port][/prefix]`.
    pub url: String,
    /// Names that it does not answer for although `repository` matches, as patterns.
    #[serde(default)]
    pub except: Vec<String>,
    /// What of a name here is not part of the name there.
    #[serde(default)]
    pub strip: Option<String>,
    /// The registries that it stands for where a client says `?ns=`.
    #[serde(default)]
    pub ns: Option<Vec<String>>,
    /// Names without a host that are not here are looked for there.
    #[serde(default)]
    pub hostless: bool,
    /// Who we are there.
    #[serde(default)]
    pub username: Option<String>,
    /// With this password or access token.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Or with the one in this file.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Certificates in PEM that are trusted beside the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Whether credentials may go over plain http, and certificates are not verified.
    #[serde(default)]
    pub insecure: bool,
    /// How long a tag is served without asking whether it has moved.
    #[serde(default = "ttl", deserialize_with = "time")]
    pub ttl: Duration,
    /// How long after that it is still served at once, and asked about meanwhile.
    #[serde(default = "stale", deserialize_with = "time")]
    pub stale: Duration,
    /// How long it is remembered that something is not there.
    #[serde(default = "missing_ttl", deserialize_with = "time")]
    pub missing_ttl: Duration,
    /// How long nothing may come.
    #[serde(default = "timeout", deserialize_with = "time")]
    pub timeout: Duration,
    /// Whether signatures and other referrers of what is pulled are brought along.
    #[serde(default)]
    pub referrers: bool,
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MirrorSettings {
    /// The upstreams, in the order in which they are asked.
    pub upstreams: Vec<Upstream>,
    /// No upstream is asked anything.
    pub offline: bool,
    /// Bytes that are kept of what is mirrored.
    pub max_size: Option<u64>,
    /// How long what nobody pulls is kept.
    pub max_age: Option<Duration>,
    /// Repositories of which everything is kept, as patterns.
    pub pinned: Vec<String>,
}

impl Upstream {
    /// What of a name here is not part of the name there: as it is set, else a first part that is
    /// a host, else what stands before `/**`.
    pub fn prefix(&self) -> &str {
        if let Some(strip) = &self.strip {
            return strip.trim_matches('/');
        }
        let first = self.repository.split('/').next().unwrap_or_default();
        if is_host(first) && first.len() < self.repository.len() {
            return first;
        }
        match self.repository.strip_suffix("/**") {
            Some(before) if !before.contains('*') => before,
            _ => "",
        }
    }

    /// The registries that it stands for.
    pub fn registries(&self) -> Vec<String> {
        match &self.ns {
            Some(ns) => ns.iter().map(|name| canonical(name)).collect(),
            None if is_host(self.prefix()) => vec![canonical(self.prefix())],
            None => Vec::new(),
        }
    }

    /// Checks what its types do not.
    ///
    /// # Errors
    /// What is wrong, in words for people.
    pub fn check(&self) -> Result<(), String> {
        self.remote().check()?;
        if self.hostless && self.prefix().is_empty() {
            return Err(
                "hostless = true needs a prefix in `repository`, such as docker.io/**: that is \
                 where names without a host are kept"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// The other registry, and who we are there.
    pub fn remote(&self) -> Remote<'_> {
        Remote {
            url: &self.url,
            username: self.username.as_deref(),
            password: self.password.as_ref(),
            password_file: self.password_file.as_deref(),
            insecure: self.insecure,
        }
    }
}

/// Another registry, and who we are there.
#[derive(Clone, Copy, Debug)]
pub struct Remote<'r> {
    /// Where it is: `http[s]://host[:port][/prefix]`.
    pub url: &'r str,
    /// The user.
    pub username: Option<&'r str>,
    /// The password.
    pub password: Option<&'r Secret>,
    /// Or the file that has it.
    pub password_file: Option<&'r Path>,
    /// Whether credentials may go over plain http.
    pub insecure: bool,
}

impl Remote<'_> {
    /// Checks that it can be asked, and that credentials go to nobody else.
    ///
    /// # Errors
    /// What is wrong, in words for people.
    pub fn check(&self) -> Result<(), String> {
        if !self.url.starts_with("https://") && !self.url.starts_with("http://") {
            return Err(format!(
                "url = {:?} is no http[s]://host[:port][/prefix]",
                self.url
            ));
        }
        let password = self.password.is_some() || self.password_file.is_some();
        if self.password.is_some() && self.password_file.is_some() {
            return Err("password and password_file are one too many".to_owned());
        }
        if self.username.is_some() != password {
            return Err("username and a password (or password_file) go together".to_owned());
        }
        if password && self.url.starts_with("http://") && !self.insecure && !is_local(self.url) {
            return Err(
                "the password would go over plain http: use https, or set insecure = true if that \
                 is meant"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Who we are there, the password read from its file if it is in one.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn credentials(&self) -> std::io::Result<Option<Credentials>> {
        let password = match (self.password, self.password_file) {
            (Some(Secret(password)), _) => password.clone(),
            (None, Some(path)) => read(path)?,
            (None, None) => return Ok(None),
        };
        Ok(self.username.map(|username| Credentials::Basic {
            username: username.to_owned(),
            password,
        }))
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let text = std::fs::read_to_string(path)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn is_local(url: &str) -> bool {
    url.parse::<http::Uri>().is_ok_and(|uri| {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let address = host.parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

/// Whether the first part of a name is a host, as clients tell it from a folder.
pub(super) fn is_host(part: &str) -> bool {
    !part.contains('*') && (part.contains(['.', ':']) || part == "localhost")
}

/// One name for each registry.
pub(super) fn canonical(registry: &str) -> String {
    let registry = registry.to_ascii_lowercase();
    match registry.as_str() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        _ => registry,
    }
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    duration(&text).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "{text:?} is no time: a number and a unit, such as 30s, 15m, 24h or 7d"
        ))
    })
}

fn ttl() -> Duration {
    Duration::from_secs(5 * 60)
}

fn stale() -> Duration {
    Duration::from_secs(3600)
}

fn missing_ttl() -> Duration {
    Duration::from_secs(60)
}

fn timeout() -> Duration {
    Duration::from_secs(30)
}
