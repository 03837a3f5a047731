//! A namespace's place on a bridge.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::bridge::{self, Bridge};
use super::config::{Between, Config, step};
use super::hardware::{Mac, port_name};
use super::leases::{Lease, Says, State, Tenant};
use super::link;
use super::namespace::Namespace;
use super::netlink::Socket;
use super::parent;
use super::publish::Mapping;
use crate::error::{Error, Result};

/// What one that comes to a bridge wants.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// What its interface is called.
    pub interface: String,
    /// An address of its own; nothing for the first that is free.
    pub address: Option<Ipv4Addr>,
    /// An IPv6 address of its own, likewise.
    pub address6: Option<Ipv6Addr>,
    /// Addresses beside those, which only those beside it on the bridge can reach (169.254.0.0/16,
    /// fe80::/10).
    pub link_local: Vec<IpAddr>,
    /// A hardware address of its own; nothing for one that follows from the address.
    pub mac: Option<Mac>,
    /// What others can read of it as long as it is there.
    pub note: String,
}

/// A place on a bridge, with an address that nobody else has, until dropped.
#[derive(Debug)]
pub struct Endpoint {
    lease: Lease,
    says: Says,
    gateway: Ipv4Addr,
    prefix: u8,
    config: Config,
    /// For rules. Closing one waits until the kernel has put aside what was changed, some 20 ms:
    /// that is for the end.
    netfilter: Option<Socket>,
    /// The bridge's state, once nobody else sees it any more.
    leaving: Option<State>,
}

impl Endpoint {
    /// Puts a namespace on a bridge, which is made when there is none.
    ///
    /// # Errors
    /// [`Error::Network`] says which step failed and why; [`Error::NotPermitted`] without root;
    /// [`Error::AddressTaken`], [`Error::NoAddress`].
    pub fn attach(config: &Config, namespace: &Namespace, wish: &Wish) -> Result<Self> {
        config.check()?;
        let mut host = Socket::route().map_err(step("open a netlink socket"))?;
        let state = State::lock(config)?;
        if state.is_removed() {
            return Err(Error::NoNetwork(config.bridge.clone()));
        }
        let bridge = Bridge::ensure(&mut host, &state, config)?;
        let ranges = (bridge.subnet, bridge.range);
        let lease = || state.lease(ranges, bridge.address, wish.address);
        let lease = match lease() {
            Err(Error::AddressTaken(_) | Error::NoAddress(_)) => {
                bridge::forget_gone(&state, &config.bridge)?;
                lease()?
            }
            other => other?,
        };
        let lease = match &config.addresses6 {
            Some(all) => {
                let six = state.lease6(all, lease.address, wish.address6);
                match six {
                    Ok(six) => lease.with(six),
                    Err(error) => {
                        lease.end();
                        return Err(error);
                    }
                }
            }
            None => lease,
        };
        let says = Says {
            mac: wish.mac.unwrap_or(Mac::of(lease.address)),
            published: Vec::new(),
            address6: lease.address6(),
            link_local: wish.link_local.clone(),
            note: wish.note.clone(),
        };
        let netfilter = match config.parent {
            // What stands on a link of this machine passes it by.
            Some(_) => Ok(None),
            None => bridge::open_netfilter().map(Some),
        };
        let netfilter = netfilter.inspect_err(|_| lease.end())?;
        // From here on, what fails takes back what was changed.
        let mut endpoint = Self {
            lease,
            says,
            gateway: bridge.address,
            prefix: bridge.subnet.prefix(),
            config: config.clone(),
            netfilter,
            leaving: None,
        };
        let tenant = endpoint.tenant();
        let said = endpoint.lease.say(&endpoint.says);
        let opened = said.and_then(|()| match &mut endpoint.netfilter {
            Some(netfilter) => bridge::open_host(netfilter, &state, config, &bridge, &tenant),
            None => Ok(()),
        });
        drop(state);
        opened?;
        endpoint.connect(&mut host, namespace, &bridge, &wish.interface)?;
        Ok(endpoint)
    }

    /// The address that tells it from others on the bridge.
    pub fn address(&self) -> Ipv4Addr {
        self.lease.address
    }

    /// Its IPv4 address, where its interface has one.
    pub fn address4(&self) -> Option<Ipv4Addr> {
        (!self.config.without_ipv4).then_some(self.lease.address)
    }

    /// How many bits of the address are the network's.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Its IPv6 address, how many bits of it are the network's, and the host's.
    pub fn address6(&self) -> Option<(Ipv6Addr, u8, Ipv6Addr)> {
        let all = self.config.addresses6.as_ref()?;
        Some((self.lease.address6()?, all.subnet.prefix(), all.gateway))
    }

    /// Its hardware address, where it has one of its own.
    pub fn mac(&self) -> Option<Mac> {
        let parent = self.config.parent.as_ref();
        let has_one = parent.is_none_or(|parent| parent.kind.has_mac());
        has_one.then_some(self.says.mac)
    }

    /// Packets for others go to its link as they are, not to a gateway.
    pub fn needs_no_gateway(&self) -> bool {
        let parent = self.config.parent.as_ref();
        parent.is_some_and(|parent| parent.kind.routes())
    }

