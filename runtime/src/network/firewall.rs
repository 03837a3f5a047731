//! Our own nftables tables, named like the bridge: address translation, published ports, and who
//! may be forwarded to whom, of IPv4 and where the bridge has it of IPv6.
//!
//! What differs from one that is on the bridge to the next stands in sets and maps, so that coming
//! and going is a matter of a few elements, however many there are.

use std::io;
use std::net::{IpAddr, Ipv6Addr};

use super::config::{Between, Config};
use super::expression::{Header, Kind};
use super::leases::Tenant;
use super::netlink::{APPEND, Message, Socket};
use super::nft::{Family, Hook, tolerate, transaction};
pub(super) use super::senders::forbid_spoofing;
use super::senders::{self, VERSION, elements};

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
/// What the names of our bridges begin with.
const OURS: &str = "rbuild";

/// Map of protocol, address and port of this host to address and port on the bridge.
const PUBLISHED: &str = "published";
/// The same for any address of this host.
const EVERYWHERE: &str = "everywhere";
const EVERYWHERE_KEY: (u32, u32) = (PROTOCOL << 6 | SERVICE, 8);
const PROTOCOL: u32 = 12;
const SERVICE: u32 = 13;

/// What nft shows of the maps, and their lengths in bytes.
struct Types {
    published: (u32, u32),
    target: (u32, u32),
}

fn types(family: Family) -> Types {
    let (address, length) = match family {
        Family::Ipv6 => (8, 16),
        Family::Ipv4 | Family::Bridge => (7, 4),
    };
    Types {
        published: (PROTOCOL << 12 | address << 6 | SERVICE, length + 8),
        target: (address << 6 | SERVICE, length + 4),
    }
}

/// What the tables are made for.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    pub(super) config: &'a Config,
    pub(super) kind: Kind,
    /// The first address of the bridge, and the bits that all of them share.
    pub(super) subnet: (Vec<u8>, Vec<u8>),
    /// Whether this host forwards for our sake alone.
    pub(super) only_ours: bool,
}

/// Whether the tables are there, as this program makes them.
pub(super) fn is_set_up(
    socket: &mut Socket,
    bridge: &str,
    families: impl Iterator<Item = Family>,
) -> io::Result<bool> {
    for family in families.chain([Family::Bridge]) {
        match socket.request(family.ask_chain(bridge, VERSION)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => drop(other?),
        }
    }
    Ok(true)
}

/// Makes a table anew. It is one transaction: no packet sees it half-made.
pub(super) fn set_up(socket: &mut Socket, rules: &Rules<'_>, all: &[Tenant]) -> io::Result<()> {
    let bridge = rules.config.bridge.as_str();
    let family = rules.kind.family;
    let mut messages = Vec::from(family.fresh_table(bridge));
    if rules.config.publishes {
        publishing(&mut messages, rules);
    }
    translation(&mut messages, rules);
    forwarding(&mut messages, rules);
    messages.push(family.chain(bridge, VERSION));
    for tenant in all {
        messages.extend(mappings(bridge, tenant, Some(family)));
    }
    transaction(socket, messages)
}

/// Where packets for published ports go.
fn publishing(messages: &mut Vec<Message>, rules: &Rules<'_>) {
    let kind = rules.kind;
    let family = kind.family;
    let bridge = rules.config.bridge.as_str();
    let types = types(family);
    messages.push(family.new_map(bridge, PUBLISHED, 1, (types.published, types.target)));
    messages.push(family.new_map(bridge, EVERYWHERE, 2, (EVERYWHERE_KEY, types.target)));
    for (chain, hook) in [
        ("prerouting", DESTINATION_NAT),
        ("output", OWN_DESTINATION_NAT),
    ] {
        messages.push(family.base_chain(bridge, chain, "nat", hook));
        messages.push(family.rule(bridge, chain, APPEND, "published", |list| {
            list.load_destination(Some(kind))
                .redirect_by(kind, PUBLISHED)
        }));
        let everywhere = |list: Message| {
            // No interface but lo takes what bears ::1.
            let list = match family {
                Family::Ipv6 => list
                    .load(1, Header::Network, kind.destination, kind.length)
                    .differs(&Ipv6Addr::LOCALHOST.octets()),
                Family::Ipv4 | Family::Bridge => list,
            };
            list.bound_for_this_host()
                .load_destination(None)
                .redirect_by(kind, EVERYWHERE)
        };
        messages.push(family.rule(bridge, chain, APPEND, "published everywhere", everywhere));
    }
    if family != Family::Ipv4 {
        return;
    }
    // The bridge routes 127.0.0.0/8, so that this host reaches what is published there: nobody on
    // it may reach this host's own by that.
    messages.push(family.base_chain(bridge, "raw", "filter", RAW));
    messages.push(
        family.rule(bridge, "raw", APPEND, "this host's own", |list| {
            list.comes_from(bridge)
                .load(1, Header::Network, kind.destination, kind.length)
                .mask(&[255, 0, 0, 0])
                .equals(&[127, 0, 0, 0])
                .drop_packet()
        }),
    );
}

