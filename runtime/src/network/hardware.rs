//! Names and hardware addresses of links, which follow from IPv4 addresses. Pure.
//!
//! Whoever gets an address after another build has its hardware address too, so that no ARP
//! entry is ever wrong; and the bridge keeps its own, whatever its ports are.

use std::net::Ipv4Addr;

/// A hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mac([u8; 6]);

impl Mac {
    /// The one of the link that has this address. Locally administered (IEEE 802, 8.4).
    pub(super) fn of(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0x02, 0x62, a, b, c, d])
    }

    /// The one that the kernel tells of; nothing for links of another kind than Ethernet.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(super) fn octets(self) -> [u8; 6] {
        self.0
    }
}

/// Name of the bridge's port to the build that has this address.
pub(super) fn port_name(address: Ipv4Addr) -> String {
    format!("vrb{:08x}", u32::from(address))
}
