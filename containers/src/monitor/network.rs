//! A container's network, as long as it runs.

use std::cmp::Reverse;
use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runtime::network::{
    Addresses, Addresses6, Between, Config, Endpoint, Mapping, Namespace, Subnet, Subnet6, Wish,
};
use runtime::{Dns, Inhabitant, NetworkMode, dns};

use super::refused::Refused;
use super::relay::Relay;
use super::reserve::{Reserved, reserve};
use crate::dns::registry::{self, Registered};
use crate::dns::server::{Answerer, Servers};
use crate::dns::view::{Seen, View};
use crate::launch::{Launch, NetworkPlan, PlacePlan};
use crate::network;
use crate::network::note::Note;
use crate::network::ports::{Published, Wanted};
use crate::state;

const NO_NETWORK: &str = "failed to set up container networking: ";

/// The network of a container that runs.
#[derive(Debug)]
pub(super) struct Network {
    mode: NetworkMode,
    bridges: Option<Bridges>,
}

/// Its own namespace, with places on bridges.
#[derive(Debug)]
struct Bridges {
    // What goes first stands first.
    answerer: Option<Answerer>,
    published: Option<Ports>,
    places: Vec<Place>,
    namespace: Namespace,
    wanted: Vec<Wanted>,
    /// Who it is, for others.
    container: (String, String),
    dns: Dns,
    dir: PathBuf,
}

/// What is published, on the network of an ID.
#[derive(Debug)]
struct Ports {
    network_id: String,
    _relay: Option<Relay>,
    reserved: Vec<Reserved>,
}

#[derive(Debug)]
struct Place {
    plan: PlacePlan,
    interface: String,
    names: Registered,
    note: Note,
    endpoint: Endpoint,
}

impl Place {
    /// It leaves the network by another's address.
    fn has_gateway(&self) -> bool {
        !self.plan.internal && !self.endpoint.needs_no_gateway()
    }

    /// Its hardware address, where it has one of its own.
    fn mac(&self) -> String {
        let mac = self.endpoint.mac();
        mac.map_or_else(String::new, |mac| mac.to_string())
    }

    /// Gives it its names, in place of those of before.
    fn register(&mut self, dir: &Path) -> Result<(), Refused> {
        // First these: some may be the same.
        drop(std::mem::take(&mut self.names));
        if !self.plan.is_default {
            let place = (self.endpoint.address(), self.plan.endpoint_id.as_str());
            let names = registry::register(dir, &self.plan.bridge, &self.plan.names, place);
            self.names = names.map_err(|error| told(&format!("register its names: {error}")))?;
        }
        Ok(())
    }
}

fn refused(error: runtime::Error) -> Refused {
    match &error {
        runtime::Error::AddressTaken(_) | runtime::Error::Parent(_) => told(&error.to_string()),
        _ => Refused::from(error),
    }
}

fn told(why: &str) -> Refused {
    Refused {
        message: format!("{NO_NETWORK}{why}"),
        code: 125,
    }
}

impl PlacePlan {
    fn config(&self) -> Config {
        let subnet = |text: &str| Subnet::parse(text).map(|(_, subnet)| subnet);
        let addresses = self.addresses.as_ref().and_then(|(all, gateway, range)| {
            Some(Addresses {
                subnet: subnet(all)?,
                gateway: *gateway,
                range: subnet(range)?,
            })
        });
        let subnet6 = |text: &str| Subnet6::parse(text).map(|(_, subnet)| subnet);
        let addresses6 = self.addresses6.as_ref().and_then(|(all, gateway, range)| {
            Some(Addresses6 {
                subnet: subnet6(all)?,
                gateway: *gateway,
                range: subnet6(range)?,
            })
        });
        Config {
            state_dir: PathBuf::from(network::LEASES),
            bridge: self.bridge.clone(),
            parent: self.parent.clone(),
            between: match self.apart {
                true => Between::Nothing,
                false => Between::Everything,
            },
            addresses,
            without_ipv4: self.without_ipv4,
            addresses6,
            publishes: true,
            internal: self.internal,
            untranslated: self.untranslated,
            mtu: self.mtu,
            reserved: self.reserved.clone(),
            also: self.also.clone(),
        }
    }
}

