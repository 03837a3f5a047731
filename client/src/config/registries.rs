//! `registries.toml`: what we go by for one registry or another.
//!
//! ```toml
//! [registry."docker.io"]
//! mirrors = ["mirror.example.com:5000", "https://cache.example.com/hub"]
//!
//! [registry."registry.example.com:5000"]
//! insecure = true              # plain http, or https with any certificate
//! ca = "/etc/ssl/example.pem"  # trusted besides the system's authorities
//! ```

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::credentials::Credentials;
use super::error::ConfigError;

/// The file is read up to this size.
const MAX_FILE: u64 = 1 << 20;

/// The settings of every registry that has some.
#[derive(Clone, Debug, Default)]
pub struct Registries {
    by_name: BTreeMap<String, RegistrySettings>,
    /// Registries at an address in one of these, without an entry of their own, are insecure.
    insecure_networks: Vec<(IpAddr, u8)>,
}

/// The settings of one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Plain http is allowed, and so is https with a certificate nobody vouches for.
    pub insecure: bool,
    /// Tried in order before the registry itself when pulling.
    pub mirrors: Vec<Mirror>,
    /// A file of certificate authorities (PEM) trusted for this registry too.
    pub ca: Option<PathBuf>,
    /// `Some(true)` for plain http alone, `Some(false)` for https alone, `None` to find out. A file
    /// does not say it.
    pub plain_http: Option<bool>,
    /// Who we are there, instead of who docker's config.json says. A file does not say it.
    pub credentials: Option<Credentials>,
}

/// Another server that has some of a registry's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// `host[:port]`.
    pub host: String,
    /// `Some(true)` for `http://`, `Some(false)` for `https://`, `None` when not said.
    pub plain_http: Option<bool>,
    /// Put before the repository's path; empty or without slashes at its ends.
    pub prefix: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    registry: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    mirrors: Vec<String>,
    ca: Option<PathBuf>,
}

impl Registries {
    /// Reads a file; one that is not there has no settings.
    ///
    /// # Errors
    /// [`ConfigError::Io`], or [`ConfigError::Invalid`] for bad TOML, unknown keys, and names
    /// that are no `host[:port]`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        match read_capped(path, MAX_FILE)? {
            Some(text) => Self::parse(&text, path),
            None => Ok(Self::default()),
        }
    }

    /// Reads TOML; `path` is only for messages.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let file: File =
            toml::from_str(text).map_err(|e| ConfigError::invalid(path, e.to_string()))?;
        let mut all = BTreeMap::new();
        for (name, entry) in file.registry {
            if !is_host(&name) {
                return Err(ConfigError::invalid(
                    path,
                    format!("[registry.{name:?}]: expected host[:port], without scheme or path"),
                ));
            }
            if entry.ca.as_ref().is_some_and(|ca| !ca.is_absolute()) {
                return Err(ConfigError::invalid(
                    path,
                    format!("[registry.{name:?}]: ca must be an absolute path"),
                ));
            }
            let mirrors = entry
                .mirrors
                .iter()
                .map(|text| {
                    Mirror::parse(text).ok_or_else(|| {
                        ConfigError::invalid(
                            path,
                            format!(
                                "[registry.{name:?}]: mirror {text:?} is no \
                                 [http[s]://]host[:port][/prefix]"
                            ),
                        )
                    })
                })
                .collect::<Result<_, _>>()?;
            let settings = RegistrySettings {
                insecure: entry.insecure,
                mirrors,
                ca: entry.ca,
                ..RegistrySettings::default()
            };
            if all.insert(canonical(&name), settings).is_some() {
                return Err(ConfigError::invalid(
                    path,
                    format!("[registry.{name:?}]: the same registry is named twice"),
                ));
            }
        }
        Ok(Self {
            by_name: all,
            insecure_networks: Vec::new(),
        })
    }

    /// Takes the entries of `other`, which replace ours for the same registry.
    pub fn merge(&mut self, other: Self) {
        self.by_name.extend(other.by_name);
        self.insecure_networks.extend(other.insecure_networks);
    }

    /// Sets one registry's settings.
    pub fn set(&mut self, host: &str, settings: RegistrySettings) {
        self.by_name.insert(canonical(host), settings);
    }

    /// Networks whose registries are insecure, each an address and the length of its prefix.
    pub(super) fn set_insecure_networks(&mut self, networks: Vec<(IpAddr, u8)>) {
        self.insecure_networks = networks;
    }

    /// Whether `host[:port]` is marked insecure, by its name or by the network of its address.
    pub fn is_insecure(&self, host: &str) -> bool {
        if let Some(own) = self.get(host) {
            return own.insecure;
        }
        let address = host.parse::<IpAddr>().ok();
        let address = address.or_else(|| Some(host.parse::<SocketAddr>().ok()?.ip()));
        address.is_some_and(|address| {
            let mut networks = self.insecure_networks.iter();
            networks.any(|network| super::subnet::contains(*network, address))
        })
    }

    /// All that is insecure, as it was written: names, and networks `ADDRESS/BITS`.
    pub fn insecure(&self) -> Vec<String> {
        let named = self.by_name.iter().filter(|(_, own)| own.insecure);
        let named = named.map(|(name, _)| name.clone());
        let networks = self.insecure_networks.iter();
        named
            .chain(networks.map(|(address, bits)| format!("{address}/{bits}")))
            .collect()
    }

    /// The settings for `host[:port]`.
    pub fn get(&self, host: &str) -> Option<&RegistrySettings> {
        self.by_name.get(&canonical(host))
    }
}