/// Whose address a packet bears.
fn translation(messages: &mut Vec<Message>, rules: &Rules<'_>) {
    let kind = rules.kind;
    let family = kind.family;
    let bridge = rules.config.bridge.as_str();
    let from = |list: Message, base: &[u8], mask: &[u8]| {
        list.load(1, Header::Network, kind.source, kind.length)
            .mask(mask)
            .equals(base)
    };
    let ours = |list| from(list, &rules.subnet.0, &rules.subnet.1);
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
    if family == Family::Ipv4 {
        rule("a published port, from this host to itself", &|list| {
            from(list, &[127, 0, 0, 0], &[255, 0, 0, 0])
                .goes_to(bridge)
                .masquerade()
        });
    }
}

/// Who is forwarded to whom.
fn forwarding(messages: &mut Vec<Message>, rules: &Rules<'_>) {
    let family = rules.kind.family;
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

/// Lets one that has come send, and be found.
pub(super) fn add(socket: &mut Socket, bridge: &str, tenant: &Tenant) -> io::Result<()> {
    transaction(socket, elements(bridge, std::slice::from_ref(tenant)))?;
    publish(socket, bridge, tenant)
}

/// Leads the ports of one to it.
pub(super) fn publish(socket: &mut Socket, bridge: &str, tenant: &Tenant) -> io::Result<()> {
    let mappings = mappings(bridge, tenant, None);
    match mappings.is_empty() {
        true => Ok(()),
        false => transaction(socket, mappings),
    }
}

/// The ports of one lead nowhere any more; those that lead nowhere are no error.
pub(super) fn withdraw(socket: &mut Socket, bridge: &str, tenant: &Tenant) -> io::Result<()> {
    tolerate(socket, withdrawn(bridge, tenant))
}

fn withdrawn(bridge: &str, tenant: &Tenant) -> Vec<Message> {
    let mut messages = Vec::new();
    for (family, map, pairs) in published(tenant) {
        for (key, _) in pairs {
            messages.extend(family.delete_elements(bridge, map, &[key]));
        }
    }
    messages
}

/// Takes out one that has gone.
pub(super) fn take_out(socket: &mut Socket, bridge: &str, tenant: &Tenant) -> io::Result<()> {
    let mut gone = withdrawn(bridge, tenant);
    // The port stays in the set: others may still be in the namespace, and are heard by nobody.
    gone.extend(senders::taken_out(bridge, tenant));
    tolerate(socket, gone)
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The elements of [`PUBLISHED`] and [`EVERYWHERE`], of IPv4 and of IPv6.
fn published(tenant: &Tenant) -> [(Family, &'static str, Pairs); 4] {
    let (mut exact, mut everywhere) = (Pairs::new(), Pairs::new());
    let (mut exact6, mut everywhere6) = (Pairs::new(), Pairs::new());
    let port = |number: u16| {
        let [high, low] = number.to_be_bytes();
        [high, low, 0, 0]
    };
    for mapping in &tenant.says.published {
        let protocol = [mapping.protocol.number(), 0, 0, 0];
        let (at, to) = (port(mapping.port), port(mapping.to));
        match (mapping.address, tenant.says.address6) {
            (IpAddr::V4(address), _) => {
                let to = [&tenant.address.octets()[..], &to].concat();
                match address.is_unspecified() {
                    true => everywhere.push(([&protocol[..], &at].concat(), to)),
                    false => {
                        exact.push(([&protocol[..], &address.octets(), &at].concat(), to));
                    }
                }
            }
            (IpAddr::V6(address), Some(own)) if !address.is_loopback() => {
                let to = [&own.octets()[..], &to].concat();
                match address.is_unspecified() {
                    true => everywhere6.push(([&protocol[..], &at].concat(), to)),
                    false => {
                        exact6.push(([&protocol[..], &address.octets(), &at].concat(), to));
                    }
                }
            }
            (IpAddr::V6(_), _) => {}
        }
    }
    [
        (Family::Ipv4, PUBLISHED, exact),
        (Family::Ipv4, EVERYWHERE, everywhere),
        (Family::Ipv6, PUBLISHED, exact6),
        (Family::Ipv6, EVERYWHERE, everywhere6),
    ]
}

/// Those of one family, or of both.
fn mappings(bridge: &str, tenant: &Tenant, only: Option<Family>) -> Vec<Message> {
    let maps = published(tenant).into_iter();
    maps.filter(|(family, ..)| only.is_none_or(|only| only == *family))
        .flat_map(|(family, map, pairs)| family.add_mappings(bridge, map, &pairs))
        .collect()
}

/// Removes the tables; those that are not there are no error.
pub(super) fn remove(socket: &mut Socket, bridge: &str, families: Vec<Family>) -> io::Result<()> {
    let mut there = Vec::new();
    // Asked first: the kernel takes its time to take back half of a transaction.
    for family in families.into_iter().chain([Family::Bridge]) {
        match socket.request(family.ask_table(bridge)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => {
                other?;
                there.push(family.delete_table(bridge));
            }
        }
    }
    tolerate(socket, there)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::hardware::Mac;
    use super::super::leases::Says;
    use super::super::publish::{Mapping, Protocol};
    use super::*;

    #[test]
    fn ports_lead_to_the_address_of_their_kind() {
        let address = Ipv4Addr::new(10, 210, 0, 2);
        let mapping = |address: &str, port| Mapping {
            protocol: Protocol::Udp,
            address: address.parse().unwrap(),
            port,
            to: 80,
        };
        let mut tenant = Tenant {
            address,
            says: Says {
                mac: Mac::of(address),
                published: vec![
                    mapping("0.0.0.0", 258),
                    mapping("127.0.0.1", 81),
                    mapping("::", 258),
                    mapping("::1", 81),
                    mapping("2001:db8::9", 82),
                ],
                address6: Some("fd00::2".parse().unwrap()),
                link_local: Vec::new(),
                note: String::new(),
            },
        };
        let to = vec![10, 210, 0, 2, 0, 80, 0, 0];
        let mut to6 = vec![0; 20];
        (to6[0], to6[15], to6[17]) = (0xfd, 2, 80);
        let mut key6 = vec![0; 24];
        (key6[0], key6[19], key6[21]) = (17, 9, 82);
        key6[4..8].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        let everywhere = vec![17, 0, 0, 0, 1, 2, 0, 0];
        let [exact, every, exact6, every6] = published(&tenant).map(|(_, _, pairs)| pairs);
        assert_eq!(
            exact,
            [(vec![17, 0, 0, 0, 127, 0, 0, 1, 0, 81, 0, 0], to.clone())]
        );
        assert_eq!(every, [(everywhere.clone(), to)]);
        // What bears ::1 never leaves lo.
        assert_eq!(exact6, [(key6, to6.clone())]);
        assert_eq!(every6, [(everywhere, to6)]);
        let types = types(Family::Ipv6);
        assert_eq!((types.published.1, types.target.1), (24, 20));
        tenant.says.address6 = None;
        let [.., exact6, every6] = published(&tenant).map(|(_, _, pairs)| pairs);
        assert!(exact6.is_empty() && every6.is_empty());
    }
}
