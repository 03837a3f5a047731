//! What the client is configured with, and the files that it comes from.

mod certs;
pub mod docker;
mod helper;
pub mod registries;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use certs::HostCerts;
pub use docker::{Credentials, DockerConfig};
pub use registries::{Mirror, Registries, RegistrySettings};

use crate::http::retry::RetryPolicy;

/// Docker's directory of certificates per registry.
const DOCKER_CERTS: &str = "/etc/docker/certs.d";
/// The registries file of the machine.
const SYSTEM_REGISTRIES: &str = "/etc/rbuild/registries.toml";

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read or written.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and how to mend it.
        reason: String,
    },
    /// A credential helper failed.
    #[error("credential helper {program}: {reason}")]
    Helper {
        /// The program.
        program: String,
        /// Why.
        reason: String,
    },
    /// The TLS library refuses what it was given.
    #[error("TLS for {host}: {reason}")]
    Tls {
        /// The registry.
        host: String,
        /// Why.
        reason: String,
    },
}

impl ConfigError {
    pub(crate) fn io(what: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            what,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn invalid(path: &Path, reason: impl Into<String>) -> Self {
        Self::Invalid {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}

/// Everything that a [`Client`](crate::Client) goes by. The default reads no files and knows no
/// credentials; [`Config::from_env`] is what a command line wants.
#[derive(Clone, Debug)]
pub struct Config {
    /// Docker's config.json: where credentials are read from and written to.
    pub docker: DockerConfig,
    /// Per-registry settings.
    pub registries: Registries,
    /// Directories of `HOST/{ca.crt,client.cert,client.key}`.
    pub certs_dirs: Vec<PathBuf>,
    /// What is sent as `User-Agent`.
    pub user_agent: String,
    /// Layers downloaded at the same time.
    pub max_concurrent_downloads: usize,
    /// Layers uploaded at the same time.
    pub max_concurrent_uploads: usize,
    /// The size in bytes of one `PATCH` of an upload; `None` sends a whole layer in one.
    pub upload_chunk: Option<u64>,
    /// How often and when something transient is tried again.
    pub retry: RetryPolicy,
    /// How long a connection may take to be made, TLS included.
    pub connect_timeout: Duration,
    /// How long nothing may move in either direction.
    pub idle_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            docker: DockerConfig::none(),
            registries: Registries::default(),
            certs_dirs: Vec::new(),
            user_agent: format!(
                "rbuild/{} ({}; {})",
                env!("CARGO_PKG_VERSION"),
                std::env::consts::OS,
                std::env::consts::ARCH
            ),
            max_concurrent_downloads: 3,
            max_concurrent_uploads: 5,
            upload_chunk: None,
            retry: RetryPolicy::default(),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
        }
    }
}

impl Config {
    /// The configuration of this user on this machine: `DOCKER_CONFIG` or `~/.docker`,
    /// `/etc/rbuild/registries.toml`, then `$XDG_CONFIG_HOME/rbuild/registries.toml` (or
    /// `~/.config/…`), whose entry for a registry replaces the machine's, and
    /// `/etc/docker/certs.d`. Proxies come from `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.
    ///
    /// # Errors
    /// [`ConfigError`] when a file is there but cannot be read or understood.
    pub fn from_env() -> Result<Self, ConfigError> {
        let home = std::env::var_os("HOME")
            .filter(|v| !v.is_empty())
            .map(PathBuf::from);
        let dir = |name: &str, in_home: &str| {
            std::env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
                .or_else(|| home.as_ref().map(|home| home.join(in_home)))
        };
        let mut registries = Registries::load(Path::new(SYSTEM_REGISTRIES))?;
        if let Some(config) = dir("XDG_CONFIG_HOME", ".config") {
            registries.merge(Registries::load(&config.join("rbuild/registries.toml"))?);
        }
        Ok(Self {
            docker: match dir("DOCKER_CONFIG", ".docker") {
                Some(dir) => DockerConfig::at(dir.join("config.json")),
                None => DockerConfig::none(),
            },
            registries,
            certs_dirs: vec![PathBuf::from(DOCKER_CERTS)],
            ..Self::default()
        })
    }
}

/// Whether a host name or address can only be this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    host.parse::<std::net::IpAddr>()
        .is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_this_machine_is_loopback() {
        for host in [
            "localhost",
            "LOCALHOST",
            "127.0.0.1",
            "127.1.2.3",
            "[::1]",
            "::1",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.example.com",
            "127.0.0.1.example.com",
            "10.0.0.1",
            "0.0.0.0",
            "",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
