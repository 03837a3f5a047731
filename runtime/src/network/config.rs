//! How a build network is made, and how its failures are told.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::subnet::Subnet;
use super::subnet6::Subnet6;
use crate::error::{Error, Result};

/// What those on one bridge can do with each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Between {
    /// Nothing: they do not meet.
    #[default]
    Nothing,
    /// Everything: they reach each other, under their own addresses.
    Everything,
}

/// The addresses of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// All of them.
    pub subnet: Subnet,
    /// This machine's.
    pub gateway: Ipv4Addr,
    /// Those that are given to who asks for none of its own.
    pub range: Subnet,
}

/// The IPv6 addresses of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses6 {
    /// All of them.
    pub subnet: Subnet6,
    /// This machine's.
    pub gateway: Ipv6Addr,
    /// Those that are given to who asks for none of its own.
    pub range: Subnet6,
}

/// A link of this machine, and how others stand on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Its name.
    pub link: String,
    /// It leads nowhere, and is made for those that stand on it.
    pub is_own: bool,
    /// How they stand on it.
    pub kind: ChildKind,
}

/// How links stand on another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChildKind {
    /// Each has a hardware address of its own; the number is `enum macvlan_mode`'s.
    Macvlan(u32),
    /// All have the parent's.
    Ipvlan {
        /// `enum ipvlan_mode`.
        mode: u16,
        /// `IPVLAN_F_PRIVATE` and `IPVLAN_F_VEPA`.
        flags: u16,
    },
}

impl ChildKind {
    const L2: u16 = 0;

    /// docker's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Macvlan(_) => "macvlan",
            Self::Ipvlan { .. } => "ipvlan",
        }
    }

    /// Packets find their way by the link alone: it hears no ARP.
    pub(super) fn routes(self) -> bool {
        matches!(self, Self::Ipvlan { mode, .. } if mode != Self::L2)
    }

    /// Each has a hardware address of its own.
    pub(super) fn has_mac(self) -> bool {
        matches!(self, Self::Macvlan(_))
    }
}

/// How a network is made.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Directory of the address leases. Every process that uses the same bridge must use the
    /// same directory, whatever its store is: `/run/rbuild` for the system's.
    pub state_dir: PathBuf,
    /// Name of the bridge, at most 15 bytes; of what is kept of those who stand on a link of this
    /// machine.
    pub bridge: String,
    /// The link that those stand on; nothing for a bridge.
    pub parent: Option<Parent>,
    /// What those on it can do with each other.
    pub between: Between,
    /// Its addresses; nothing for a thousand that nobody on this host uses.
    pub addresses: Option<Addresses>,
    /// No interface has one of those: they tell apart who is on it, for this machine alone.
    pub without_ipv4: bool,
    /// Its IPv6 addresses; nothing of IPv6 passes without.
    pub addresses6: Option<Addresses6>,
    /// Ports of this host can lead to those on it.
    pub publishes: bool,
    /// Nothing is forwarded to other networks, nor from them.
    pub internal: bool,
    /// Other networks see the addresses of those on it, not the host's.
    pub untranslated: bool,
    /// The longest packet in bytes; nothing for what the host's way out carries.
    pub mtu: Option<u32>,
    /// Another name of the bridge.
    pub also: Option<String>,
    /// Addresses that are given to nobody.
    pub reserved: Vec<IpAddr>,
}

impl Config {
    /// Refuses a name that no link can have.
    pub(super) fn check(&self) -> Result<()> {
        let name = &self.bridge;
        if name.is_empty() || name.len() > 15 || name.contains(['/', '-', '.']) {
            return Err(Error::InvalidSpec(format!("bridge name {name:?}")));
        }
        Ok(())
    }
}

/// Tells which step of making the network failed.
pub(super) fn step<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Error {
    move |error| {
        let (what, cause): (String, io::Error) = (what.into(), error.into());
        if cause.kind() == io::ErrorKind::PermissionDenied {
            return Error::NotPermitted {
                what: format!("the network ({what}; --network host needs no bridge)"),
            };
        }
        Error::Network { step: what, cause }
    }
}
