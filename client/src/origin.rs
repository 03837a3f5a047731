//! Where a URL leads, and whether credentials, or a request at all, may go there.

use reqwest::Url;

/// Scheme, host and port: what credentials are bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of an http or https URL; `None` for any other.
    pub(crate) fn of(url: &Url) -> Option<Self> {
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        Some(Self {
            https,
            host: url.host_str()?.to_ascii_lowercase(),
            port: url.port_or_known_default()?,
        })
    }

    pub(crate) fn is_https(&self) -> bool {
        self.https
    }

    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// `host[:port]`, as a user writes it in the configuration.
    pub(crate) fn authority(&self) -> String {
        let default = if self.https { 443 } else { 80 };
        if self.port == default {
            self.host.clone()
        } else {
            self.host_port()
        }
    }

    /// `host:port`, always with the port.
    pub(crate) fn host_port(&self) -> String {
        format!("{}:{}", self.host, self.port)
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

/// The rule of [`crate::auth`]: whether credentials of `home` may go to `target`.
/// `target_insecure`: whether the user has marked the target so.
pub(crate) fn may_send(home: &Origin, target: &Origin, target_insecure: bool) -> bool {
    if target_insecure {
        return true;
    }
    if target == home {
        return home.https || home.is_loopback();
    }
    // The transport to another host always verifies its certificate (`http::transport`).
    target.https
}

/// Whether a plain http URL may be followed from a home; never with credentials. A remote
/// registry must not steer us to services of this machine or of the local link.
pub(crate) fn may_follow(home: &Origin, target: &Origin, target_insecure: bool) -> bool {
    if target.https || target_insecure || target == home {
        return true;
    }
    !home.https && home.is_loopback() == target.is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str) -> Origin {
        Origin::of(&url.parse().unwrap()).unwrap()
    }

    #[test]
    fn credentials_stay_where_they_belong() {
        for (home, target, insecure, allowed) in [
            (
                "https://r.example.com",
                "https://r.example.com/token",
                false,
                true,
            ),
            (
                "https://r.example.com",
                "https://auth.example.com/token",
                false,
                true,
            ),
            (
                "https://r.example.com",
                "http://r.example.com/token",
                false,
                false,
            ),
            (
                "https://r.example.com",
                "http://evil.example.com/",
                false,
                false,
            ),
            (
                "https://r.example.com",
                "http://127.0.0.1:99/",
                false,
                false,
            ),
            (
                "http://r.example.com",
                "http://r.example.com/token",
                false,
                false,
            ),
            (
                "http://r.example.com",
                "http://r.example.com/token",
                true,
                true,
            ),
            (
                "http://localhost:5000",
                "http://localhost:5000/token",
                false,
                true,
            ),
            (
                "http://localhost:5000",
                "http://localhost:5001/token",
                false,
                false,
            ),
            (
                "http://localhost:5000",
                "http://127.0.0.1:5000/token",
                false,
                false,
            ),
            (
                "http://localhost:5000",
                "http://localhost:5001/token",
                true,
                true,
            ),
        ] {
            let got = may_send(&origin(home), &origin(target), insecure);
            assert_eq!(got, allowed, "{home} {target}");
        }
    }

    #[test]
    fn nobody_is_steered_to_local_services() {
        for (home, target, insecure, allowed) in [
            (
                "https://r.example.com",
                "https://cdn.example.com",
                false,
                true,
            ),
            (
                "https://r.example.com",
                "http://cdn.example.com",
                false,
                false,
            ),
            (
                "https://r.example.com",
                "http://169.254.169.254",
                false,
                false,
            ),
            (
                "https://r.example.com",
                "http://cdn.example.com",
                true,
                true,
            ),
            (
                "http://r.example.com",
                "http://cdn.example.com",
                false,
                true,
            ),
            (
                "http://r.example.com",
                "http://127.0.0.1:2375",
                false,
                false,
            ),
            (
                "http://localhost:5000",
                "http://localhost:9000",
                false,
                true,
            ),
            (
                "http://localhost:5000",
                "http://169.254.169.254",
                false,
                false,
            ),
        ] {
            let got = may_follow(&origin(home), &origin(target), insecure);
            assert_eq!(got, allowed, "{home} {target}");
        }
    }

    #[test]
    fn authorities_leave_the_default_port_out() {
        assert_eq!(
            origin("https://A.example.com:443/x").authority(),
            "a.example.com"
        );
        assert_eq!(
            origin("http://a.example.com:443/x").authority(),
            "a.example.com:443"
        );
        assert_eq!(origin("http://[::1]:5000/").authority(), "[::1]:5000");
    }

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
