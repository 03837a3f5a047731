//! Ports of this host that lead to one on a bridge.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A protocol that has ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Streams.
    Tcp,
    /// Datagrams.
    Udp,
    /// Streams of messages (RFC 9260).
    Sctp,
}

impl Protocol {
    /// Its number in IP headers.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// Its name, in small letters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// The one of a name.
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Tcp, Self::Udp, Self::Sctp];
        all.into_iter().find(|protocol| protocol.name() == name)
    }
}

/// One port of this host, and the port that it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// Its protocol.
    pub protocol: Protocol,
    /// The address of this host; 0.0.0.0 or :: for all of its kind.
    pub address: IpAddr,
    /// The port of this host.
    pub port: u16,
    /// The port on the bridge.
    pub to: u16,
}
