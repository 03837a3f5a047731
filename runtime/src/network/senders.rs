//! What those on a bridge may call themselves: a table of the bridge that drops what any of them
//! sends under another's name.
//!
//! Of IPv6 the messages by which neighbours find each other are looked at, too: who tells of an
//! address has it, and nobody is a router.

use std::io;
use std::net::{IpAddr, Ipv6Addr};

use super::config::Config;
use super::expression::Header;
use super::hardware::port_name;
use super::leases::Tenant;
use super::netlink::{APPEND, Message, Socket};
use super::nft::{Family, Hook, NAME_LENGTH, padded, transaction};

/// A chain that says which tables these are: it has another name when they come to differ.
pub(super) const VERSION: &str = "v3";

/// Before anything else of the bridge looks at a frame, learning its sender among it.
const BRIDGE_INGRESS: Hook = Hook {
    number: 0,
    priority: -300,
};

/// Set of port, hardware address and IPv4 address; the types are what nft shows.
const SENDERS: &str = "senders";
const SENDERS_KEY: (u32, u32) = (IFNAME << 12 | ETHER << 6 | IPV4, NAME_LENGTH as u32 + 8 + 4);
/// The same of IPv6.
const SENDERS6: &str = "senders6";
const SENDERS6_KEY: (u32, u32) = (
    IFNAME << 12 | ETHER << 6 | IPV6,
    NAME_LENGTH as u32 + 8 + 16,
);
/// Set of the ports that belong to those on the bridge.
const PORTS: &str = "ports";
const PORTS_KEY: (u32, u32) = (IFNAME, NAME_LENGTH as u32);
const IFNAME: u32 = 41;
const ETHER: u32 = 9;
const IPV4: u32 = 7;
const IPV6: u32 = 8;

/// Register 1 is filled by a port's name; these follow it as a key of [`SENDERS`] does.
const MAC_REGISTER: u32 = 2;
const ADDRESS_REGISTER: u32 = 14;

const ETHER_TYPE_AT: u32 = 12;
const SENDER_AT: u32 = 6;
/// Messages of ICMPv6 (RFC 4861, 4).
const ICMP6: u8 = 58;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;

/// Makes the table anew: what is neither IPv4 nor ARP, nor IPv6 where the bridge has it, is dropped
/// as well.
pub(super) fn forbid_spoofing(
    socket: &mut Socket,
    config: &Config,
    all: &[Tenant],
) -> io::Result<()> {
    let family = Family::Bridge;
    let bridge = config.bridge.as_str();
    let mut messages = Vec::from(family.fresh_table(bridge));
    messages.push(family.new_set(bridge, SENDERS, 1, SENDERS_KEY));
    messages.push(family.new_set(bridge, PORTS, 2, PORTS_KEY));
    messages.push(family.new_set(bridge, SENDERS6, 3, SENDERS6_KEY));
    messages.extend(elements(bridge, all));
    messages.push(family.chain(bridge, VERSION));
    messages.push(family.base_chain(bridge, "prerouting", "filter", BRIDGE_INGRESS));
    let mut rule = |note: &str, fill: Fill<'_>| {
        messages.push(family.rule(bridge, "prerouting", APPEND, note, fill));
    };
    rule("packets of its own", &|list| {
        of_type(list, 0x0800)
            .load_incoming()
            .load(MAC_REGISTER, Header::Link, SENDER_AT, 6)
            .load(ADDRESS_REGISTER, Header::Network, 12, 4)
            .among(SENDERS)
            .accept()
    });
    // Both the frame's sender and the one that ARP tells of.
    rule("ARP of its own", &|list| {
        of_type(list, 0x0806)
            .load_incoming()
            .load(MAC_REGISTER, Header::Link, SENDER_AT, 6)
            .load(ADDRESS_REGISTER, Header::Network, 14, 4)
            .among(SENDERS)
            .load(MAC_REGISTER, Header::Network, 8, 6)
            .among(SENDERS)
            .accept()
    });
    if config.addresses6.is_some() {
        of_ipv6(&mut rule);
    }
    rule("anything else", &|list| {
        list.load_incoming().among(PORTS).drop_packet()
    });
    transaction(socket, messages)
}

/// What a rule asks and does, added to its message.
type Fill<'a> = &'a dyn Fn(Message) -> Message;

