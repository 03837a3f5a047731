//! Links of this machine that those of containers stand on, where these are no ports of a bridge:
//! MACVLAN, where each has a hardware address of its own, and IPVLAN, where all have the parent's.
//!
//! What stands on a link reaches what that does, this machine excepted, and this machine translates
//! and forwards nothing for it. A parent that is not there is made where its name says how: part of
//! another link (`eth0.10` is VLAN 10 of `eth0`), or one that leads nowhere.

use std::io;
use std::os::fd::BorrowedFd;

use super::config::{Parent, step};
use super::hardware::Mac;
use super::leases::State;
use super::link::{self, Child, Link};
use super::netlink::Socket;
use crate::error::{Error, Result};

/// The numbers of VLANs (IEEE 802.1Q).
const VLANS: std::ops::RangeInclusive<u32> = 1..=4094;

fn refused<T>(why: String) -> Result<T> {
    Err(Error::Parent(why))
}

fn said(cause: &io::Error) -> String {
    match cause.raw_os_error() {
        // Its name speaks of sockets.
        Some(nix::libc::EOPNOTSUPP) => "operation not supported".to_owned(),
        Some(errno) => nix::errno::Errno::from_raw(errno).desc().to_lowercase(),
        None => cause.to_string(),
    }
}

fn find(socket: &mut Socket, name: &str) -> Result<Option<Link>> {
    match link::by_name(socket, name) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => Ok(None),
        Err(error) => Err(step(format!("find {name}"))(error)),
    }
}

/// Finds the parent, or makes it and notes that. The sentences are docker's.
pub(super) fn ensure(socket: &mut Socket, state: &State, parent: &Parent) -> Result<Link> {
    if let Some(found) = find(socket, &parent.link)? {
        return Ok(found);
    }
    let name = parent.link.as_str();
    if parent.is_own {
        state.note_made(name)?;
        link::make_dummy(socket, name).or_else(|cause| refused(said(&cause)))?;
    } else {
        let (below, number) = vlan(socket, name)?;
        state.note_made(name)?;
        link::make_vlan(socket, name, below, number).or_else(|cause| {
            refused(format!(
                "failed to create {name} vlan link: {}",
                said(&cause)
            ))
        })?;
    }
    let made = link::by_name(socket, name).map_err(step(format!("find {name}")))?;
    link::raise(socket, made.index).or_else(|cause| {
        let why = said(&cause);
        refused(format!(
            "failed to enable {name} the {} parent link {why}",
            parent.kind.as_str()
        ))
    })?;
    Ok(made)
}

/// The link that a VLAN's name says it is a part of, and its number.
fn vlan(socket: &mut Socket, name: &str) -> Result<(Link, u16)> {
    let parts: Vec<&str> = name.split('.').collect();
    let [below, number] = parts.as_slice() else {
        return refused(match parts.len() {
            1 => format!("invalid subinterface vlan name {name}, example formatting is eth0.10"),
            _ => format!(
                "required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead \
                 received {name}"
            ),
        });
    };
    let Ok(parsed) = number.parse::<u32>() else {
        return refused(format!(
            "unable to parse a valid vlan id from: {number} (ex. eth0.10 for vlan 10)"
        ));
    };
    let Some(found) = find(socket, below)? else {
        return refused(format!(
            "-o parent interface was not found on the host: {below}"
        ));
    };
    match u16::try_from(parsed) {
        Ok(id) if VLANS.contains(&parsed) => Ok((found, id)),
        _ => refused(format!(
            "vlan id must be between 1-4094, received: {parsed}"
        )),
    }
}

/// Makes a link in a namespace that stands on the parent.
pub(super) fn make_child(
    socket: &mut Socket,
    (parent, below): (&Parent, Link),
    (interface, mac): (&str, Mac),
    namespace: BorrowedFd<'_>,
) -> Result<()> {
    let child = Child {
        name: interface,
        parent: below.index,
        mac: Some(mac).filter(|_| parent.kind.has_mac()),
        kind: parent.kind,
    };
    link::make_child(socket, child, namespace).or_else(|cause| {
        let kind = parent.kind.as_str();
        refused(format!(
            "failed to create the {kind} port: {}",
            said(&cause)
        ))
    })
}

/// Takes away the parent that was made for a bridge's name, if there was one.
pub(super) fn remove_made(state: &State) -> Result<()> {
    let Some(name) = state.made() else {
        return Ok(());
    };
    let mut socket = Socket::route().map_err(step("open a netlink socket"))?;
    link::remove(&mut socket, &name).map_err(step(format!("remove {name}")))?;
    state.forget_made();
    Ok(())
}
