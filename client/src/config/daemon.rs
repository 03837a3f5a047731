//! Docker's `daemon.json`: what an administrator has said of registries and name servers before
//! this program came. Of all that may stand in it only this is read.

use std::net::IpAddr;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::ConfigError;
use super::registries::{Mirror, Registries, RegistrySettings, is_host, read_capped};

/// Where docker keeps it.
const DAEMON: &str = "/etc/docker/daemon.json";
/// The file is read up to this size.
const MAX_FILE: u64 = 1 << 20;

/// What docker's daemon goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaemonConfig {
    /// `registry-mirrors`: of Docker Hub.
    pub mirrors: Vec<Mirror>,
    /// `insecure-registries` by name.
    pub insecure: Vec<String>,
    /// `insecure-registries` by network: address and length of the prefix in bits.
    pub insecure_networks: Vec<(IpAddr, u8)>,
    /// `dns`: the name servers of containers.
    pub dns: Vec<String>,
    /// `dns-search`
    pub dns_search: Vec<String>,
    /// `dns-opts`
    pub dns_options: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    registry_mirrors: Vec<String>,
    #[serde(default)]
    insecure_registries: Vec<String>,
    #[serde(default)]
    dns: Vec<String>,
    #[serde(default)]
    dns_search: Vec<String>,
    #[serde(default)]
    dns_opts: Vec<String>,
}

impl DaemonConfig {
    /// This machine's. One that is not there, or that only root may read, says nothing.
    ///
    /// # Errors
    /// [`ConfigError::Io`], or [`ConfigError::Invalid`] for what is no JSON, or no mirror,
    /// registry or address where docker wants one.
    pub fn from_machine() -> Result<Self, ConfigError> {
        let path = Path::new(DAEMON);
        match read_capped(path, MAX_FILE) {
            Ok(Some(text)) => Self::parse(&text, path),
            Ok(None) => Ok(Self::default()),
            Err(ConfigError::Io { cause, .. })
                if cause.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                Ok(Self::default())
            }
            Err(error) => Err(error),
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let invalid = |message: String| ConfigError::invalid(path, message);
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        // An array would do for a struct.
        let object: Map<String, Value> =
            serde_json::from_str(text).map_err(|e| invalid(e.to_string()))?;
        let file = File::deserialize(Value::Object(object)).map_err(|e| invalid(e.to_string()))?;
        let mut mirrors = Vec::new();
        for text in &file.registry_mirrors {
            mirrors.push(Mirror::parse(text).ok_or_else(|| {
                invalid(format!(
                    "registry-mirrors: {text:?} is no http[s]://host[:port]"
                ))
            })?);
        }
        let mut insecure = Vec::new();
        let mut insecure_networks = Vec::new();
        for text in &file.insecure_registries {
            // Docker takes these with a scheme, too.
            let name = text
                .split_once("://")
                .map_or(text.as_str(), |(_, rest)| rest);
            let name = name.trim_end_matches('/');
            if let Some(network) = network(name) {
                insecure_networks.push(network);
            } else if is_host(name) {
                insecure.push(name.to_owned());
            } else {
                return Err(invalid(format!(
                    "insecure-registries: {text:?} is no host[:port] and no network"
                )));
            }
        }
        if let Some(text) = file.dns.iter().find(|text| text.parse::<IpAddr>().is_err()) {
            return Err(invalid(format!("dns: {text:?} is no address")));
        }
        let mut words = file.dns_search.iter().chain(&file.dns_opts);
        if let Some(text) = words.find(|t| t.is_empty() || t.contains(char::is_whitespace)) {
            return Err(invalid(format!("dns: {text:?} is no single word")));
        }
        Ok(Self {
            mirrors,
            insecure,
            insecure_networks,
            dns: file.dns,
            dns_search: file.dns_search,
            dns_options: file.dns_opts,
        })
    }

