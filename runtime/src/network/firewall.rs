//! Our own nftables tables, named like the bridge: address translation, who may be forwarded to
//! whom, and what a build may call itself.

use std::io;
use std::net::Ipv4Addr;

use super::config::Between;
use super::hardware::{Mac, port_name};
use super::netlink::{APPEND, Message, Socket};
use super::nft::{Family, Header, Hook, NAME_LENGTH, padded, transaction};
use super::subnet::Subnet;

const FORWARD: Hook = Hook {
    number: 2,
    priority: 0,
};
const SOURCE_NAT: Hook = Hook {
    number: 4,
    priority: 100,
};
/// Before anything else of the bridge looks at a frame, learning its sender among it.
const BRIDGE_INGRESS: Hook = Hook {
    number: 0,
    priority: -300,
};

/// Set of port, hardware address and IPv4 address; the types are what nft shows.
const SENDERS: &str = "senders";
const SENDERS_KEY: (u32, u32) = (IFNAME << 12 | ETHER << 6 | IPV4, NAME_LENGTH as u32 + 8 + 4);
/// Set of the ports that belong to builds.
const PORTS: &str = "ports";
const PORTS_KEY: (u32, u32) = (IFNAME, NAME_LENGTH as u32);
const IFNAME: u32 = 41;
const ETHER: u32 = 9;
const IPV4: u32 = 7;

/// Register 1 is filled by a port's name; these follow it as a key of [`SENDERS`] does.
const MAC_REGISTER: u32 = 2;
const ADDRESS_REGISTER: u32 = 14;

/// What the tables are made for.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    pub(super) bridge: &'a str,
    pub(super) subnet: Subnet,
    pub(super) between: Between,
    /// Whether this host forwards for the builds' sake alone.
    pub(super) only_ours: bool,
    /// The addresses of all builds that run.
    pub(super) builds: &'a [Ipv4Addr],
}

/// Replaces the tables for the IPv4 side. One transaction: no packet sees it half-made.
pub(super) fn set_up(socket: &mut Socket, rules: &Rules<'_>) -> io::Result<()> {
    let family = Family::Ipv4;
    let (bridge, subnet) = (rules.bridge, rules.subnet);
    let mut messages = Vec::from(family.fresh_table(bridge));
    messages.push(family.base_chain(bridge, "postrouting", "nat", SOURCE_NAT));
    messages.push(family.rule(
        bridge,
        "postrouting",
        APPEND,
        "leaves the build network",
        |list| {
            list.load(1, Header::Network, 12, 4)
                .mask(subnet.mask().octets())
                .equals(&subnet.base().octets())
                .goes_to_another_than(bridge)
                .masquerade()
        },
    ));
    messages.push(family.base_chain(bridge, "forward", "filter", FORWARD));
    let mut forward = |note, fill: &dyn Fn(Message) -> Message| {
        messages.push(family.rule(bridge, "forward", APPEND, note, fill));
    };
    forward("answers to builds", &|list| {
        list.goes_to(bridge).answers().accept()
    });
    // From other machines, and from one build to another by way of this host.
    forward("nobody calls a build", &|list| match rules.between {
        Between::Nothing => list.goes_to(bridge).drop_packet(),
        Between::Everything => {
            let list = list.comes_from_another_than(bridge);
            list.goes_to(bridge).drop_packet()
        }
    });
    if rules.only_ours {
        forward("this host was no router before", &|list| {
            list.comes_from_another_than(bridge).drop_packet()
        });
    }
    transaction(socket, messages)
}

/// Replaces the table that drops what builds send under another's name, and all that is neither
/// IPv4 nor ARP.
pub(super) fn forbid_spoofing(socket: &mut Socket, rules: &Rules<'_>) -> io::Result<()> {
    const ETHER_TYPE_AT: u32 = 12;
    const SENDER_AT: u32 = 6;
    let family = Family::Bridge;
    let bridge = rules.bridge;
    let mut messages = Vec::from(family.fresh_table(bridge));
    messages.push(family.new_set(bridge, SENDERS, 1, SENDERS_KEY));
    messages.push(family.new_set(bridge, PORTS, 2, PORTS_KEY));
    let (senders, ports) = keys(rules.builds);
    if !ports.is_empty() {
        messages.push(family.add_elements(bridge, SENDERS, &senders));
        messages.push(family.add_elements(bridge, PORTS, &ports));
    }
    messages.push(family.base_chain(bridge, "prerouting", "filter", BRIDGE_INGRESS));
    let mut rule = |note, fill: &dyn Fn(Message) -> Message| {
        messages.push(family.rule(bridge, "prerouting", APPEND, note, fill));
    };
    rule("packets of a build", &|list| {
        list.load(1, Header::Link, ETHER_TYPE_AT, 2)
            .equals(&0x0800u16.to_be_bytes())
            .load_incoming()
            .load(MAC_REGISTER, Header::Link, SENDER_AT, 6)
            .load(ADDRESS_REGISTER, Header::Network, 12, 4)
            .among(SENDERS)
            .accept()
    });
    // Both the frame's sender and the one that ARP tells of.
    rule("ARP of a build", &|list| {
        list.load(1, Header::Link, ETHER_TYPE_AT, 2)
            .equals(&0x0806u16.to_be_bytes())
            .load_incoming()
            .load(MAC_REGISTER, Header::Link, SENDER_AT, 6)
            .load(ADDRESS_REGISTER, Header::Network, 14, 4)
            .among(SENDERS)
            .load(MAC_REGISTER, Header::Network, 8, 6)
            .among(SENDERS)
            .accept()
    });
    rule("anything else of a build", &|list| {
        list.load_incoming().among(PORTS).drop_packet()
    });
    transaction(socket, messages)
}

/// The elements of [`SENDERS`] and [`PORTS`].
fn keys(builds: &[Ipv4Addr]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let ports = builds.iter().map(|build| padded(&port_name(*build)));
    let senders = builds.iter().zip(ports.clone()).map(|(build, port)| {
        let mac = Mac::of(*build).octets();
        [&port[..], &mac, &[0; 2], &build.octets()].concat()
    });
    (senders.collect(), ports.map(Vec::from).collect())
}

/// Removes the tables; those that are not there are no error.
pub(super) fn remove(socket: &mut Socket, bridge: &str) -> io::Result<()> {
    for family in [Family::Ipv4, Family::Bridge] {
        match transaction(socket, vec![family.delete_table(bridge)]) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_port_hardware_address_and_address() {
        let (senders, ports) = keys(&[Ipv4Addr::new(10, 210, 0, 2)]);
        assert_eq!(ports, [b"vrb0ad20002\0\0\0\0\0".to_vec()]);
        let want = [
            &ports[0][..],
            &[0x02, 0x62, 10, 210, 0, 2],
            &[0, 0],
            &[10, 210, 0, 2],
        ];
        assert_eq!(senders, [want.concat()]);
        assert_eq!(senders[0].len(), SENDERS_KEY.1 as usize);
        assert_eq!(ports[0].len(), PORTS_KEY.1 as usize);
    }
}
