//! Our own nftables tables, named like the bridge: address translation, published ports, who may be
//! forwarded to whom, and what those on the bridge may call themselves.
//!
//! What differs from one that is on the bridge to the next stands in sets and maps, so that coming
//! and going is a matter of a few elements, however many there are.

use std::io;
use std::net::Ipv4Addr;

use super::config::{Between, Config};
use super::expression::Header;
use super::hardware::port_name;
use super::leases::Tenant;
use super::netlink::{APPEND, Message, Socket};
use super::nft::{Family, Hook, NAME_LENGTH, padded, transaction};
use super::subnet::Subnet;

const RAW: Hook = Hook {
    number: 0,
    priority: -300,
};
const FORWARD: Hook = Hook {
    number: 2,
    priority: 0,
};
const DESTINATION_NAT: Hook = Hook {
    number: 0,
    priority: -100,
};
/// The same for what this host sends itself.
const OWN_DESTINATION_NAT: Hook = Hook {
    number: 3,
    priority: -100,
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

/// A chain that says which tables these are: it has another name when they come to differ.
const VERSION: &str = "v2";
/// What the names of our bridges begin with.
const OURS: &str = "rbuild";

/// Set of port, hardware address and IPv4 address; the types are what nft shows.
const SENDERS: &str = "senders";
const SENDERS_KEY: (u32, u32) = (IFNAME << 12 | ETHER << 6 | IPV4, NAME_LENGTH as u32 + 8 + 4);
/// Set of the ports that belong to those on the bridge.
const PORTS: &str = "ports";
const PORTS_KEY: (u32, u32) = (IFNAME, NAME_LENGTH as u32);
/// Map of protocol, address and port of this host to address and port on the bridge.
const PUBLISHED: &str = "published";
const PUBLISHED_KEY: (u32, u32) = (PROTOCOL << 12 | IPV4 << 6 | SERVICE, 12);
/// The same for any address of this host.
const EVERYWHERE: &str = "everywhere";
const EVERYWHERE_KEY: (u32, u32) = (PROTOCOL << 6 | SERVICE, 8);
const TARGET: (u32, u32) = (IPV4 << 6 | SERVICE, 8);
const IFNAME: u32 = 41;
const ETHER: u32 = 9;
const IPV4: u32 = 7;
const PROTOCOL: u32 = 12;
const SERVICE: u32 = 13;

/// Register 1 is filled by a port's name; these follow it as a key of [`SENDERS`] does.
const MAC_REGISTER: u32 = 2;
const ADDRESS_REGISTER: u32 = 14;

/// What the tables are made for.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    pub(super) config: &'a Config,
    pub(super) subnet: Subnet,
    /// Whether this host forwards for our sake alone.
    pub(super) only_ours: bool,
}

/// Whether the tables are there, as this program makes them.
pub(super) fn is_set_up(socket: &mut Socket, bridge: &str) -> io::Result<bool> {
    for family in [Family::Ipv4, Family::Bridge] {
        match socket.request(family.ask_chain(bridge, VERSION)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => drop(other?),
        }
    }
    Ok(true)
}

/// Makes the tables anew. One transaction for each: no packet sees it half-made.
pub(super) fn set_up(socket: &mut Socket, rules: &Rules<'_>, all: &[Tenant]) -> io::Result<()> {
    let bridge = rules.config.bridge.as_str();
    let mut messages = Vec::from(Family::Ipv4.fresh_table(bridge));
    if rules.config.publishes {
        publishing(&mut messages, rules);
    }
    translation(&mut messages, rules);
    forwarding(&mut messages, rules);
    messages.push(Family::Ipv4.chain(bridge, VERSION));
    for tenant in all {
        messages.extend(mappings(bridge, tenant));
    }
    transaction(socket, messages)
}

/// Where packets for published ports go.
fn publishing(messages: &mut Vec<Message>, rules: &Rules<'_>) {
    let family = Family::Ipv4;
    let bridge = rules.config.bridge.as_str();
    messages.push(family.new_map(bridge, PUBLISHED, 1, (PUBLISHED_KEY, TARGET)));
    messages.push(family.new_map(bridge, EVERYWHERE, 2, (EVERYWHERE_KEY, TARGET)));
    for (chain, hook) in [
        ("prerouting", DESTINATION_NAT),
        ("output", OWN_DESTINATION_NAT),
    ] {
        messages.push(family.base_chain(bridge, chain, "nat", hook));
        messages.push(family.rule(bridge, chain, APPEND, "published", |list| {
            list.load_destination(true).redirect_by(PUBLISHED)
        }));
        messages.push(
            family.rule(bridge, chain, APPEND, "published everywhere", |list| {
                list.bound_for_this_host()
                    .load_destination(false)
                    .redirect_by(EVERYWHERE)
            }),
        );
    }
    // The bridge routes 127.0.0.0/8, so that this host reaches what is published there: nobody on
    // it may reach this host's own by that.
    messages.push(family.base_chain(bridge, "raw", "filter", RAW));
    messages.push(
        family.rule(bridge, "raw", APPEND, "this host's own", |list| {
            list.comes_from(bridge)
                .load(1, Header::Network, 16, 4)
                .mask([255, 0, 0, 0])
                .equals(&[127, 0, 0, 0])
                .drop_packet()
        }),
    );
}

