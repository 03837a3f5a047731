//! Ports of this machine that are a container's: bound, so that no other program takes them, and so
//! that one which another has is found out before anything runs.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use runtime::network::Protocol;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, ipproto, listen, socket_with,
    sockopt,
};

use crate::network::ports::{Published, Wanted, joined};

/// How many connections may wait at a port of IPv6, where they do.
const BACKLOG: i32 = 512;
/// How often a port for both kinds of addresses is looked for.
const TRIES: u32 = 32;

/// A port of this machine that is bound.
#[derive(Debug)]
pub(super) struct Reserved {
    pub(super) published: Published,
    pub(super) socket: OwnedFd,
}

/// Binds all that is wanted. `target` is the container's address, for who reads the error: nothing
/// leads from IPv4 to one of IPv6. `at` is the address of ports that say none.
///
/// # Errors
/// In docker's words.
pub(super) fn reserve(
    wanted: &[Wanted],
    target: IpAddr,
    at: Option<Ipv4Addr>,
) -> Result<Vec<Reserved>, String> {
    let mut all = Vec::new();
    for one in wanted {
        let address = one.address.or(at.map(IpAddr::V4));
        let addresses = match address {
            Some(address) => vec![address],
            None if has_ipv6() => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
            None => vec![Ipv4Addr::UNSPECIFIED.into()],
        };
        let fits = |address: &IpAddr| address.is_ipv6() || target.is_ipv4();
        let addresses: Vec<IpAddr> = addresses.into_iter().filter(fits).collect();
        if !addresses.is_empty() {
            all.extend(reserve_one(one, &addresses, target)?);
        }
    }
    Ok(all)
}

/// One port, the same at all addresses.
fn reserve_one(
    one: &Wanted,
    addresses: &[IpAddr],
    target: IpAddr,
) -> Result<Vec<Reserved>, String> {
    let mut tries: Box<dyn Iterator<Item = u16>> = match one.among {
        Some((first, last)) => Box::new(first..=last),
        None => Box::new((0..TRIES).map(|_| 0)),
    };
    let mut told = String::new();
    tries
        .find_map(|port| match bind_all(one, addresses, port) {
            Ok(bound) => Some(bound),
            Err((address, port, error)) => {
                if told.is_empty() {
                    told = refused(one, (address, port), target, error);
                }
                None
            }
        })
        .ok_or(told)
}

fn bind_all(
    one: &Wanted,
    addresses: &[IpAddr],
    port: u16,
) -> Result<Vec<Reserved>, (IpAddr, u16, Errno)> {
    let mut bound: Vec<Reserved> = Vec::new();
    for address in addresses {
        // Any port at the first address is the one at the others.
        let port = bound.first().map_or(port, |first| first.published.port);
        let failed = |error| (*address, port, error);
        let (socket, port) = bind_one(one.protocol, *address, port).map_err(failed)?;
        bound.push(Reserved {
            published: Published {
                protocol: one.protocol,
                container: one.container,
                address: *address,
                port,
            },
            socket,
        });
    }
    Ok(bound)
}

fn bind_one(protocol: Protocol, address: IpAddr, port: u16) -> Result<(OwnedFd, u16), Errno> {
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let family = match address {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, kind, flags, Some(number))?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if protocol != Protocol::Udp {
        // What was connected before is no hindrance, only who listens.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &SocketAddr::new(address, port))?;
    if protocol != Protocol::Udp {
        listen(&socket, BACKLOG)?;
    }
    let bound = SocketAddr::try_from(getsockname(socket.as_fd())?);
    Ok((socket, bound.map_or(port, |bound| bound.port())))
}

/// Why a port cannot be had, in docker's words.
fn refused(one: &Wanted, (address, port): (IpAddr, u16), target: IpAddr, error: Errno) -> String {
    if error == Errno::ADDRINUSE && is_ours(one.protocol, port) {
        let at = joined(address, port);
        return format!("Bind for {at} failed: port is already allocated");
    }
    let at = joined(address, port);
    let to = joined(target, format!("{}/{}", one.container, one.protocol.name()));
    // Go has small letters for what the system says.
    let why = io::Error::from(error).to_string().to_lowercase();
    let why = why.split(" (os error").next().unwrap_or_default();
    format!("failed to bind host port for {at}:{to}: {why}")
}

/// Whether another container has it.
fn is_ours(protocol: Protocol, port: u16) -> bool {
    crate::network::directory()
        .is_ok_and(|dir| runtime::network::is_published(&dir, protocol, port))
}

fn has_ipv6() -> bool {
    Path::new("/proc/self/net/if_inet6").exists()
        && std::fs::read_to_string("/proc/sys/net/ipv6/conf/lo/disable_ipv6")
            .is_ok_and(|text| text.trim() == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(among: Option<(u16, u16)>) -> Wanted {
        Wanted {
            protocol: Protocol::Tcp,
            container: 80,
            address: Some(Ipv4Addr::LOCALHOST.into()),
            among,
        }
    }

    #[test]
    fn the_first_free_port_is_taken_and_a_taken_one_is_told() {
        let target = Ipv4Addr::new(10, 0, 0, 2).into();
        let first = reserve(&[wanted(None)], target, None).unwrap();
        let taken = first[0].published.port;
        let error = reserve(&[wanted(Some((taken, taken)))], target, None).unwrap_err();
        let want = format!(
            "failed to bind host port for 127.0.0.1:{taken}:10.0.0.2:80/tcp: address already in use"
        );
        assert_eq!(error, want);
        if taken < u16::MAX {
            let range = wanted(Some((taken, u16::MAX)));
            let next = reserve(&[range], target, None).unwrap();
            assert!(next[0].published.port > taken);
        }
        let elsewhere = Wanted {
            address: Some(Ipv4Addr::new(203, 0, 113, 9).into()),
            ..wanted(Some((taken, taken)))
        };
        let error = reserve(&[elsewhere], target, None).unwrap_err();
        assert!(
            error.ends_with(": cannot assign requested address"),
            "{error}"
        );
    }
}