    /// Address of the host on the bridge.
    pub fn gateway(&self) -> Ipv4Addr {
        self.gateway
    }

    fn tenant(&self) -> Tenant {
        Tenant {
            address: self.lease.address,
            says: self.says.clone(),
        }
    }

    /// Leads these ports of the host to it, in place of those before.
    ///
    /// # Errors
    /// [`Error::Network`].
    pub fn publish(&mut self, mappings: &[Mapping]) -> Result<()> {
        let state = State::lock(&self.config)?;
        let before = self.tenant();
        self.says.published = mappings.to_vec();
        self.lease.say(&self.says)?;
        let after = self.tenant();
        match &mut self.netfilter {
            Some(netfilter) => bridge::publish(netfilter, &state, &self.config, (&before, &after)),
            None => Ok(()),
        }
    }

    /// Lets others read something else of it.
    ///
    /// # Errors
    /// [`Error::Network`] when it cannot be written.
    pub fn note(&mut self, note: String) -> Result<()> {
        let _state = State::lock(&self.config)?;
        self.says.note = note;
        self.lease.say(&self.says)
    }

    /// Gives the address back: nobody sees it any more. Whoever wants to come to the bridge waits
    /// until this is dropped, which takes back the rest. Only for who leaves no other bridge
    /// meanwhile.
    ///
    /// # Errors
    /// [`Error::Network`] when the bridge's state cannot be had.
    pub fn let_go(&mut self) -> Result<()> {
        if self.leaving.is_none() {
            let state = State::lock(&self.config)?;
            self.lease.let_go();
            self.leaving = Some(state);
        }
        Ok(())
    }

    /// Takes the interface away while the namespace goes on.
    ///
    /// # Errors
    /// [`Error::Network`] when the link cannot be removed.
    pub fn detach(self, namespace: &Namespace, interface: &str) -> Result<()> {
        if self.config.parent.is_some() {
            let mut inside = namespace.links();
            return link::remove(&mut inside, interface)
                .map_err(step(format!("remove {interface}")));
        }
        let mut host = Socket::route().map_err(step("open a netlink socket"))?;
        let name = port_name(self.lease.address);
        link::remove(&mut host, &name).map_err(step("remove a veth pair"))
    }

    fn connect(
        &self,
        host: &mut Socket,
        namespace: &Namespace,
        bridge: &Bridge,
        interface: &str,
    ) -> Result<()> {
        let mac = self.says.mac;
        match &self.config.parent {
            Some(parent) => {
                let (parent, child) = ((parent, bridge.link), (interface, mac));
                parent::make_child(host, parent, child, namespace.fd())?;
            }
            None => self.make_port(host, namespace, bridge, interface)?,
        }
        let six = self.config.addresses6.as_ref().zip(self.lease.address6());
        if six.is_some() {
            namespace.enter("switch IPv6 on", || bridge::switch_ipv6_on(interface))?;
        }
        let mut inside = namespace.links();
        let found = link::by_name(&mut inside, interface);
        let found = found.map_err(step(format!("find {interface}")))?;
        let mut configure = || {
            if let Some(address) = self.address4() {
                link::add_address(&mut inside, found.index, address, bridge.subnet)?;
            }
            if let Some((all, address)) = six {
                link::add_address6(&mut inside, found.index, address, all.subnet)?;
            }
            for address in &self.says.link_local {
                link::add_link_local(&mut inside, found.index, *address)?;
            }
            link::raise(&mut inside, found.index)
        };
        configure().map_err(step(format!("configure {interface}")))
    }

    /// Makes a pair of links, one of them a port of the bridge.
    fn make_port(
        &self,
        host: &mut Socket,
        namespace: &Namespace,
        bridge: &Bridge,
        interface: &str,
    ) -> Result<()> {
        let name = port_name(self.lease.address);
        let mac = self.says.mac;
        // The lease is ours: a link of this name is what a dying namespace has not dropped yet.
        link::remove(host, &name).map_err(step("remove a stale veth link"))?;
        let pair = link::Pair {
            name: &name,
            bridge: bridge.link,
            mtu: bridge.mtu,
            peer: interface,
            peer_mac: mac,
        };
        link::make_pair(host, pair, namespace.fd())
            .map_err(step("make a veth pair (kernel module veth)"))?;
        let port = link::by_name(host, &name).map_err(step("find the port of the bridge"))?;
        let kind = link::Port {
            mac,
            alone: self.config.between == Between::Nothing,
            returning: self.config.publishes,
            hears_many: self.config.addresses6.is_some(),
        };
        link::isolate(host, port.index, kind).map_err(step("keep the port from other ports"))
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // Until the lease has ended others can see it, and would leave the rest to us.
        let state = match self.leaving.take() {
            Some(state) => Ok(state),
            None => State::lock(&self.config),
        };
        let tenant = self.tenant();
        match state {
            // What stays is found by the next that comes.
            Ok(state) => match &mut self.netfilter {
                Some(netfilter) => {
                    let left = bridge::leave(netfilter, &state, &self.config, &self.lease, &tenant);
                    drop(left);
                }
                None => self.lease.end(),
            },
            Err(_) => self.lease.let_go(),
        }
    }
}
