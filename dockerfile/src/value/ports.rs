//! Ports of EXPOSE.

use std::fmt;
use std::net::IpAddr;

/// A port and protocol, `80/tcp`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// The number.
    pub number: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: &'static str,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol)
    }
}

/// Why a port was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Nothing before the protocol.
    #[error("no port specified: {0}<empty>")]
    Empty(String),
    /// A protocol other than tcp, udp and sctp.
    #[error("invalid proto: {0}")]
    Protocol(String),
    /// Not a number up to 65535, nor a range of them.
    #[error("invalid containerPort: {0}")]
    Number(String),
    /// A host address that is none.
    #[error("invalid IP address: {0}")]
    Address(String),
    /// A host port that is not a number or range.
    #[error("invalid hostPort: {0}")]
    HostPort(String),
    /// Ranges of different lengths.
    #[error("invalid ranges specified for container and host Ports: {container} and {host}")]
    Ranges {
        /// The container's.
        container: String,
        /// The host's.
        host: String,
    },
}

/// The ports that one expanded word of EXPOSE means, in ascending order: `80`, `80/udp`,
/// `8000-8010/tcp`. A host address and port before it (`127.0.0.1:80:80`) is checked and dropped,
/// as BuildKit does with a warning.
pub fn parse_ports(word: &str) -> Result<Vec<Port>, PortError> {
    let mut parts = word.rsplitn(3, ':');
    let container = parts.next().unwrap_or_default();
    let host_port = parts.next().unwrap_or_default();
    let address = parts.next().unwrap_or_default();
    let (range, protocol) = container.split_once('/').unwrap_or((container, ""));
    if range.is_empty() {
        return Err(PortError::Empty(container.to_owned()));
    }
    let protocol = match protocol.to_lowercase().as_str() {
        "" | "tcp" => "tcp",
        "udp" => "udp",
        "sctp" => "sctp",
        other => return Err(PortError::Protocol(other.to_owned())),
    };
    let bare = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(address);
    if !bare.is_empty() && bare.parse::<IpAddr>().is_err() {
        return Err(PortError::Address(bare.to_owned()));
    }
    let (start, end) = port_range(range).ok_or_else(|| PortError::Number(range.to_owned()))?;
    if !host_port.is_empty() {
        let (host_start, host_end) =
            port_range(host_port).ok_or_else(|| PortError::HostPort(host_port.to_owned()))?;
        if end - start != host_end - host_start && start != end {
            let (container, host) = (range.to_owned(), host_port.to_owned());
            return Err(PortError::Ranges { container, host });
        }
    }
    Ok((start..=end)
        .map(|number| Port { number, protocol })
        .collect())
}

fn port_range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| plain)
    };
    let (start, end) = match text.split_once('-') {
        Some((start, end)) => (number(start)?, number(end)?),
        None => (number(text)?, number(text)?),
    };
    (start <= end).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(word: &str) -> Result<String, String> {
        parse_ports(word)
            .map(|ports| {
                ports
                    .iter()
                    .map(Port::to_string)
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .map_err(|error| error.to_string())
    }

    #[test]
    fn reads_ports() {
        for (word, expected) in [
            ("80", "80/tcp"),
            ("53/UDP", "53/udp"),
            ("9/sctp", "9/sctp"),
            ("80/", "80/tcp"),
            ("8000-8002", "8000/tcp 8001/tcp 8002/tcp"),
            ("127.0.0.1:80:81", "81/tcp"),
            ("[::1]:80:81", "81/tcp"),
            ("::1:80:81", "81/tcp"),
            ("8080:80", "80/tcp"),
            ("8000-8010:80", "80/tcp"),
            ("65535", "65535/tcp"),
        ] {
            assert_eq!(ports(word).unwrap(), expected, "{word}");
        }
    }

    #[test]
    fn refuses_others() {
        for (word, message) in [
            ("", "no port specified: <empty>"),
            ("/tcp", "no port specified: /tcp<empty>"),
            ("80/http", "invalid proto: http"),
            ("65536", "invalid containerPort: 65536"),
            ("+1", "invalid containerPort: +1"),
            ("9-8", "invalid containerPort: 9-8"),
            ("1-2-3", "invalid containerPort: 1-2-3"),
            ("a:80", "invalid hostPort: a"),
            ("x:1:80", "invalid IP address: x"),
            (
                "1-2:1-3",
                "invalid ranges specified for container and host Ports: 1-3 and 1-2",
            ),
        ] {
            assert_eq!(ports(word).unwrap_err(), message, "{word}");
        }
    }
}