fn of_ipv6(rule: &mut dyn FnMut(&str, Fill<'_>)) {
    let is_port = |list: Message| list.load_incoming().among(PORTS);
    let message = |list: Message, kind: u8| {
        of_type(list, 0x86dd)
            .speaking(ICMP6)
            .load(1, Header::Transport, 0, 1)
            .equals(&[kind])
    };
    let sender = |list: Message, header: Header, at: u32| {
        list.load_incoming()
            .load(MAC_REGISTER, Header::Link, SENDER_AT, 6)
            .load(ADDRESS_REGISTER, header, at, 16)
            .among(SENDERS6)
    };
    rule("tells of an address of its own", &|list| {
        let list = message(list, NEIGHBOR_ADVERTISEMENT);
        let list = sender(list, Header::Transport, 8);
        sender(list, Header::Network, 8).accept()
    });
    for kind in [NEIGHBOR_ADVERTISEMENT, ROUTER_ADVERTISEMENT, REDIRECT] {
        rule("tells of others", &|list| {
            is_port(message(list, kind)).drop_packet()
        });
    }
    // Whether another has its address already.
    rule("asks before it has an address", &|list| {
        message(list, NEIGHBOR_SOLICITATION)
            .load(1, Header::Network, 8, 16)
            .equals(&Ipv6Addr::UNSPECIFIED.octets())
            .load_incoming()
            .load(MAC_REGISTER, Header::Link, SENDER_AT, 6)
            .load(ADDRESS_REGISTER, Header::Transport, 8, 16)
            .among(SENDERS6)
            .accept()
    });
    rule("packets of IPv6 of its own", &|list| {
        sender(of_type(list, 0x86dd), Header::Network, 8).accept()
    });
}

fn of_type(list: Message, ether_type: u16) -> Message {
    list.load(1, Header::Link, ETHER_TYPE_AT, 2)
        .equals(&ether_type.to_be_bytes())
}

/// One that has gone sends no more: a message for each element, of which some may be gone already.
pub(super) fn taken_out(bridge: &str, tenant: &Tenant) -> Vec<Message> {
    let keys = keys(tenant);
    let four = keys.senders.into_iter().map(|key| (SENDERS, key));
    let six = keys.senders6.into_iter().map(|key| (SENDERS6, key));
    let gone = |(set, key)| Family::Bridge.delete_elements(bridge, set, &[key]);
    four.chain(six).flat_map(gone).collect()
}

/// Adds those who send.
pub(super) fn elements(bridge: &str, all: &[Tenant]) -> Vec<Message> {
    let (mut senders, mut senders6, mut ports) = (Vec::new(), Vec::new(), Vec::new());
    for keys in all.iter().map(keys) {
        senders.extend(keys.senders);
        senders6.extend(keys.senders6);
        ports.push(keys.port);
    }
    let family = Family::Bridge;
    let mut messages = family.add_elements(bridge, SENDERS, &senders);
    messages.extend(family.add_elements(bridge, PORTS, &ports));
    messages.extend(family.add_elements(bridge, SENDERS6, &senders6));
    messages
}

/// The elements of the sets.
struct Keys {
    /// Of its address, and of those that count on the bridge alone.
    senders: Vec<Vec<u8>>,
    /// The same of IPv6, and of the one that its link gives itself.
    senders6: Vec<Vec<u8>>,
    port: Vec<u8>,
}

fn keys(tenant: &Tenant) -> Keys {
    let port = padded(&port_name(tenant.address));
    let mac = tenant.says.mac;
    let key = |address: &[u8]| [&port[..], &mac.octets(), &[0; 2], address].concat();
    let mut four = vec![tenant.address];
    let own = tenant.says.address6;
    let mut six: Vec<Ipv6Addr> = own
        .into_iter()
        .flat_map(|own| [own, mac.link_local()])
        .collect();
    for address in &tenant.says.link_local {
        match address {
            IpAddr::V4(address) => four.push(*address),
            IpAddr::V6(address) => six.push(*address),
        }
    }
    Keys {
        senders: four.iter().map(|address| key(&address.octets())).collect(),
        senders6: six.iter().map(|address| key(&address.octets())).collect(),
        port: Vec::from(port),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::hardware::Mac;
    use super::super::leases::Says;
    use super::*;

    #[test]
    fn a_sender_is_port_hardware_address_and_address() {
        let address = Ipv4Addr::new(10, 210, 0, 2);
        let own: Ipv6Addr = "fd00::2".parse().unwrap();
        let tenant = Tenant {
            address,
            says: Says {
                mac: Mac::of(address),
                published: Vec::new(),
                address6: Some(own),
                link_local: vec![Ipv4Addr::new(169, 254, 7, 8).into()],
                note: String::new(),
            },
        };
        let found = keys(&tenant);
        assert_eq!(found.port, b"vrb0ad20002\0\0\0\0\0".to_vec());
        let mac = [0x02, 0x62, 10, 210, 0, 2, 0, 0];
        let want = [&found.port[..], &mac, &[10, 210, 0, 2]].concat();
        let beside = [&found.port[..], &mac, &[169, 254, 7, 8]].concat();
        assert_eq!(found.senders, [want, beside]);
        assert_eq!(found.senders[0].len(), SENDERS_KEY.1 as usize);
        assert_eq!(found.port.len(), PORTS_KEY.1 as usize);
        let local: Ipv6Addr = "fe80::62:aff:fed2:2".parse().unwrap();
        let want = [own, local].map(|ip| [&found.port[..], &mac, &ip.octets()].concat());
        assert_eq!(found.senders6, want);
        assert_eq!(want[0].len(), SENDERS6_KEY.1 as usize);
    }
}