/// Whose address a packet bears.
fn translation(messages: &mut Vec<Message>, rules: &Rules<'_>) {
    let family = Family::Ipv4;
    let bridge = rules.config.bridge.as_str();
    let subnet = rules.subnet;
    let from = |list: Message, base: [u8; 4], mask: [u8; 4]| {
        list.load(1, Header::Network, 12, 4)
            .mask(mask)
            .equals(&base)
    };
    let ours = |list| from(list, subnet.base().octets(), subnet.mask().octets());
    messages.push(family.base_chain(bridge, "postrouting", "nat", SOURCE_NAT));
    let mut rule = |note, fill: &dyn Fn(Message) -> Message| {
        messages.push(family.rule(bridge, "postrouting", APPEND, note, fill));
    };
    if !rules.config.untranslated && !rules.config.internal {
        rule("leaves the network", &|list| {
            ours(list).goes_to_another_than(bridge).masquerade()
        });
    }
    if !rules.config.publishes {
        return;
    }
    // Its answer has to come this way, for whoever called does not know who answers.
    rule("a published port, from the same network", &|list| {
        ours(list).goes_to(bridge).was_redirected().masquerade()
    });
    rule("a published port, from this host to itself", &|list| {
        from(list, [127, 0, 0, 0], [255, 0, 0, 0])
            .goes_to(bridge)
            .masquerade()
    });
}

/// Who is forwarded to whom.
fn forwarding(messages: &mut Vec<Message>, rules: &Rules<'_>) {
    let family = Family::Ipv4;
    let bridge = rules.config.bridge.as_str();
    messages.push(family.base_chain(bridge, "forward", "filter", FORWARD));
    let mut forward = |note, fill: &dyn Fn(Message) -> Message| {
        messages.push(family.rule(bridge, "forward", APPEND, note, fill));
    };
    if rules.config.internal {
        forward("nobody calls others", &|list| {
            list.comes_from(bridge)
                .goes_to_another_than(bridge)
                .drop_packet()
        });
        forward("nobody is called", &|list| {
            list.comes_from_another_than(bridge)
                .goes_to(bridge)
                .drop_packet()
        });
    }
    forward("answers", &|list| list.goes_to(bridge).answers().accept());
    if rules.config.publishes {
        forward("published ports", &|list| {
            list.goes_to(bridge).was_redirected().accept()
        });
    }
    // From other machines and networks, and from one to another by way of this host.
    forward("nobody else calls", &|list| match rules.config.between {
        Between::Nothing => list.goes_to(bridge).drop_packet(),
        Between::Everything => {
            let list = list.comes_from_another_than(bridge);
            list.goes_to(bridge).drop_packet()
        }
    });
    if rules.only_ours {
        forward("this host was no router before", &|list| {
            list.comes_from_none_of(OURS)
                .goes_to_none_of(OURS)
                .comes_from_another_than(bridge)
                .drop_packet()
        });
    }
}

