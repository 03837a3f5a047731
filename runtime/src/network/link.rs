//! Links, addresses and routes (rtnetlink(7)).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

use super::config::ChildKind;
use super::hardware::Mac;
use super::netlink::{
    ACK, APPEND, CREATE, DUMP, EXCL, Message, REPLACE, REQUEST, Socket, exists, u32_at,
};
use super::subnet::Subnet;
use super::subnet6::Subnet6;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTM_NEWNEIGH: u16 = 28;
const RTM_NEWLINKPROP: u16 = 108;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_HAIRPIN: u16 = 4;
const IFLA_BRPORT_LEARNING: u16 = 8;
const IFLA_BRPORT_UNICAST_FLOOD: u16 = 9;
const IFLA_BRPORT_MCAST_FLOOD: u16 = 27;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const NDA_LLADDR: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_FLAGS: u16 = 2;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// Nobody else has it, which needs no asking.
const IFA_F_NODAD: u8 = 2;
const UP: u32 = libc::IFF_UP as u32;

/// `struct ifinfomsg`; flags that are not given stay as they are.
fn link_body(index: u32, flags: u32) -> [u8; 16] {
    let mut body = [0; 16];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[8..12].copy_from_slice(&flags.to_ne_bytes());
    body[12..16].copy_from_slice(&flags.to_ne_bytes());
    body
}

/// A link that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) mtu: Option<u32>,
    pub(super) mac: Option<Mac>,
}

/// A pair of links in the making.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair<'a> {
    /// The one here, a port of the bridge.
    pub(super) name: &'a str,
    pub(super) bridge: Link,
    /// Of both; the bridge takes over the smallest of its ports.
    pub(super) mtu: Option<u32>,
    /// The one in the other namespace.
    pub(super) peer: &'a str,
    pub(super) peer_mac: Mac,
}

fn get(socket: &mut Socket, message: Message) -> io::Result<Link> {
    let replies = socket.request(message)?;
    let reply = replies
        .first()
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let index = u32_at(&reply.0, 4).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(Link {
        index,
        mtu: reply.attr(16, IFLA_MTU).and_then(|value| u32_at(value, 0)),
        mac: reply.attr(16, IFLA_ADDRESS).and_then(Mac::read),
    })
}

/// The link of this name.
pub(super) fn by_name(socket: &mut Socket, name: &str) -> io::Result<Link> {
    let body = link_body(0, 0);
    get(
        socket,
        Message::new(RTM_GETLINK, REQUEST | ACK, &body).string(IFLA_IFNAME, name),
    )
}

/// The link of this number.
pub(super) fn by_index(socket: &mut Socket, index: u32) -> io::Result<Link> {
    get(
        socket,
        Message::new(RTM_GETLINK, REQUEST | ACK, &link_body(index, 0)),
    )
}

/// Makes a bridge unless there is one of this name.
pub(super) fn make_bridge(socket: &mut Socket, name: &str) -> io::Result<Link> {
    let message = Message::new(
        RTM_NEWLINK,
        REQUEST | ACK | CREATE | EXCL,
        &link_body(0, UP),
    )
    .string(IFLA_IFNAME, name);
    let message = message.nest(IFLA_LINKINFO, |info| info.string(IFLA_INFO_KIND, "bridge"));
    match socket.request(message) {
        Err(error) if !exists(&error) => return Err(error),
        _ => {}
    }
    let link = by_name(socket, name)?;
    raise(socket, link.index)?;
    Ok(link)
}

/// Gives a link another name, by which it is found as well.
pub(super) fn add_name(socket: &mut Socket, index: u32, name: &str) -> io::Result<()> {
    let message = Message::new(
        RTM_NEWLINKPROP,
        REQUEST | ACK | CREATE | EXCL | APPEND,
        &link_body(index, 0),
    );
    let message = message.nest(IFLA_PROP_LIST, |list| list.string(IFLA_ALT_IFNAME, name));
    match socket.request(message) {
        // It may have it already.
        Err(error) if exists(&error) => match nix::net::if_::if_nametoindex(name) {
            Ok(found) if found == index => Ok(()),
            _ => Err(error),
        },
        done => done.map(drop),
    }
}

