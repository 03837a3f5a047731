//! Requests that the registry itself sends: to webhooks and token servers.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Client, ClientBuilder, Url};

use oci::causes::innermost;

use crate::clock::now;

/// Redirects that are followed at most.
const MAX_REDIRECTS: usize = 5;

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingError {
    /// The file of certificates cannot be read.
    #[error("{path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The file of certificates holds none.
    #[error("{0} holds no certificate in PEM")]
    Certificates(PathBuf),
    /// TLS cannot be set up.
    #[error("TLS for {url}: {reason}")]
    Tls {
        /// For which requests.
        url: String,
        /// Why.
        reason: String,
    },
}

/// A client for requests to `url`, which trusts the system's certificates and those in `ca`. A
/// redirect is followed when it stays on the same server and keeps the request as it is: secrets
/// in headers go nowhere else.
///
/// # Errors
/// [`OutgoingError`].
pub fn client(url: &str, ca: Option<&Path>, timeout: Duration) -> Result<Client, OutgoingError> {
    let client = builder(url, ca)?.timeout(timeout).build();
    client.map_err(|e| OutgoingError::Tls {
        url: url.to_owned(),
        reason: reason(&e),
    })
}

/// What makes such a client, whose requests may take as long as they do.
///
/// # Errors
/// [`OutgoingError`].
pub fn builder(url: &str, ca: Option<&Path>) -> Result<ClientBuilder, OutgoingError> {
    // Whoever installed another provider before us keeps it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .user_agent(concat!("rregistry/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::custom(stay))
        .referer(false);
    if Url::parse(url).is_ok_and(|url| is_here(&url)) {
        builder = builder.no_proxy();
    }
    if !url.starts_with("https:") {
        // TLS is never needed, so that a system without certificates will do.
        builder = builder.tls_certs_only([]);
    } else if let Some(path) = ca {
        let pem = std::fs::read(path).map_err(|cause| OutgoingError::Read {
            path: path.to_owned(),
            cause,
        })?;
        let bundle = Certificate::from_pem_bundle(&pem).unwrap_or_default();
        if bundle.is_empty() {
            return Err(OutgoingError::Certificates(path.to_owned()));
        }
        builder = builder.tls_certs_merge(bundle);
    }
    Ok(builder)
}

/// Whether a URL leads to this machine.
pub fn is_here(url: &Url) -> bool {
    let Some(host) = url.host_str() else {
        return false;
    };
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn stay(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let same = |a: &Url, b: &Url| {
        (a.scheme(), a.host_str(), a.port_or_known_default())
            == (b.scheme(), b.host_str(), b.port_or_known_default())
    };
    let previous = attempt.previous();
    let stays = previous.last().is_some_and(|p| same(p, attempt.url()));
    let keeps = matches!(attempt.status().as_u16(), 307 | 308);
    if stays && keeps && previous.len() <= MAX_REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

/// The innermost cause, which is the one that says something.
pub fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    innermost(error)
}

/// The pause that `Retry-After` asks for: seconds, or a date (RFC 9110, section 10.2.3).
pub fn pause(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()?;
    let left = at.as_second().saturating_sub(now());
    Some(Duration::from_secs(u64::try_from(left).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_seconds_or_dates() {
        assert_eq!(pause("120"), Some(Duration::from_secs(120)));
        assert_eq!(pause("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        let later = pause("Tue, 31 Dec 2999 23:59:59 GMT").unwrap();
        assert!(later > Duration::from_secs(365 * 86400));
        assert_eq!(pause("soon"), None);
    }
}
