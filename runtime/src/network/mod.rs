//! The network of a build: a bridge on the host that translates addresses, and network
//! namespaces with an address on it, one for each step that runs.
//!
//! The namespace exists only as a descriptor: it vanishes with the process, and its link to the
//! bridge with it. Addresses are leased by locking files, which the kernel unlocks likewise.
//!
//! This host forwards and translates for builds as long as one of them runs. The last one takes
//! back what was changed; after a crash the next one does.
//!
//! Steps do not meet: the bridge passes no frame from one port to another, what a step sends
//! bears its own addresses or is dropped, and the host forwards nothing to it but answers. Steps
//! that follow each other may have the same namespace, if the one before has left nothing in it.

mod bridge;
mod config;
mod firewall;
mod foreign;
mod hardware;
mod leases;
mod link;
mod netlink;
mod nft;
mod sockets;
mod subnet;

pub use config::{Between, Config};

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use self::sockets::Counters;
use crate::error::Result;
use crate::sys;
use bridge::Bridge;
use config::step;
use hardware::{Mac, port_name};
use leases::{Lease, State};
use netlink::Socket;

/// Name of the interface in the namespace.
const INTERFACE: &str = "eth0";

/// A network namespace with a way out, for one step at a time.
#[derive(Debug)]
pub struct Sandbox {
    namespace: OwnedFd,
    /// Where the kernel is asked for the sockets of the namespace.
    counters: Counters,
    gateway: Ipv4Addr,
    prefix: u8,
    lease: Lease,
    config: Config,
}

impl Sandbox {
    /// Makes the namespace, and the bridge when there is none.
    ///
    /// # Errors
    /// [`Error::Network`] says which step failed and why; [`Error::NotPermitted`] without root.
    pub fn create(config: &Config) -> Result<Self> {
        config.check()?;
        let mut host = Socket::route().map_err(step("open a netlink socket"))?;
        let (namespace, inside, counters) = new_namespace()?;
        let state = State::lock(config)?;
        let bridge = Bridge::ensure(&mut host, &config.bridge)?;
        let lease = state.lease(bridge.subnet, bridge.address)?;
        // From here on, what fails takes back what was changed.
        let sandbox = Self {
            namespace,
            counters,
            gateway: bridge.address,
            prefix: bridge.subnet.prefix(),
            lease,
            config: config.clone(),
        };
        let opened = bridge::open_host(&state, config, bridge.subnet);
        drop(state);
        opened?;
        sandbox.connect(&mut host, inside, &bridge)?;
        Ok(sandbox)
    }

    /// The network namespace.
    pub fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// Address of the namespace on the bridge.
    pub fn address(&self) -> Ipv4Addr {
        self.lease.address
    }

    /// How many bits of the address are the network's.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Hardware address of the namespace on the bridge.
    pub fn mac(&self) -> String {
        let octets = Mac::of(self.lease.address).octets();
        octets.map(|octet| format!("{octet:02x}")).join(":")
    }

    /// Address of the host on the bridge.
    pub fn gateway(&self) -> Ipv4Addr {
        self.gateway
    }

    /// Whether the next step finds nothing of the last one, once its processes have ended: no
    /// connection is left of which the kernel still knows.
    pub fn is_clean(&self) -> bool {
        let left = self.counters.any_connection();
        // Where the kernel does not say it may be anything.
        matches!(left, Ok(false))
    }

    fn connect(&self, host: &mut Socket, mut inside: Socket, bridge: &Bridge) -> Result<()> {
        let name = port_name(self.lease.address);
        let mac = Mac::of(self.lease.address);
        // The lease is ours: a link of this name is what a dying namespace has not dropped yet.
        link::remove(host, &name).map_err(step("remove a stale veth link"))?;
        let pair = link::Pair {
            name: &name,
            bridge: bridge.link,
            mtu: bridge.mtu,
            peer: INTERFACE,
            peer_mac: mac,
        };
        link::make_pair(host, pair, self.namespace.as_fd())
            .map_err(step("make a veth pair (kernel module veth)"))?;
        let port = link::by_name(host, &name).map_err(step("find the port of the bridge"))?;
        link::isolate(
            host,
            port.index,
            mac,
            self.config.between == Between::Nothing,
        )
        .map_err(step("keep the port from other ports"))?;
        let eth0 = link::by_name(&mut inside, INTERFACE).map_err(step("find eth0"))?;
        link::add_address(&mut inside, eth0.index, self.lease.address, bridge.subnet)
            .and_then(|()| link::raise(&mut inside, eth0.index))
            .and_then(|()| link::add_default_route(&mut inside, eth0.index, bridge.address))
            .map_err(step("configure eth0"))
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Until the lease has ended others can see it, and would leave the rest to us.
        let state = State::lock(&self.config);
        self.lease.end();
        if let Ok(state) = state {
            // What stays is found by the next build.
            let _ = bridge::close_host(&state, &self.config.bridge);
        }
    }
}

/// Takes back what builds that were killed have changed on this host, when none runs now.
///
/// # Errors
/// [`Error::Network`] says what could not be taken back and why.
pub fn sweep(config: &Config) -> Result<()> {
    config.check()?;
    match State::lock_existing(config)? {
        Some(state) if state.has_traces() => bridge::close_host(&state, &config.bridge),
        _ => Ok(()),
    }
}

/// Removes a bridge, which [`Sandbox`] leaves for the next build.
///
/// # Errors
/// [`Error::Network`] when it exists but cannot be removed.
pub fn remove_bridge(name: &str) -> Result<()> {
    let mut route = Socket::route().map_err(step("open a netlink socket"))?;
    link::remove(&mut route, name).map_err(step(format!("remove bridge {name}")))
}

/// A network namespace with `lo` up, a netlink socket in it for links, and the counters of its
/// sockets.
fn new_namespace() -> Result<(OwnedFd, Socket, Counters)> {
    let make = || -> io::Result<(OwnedFd, Socket, Counters)> {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
        let namespace = File::open("/proc/thread-self/ns/net")?;
        sys::raise_loopback()?;
        Ok((namespace.into(), Socket::route()?, Counters::here()?))
    };
    // A thread of its own: it is the one that changes namespaces, and ends right after.
    std::thread::scope(|scope| scope.spawn(make).join())
        .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
        .map_err(step("make a network namespace"))
}