/// Gives a link a hardware address of its own.
pub(super) fn set_mac(socket: &mut Socket, index: u32, mac: Mac) -> io::Result<()> {
    let message = Message::new(RTM_NEWLINK, REQUEST | ACK, &link_body(index, 0));
    socket
        .request(message.attr(IFLA_ADDRESS, &mac.octets()))
        .map(drop)
}

/// Sets a link up.
pub(super) fn raise(socket: &mut Socket, index: u32) -> io::Result<()> {
    socket
        .request(Message::new(
            RTM_NEWLINK,
            REQUEST | ACK,
            &link_body(index, UP),
        ))
        .map(drop)
}

/// Removes a link; one that is not there is no error.
pub(super) fn remove(socket: &mut Socket, name: &str) -> io::Result<()> {
    let message = Message::new(RTM_DELLINK, REQUEST | ACK, &link_body(0, 0));
    match socket.request(message.string(IFLA_IFNAME, name)) {
        Err(error) if error.raw_os_error() != Some(libc::ENODEV) => Err(error),
        _ => Ok(()),
    }
}

/// Makes a pair of links: one here, up and part of the bridge; its peer in the other namespace.
pub(super) fn make_pair(
    socket: &mut Socket,
    pair: Pair<'_>,
    namespace: BorrowedFd<'_>,
) -> io::Result<()> {
    let with_mtu = |message: Message| match pair.mtu {
        Some(mtu) => message.number(IFLA_MTU, mtu),
        None => message,
    };
    let message = Message::new(
        RTM_NEWLINK,
        REQUEST | ACK | CREATE | EXCL,
        &link_body(0, UP),
    )
    .string(IFLA_IFNAME, pair.name)
    .number(IFLA_MASTER, pair.bridge.index);
    let message = with_mtu(message).nest(IFLA_LINKINFO, |info| {
        info.string(IFLA_INFO_KIND, "veth")
            .nest(IFLA_INFO_DATA, |data| {
                data.nest(VETH_INFO_PEER, |inner| {
                    with_mtu(
                        inner
                            .raw(&link_body(0, 0))
                            .string(IFLA_IFNAME, pair.peer)
                            .attr(IFLA_ADDRESS, &pair.peer_mac.octets()),
                    )
                    .number(IFLA_NET_NS_FD, namespace.as_raw_fd() as u32)
                })
            })
    });
    socket.request(message).map(drop)
}

/// A link that stands on another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Child<'a> {
    pub(super) name: &'a str,
    /// The number of the other.
    pub(super) parent: u32,
    /// Its hardware address, where it has one of its own.
    pub(super) mac: Option<Mac>,
    pub(super) kind: ChildKind,
}

/// Makes a link in a namespace that stands on one here.
pub(super) fn make_child(
    socket: &mut Socket,
    child: Child<'_>,
    namespace: BorrowedFd<'_>,
) -> io::Result<()> {
    socket.request(child_message(child, namespace)).map(drop)
}

fn child_message(child: Child<'_>, namespace: BorrowedFd<'_>) -> Message {
    let flags = REQUEST | ACK | CREATE | EXCL;
    let message = Message::new(RTM_NEWLINK, flags, &link_body(0, 0))
        .string(IFLA_IFNAME, child.name)
        .number(IFLA_LINK, child.parent)
        .number(IFLA_NET_NS_FD, namespace.as_raw_fd() as u32);
    let message = match child.mac {
        Some(mac) => message.attr(IFLA_ADDRESS, &mac.octets()),
        None => message,
    };
    message.nest(IFLA_LINKINFO, |info| match child.kind {
        ChildKind::Macvlan(mode) => info
            .string(IFLA_INFO_KIND, "macvlan")
            .nest(IFLA_INFO_DATA, |data| data.number(IFLA_MACVLAN_MODE, mode)),
        ChildKind::Ipvlan { mode, flags } => {
            info.string(IFLA_INFO_KIND, "ipvlan")
                .nest(IFLA_INFO_DATA, |data| {
                    data.attr(IFLA_IPVLAN_MODE, &mode.to_ne_bytes())
                        .attr(IFLA_IPVLAN_FLAGS, &flags.to_ne_bytes())
                })
        }
    })
}

