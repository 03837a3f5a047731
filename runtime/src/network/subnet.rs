//! IPv4 subnets, and the choice of one that is free. Pure.

use std::fmt;
use std::net::Ipv4Addr;

/// From this length on all addresses of a range are hosts' (RFC 3021).
const POINT_TO_POINT: u8 = 31;

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    base: u32,
    prefix: u8,
}

impl Subnet {
    /// The subnet that holds `address`; nothing when `prefix` is over 32.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        (prefix <= 32).then(|| {
            let base = u32::from(address) & mask(prefix);
            Self { base, prefix }
        })
    }

    /// Reads `ADDRESS/PREFIX`; the address need not be the range's first.
    pub fn parse(text: &str) -> Option<(Ipv4Addr, Self)> {
        let (address, prefix) = text.split_once('/')?;
        let address = address.parse().ok()?;
        Some((address, Self::new(address, prefix.parse().ok()?)?))
    }

    /// How many bits all of its addresses have in common.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The first address, which is the network's own.
    pub fn base(self) -> Ipv4Addr {
        self.base.into()
    }

    pub(super) fn mask(self) -> Ipv4Addr {
        mask(self.prefix).into()
    }

    /// The address that means everybody; none where there is no room for it (RFC 3021).
    pub(super) fn broadcast(self) -> Option<Ipv4Addr> {
        (self.prefix < POINT_TO_POINT).then(|| self.last())
    }

    /// The last address.
    pub fn last(self) -> Ipv4Addr {
        (self.base | !mask(self.prefix)).into()
    }

    /// The first address for a host: the bridge's own.
    pub fn gateway(self) -> Ipv4Addr {
        match self.broadcast() {
            Some(_) => (self.base.saturating_add(1)).into(),
            None => self.base(),
        }
    }

    /// Addresses of `range` for sandboxes: all but the network's, the broadcast and the bridge's.
    pub(super) fn hosts(self, range: Self, bridge: Ipv4Addr) -> impl Iterator<Item = Ipv4Addr> {
        let (first, last) = (self.base, u32::from(self.last()));
        let is_small = self.broadcast().is_none();
        (range.base..=u32::from(range.last()))
            .filter(move |ip| is_small || (*ip != first && *ip != last))
            .map(Ipv4Addr::from)
            .filter(move |ip| *ip != bridge)
    }

    /// Whether an address is in it.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask(self.prefix) == self.base
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

/// The first of docker's pools for networks of users (172.17 to 172.31 with 65,536 addresses each,
/// then 16 ranges of 4,096 in 192.168) that overlaps none of `used`.
pub fn choose_for_user(used: &[Subnet]) -> Option<Subnet> {
    let large = (17..32u8).filter_map(|n| Subnet::new(Ipv4Addr::new(172, n, 0, 0), 16));
    let small = (0..16u8).filter_map(|n| Subnet::new(Ipv4Addr::new(192, 168, n * 16, 0), 20));
    large
        .chain(small)
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
    fn networks_of_users_come_from_dockers_pools() {
        for (used, want) in [
            (vec![], "172.17.0.0/16"),
            (vec!["172.17.3.0/24", "172.18.0.0/16"], "172.19.0.0/16"),
            (vec!["172.16.0.0/12", "192.168.1.0/24"], "192.168.16.0/20"),
        ] {
            let used: Vec<Subnet> = used.into_iter().map(subnet).collect();
            assert_eq!(choose_for_user(&used).unwrap().to_string(), want);
        }
        let all = [subnet("172.16.0.0/12"), subnet("192.168.0.0/16")];
        assert_eq!(choose_for_user(&all), None);
        assert!(all[0].covers(subnet("172.31.0.0/16")) && !all[0].covers(subnet("172.0.0.0/8")));
        assert!(subnet("172.31.0.0/16").overlaps(all[0]));
    }

    #[test]
    fn addresses_of_a_subnet() {
        let net = subnet("10.1.2.0/29");
        assert_eq!(net.gateway().to_string(), "10.1.2.1");
        assert_eq!(net.last().to_string(), "10.1.2.7");
        let hosts: Vec<String> = net
            .hosts(net, net.gateway())
            .map(|ip| ip.to_string())
            .collect();
        assert_eq!(
            hosts,
            ["10.1.2.2", "10.1.2.3", "10.1.2.4", "10.1.2.5", "10.1.2.6"]
        );
        let one = subnet("1.2.3.4/32");
        assert_eq!(one.hosts(one, one.gateway()).count(), 0);
        let two = subnet("1.2.3.4/31");
        let hosts: Vec<Ipv4Addr> = two.hosts(two, two.gateway()).collect();
        assert_eq!(hosts, [Ipv4Addr::new(1, 2, 3, 5)]);
        assert_eq!(
            (two.broadcast(), two.gateway().octets()),
            (None, [1, 2, 3, 4])
        );
        let part = net.hosts(subnet("10.1.2.4/30"), net.gateway());
        assert_eq!(part.map(|ip| ip.octets()[3]).collect::<Vec<_>>(), [4, 5, 6]);
    }
}
