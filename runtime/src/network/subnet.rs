//! IPv4 subnets, and the choice of one that is free. Pure.

use std::fmt;
use std::net::Ipv4Addr;

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subnet {
    base: u32,
    prefix: u8,
}

impl Subnet {
    /// The subnet that holds `address`; nothing when `prefix` is over 32.
    pub(super) fn new(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        (prefix <= 32).then(|| {
            let base = u32::from(address) & mask(prefix);
            Self { base, prefix }
        })
    }

    pub(super) fn prefix(self) -> u8 {
        self.prefix
    }

    pub(super) fn base(self) -> Ipv4Addr {
        self.base.into()
    }

    pub(super) fn mask(self) -> Ipv4Addr {
        mask(self.prefix).into()
    }

    /// The broadcast address.
    pub(super) fn last(self) -> Ipv4Addr {
        (self.base | !mask(self.prefix)).into()
    }

    /// The first address for a host: the bridge's own.
    pub(super) fn gateway(self) -> Ipv4Addr {
        (self.base + 1).into()
    }

    /// Addresses for sandboxes: all but the network's, the broadcast and the bridge's.
    pub(super) fn hosts(self, bridge: Ipv4Addr) -> impl Iterator<Item = Ipv4Addr> {
        let last = u32::from(self.last());
        (self.base.saturating_add(1)..last)
            .map(Ipv4Addr::from)
            .filter(move |ip| *ip != bridge)
    }

    fn overlaps(self, other: Self) -> bool {
        let mask = mask(self.prefix.min(other.prefix));
        self.base & mask == other.base & mask
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base(), self.prefix)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// The first private /22 (a thousand addresses) that overlaps none of `used`.
pub(super) fn choose(used: &[Subnet]) -> Option<Subnet> {
    let ten = (0..64u8).map(|n| Ipv4Addr::new(10, 210, n * 4, 0));
    let class_b = (0..64u8).map(|n| Ipv4Addr::new(172, 29, n * 4, 0));
    let class_c = (0..16u8).map(|n| Ipv4Addr::new(192, 168, 192 + n * 4, 0));
    ten.chain(class_b)
        .chain(class_c)
        .filter_map(|base| Subnet::new(base, 22))
        .find(|candidate| !used.iter().any(|other| candidate.overlaps(*other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        let (address, prefix) = text.split_once('/').unwrap();
        Subnet::new(address.parse().unwrap(), prefix.parse().unwrap()).unwrap()
    }

    #[test]
    fn choice_avoids_what_is_used() {
        for (used, want) in [
            (vec![], "10.210.0.0/22"),
            (vec!["192.0.2.0/24"], "10.210.0.0/22"),
            (vec!["10.210.0.7/32", "10.210.4.0/23"], "10.210.8.0/22"),
            (vec!["10.0.0.0/8"], "172.29.0.0/22"),
            (vec!["10.0.0.0/8", "172.16.0.0/12"], "192.168.192.0/22"),
        ] {
            let used: Vec<Subnet> = used.into_iter().map(subnet).collect();
            assert_eq!(choose(&used).unwrap().to_string(), want);
        }
        assert_eq!(choose(&[subnet("0.0.0.0/0")]), None);
    }

    #[test]
    fn addresses_of_a_subnet() {
        let net = subnet("10.1.2.0/29");
        assert_eq!(net.gateway().to_string(), "10.1.2.1");
        assert_eq!(net.last().to_string(), "10.1.2.7");
        let hosts: Vec<String> = net.hosts(net.gateway()).map(|ip| ip.to_string()).collect();
        assert_eq!(
            hosts,
            ["10.1.2.2", "10.1.2.3", "10.1.2.4", "10.1.2.5", "10.1.2.6"]
        );
        assert_eq!(subnet("1.2.3.4/32").hosts(net.gateway()).count(), 0);
    }
}
