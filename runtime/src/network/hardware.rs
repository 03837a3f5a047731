//! Names and hardware addresses of links, which follow from IPv4 addresses. Pure.
//!
//! Whoever gets an address after another has its hardware address too, so that no ARP entry is ever
//! wrong; and the bridge keeps its own, whatever its ports are.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A hardware address of Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mac([u8; 6]);

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

    /// The address that its link gives itself (RFC 4291, appendix A).
    pub(super) fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        let word = |high, low| u16::from_be_bytes([high, low]);
        Ipv6Addr::new(
            0xfe80,
            0,
            0,
            0,
            word(a ^ 2, b),
            word(c, 0xff),
            word(0xfe, d),
            word(e, f),
        )
    }

    pub(super) fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for Mac {
    type Err = ();

    /// Reads six pairs of hexadecimal digits with colons or hyphens between them.
    fn from_str(text: &str) -> Result<Self, ()> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let octet = |part: &str| match part.len() {
            2 => u8::from_str_radix(part, 16).ok(),
            _ => None,
        };
        let octets: Option<Vec<u8>> = text.split(separator).map(octet).collect();
        Self::read(&octets.ok_or(())?).ok_or(())
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let octets = self.0.map(|octet| format!("{octet:02x}"));
        f.write_str(&octets.join(":"))
    }
}

/// Name of the bridge's port to the one that has this address.
pub(super) fn port_name(address: Ipv4Addr) -> String {
    format!("vrb{:08x}", u32::from(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_read_and_shown() {
        let mac: Mac = "02-0A-00-00-00-ff".parse().unwrap();
        assert_eq!(mac.to_string(), "02:0a:00:00:00:ff");
        for wrong in [
            "xx",
            "02:00:00:00:00",
            "02:00:00:00:00:00:00",
            "2:0:0:0:0:0",
            "",
        ] {
            assert!(wrong.parse::<Mac>().is_err(), "{wrong}");
        }
        // As docker's container with this one shows it.
        let shown: Mac = "8a:f5:83:ff:92:b7".parse().unwrap();
        assert_eq!(shown.link_local().to_string(), "fe80::88f5:83ff:feff:92b7");
        let own = Mac::of(Ipv4Addr::new(10, 210, 0, 2));
        assert_eq!(own.to_string(), "02:62:0a:d2:00:02");
    }
}