impl Network {
    /// Makes the network.
    pub(super) fn start(launch: &Launch) -> Result<Self, Refused> {
        let plain = |mode| Self {
            mode,
            bridges: None,
        };
        match &launch.network {
            NetworkPlan::None => Ok(plain(NetworkMode::None)),
            NetworkPlan::Host => Ok(plain(NetworkMode::Host)),
            NetworkPlan::Container { pid, started, .. } => {
                let file = File::open(format!("/proc/{pid}/ns/net"));
                // Its number may be another's by now.
                let same = Inhabitant::of(*pid).is_some_and(|found| found.started == *started);
                match file {
                    Ok(file) if same => Ok(plain(NetworkMode::Joined(Arc::new(file.into())))),
                    _ => Err(told("the container whose network it shares has ended")),
                }
            }
            NetworkPlan::Bridges { places, ports } => {
                let mut bridges = Bridges {
                    answerer: None,
                    published: None,
                    places: Vec::new(),
                    namespace: Namespace::create(false)?,
                    wanted: ports.clone(),
                    container: (launch.id.clone(), launch.name.clone()),
                    dns: launch.etc.dns.clone(),
                    dir: network::directory().map_err(|error| told(&error.to_string()))?,
                };
                for plan in places {
                    bridges.join(plan)?;
                }
                bridges.settle()?;
                let fd = bridges.namespace.fd().try_clone_to_owned();
                let fd = fd.map_err(|error| told(&error.to_string()))?;
                Ok(Self {
                    mode: NetworkMode::Joined(Arc::new(fd)),
                    bridges: Some(bridges),
                })
            }
        }
    }

    pub(super) fn mode(&self) -> NetworkMode {
        self.mode.clone()
    }

    fn places(&self) -> &[Place] {
        self.bridges.as_ref().map_or(&[], |bridges| &bridges.places)
    }

    /// Its addresses, in the order of its interfaces.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.places().iter().flat_map(addresses_of).collect()
    }

    /// This machine's address, as it reaches it.
    pub(super) fn host_address(&self) -> Option<IpAddr> {
        let bridges = self.bridges.as_ref()?;
        let places = &bridges.places;
        let has_four = |place: &&Place| place.endpoint.address4().is_some();
        let four = bridges.way_out().or(places.iter().find(has_four));
        if let Some(place) = four {
            return Some(place.endpoint.gateway().into());
        }
        let (.., gateway) = places.first()?.endpoint.address6()?;
        Some(gateway.into())
    }

    /// Whether it asks for names at an answerer of its own.
    pub(super) fn knows_names(&self) -> bool {
        self.bridges.as_ref().is_some_and(|b| b.answerer.is_some())
    }

    /// Its places, as they are told.
    pub(super) fn told_places(&self) -> Vec<state::Place> {
        let place = |place: &Place| state::Place {
            network_id: place.plan.network_id.clone(),
            endpoint_id: place.plan.endpoint_id.clone(),
            address: place.endpoint.address4(),
            prefix: place
                .endpoint
                .address4()
                .map_or(0, |_| place.endpoint.prefix()),
            gateway: place
                .endpoint
                .address4()
                .map(|_| place.endpoint.gateway())
                .filter(|_| place.has_gateway()),
            address6: place.endpoint.address6().map(|(own, ..)| own),
            prefix6: place.endpoint.address6().map_or(0, |(_, prefix, _)| prefix),
            gateway6: place
                .endpoint
                .address6()
                .map(|(.., gateway)| gateway)
                .filter(|_| place.has_gateway()),
            mac: place.mac(),
            bridge: place.plan.bridge.clone(),
            is_on_link: place.plan.parent.is_some(),
        };
        self.places().iter().map(place).collect()
    }

    /// What is published.
    pub(super) fn ports(&self) -> Vec<Published> {
        let published = self.bridges.as_ref().and_then(|b| b.published.as_ref());
        let reserved = published.iter().flat_map(|ports| &ports.reserved);
        reserved.map(|port| port.published).collect()
    }

    /// The container is called otherwise.
    pub(super) fn rename(&mut self, before: &str, name: &str) -> Result<(), Refused> {
        match &mut self.bridges {
            Some(bridges) => bridges.rename(before, name),
            None => Ok(()),
        }
    }

    /// Gives back at once what others want to have: names, address, ports. What is left is taken
    /// away when this is dropped.
    pub(super) fn let_go(&mut self) {
        let Some(bridges) = &mut self.bridges else {
            return;
        };
        bridges.answerer = None;
        for place in &mut bridges.places {
            drop(std::mem::take(&mut place.names));
        }
        let has_published = bridges.published.take().is_some();
        // Rules that lead its ports to it are in the way of whoever is there next. And who holds
        // the state of two bridges might wait for somebody who waits for the first of them.
        let gone = match bridges.places.as_mut_slice() {
            [only] if !has_published => only.endpoint.let_go().is_ok(),
            _ => false,
        };
        if !gone {
            self.bridges = None;
        }
    }

    /// Comes to one more network; its addresses there.
    pub(super) fn connect(&mut self, plan: &PlacePlan) -> Result<Vec<IpAddr>, Refused> {
        let Some(bridges) = &mut self.bridges else {
            return Err(told("it has no network of its own"));
        };
        bridges.join(plan)?;
        if let Err(error) = bridges.settle() {
            let _ = bridges.leave(&plan.network_id);
            let _ = bridges.settle();
            return Err(error);
        }
        Ok(bridges.places.last().map_or_else(Vec::new, addresses_of))
    }

    /// Leaves a network; its addresses there.
    pub(super) fn disconnect(&mut self, network_id: &str) -> Result<Vec<IpAddr>, Refused> {
        let Some(bridges) = &mut self.bridges else {
            return Ok(Vec::new());
        };
        if bridges
            .published
            .as_ref()
            .is_some_and(|p| p.network_id == network_id)
        {
            bridges.published = None;
        }
        let left = bridges.leave(network_id)?;
        bridges.settle()?;
        Ok(left)
    }
}

