//! `rregistry health`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use clap::Args;

use super::failure::{Failure, out};
use super::settings::Settings;
use crate::config::{Config, ListenAddr};
use crate::outgoing::reason;
use crate::units;

/// Ask a running registry whether it can serve: 0 when it can, 1 when it cannot.
///
/// For containers without curl: HEALTHCHECK CMD ["rregistry", "health"]. It asks /readyz where the
/// settings say that the registry listens, metrics.addr first; of its certificate it asks nothing.
#[derive(Debug, Args)]
pub(super) struct Health {
    #[command(flatten)]
    settings: Settings,

    /// Where to ask instead: 127.0.0.1:5000, :5000, localhost:5000, or unix:PATH.
    #[arg(long)]
    addr: Option<String>,

    /// Only whether it listens (/healthz), not whether it can read its metadata.
    #[arg(long)]
    live: bool,

    /// How long to wait for an answer.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    timeout: Duration,
}

fn time(text: &str) -> Result<Duration, &'static str> {
    let time = units::duration(text).filter(|time| !time.is_zero());
    time.ok_or("a number and a unit, such as 500ms or 5s")
}

pub(super) fn run(options: Health) -> Result<(), Failure> {
    let mut settings = options.settings.read()?;
    if let Some(addr) = options.addr {
        settings.set("addr", addr);
        settings.set("metrics.addr", String::new());
    }
    let config = settings.check()?;
    let path = if options.live { "/healthz" } else { "/readyz" };
    let asking = ask(&config, path, options.timeout);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(asking)
}

async fn ask(config: &Config, path: &str, timeout: Duration) -> Result<(), Failure> {
    // Whoever installed another provider before us keeps it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (addr, tls) = match &config.metrics_addr {
        Some(addr) => (addr, false),
        None => (&config.addr, config.tls.is_some()),
    };
    let mut client = reqwest::Client::builder().timeout(timeout).no_proxy();
    client = match tls {
        // It is ourselves that we ask, by an address that no certificate has.
        true => client.tls_danger_accept_invalid_certs(true),
        false => client.tls_certs_only([]),
    };
    let scheme = if tls { "https" } else { "http" };
    let url = match addr {
        ListenAddr::Socket(socket) => {
            client = client.unix_socket(socket.as_path());
            format!("http://localhost{path}")
        }
        ListenAddr::At(at) => {
            let here = match at.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                ip => ip,
            };
            let here = std::net::SocketAddr::new(here, at.port());
            format!("{scheme}://{here}{path}")
        }
        ListenAddr::Everywhere(port) => format!("{scheme}://127.0.0.1:{port}{path}"),
        ListenAddr::Named(name, port) => format!("{scheme}://{name}:{port}{path}"),
    };
    let unhealthy = |why: String| Failure::from(format!("unhealthy: {addr}: {why}"));
    let answer = client.build()?.get(&url).send().await;
    let answer = answer.map_err(|e| unhealthy(reason(&e)))?;
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    match status.is_success() {
        true => out("healthy\n"),
        false => Err(unhealthy(format!("it answered {status}: {}", text.trim()))),
    }
}
