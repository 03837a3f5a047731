//! IPv6 subnets, and the choice of one that is free. Pure.

use std::fmt;
use std::net::Ipv6Addr;

/// A range of IPv6 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet6 {
    base: u128,
    prefix: u8,
}

impl Subnet6 {
    /// The subnet that holds `address`; nothing when `prefix` is over 128.
    pub fn new(address: Ipv6Addr, prefix: u8) -> Option<Self> {
        (prefix <= 128).then(|| {
            let base = u128::from(address) & mask(prefix);
            Self { base, prefix }
        })
    }

    /// Reads `ADDRESS/PREFIX`; the address need not be the range's first.
    pub fn parse(text: &str) -> Option<(Ipv6Addr, Self)> {
        let (address, prefix) = text.split_once('/')?;
        let address = address.parse().ok()?;
        Some((address, Self::new(address, prefix.parse().ok()?)?))
    }

    /// How many bits all of its addresses have in common.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The first address, which is nobody's own (RFC 4291, 2.6.1).
    pub fn base(self) -> Ipv6Addr {
        self.base.into()
    }

    pub(super) fn mask(self) -> Ipv6Addr {
        mask(self.prefix).into()
    }

    /// The first address for a host: the bridge's own.
    pub fn gateway(self) -> Ipv6Addr {
        (self.base.saturating_add(1)).into()
    }

    /// Addresses of `range` for those on the bridge: all but the first and the bridge's.
    pub(super) fn hosts(self, range: Self, bridge: Ipv6Addr) -> impl Iterator<Item = Ipv6Addr> {
        let last = range.base | !mask(range.prefix);
        (range.base..=last)
            .filter(move |ip| *ip != self.base)
            .map(Ipv6Addr::from)
            .filter(move |ip| *ip != bridge)
    }

    /// Whether an address is in it.
    pub fn contains(self, address: Ipv6Addr) -> bool {
        u128::from(address) & mask(self.prefix) == self.base
    }

    /// Whether all addresses of another are in it.
    pub fn covers(self, other: Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.base())
    }

    /// Whether they have an address in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.covers(other) || other.covers(self)
    }
}

impl fmt::Display for Subnet6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base(), self.prefix)
    }
}

fn mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

/// The first /64 of this machine's own range that overlaps none of `used`. The range is one of
/// RFC 4193, with `machine` as its global ID.
pub fn choose6_for_user(machine: [u8; 5], used: &[Subnet6]) -> Option<Subnet6> {
    let [a, b, c, d, e] = machine;
    let word = |high, low| u16::from_be_bytes([high, low]);
    (0..=u16::MAX)
        .filter_map(|n| {
            let base = Ipv6Addr::new(word(0xfd, a), word(b, c), word(d, e), n, 0, 0, 0, 0);
            Subnet6::new(base, 64)
        })
        .find(|candidate| !used.iter().any(|other| candidate.overlaps(*other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet6 {
        Subnet6::parse(text).unwrap().1
    }

    #[test]
    fn addresses_of_a_subnet() {
        let net = subnet("fd00:77::5/64");
        assert_eq!(net.to_string(), "fd00:77::/64");
        assert_eq!(net.gateway().to_string(), "fd00:77::1");
        let hosts = net.hosts(net, net.gateway());
        let hosts: Vec<String> = hosts.take(2).map(|ip| ip.to_string()).collect();
        assert_eq!(hosts, ["fd00:77::2", "fd00:77::3"]);
        let part: Vec<_> = net.hosts(subnet("fd00:77::8/127"), net.gateway()).collect();
        assert_eq!(part.len(), 2);
        assert!(net.contains("fd00:77::ffff".parse().unwrap()));
        assert!(net.covers(subnet("fd00:77::8/127")) && !net.covers(subnet("fd00::/16")));
        assert!(net.overlaps(subnet("fd00::/16")) && !net.overlaps(subnet("fd01::/16")));
        assert!(subnet("::/0").covers(net));
        assert!(Subnet6::parse("fd00::/129").is_none() && Subnet6::parse("10.0.0.0/8").is_none());
    }

    #[test]
    fn a_network_without_a_subnet_gets_one_of_this_machines() {
        let machine = [0xfb, 0x18, 0x2f, 0xb5, 0xf0];
        let first = choose6_for_user(machine, &[]).unwrap();
        assert_eq!(first.to_string(), "fdfb:182f:b5f0::/64");
        let next = choose6_for_user(machine, &[first]).unwrap();
        assert_eq!(next.to_string(), "fdfb:182f:b5f0:1::/64");
        assert!(choose6_for_user(machine, &[subnet("fd00::/8")]).is_none());
    }
}