/// One name for each registry: lower case, and `docker.io` for all that Docker Hub goes by.
pub(crate) fn canonical(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" => oci::reference::DEFAULT_DOMAIN.to_owned(),
        _ => host,
    }
}

/// Whether `text` is a `host[:port]` as references have it.
pub(crate) fn is_host(text: &str) -> bool {
    // A name without dot or port, such as `mirror`, is no domain in a reference but is one here.
    let named = if text.contains(['.', ':']) || text == "localhost" {
        format!("{text}/x")
    } else {
        format!("{text}.x/x")
    };
    !text.contains('/') && named.parse::<oci::reference::Repository>().is_ok()
}

impl Mirror {
    /// `[http[s]://]host[:port][/prefix]`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (plain_http, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Some(true), rest),
            Some(("https", rest)) => (Some(false), rest),
            Some(_) => return None,
            None => (None, text),
        };
        let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_matches('/');
        let fine = is_host(host) && (prefix.is_empty() || oci::reference::is_path(prefix));
        fine.then(|| Self {
            host: host.to_ascii_lowercase(),
            plain_http,
            prefix: prefix.to_owned(),
        })
    }
}

/// A text file of at most `max` bytes; `None` when there is none.
pub(super) fn read_capped(path: &Path, max: u64) -> Result<Option<String>, ConfigError> {
    use std::io::Read;
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(ConfigError::io("read", path, e)),
    };
    let mut text = String::new();
    file.take(max + 1)
        .read_to_string(&mut text)
        .map_err(|e| ConfigError::io("read", path, e))?;
    if text.len() as u64 > max {
        return Err(ConfigError::invalid(
            path,
            format!("larger than {max} bytes"),
        ));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Registries, String> {
        Registries::parse(text, Path::new("r.toml")).map_err(|e| e.to_string())
    }

    #[test]
    fn reads_what_it_documents() {
        let all = parse(
            "[registry.\"docker.io\"]\nmirrors = [\"m:5000\", \"https://c.example.com/hub/\"]\n\
             [registry.\"R.example.com:5000\"]\ninsecure = true\nca = \"/etc/ca.pem\"\n",
        )
        .unwrap();
        let hub = all.get("registry-1.docker.io").unwrap();
        assert_eq!(hub.mirrors[0].host, "m:5000");
        assert_eq!(hub.mirrors[0].plain_http, None);
        assert_eq!(hub.mirrors[1].prefix, "hub");
        assert_eq!(hub.mirrors[1].plain_http, Some(false));
        let other = all.get("r.example.com:5000").unwrap();
        assert!(other.insecure && other.ca.is_some());
        assert!(all.get("example.com").is_none());
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for (text, why) in [
            ("[registry.\"a.b\"]\ninsecur = true", "unknown field"),
            ("[registries.\"a.b\"]", "unknown field"),
            ("[registry.\"https://a.b\"]", "expected host[:port]"),
            ("[registry.\"a.b\"]\nmirrors = [\"ftp://x\"]", "is no [http"),
            ("[registry.\"a.b\"]\nmirrors = [\"x/../y\"]", "is no [http"),
            ("[registry.\"a.b\"]\nca = \"ca.pem\"", "absolute"),
            (
                "[registry.\"docker.io\"]\n[registry.\"index.docker.io\"]",
                "named twice",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
