//! Networks: a bridge on the host that translates addresses, and network namespaces with an address
//! on it.
//!
//! A namespace exists only as a descriptor: it vanishes with the process, and its links to bridges
//! with it. Addresses are leased by locking files, which the kernel unlocks likewise.
//!
//! This host forwards and translates for a bridge as long as somebody is on it. The last one takes
//! back what was changed; after a crash the next one does.
//!
//! Steps of builds do not meet: the bridge passes no frame from one port to another, what a step
//! sends bears its own addresses or is dropped, and the host forwards nothing to it but answers.
//! Steps that follow each other may have the same namespace, if the one before has left nothing in
//! it. On a bridge of containers these meet, and ports of the host may lead to them ([`Mapping`]).

mod bridge;
mod config;
mod ended;
mod endpoint;
mod expression;
mod firewall;
mod foreign;
mod hardware;
mod leases;
mod legacy;
mod link;
mod namespace;
mod netlink;
mod nft;
mod parent;
mod publish;
mod senders;
mod sockets;
mod subnet;
mod subnet6;

pub use config::{Addresses, Addresses6, Between, ChildKind, Config, Parent};
pub use ended::sweep_ended;
pub use endpoint::{Endpoint, Wish};
pub use hardware::Mac;
pub use namespace::Namespace;
pub use publish::{Mapping, Protocol};
pub use subnet::{Subnet, choose_for_user};
pub use subnet6::{Subnet6, choose6_for_user};

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use crate::error::Result;
use bridge::Bridge;
use config::step;
use leases::State;
use netlink::Socket;

/// Name of the interface in the namespace of a build's step.
const INTERFACE: &str = "eth0";

/// A network namespace with a way out, for one step of a build at a time.
#[derive(Debug)]
pub struct Sandbox {
    endpoint: Endpoint,
    namespace: Namespace,
}

impl Sandbox {
    /// Makes the namespace, and the bridge when there is none.
    ///
    /// # Errors
    /// [`crate::Error::Network`] says which step failed and why; [`crate::Error::NotPermitted`]
    /// without root.
    pub fn create(config: &Config) -> Result<Self> {
        let namespace = Namespace::create(true)?;
        let wish = Wish {
            interface: INTERFACE.to_owned(),
            ..Wish::default()
        };
        let endpoint = Endpoint::attach(config, &namespace, &wish)?;
        namespace.route_by(Some((INTERFACE, Some(endpoint.gateway()))))?;
        Ok(Self {
            endpoint,
            namespace,
        })
    }

    /// The network namespace.
    pub fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.fd()
    }

    /// Address of the namespace on the bridge.
    pub fn address(&self) -> Ipv4Addr {
        self.endpoint.address()
    }

    /// Address of the host on the bridge.
    pub fn gateway(&self) -> Ipv4Addr {
        self.endpoint.gateway()
    }

    /// Whether the next step finds nothing of the last one, once its processes have ended: no
    /// connection is left of which the kernel still knows.
    pub fn is_clean(&self) -> bool {
        self.namespace.is_clean()
    }
}

/// Takes back what was set up for those on a bridge that were killed.
///
/// # Errors
/// [`crate::Error::Network`] says what could not be taken back and why.
pub fn sweep(config: &Config) -> Result<()> {
    config.check()?;
    match State::lock_existing(config)? {
        Some(state) if state.has_traces() => match state.is_unused() {
            true => bridge::close_host(&state, &config.bridge),
            false => bridge::forget_gone(&state, &config.bridge),
        },
        _ => Ok(()),
    }
}

/// Makes a bridge that nobody is on yet, or the link that others are to stand on, and tells its
/// addresses.
///
/// # Errors
/// [`crate::Error::Network`] says which step failed and why; [`crate::Error::Parent`].
pub fn make_bridge(config: &Config) -> Result<Addresses> {
    config.check()?;
    let mut route = Socket::route().map_err(step("open a netlink socket"))?;
    let state = State::lock(config)?;
    let bridge = Bridge::ensure(&mut route, &state, config)?;
    Ok(Addresses {
        subnet: bridge.subnet,
        gateway: bridge.address,
        range: bridge.range,
    })
}

/// Removes a bridge for good: nobody comes to it any more. False when somebody is on it.
///
/// # Errors
/// [`crate::Error::Network`] when it exists but cannot be removed.
pub fn close_bridge(config: &Config) -> Result<bool> {
    config.check()?;
    let state = State::lock(config)?;
    if !state.is_unused() {
        return Ok(false);
    }
    bridge::close_host(&state, &config.bridge)?;
    parent::remove_made(&state)?;
    state.remove()?;
    remove_bridge(&config.bridge)?;
    Ok(true)
}

/// Removes a bridge, which stays for the next otherwise.
///
/// # Errors
/// [`crate::Error::Network`] when it exists but cannot be removed.
pub fn remove_bridge(name: &str) -> Result<()> {
    let mut route = Socket::route().map_err(step("open a netlink socket"))?;
    link::remove(&mut route, name).map_err(step(format!("remove bridge {name}")))
}

/// The ranges of addresses that this host has routes to, or addresses of.
///
/// # Errors
/// [`crate::Error::Network`] when the kernel does not tell.
pub fn used_subnets() -> Result<Vec<Subnet>> {
    let mut route = Socket::route().map_err(step("open a netlink socket"))?;
    bridge::used(&mut route)
}

/// Where all about the bridges of this network namespace is kept, below a folder for all of them.
///
/// # Errors
/// [`crate::Error::Network`] without /proc.
pub fn directory(state_dir: &Path) -> Result<PathBuf> {
    leases::directory(state_dir)
}

/// What the one that has an address of a bridge lets others read; nothing when nobody has it.
/// `directory` is what [`directory`] tells.
pub fn note_of(directory: &Path, bridge: &str, address: Ipv4Addr) -> Option<String> {
    leases::note_of(directory, bridge, address)
}

/// What all on a bridge let others read, by their addresses.
pub fn notes(directory: &Path, bridge: &str) -> Vec<(Ipv4Addr, String)> {
    leases::notes(directory, bridge)
}

/// What the one that has an IPv6 address of a bridge lets others read.
pub fn note_of6(directory: &Path, bridge: &str, address: Ipv6Addr) -> Option<String> {
    leases::note_of6(directory, bridge, address)
}

/// Whether a port of this host leads to anybody on any bridge. All leases are looked at: for
/// telling why a port cannot be had.
pub fn is_published(directory: &Path, protocol: Protocol, port: u16) -> bool {
    leases::published(directory).any(|one| (one.protocol, one.port) == (protocol, port))
}

/// Whether this host's old iptables drop what containers send to other machines, and what comes for
/// them: its FORWARD chain has that policy, and no rule for bridges of ours.
pub fn is_forwarding_blocked() -> bool {
    legacy::drops_forwarded()
}
