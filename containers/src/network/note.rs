//! What a container lets others read as long as it is on a network.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

/// Who has an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Note {
    /// The container's ID.
    pub(crate) container: String,
    /// Its name when it was started.
    pub(crate) name: String,
    /// The ID of its place on the network.
    pub(crate) endpoint: String,
    /// Its hardware address.
    pub(crate) mac: String,
    /// It has no IPv4 address: what it is known by is none.
    pub(crate) without_ipv4: bool,
    /// How many bits of its address are the network's.
    pub(crate) prefix: u8,
    /// Its IPv6 address, where it has one.
    pub(crate) address6: Option<Ipv6Addr>,
    /// How many bits of that are the network's.
    pub(crate) prefix6: u8,
}

impl Note {
    /// As text.
    pub(crate) fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads it; nothing of what another program has written.
    pub(crate) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}