/// Makes a link that leads nowhere.
pub(super) fn make_dummy(socket: &mut Socket, name: &str) -> io::Result<()> {
    let flags = REQUEST | ACK | CREATE | EXCL;
    let message = Message::new(RTM_NEWLINK, flags, &link_body(0, 0)).string(IFLA_IFNAME, name);
    let message = message.nest(IFLA_LINKINFO, |info| info.string(IFLA_INFO_KIND, "dummy"));
    socket.request(message).map(drop)
}

/// Makes the part of a link that has this number.
pub(super) fn make_vlan(socket: &mut Socket, name: &str, below: Link, id: u16) -> io::Result<()> {
    socket.request(vlan_message(name, below, id)).map(drop)
}

fn vlan_message(name: &str, below: Link, id: u16) -> Message {
    let flags = REQUEST | ACK | CREATE | EXCL;
    let message = Message::new(RTM_NEWLINK, flags, &link_body(0, 0))
        .string(IFLA_IFNAME, name)
        .number(IFLA_LINK, below.index);
    message.nest(IFLA_LINKINFO, |info| {
        info.string(IFLA_INFO_KIND, "vlan")
            .nest(IFLA_INFO_DATA, |data| {
                data.attr(IFLA_VLAN_ID, &id.to_ne_bytes())
            })
    })
}

/// What a port of a bridge is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Port {
    /// The hardware address behind it.
    pub(super) mac: Mac,
    /// It exchanges nothing with other ports.
    pub(super) alone: bool,
    /// It gets what it sends to itself by way of the host.
    pub(super) returning: bool,
    /// It gets what is for many, by which IPv6 finds neighbours.
    pub(super) hears_many: bool,
}

/// Lets a port of a bridge exchange frames with the bridge alone, and get none that are not for
/// its address: the bridge is told where that is, learns nothing from the port and floods nothing
/// to it but broadcasts and what is for many. An `alone` one is kept from other ports; a
/// `returning` one gets what it sends to itself, as to a port of the host that leads to it.
pub(super) fn isolate(socket: &mut Socket, index: u32, kind: Port) -> io::Result<()> {
    let message = Message::new(RTM_NEWLINK, REQUEST | ACK, &link_body(index, 0));
    socket.request(message.nest(IFLA_LINKINFO, |info| {
        info.string(IFLA_INFO_SLAVE_KIND, "bridge")
            .nest(IFLA_INFO_SLAVE_DATA, |port| {
                port.attr(IFLA_BRPORT_ISOLATED, &[u8::from(kind.alone)])
                    .attr(IFLA_BRPORT_HAIRPIN, &[u8::from(kind.returning)])
                    .attr(IFLA_BRPORT_LEARNING, &[0])
                    .attr(IFLA_BRPORT_UNICAST_FLOOD, &[0])
                    .attr(IFLA_BRPORT_MCAST_FLOOD, &[u8::from(kind.hears_many)])
            })
    }))?;
    const AF_BRIDGE: u8 = 7;
    const NUD_NOARP: u8 = 0x40;
    const NTF_MASTER: u8 = 0x04;
    // `struct ndmsg`: family, link, state, flags.
    let mut body = [AF_BRIDGE, 0, 0, 0, 0, 0, 0, 0, 0, 0, NTF_MASTER, 0];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[8..10].copy_from_slice(&u16::from(NUD_NOARP).to_ne_bytes());
    let message = Message::new(RTM_NEWNEIGH, REQUEST | ACK | CREATE, &body);
    socket
        .request(message.attr(NDA_LLADDR, &kind.mac.octets()))
        .map(drop)
}