    /// What it says of registries.
    pub fn registries(&self) -> Registries {
        let mut all = Registries::default();
        if !self.mirrors.is_empty() {
            let settings = RegistrySettings {
                mirrors: self.mirrors.clone(),
                ..RegistrySettings::default()
            };
            all.set(oci::reference::DEFAULT_DOMAIN, settings);
        }
        for host in &self.insecure {
            let mut settings = all.get(host).cloned().unwrap_or_default();
            settings.insecure = true;
            all.set(host, settings);
        }
        all.set_insecure_networks(self.insecure_networks.clone());
        all
    }
}

/// `ADDRESS/BITS`
fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let bits: u8 = bits.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    (bits <= most).then_some((address, bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::subnet::contains;

    fn parse(text: &str) -> Result<DaemonConfig, String> {
        DaemonConfig::parse(text, Path::new("daemon.json")).map_err(|e| e.to_string())
    }

    /// The keys of dockerd's documentation.
    #[test]
    fn mirrors_insecure_registries_and_name_servers_are_read() {
        let config = parse(
            r#"{"storage-driver": "overlay2", "log-opts": {"max-size": "10m"},
                "registry-mirrors": ["https://mirror.gcr.io/", "http://10.0.0.5:5000"],
                "insecure-registries": ["registry.lan:5000", "10.1.0.0/16", "http://old.lan"],
                "dns": ["10.0.0.2", "fd00::1"], "dns-search": ["corp.example"],
                "dns-opts": ["ndots:2"]}"#,
        )
        .unwrap();
        assert_eq!(config.dns, ["10.0.0.2", "fd00::1"]);
        assert_eq!(config.dns_search, ["corp.example"]);
        assert_eq!(config.dns_options, ["ndots:2"]);
        let all = config.registries();
        let hub = all.get("docker.io").unwrap();
        assert_eq!(hub.mirrors[0].host, "mirror.gcr.io");
        assert_eq!(hub.mirrors[1].plain_http, Some(true));
        assert!(!hub.insecure);
        for (host, insecure) in [
            ("registry.lan:5000", true),
            ("registry.lan", false),
            ("old.lan", true),
            ("10.1.2.3", true),
            ("10.1.2.3:5000", true),
            ("10.2.0.1:5000", false),
            ("docker.io", false),
        ] {
            assert_eq!(all.is_insecure(host), insecure, "{host}");
        }
    }

    #[test]
    fn own_settings_of_a_registry_win() {
        let config = parse(
            r#"{"registry-mirrors": ["https://theirs.lan"], "insecure-registries": ["a.lan", "10.0.0.0/8"]}"#,
        )
        .unwrap();
        let mut all = config.registries();
        let own = "[registry.\"docker.io\"]\nmirrors = [\"ours.lan\"]\n\
                   [registry.\"a.lan\"]\ninsecure = false\n\
                   [registry.\"10.0.0.1:5000\"]\ninsecure = false\n";
        all.merge(Registries::parse(own, Path::new("r.toml")).unwrap());
        assert_eq!(all.get("docker.io").unwrap().mirrors[0].host, "ours.lan");
        assert!(!all.is_insecure("a.lan") && !all.is_insecure("10.0.0.1:5000"));
        assert!(all.is_insecure("10.0.0.2:5000"));
    }

    #[test]
    fn what_docker_would_not_start_with_is_told() {
        for (text, why) in [
            ("{", "daemon.json"),
            ("[]", "daemon.json"),
            (r#"{"dns": ["moon"]}"#, "is no address"),
            (r#"{"dns-search": ["a b"]}"#, "no single word"),
            (r#"{"registry-mirrors": ["ftp://x"]}"#, "is no http"),
            (r#"{"insecure-registries": ["10.0.0.0/33"]}"#, "no network"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert_eq!(parse(" \n").unwrap(), DaemonConfig::default());
    }

    #[test]
    fn networks_are_compared_by_their_prefix() {
        for (network_text, address, inside) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("10.0.0.1/32", "10.0.0.2", false),
            ("fd00::/8", "fdff::1", true),
            ("::/0", "fe80::1", true),
            ("10.0.0.0/8", "::1", false),
        ] {
            let found = contains(network(network_text).unwrap(), address.parse().unwrap());
            assert_eq!(found, inside, "{address} in {network_text}");
        }
    }
}
