//! Where to listen, as people write it.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where to listen, before names are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddr {
    /// On one address.
    At(SocketAddr),
    /// On all addresses: a port alone.
    Everywhere(u16),
    /// On the address of a name.
    Named(String, u16),
    /// On a unix socket.
    Socket(PathBuf),
}

/// A text that says nowhere to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid socket address: an address and a port, such as 127.0.0.1:5000, [::1]:5000, \
         localhost:5000 or :5000, or a socket's path behind unix:"
)]
pub struct ListenAddrError;

impl ListenAddr {
    /// The port, 0 for a free one; none for a socket.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::At(addr) => Some(addr.port()),
            Self::Everywhere(port) | Self::Named(_, port) => Some(*port),
            Self::Socket(_) => None,
        }
    }

    /// Where the socket is, if it is to be one.
    pub fn socket(&self) -> Option<&Path> {
        match self {
            Self::Socket(path) => Some(path),
            Self::At(_) | Self::Everywhere(_) | Self::Named(..) => None,
        }
    }

    /// The addresses to try, the best first; a socket has none.
    ///
    /// # Errors
    /// When a name has none.
    pub async fn resolve(&self) -> std::io::Result<Vec<SocketAddr>> {
        match self {
            Self::At(addr) => Ok(vec![*addr]),
            // The first one takes IPv4 as well; where there is no IPv6, the second does.
            Self::Everywhere(port) => Ok(vec![
                (Ipv6Addr::UNSPECIFIED, *port).into(),
                (Ipv4Addr::UNSPECIFIED, *port).into(),
            ]),
            Self::Named(name, port) => {
                let found = tokio::net::lookup_host((name.as_str(), *port)).await?;
                let mut found: Vec<SocketAddr> = found.collect();
                // As Go does: clients mean IPv4 by localhost more often.
                found.sort_by_key(SocketAddr::is_ipv6);
                Ok(found)
            }
            Self::Socket(_) => Ok(Vec::new()),
        }
    }
}

impl FromStr for ListenAddr {
    type Err = ListenAddrError;

    fn from_str(text: &str) -> Result<Self, ListenAddrError> {
        if let Ok(addr) = text.parse() {
            return Ok(Self::At(addr));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            // As URLs have it, or as a path.
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                "" | "/" => Err(ListenAddrError),
                path => Ok(Self::Socket(path.into())),
            };
        }
        let (name, port) = text.rsplit_once(':').ok_or(ListenAddrError)?;
        let port = port.parse().map_err(|_| ListenAddrError)?;
        let fine = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
        // What looks like an address and was none is no name.
        let number = |b: u8| b.is_ascii_digit() || b == b'.';
        match name {
            "" => Ok(Self::Everywhere(port)),
            name if name.bytes().all(fine) && !name.bytes().all(number) => {
                Ok(Self::Named(name.to_owned(), port))
            }
            _ => Err(ListenAddrError),
        }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(addr) => addr.fmt(f),
            Self::Everywhere(port) => write!(f, ":{port}"),
            Self::Named(name, port) => write!(f, "{name}:{port}"),
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_ports_and_names_are_read() {
        for (text, addr) in [
            (
                "127.0.0.1:5000",
                ListenAddr::At(([127, 0, 0, 1], 5000).into()),
            ),
            ("[::1]:0", ListenAddr::At((Ipv6Addr::LOCALHOST, 0).into())),
            (":5000", ListenAddr::Everywhere(5000)),
            (
                "localhost:5000",
                ListenAddr::Named("localhost".into(), 5000),
            ),
            (
                "r-1.example:80",
                ListenAddr::Named("r-1.example".into(), 80),
            ),
            ("unix:/run/r.sock", ListenAddr::Socket("/run/r.sock".into())),
            ("unix:r.sock", ListenAddr::Socket("r.sock".into())),
        ] {
            let read: ListenAddr = text.parse().unwrap();
            assert_eq!((read.to_string().as_str(), &read), (text, &addr));
        }
        for bad in [
            "",
            ":",
            "5000",
            "localhost",
            "localhost:",
            "localhost:http",
            ":65536",
            ":-1",
            "256.0.0.1:80",
            "1.2.3:80",
            "::1:5000",
            "a b:80",
            "http://localhost:80",
            "unix:",
            "unix:///",
        ] {
            assert_eq!(bad.parse::<ListenAddr>(), Err(ListenAddrError), "{bad}");
        }
    }
}