/// Makes the table anew that drops what those on the bridge send under another's name, and all that
/// is neither IPv4 nor ARP.
pub(super) fn forbid_spoofing(socket: &mut Socket, bridge: &str, all: &[Tenant]) -> io::Result<()> {
    const ETHER_TYPE_AT: u32 = 12;
    const SENDER_AT: u32 = 6;
    let family = Family::Bridge;
    let mut messages = Vec::from(family.fresh_table(bridge));
    messages.push(family.new_set(bridge, SENDERS, 1, SENDERS_KEY));
    messages.push(family.new_set(bridge, PORTS, 2, PORTS_KEY));
    messages.extend(elements(bridge, all));
    messages.push(family.chain(bridge, VERSION));
    messages.push(family.base_chain(bridge, "prerouting", "filter", BRIDGE_INGRESS));
    let mut rule = |note, fill: &dyn Fn(Message) -> Message| {
        messages.push(family.rule(bridge, "prerouting", APPEND, note, fill));
    };
    rule("packets of its own", &|list| {
        list.load(1, Header::Link, ETHER_TYPE_AT, 2)
            .equals(&0x0800u16.to_be_bytes())
            .load_incoming()
            .load(MAC_REGISTER, Header::Link, SENDER_AT, 6)
            .load(ADDRESS_REGISTER, Header::Network, 12, 4)
            .among(SENDERS)
            .accept()
    });
    // Both the frame's sender and the one that ARP tells of.
    rule("ARP of its own", &|list| {
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
    rule("anything else", &|list| {
        list.load_incoming().among(PORTS).drop_packet()
    });
    transaction(socket, messages)
}

/// Lets one that has come send, and be found.
pub(super) fn add(socket: &mut Socket, bridge: &str, tenant: &Tenant) -> io::Result<()> {
    transaction(socket, elements(bridge, std::slice::from_ref(tenant)))?;
    publish(socket, bridge, tenant)
}

/// Leads the ports of one to it.
pub(super) fn publish(socket: &mut Socket, bridge: &str, tenant: &Tenant) -> io::Result<()> {
    let mappings = mappings(bridge, tenant);
    match mappings.is_empty() {
        true => Ok(()),
        false => transaction(socket, mappings),
    }
}

/// The ports of one lead nowhere any more; those that lead nowhere are no error.
pub(super) fn withdraw(socket: &mut Socket, bridge: &str, tenant: &Tenant) -> io::Result<()> {
    for (map, pairs) in published(tenant) {
        for (key, _) in pairs {
            tolerate(socket, Family::Ipv4.delete_elements(bridge, map, &[key]))?;
        }
    }
    Ok(())
}

/// Takes out one that has gone.
pub(super) fn take_out(socket: &mut Socket, bridge: &str, tenant: &Tenant) -> io::Result<()> {
    withdraw(socket, bridge, tenant)?;
    // The port stays in the set: others may still be in the namespace, and are heard by nobody.
    let (sender, _) = keys(tenant);
    let gone = Family::Bridge.delete_elements(bridge, SENDERS, &[sender]);
    tolerate(socket, gone)
}

fn tolerate(socket: &mut Socket, messages: Vec<Message>) -> io::Result<()> {
    match transaction(socket, messages) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Adds those who send.
fn elements(bridge: &str, all: &[Tenant]) -> Vec<Message> {
    let (senders, ports): (Vec<_>, Vec<_>) = all.iter().map(keys).unzip();
    let family = Family::Bridge;
    let mut messages = family.add_elements(bridge, SENDERS, &senders);
    messages.extend(family.add_elements(bridge, PORTS, &ports));
    messages
}

/// The elements of [`SENDERS`] and [`PORTS`].
fn keys(tenant: &Tenant) -> (Vec<u8>, Vec<u8>) {
    let port = padded(&port_name(tenant.address));
    let mac = tenant.says.mac.octets();
    let address = tenant.address.octets();
    (
        [&port[..], &mac, &[0; 2], &address].concat(),
        Vec::from(port),
    )
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The elements of [`PUBLISHED`] and [`EVERYWHERE`].
fn published(tenant: &Tenant) -> [(&'static str, Pairs); 2] {
    let mut exact = Pairs::new();
    let mut everywhere = Pairs::new();
    for mapping in &tenant.says.published {
        let protocol = [mapping.protocol.number(), 0, 0, 0];
        let port = |number: u16| {
            let [high, low] = number.to_be_bytes();
            [high, low, 0, 0]
        };
        let to = [&tenant.address.octets()[..], &port(mapping.to)].concat();
        let at = port(mapping.port);
        match mapping.address {
            Ipv4Addr::UNSPECIFIED => everywhere.push(([&protocol[..], &at].concat(), to)),
            address => {
                let key = [&protocol[..], &address.octets(), &at].concat();
                exact.push((key, to));
            }
        }
    }
    [(PUBLISHED, exact), (EVERYWHERE, everywhere)]
}

fn mappings(bridge: &str, tenant: &Tenant) -> Vec<Message> {
    let maps = published(tenant).into_iter();
    maps.flat_map(|(map, pairs)| Family::Ipv4.add_mappings(bridge, map, &pairs))
        .collect()
}

/// Removes the tables; those that are not there are no error.
pub(super) fn remove(socket: &mut Socket, bridge: &str) -> io::Result<()> {
    for family in [Family::Ipv4, Family::Bridge] {
        tolerate(socket, vec![family.delete_table(bridge)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::hardware::Mac;
    use super::super::leases::Says;
    use super::super::publish::{Mapping, Protocol};
    use super::*;

    #[test]
    fn a_tenant_is_port_hardware_address_address_and_what_it_publishes() {
        let address = Ipv4Addr::new(10, 210, 0, 2);
        let mapping = |address, port| Mapping {
            protocol: Protocol::Udp,
            address,
            port,
            to: 80,
        };
        let tenant = Tenant {
            address,
            says: Says {
                mac: Mac::of(address),
                published: vec![
                    mapping(Ipv4Addr::UNSPECIFIED, 258),
                    mapping(Ipv4Addr::LOCALHOST, 81),
                ],
                note: String::new(),
            },
        };
        let (sender, port) = keys(&tenant);
        assert_eq!(port, b"vrb0ad20002\0\0\0\0\0".to_vec());
        let want = [
            &port[..],
            &[0x02, 0x62, 10, 210, 0, 2],
            &[0, 0],
            &[10, 210, 0, 2],
        ];
        assert_eq!(sender, want.concat());
        assert_eq!(sender.len(), SENDERS_KEY.1 as usize);
        assert_eq!(port.len(), PORTS_KEY.1 as usize);
        let to = vec![10, 210, 0, 2, 0, 80, 0, 0];
        let [(_, exact), (_, everywhere)] = published(&tenant);
        assert_eq!(
            exact,
            [(vec![17, 0, 0, 0, 127, 0, 0, 1, 0, 81, 0, 0], to.clone())]
        );
        assert_eq!(everywhere, [(vec![17, 0, 0, 0, 1, 2, 0, 0], to)]);
    }
}
