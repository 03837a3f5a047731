//! Connections: which certificates are trusted for whom, proxies, time limits.

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Certificate, Identity, Response, Url};
use tokio::sync::OnceCell;

use crate::config::{Config, ConfigError, HostCerts};
use crate::error::{Error, Note};
use crate::origin::{Origin, is_loopback};
use crate::sync::lock;
use crate::text::{printable, shown};

/// The HTTP clients, one for each way of trusting; connections are pooled in them.
pub(crate) struct Transports {
    config: Arc<Config>,
    clients: Mutex<HashMap<Trust, Arc<OnceCell<reqwest::Client>>>>,
}

/// Whom a connection trusts, and how it is made.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Trust {
    /// Certificates are verified.
    verify: bool,
    /// Authorities besides the system's, and who we are.
    certs: HostCerts,
    /// Through the proxies of the environment. Never to this machine.
    proxy: bool,
}

impl Transports {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        // Whoever installed another provider before us keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            config,
            clients: Mutex::new(HashMap::new()),
        }
    }

    /// How long nothing may move.
    pub(crate) fn idle(&self) -> Duration {
        self.config.idle_timeout
    }

    /// Whether the user has marked a registry, or the host at an origin, `insecure`.
    pub(crate) fn is_insecure(&self, origin: &Origin, name: &str) -> bool {
        let marked = |host: &str| self.config.registries.is_insecure(host);
        marked(name) || marked(&origin.authority()) || marked(&origin.host_port())
    }

    /// The client for a registry's own API. Like docker, no certificate is asked of this machine.
    pub(crate) async fn for_home(&self, name: &str, host: &str) -> Result<reqwest::Client, Error> {
        let insecure = self.config.registries.is_insecure(name);
        let mut certs = self.config.certs_for(name)?;
        if certs == HostCerts::default() && host != name {
            certs = self.config.certs_for(host)?;
        }
        let loopback = is_loopback(host_of(host));
        let trust = Trust {
            verify: !insecure && !loopback,
            certs,
            proxy: !loopback,
        };
        self.client(trust, name).await
    }

    /// The client for what a registry points to: another server, which is always verified unless
    /// the user marked it `insecure`. The registry's own authorities are trusted for it, since a
    /// company's token server and registry commonly share one; our certificate is not shown.
    pub(crate) async fn for_target(
        &self,
        home: &Origin,
        home_name: &str,
        target: &Origin,
    ) -> Result<reqwest::Client, Error> {
        if target == home {
            return self.for_home(home_name, &home.authority()).await;
        }
        let authority = target.authority();
        let mut certs = self.config.certs_for(&authority)?;
        if certs == HostCerts::default() {
            certs.authorities = self.config.certs_for(home_name)?.authorities;
        }
        let trust = Trust {
            verify: !self.is_insecure(target, &authority),
            certs,
            proxy: !target.is_loopback(),
        };
        self.client(trust, &authority).await
    }

    async fn client(&self, trust: Trust, host: &str) -> Result<reqwest::Client, Error> {
        let cell = {
            let mut clients = lock(&self.clients);
            Arc::clone(clients.entry(trust.clone()).or_default())
        };
        let make = || async {
            let config = Arc::clone(&self.config);
            let host = host.to_owned();
            // Reading the system's authorities takes milliseconds.
            tokio::task::spawn_blocking(move || build(&config, &trust, &host))
                .await
                .map_err(|_| Error::Interrupted("setting up TLS"))?
        };
        cell.get_or_try_init(make).await.cloned()
    }

    /// Waits for an answer's head, but not for ever.
    pub(crate) async fn timed(
        &self,
        request: impl Future<Output = Result<Response, reqwest::Error>>,
        registry: &str,
        url: &Url,
    ) -> Result<Response, Error> {
        match tokio::time::timeout(self.idle(), request).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(e)) => Err(classify(&e, registry, url)),
            Err(_) => Err(timed_out(url, self.idle())),
        }
    }
}

/// `host` of `host:port`.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

pub(crate) fn timed_out(url: &Url, idle: Duration) -> Error {
    Error::Transport {
        what: shown(url),
        reason: format!("no answer for {} s", idle.as_secs()),
    }
}

fn build(config: &Config, trust: &Trust, host: &str) -> Result<reqwest::Client, Error> {
    let tls = |e: reqwest::Error| ConfigError::Tls {
        host: host.to_owned(),
        reason: reason(&e),
    };
    // Redirects are followed by hand, where it is decided what goes along.
    let mut builder = reqwest::Client::builder()
        .user_agent(&config.user_agent)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(config.connect_timeout)
        .tcp_nodelay(true);
    if !trust.proxy {
        builder = builder.no_proxy();
    }
    if !trust.verify {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    let mut authorities = Vec::new();
    for path in &trust.certs.authorities {
        let bundle = Certificate::from_pem_bundle(&read(path)?)
            .map_err(|e| ConfigError::invalid(path, reason(&e)))?;
        if bundle.is_empty() {
            return Err(ConfigError::invalid(path, "no PEM certificate in it").into());
        }
        authorities.extend(bundle);
    }
    if trust.verify && !authorities.is_empty() {
        builder = builder.tls_certs_merge(authorities);
    }
    if let Some((cert, key)) = &trust.certs.identity {
        let mut pem = read(cert)?;
        pem.push(b'\n');
        pem.extend(read(key)?);
        let identity =
            Identity::from_pem(&pem).map_err(|e| ConfigError::invalid(cert, reason(&e)))?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(|e| tls(e).into())
}

fn read(path: &PathBuf) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|e| ConfigError::io("read", Path::new(path), e))
}

/// The innermost cause, which is the one that says something.
pub(super) fn reason(error: &reqwest::Error) -> String {
    printable(&oci::causes::innermost(error))
}

/// Tells failures to connect, which have a hint, from connections that broke.
pub(crate) fn classify(error: &reqwest::Error, registry: &str, url: &Url) -> Error {
    let reason = reason(error);
    if !error.is_connect() {
        return Error::Transport {
            what: shown(url),
            reason: if error.is_timeout() {
                "timed out".to_owned()
            } else {
                reason
            },
        };
    }
    let hint = if reason.contains("InvalidContentType") || reason.contains("corrupt message") {
        Some(format!(
            "the server speaks plain http; if that is meant, set insecure = true under \
             [registry.{registry:?}] in /etc/rbuild/registries.toml"
        ))
    } else if reason.contains("certificate") || reason.contains("UnknownIssuer") {
        Some(format!(
            "put the authority's certificate into /etc/docker/certs.d/{registry}/ca.crt, or set \
             `ca` under [registry.{registry:?}] in /etc/rbuild/registries.toml"
        ))
    } else if reason.contains("refused") {
        Some("is the registry running, and the port right?".to_owned())
    } else {
        None
    };
    Error::Connect {
        registry: registry.to_owned(),
        url: shown(url),
        reason: if error.is_timeout() {
            "timed out".to_owned()
        } else {
            reason
        },
        hint: Note(hint),
    }
}