/// Gives a link an address.
pub(super) fn add_address(
    socket: &mut Socket,
    index: u32,
    address: Ipv4Addr,
    subnet: Subnet,
) -> io::Result<()> {
    let mut body = [AF_INET, subnet.prefix(), 0, 0, 0, 0, 0, 0];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    let mut message = Message::new(RTM_NEWADDR, REQUEST | ACK | CREATE | EXCL, &body)
        .attr(IFA_LOCAL, &address.octets())
        .attr(IFA_ADDRESS, &address.octets());
    if let Some(everybody) = subnet.broadcast() {
        message = message.attr(IFA_BROADCAST, &everybody.octets());
    }
    match socket.request(message) {
        Err(error) if !exists(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Gives a link an IPv6 address.
pub(super) fn add_address6(
    socket: &mut Socket,
    index: u32,
    address: Ipv6Addr,
    subnet: Subnet6,
) -> io::Result<()> {
    let mut body = [AF_INET6, subnet.prefix(), IFA_F_NODAD, 0, 0, 0, 0, 0];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    let message = Message::new(RTM_NEWADDR, REQUEST | ACK | CREATE | EXCL, &body)
        .attr(IFA_LOCAL, &address.octets())
        .attr(IFA_ADDRESS, &address.octets());
    match socket.request(message) {
        Err(error) if !exists(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Gives a link an address that counts there alone.
pub(super) fn add_link_local(socket: &mut Socket, index: u32, address: IpAddr) -> io::Result<()> {
    match address {
        IpAddr::V4(address) => match Subnet::new(address, 16) {
            Some(subnet) => add_address(socket, index, address, subnet),
            None => Ok(()),
        },
        IpAddr::V6(address) => match Subnet6::new(address, 64) {
            Some(subnet) => add_address6(socket, index, address, subnet),
            None => Ok(()),
        },
    }
}

/// Every IPv4 address with the number of its link.
pub(super) fn addresses(socket: &mut Socket) -> io::Result<Vec<(u32, Ipv4Addr, Subnet)>> {
    let body = [AF_INET, 0, 0, 0, 0, 0, 0, 0];
    let replies = socket.request(Message::new(RTM_GETADDR, REQUEST | DUMP, &body))?;
    let read = |reply: &super::netlink::Reply| {
        let (prefix, index) = (*reply.0.get(1)?, u32_at(&reply.0, 4)?);
        let attrs = reply.attrs(8);
        let of = |wanted| {
            attrs
                .iter()
                .find(|(kind, _)| *kind == wanted)
                .and_then(|a| ipv4(a.1))
        };
        let address = of(IFA_LOCAL).or_else(|| of(IFA_ADDRESS))?;
        Some((index, address, Subnet::new(address, prefix)?))
    };
    Ok(replies.iter().filter_map(read).collect())
}

/// An IPv4 route: destination (nothing: the default) and outgoing link.
pub(super) type Route = (Option<Subnet>, Option<u32>);

/// Every IPv4 route of every table.
pub(super) fn routes(socket: &mut Socket) -> io::Result<Vec<Route>> {
    let mut body = [0; 12];
    body[0] = AF_INET;
    let replies = socket.request(Message::new(RTM_GETROUTE, REQUEST | DUMP, &body))?;
    let read = |reply: &super::netlink::Reply| {
        let prefix = *reply.0.get(1)?;
        let attrs = reply.attrs(12);
        let of = |wanted| {
            attrs
                .iter()
                .find(|(kind, _)| *kind == wanted)
                .map(|(_, value)| *value)
        };
        let link = of(RTA_OIF).and_then(|value| u32_at(value, 0));
        match of(RTA_DST).and_then(ipv4) {
            Some(address) => Some((Some(Subnet::new(address, prefix)?), link)),
            None => Some((None, link)),
        }
    };
    Ok(replies.iter().filter_map(read).collect())
}

/// Anywhere, and on the link itself.
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;

/// `struct rtmsg` of a default route in the main table.
const fn default_route(family: u8, scope: u8) -> [u8; 12] {
    const RT_TABLE_MAIN: u8 = 254;
    const RTPROT_BOOT: u8 = 3;
    const RTN_UNICAST: u8 = 1;
    let (table, protocol, kind) = (RT_TABLE_MAIN, RTPROT_BOOT, RTN_UNICAST);
    [family, 0, 0, 0, table, protocol, scope, kind, 0, 0, 0, 0]
}

/// Routes everything through `gateway`, or to the link as it is, whatever was there before.
pub(super) fn set_default_route(
    socket: &mut Socket,
    index: u32,
    gateway: Option<Ipv4Addr>,
) -> io::Result<()> {
    let octets = gateway.map(|gateway| gateway.octets());
    set_default(
        socket,
        index,
        AF_INET,
        octets.as_ref().map(<[u8; 4]>::as_slice),
    )
}

fn set_default(
    socket: &mut Socket,
    index: u32,
    family: u8,
    gateway: Option<&[u8]>,
) -> io::Result<()> {
    let flags = REQUEST | ACK | CREATE | REPLACE;
    let scope = match gateway {
        Some(_) => RT_SCOPE_UNIVERSE,
        None => RT_SCOPE_LINK,
    };
    let mut message = Message::new(RTM_NEWROUTE, flags, &default_route(family, scope));
    if let Some(gateway) = gateway {
        message = message.attr(RTA_GATEWAY, gateway);
    }
    socket.request(message.number(RTA_OIF, index)).map(drop)
}

/// The same by IPv6, of which a namespace has at most one: the last goes first.
pub(super) fn set_default_route6(
    socket: &mut Socket,
    index: u32,
    gateway: Option<Ipv6Addr>,
) -> io::Result<()> {
    remove_default(socket, AF_INET6)?;
    let octets = gateway.map(|gateway| gateway.octets());
    set_default(
        socket,
        index,
        AF_INET6,
        octets.as_ref().map(<[u8; 16]>::as_slice),
    )
}

/// Takes the default route away; none is no error.
pub(super) fn remove_default_route(socket: &mut Socket) -> io::Result<()> {
    remove_default(socket, AF_INET)
}

/// The same of IPv6.
pub(super) fn remove_default_route6(socket: &mut Socket) -> io::Result<()> {
    remove_default(socket, AF_INET6)
}

fn remove_default(socket: &mut Socket, family: u8) -> io::Result<()> {
    // Whatever the scope: 255 is none in particular.
    const RT_SCOPE_NOWHERE: u8 = 255;
    let scope = match family {
        AF_INET => RT_SCOPE_NOWHERE,
        _ => RT_SCOPE_UNIVERSE,
    };
    let message = Message::new(RTM_DELROUTE, REQUEST | ACK, &default_route(family, scope));
    match socket.request(message) {
        // Without a route, or without IPv6 at all.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::EAFNOSUPPORT)) => {
            Ok(())
        }
        other => other.map(drop),
    }
}

fn ipv4(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd as _;

    use super::super::netlink::attrs;
    use super::*;

    /// What a message says of the link's kind: its word, and its settings.
    fn kind(message: &Message) -> (Vec<u8>, Vec<(u16, Vec<u8>)>) {
        let all = attrs(message.attributes(16));
        let of = |list: &[(u16, &[u8])], kind: u16| {
            let found = list.iter().find(|(own, _)| *own == kind);
            found.map(|(_, value)| value.to_vec()).unwrap()
        };
        let info = of(&all, IFLA_LINKINFO);
        let info = attrs(&info);
        let data = of(&info, IFLA_INFO_DATA);
        let settings = attrs(&data).into_iter();
        (
            of(&info, IFLA_INFO_KIND),
            settings
                .map(|(kind, value)| (kind, value.to_vec()))
                .collect(),
        )
    }

    /// As linux/if_link.h has them, and as `ip link add` sends them.
    #[test]
    fn links_on_others_say_their_kind_and_mode() {
        let namespace = File::open("/dev/null").unwrap();
        let child = |kind| Child {
            name: "eth0",
            parent: 7,
            mac: None,
            kind,
        };
        let ipvlan = ChildKind::Ipvlan { mode: 2, flags: 1 };
        let message = child_message(child(ipvlan), namespace.as_fd());
        let want = vec![
            (1, 2u16.to_ne_bytes().to_vec()),
            (2, 1u16.to_ne_bytes().to_vec()),
        ];
        assert_eq!(kind(&message), (b"ipvlan\0".to_vec(), want));
        let message = child_message(child(ChildKind::Macvlan(4)), namespace.as_fd());
        let want = vec![(1, 4u32.to_ne_bytes().to_vec())];
        assert_eq!(kind(&message), (b"macvlan\0".to_vec(), want));
        let below = Link {
            index: 7,
            mtu: None,
            mac: None,
        };
        let message = vlan_message("eth0.10", below, 10);
        let want = vec![(1, 10u16.to_ne_bytes().to_vec())];
        assert_eq!(kind(&message), (b"vlan\0".to_vec(), want));
        let all = attrs(message.attributes(16));
        assert!(all.contains(&(IFLA_LINK, &7u32.to_ne_bytes()[..])));
        assert!(all.contains(&(IFLA_IFNAME, b"eth0.10\0")));
    }
}