impl Bridges {
    /// The network by which it reaches others.
    fn way_out(&self) -> Option<&Place> {
        let open = self.places.iter().filter(|place| !place.plan.internal);
        open.filter(|place| place.endpoint.address4().is_some())
            .max_by_key(|place| (place.plan.priority, Reverse(&place.plan.network)))
    }

    /// The same by IPv6.
    fn way_out6(&self) -> Option<&Place> {
        let open = self.places.iter().filter(|place| !place.plan.internal);
        open.filter(|place| place.endpoint.address6().is_some())
            .max_by_key(|place| (place.plan.priority, Reverse(&place.plan.network)))
    }

    fn join(&mut self, plan: &PlacePlan) -> Result<(), Refused> {
        let prefix = match plan.interfaces.as_str() {
            "" => "eth",
            other => other,
        };
        let is_free = |name: &String| self.places.iter().all(|place| place.interface != *name);
        let interface = match &plan.interface {
            Some(name) if !is_free(name) => {
                return Err(told(&format!("interface name {name} is already in use")));
            }
            Some(name) => name.clone(),
            None => (0..)
                .map(|n| format!("{prefix}{n}"))
                .find(is_free)
                .unwrap_or_default(),
        };
        let mac = match &plan.mac {
            Some(text) => Some(
                text.parse()
                    .map_err(|()| told(&format!("{text} is not a valid mac address")))?,
            ),
            None => None,
        };
        let mut note = Note {
            container: self.container.0.clone(),
            name: self.container.1.clone(),
            endpoint: plan.endpoint_id.clone(),
            without_ipv4: plan.without_ipv4,
            ..Note::default()
        };
        let wish = Wish {
            interface: interface.clone(),
            address: plan.address,
            address6: plan.address6,
            link_local: plan.link_local.clone(),
            mac,
            note: note.write(),
        };
        let attached = Endpoint::attach(&plan.config(), &self.namespace, &wish);
        let mut endpoint = attached.map_err(|error| match error {
            runtime::Error::NoNetwork(_) => told(&format!("network {} not found", plan.network_id)),
            runtime::Error::NoAddress(of) => told(&format!(
                "no available IPv{} addresses on this network's address pools: {} ({})",
                if of.contains(':') { 6 } else { 4 },
                plan.network,
                plan.network_id
            )),
            other => refused(other),
        })?;
        note.mac = endpoint
            .mac()
            .map_or_else(String::new, |mac| mac.to_string());
        note.prefix = endpoint.prefix();
        if let Some((own, prefix, _)) = endpoint.address6() {
            (note.address6, note.prefix6) = (Some(own), prefix);
        }
        endpoint.note(note.write()).map_err(refused)?;
        let mut place = Place {
            plan: plan.clone(),
            interface,
            names: Registered::default(),
            note,
            endpoint,
        };
        place.register(&self.dir)?;
        self.places.push(place);
        Ok(())
    }

    fn rename(&mut self, before: &str, name: &str) -> Result<(), Refused> {
        name.clone_into(&mut self.container.1);
        for place in &mut self.places {
            place.plan.rename(before, name);
            name.clone_into(&mut place.note.name);
            place.endpoint.note(place.note.write()).map_err(refused)?;
            place.register(&self.dir)?;
        }
        Ok(())
    }

    fn leave(&mut self, network_id: &str) -> Result<Vec<IpAddr>, Refused> {
        let at = self
            .places
            .iter()
            .position(|place| place.plan.network_id == network_id);
        let Some(at) = at else {
            return Ok(Vec::new());
        };
        let place = self.places.remove(at);
        let addresses = addresses_of(&place);
        let Place {
            endpoint,
            interface,
            ..
        } = place;
        endpoint
            .detach(&self.namespace, &interface)
            .map_err(refused)?;
        Ok(addresses)
    }

