//! What the client is configured with, and the files that it comes from.

mod certs;
mod credentials;
pub mod daemon;
pub mod docker;
mod error;
mod helper;
pub mod registries;
mod subnet;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use certs::HostCerts;
pub use credentials::Credentials;
pub use daemon::DaemonConfig;
pub use docker::DockerConfig;
pub use error::ConfigError;
pub use registries::{Mirror, Registries, RegistrySettings};

use crate::retry::RetryPolicy;

/// Docker's directory of certificates per registry.
const DOCKER_CERTS: &str = "/etc/docker/certs.d";
/// The registries file of the machine.
const SYSTEM_REGISTRIES: &str = "/etc/rbuild/registries.toml";

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
    /// `~/.config/…`), whose entry for a registry replaces the machine's, docker's
    /// `/etc/docker/daemon.json` for registries that have an entry in neither, and
    /// `/etc/docker/certs.d`. Proxies come from `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.
    ///
    /// # Errors
    /// [`ConfigError`] when a file is there but cannot be read or understood.
    pub fn from_env() -> Result<Self, ConfigError> {
        let home = std::env::var_os("HOME")
            .filter(|v| !v.is_empty())
            .map(PathBuf::from);
        let config = std::env::var_os("XDG_CONFIG_HOME").filter(|v| !v.is_empty());
        let config = config
            .map(PathBuf::from)
            .or_else(|| Some(home?.join(".config")));
        let mut registries = DaemonConfig::from_machine()?.registries();
        registries.merge(Registries::load(Path::new(SYSTEM_REGISTRIES))?);
        if let Some(config) = config {
            registries.merge(Registries::load(&config.join("rbuild/registries.toml"))?);
        }
        Ok(Self {
            docker: DockerConfig::from_env(),
            registries,
            certs_dirs: vec![PathBuf::from(DOCKER_CERTS)],
            ..Self::default()
        })
    }

    /// Finds the certificates configured for `host[:port]`.
    pub(crate) fn certs_for(&self, host: &str) -> Result<HostCerts, ConfigError> {
        let ca = self.registries.get(host).and_then(|s| s.ca.clone());
        HostCerts::find(host, ca, &self.certs_dirs)
    }
}