    /// Sets what depends on all of its networks: the way out, what is published, and names.
    fn settle(&mut self) -> Result<(), Refused> {
        let way = self.way_out();
        let route = way.map(|place| {
            let gateway = Some(place.endpoint.gateway()).filter(|_| place.has_gateway());
            (place.interface.as_str(), gateway)
        });
        self.namespace.route_by(route).map_err(refused)?;
        let has_six = |place: &Place| place.endpoint.address6().is_some();
        if self.places.iter().any(has_six) {
            let way = self.way_out6().and_then(|place| {
                let (.., gateway) = place.endpoint.address6()?;
                let gateway = Some(gateway).filter(|_| place.has_gateway());
                Some((place.interface.as_str(), gateway))
            });
            self.namespace.route6_by(way).map_err(refused)?;
        }
        let way = way.or_else(|| self.way_out6());
        let id = way.map(|place| place.plan.network_id.clone());
        let is_there = self.published.as_ref().map(|ports| &ports.network_id) == id.as_ref();
        if !is_there || self.published.is_none() {
            self.publish(id)?;
        }
        self.settle_names()
    }

    fn publish(&mut self, network_id: Option<String>) -> Result<(), Refused> {
        if let Some(old) = self.published.take() {
            let mut places = self.places.iter_mut();
            if let Some(place) = places.find(|place| place.plan.network_id == old.network_id) {
                place.endpoint.publish(&[]).map_err(refused)?;
            }
        }
        let of = |place: &&mut Place| Some(&place.plan.network_id) == network_id.as_ref();
        let Some(place) = self
            .places
            .iter_mut()
            .find(of)
            // What stands on a link of this machine is out there itself.
            .filter(|place| !self.wanted.is_empty() && place.plan.parent.is_none())
        else {
            return Ok(());
        };
        let four = place.endpoint.address4();
        let six = place.endpoint.address6().map(|(own, ..)| own.into());
        let Some(target) = four.map(IpAddr::V4).or(six) else {
            return Ok(());
        };
        let (name, endpoint) = (&self.container.1, &place.plan.endpoint_id);
        let failed = |why: String| {
            let at = format!("driver failed programming external connectivity on endpoint {name}");
            told(&format!("{at} ({endpoint}): {why}"))
        };
        let at = place.plan.published_at;
        let reserved = reserve(&self.wanted, target, at).map_err(failed)?;
        let mappings: Vec<Mapping> = reserved.iter().map(mapping).collect();
        place.endpoint.publish(&mappings).map_err(refused)?;
        let relay = Relay::start(&reserved, target);
        self.published = Some(Ports {
            network_id: place.plan.network_id.clone(),
            _relay: relay.map_err(|error| failed(error.to_string()))?,
            reserved,
        });
        Ok(())
    }

    /// An answerer comes with the first network that has names, and stays.
    fn settle_names(&mut self) -> Result<(), Refused> {
        let named = self.places.iter().filter(|place| !place.plan.is_default);
        let seen = named.map(|place| Seen {
            name: place.plan.network.clone(),
            bridge: place.plan.bridge.clone(),
            links: place.plan.links.clone(),
        });
        let mut networks: Vec<Seen> = seen.collect();
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        let is_named = !networks.is_empty();
        let view = View {
            dir: self.dir.clone(),
            networks,
            forwards: self.way_out().or_else(|| self.way_out6()).is_some(),
        };
        match &self.answerer {
            Some(answerer) => answerer.see(view),
            None if is_named => {
                let own = dns::addresses(&self.dns.servers);
                let servers = match own.is_empty() {
                    true => Servers::Host(dns::host_servers()),
                    false => Servers::Own(own),
                };
                let answerer = Answerer::start(&self.namespace, view, servers);
                self.answerer = Some(answerer.map_err(refused)?);
            }
            None => {}
        }
        Ok(())
    }
}

/// What comes to IPv6 addresses is the relay's where the container has none of its own.
fn mapping(port: &Reserved) -> Mapping {
    let published = port.published;
    Mapping {
        protocol: published.protocol,
        address: published.address,
        port: published.port,
        to: published.container,
    }
}

fn addresses_of(place: &Place) -> Vec<IpAddr> {
    let six = place.endpoint.address6().map(|(own, ..)| IpAddr::V6(own));
    let four = place.endpoint.address4().map(IpAddr::V4);
    four.into_iter().chain(six).collect()
}
