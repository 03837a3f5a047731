//! What a container's monitor is told of networks.

use std::net::{IpAddr, Ipv4Addr};

use super::actor::actor;
use crate::endpoint::EndpointSettings;
use crate::engine::container::Container;
use crate::engine::handle::Containers;
use crate::error::{Error, Result};
use crate::events::Actor;
use crate::launch::{Link, NetworkPlan, PlacePlan};
use crate::names;
use crate::network::definition::{
    Driver, INTERFACE, INTERFACES, MTU, Network, PUBLISHED_AT, TOGETHER, TRANSLATED,
};
use crate::network::legacy::{self, Linked};
use crate::network::{Mode, ports};
use crate::state;

/// What a container's monitor is told.
#[derive(Debug)]
pub(in crate::engine) struct Planned {
    pub(in crate::engine) network: NetworkPlan,
    /// One that is no bridge.
    pub(in crate::engine) other: Option<Actor>,
    /// Lines of /etc/hosts for containers that it is linked to.
    pub(in crate::engine) links: Vec<Link>,
    /// Variables for them.
    pub(in crate::engine) env: Vec<String>,
}

fn refused(message: String) -> Error {
    Error::NotStarted { message, code: 125 }
}

impl Containers {
    /// What a container's monitor is told of its networks.
    pub(in crate::engine) async fn plan_networks(&self, container: &Container) -> Result<Planned> {
        let (config, host) = (&container.record.config, &container.record.host);
        let mode = Mode::parse(&host.network_mode)?;
        let plain = |network| Planned {
            network,
            other: None,
            links: Vec::new(),
            env: Vec::new(),
        };
        match &mode {
            Mode::Host | Mode::None => {
                let plan = match mode {
                    Mode::Host => NetworkPlan::Host,
                    _ => NetworkPlan::None,
                };
                let found = self.find_network(&host.network_mode).await.ok();
                return Ok(Planned {
                    other: found.map(|network| actor(&network, Some(&container.id))),
                    ..plain(plan)
                });
            }
            Mode::Container(id) => return self.shared(id).await.map(plain),
            Mode::Bridge | Mode::User(_) => {}
        }
        let mut places = Vec::new();
        for (name, settings) in ordered(container) {
            // As docker: what was never started is on whichever network has the name by now.
            let was_started = container.state.started_at != state::NO_TIME;
            let text = match settings.network_id.as_str() {
                id if was_started && !id.is_empty() => id,
                _ => name,
            };
            let found = self.find_network(text).await.map_err(|error| {
                refused(format!("failed to set up container networking: {error}"))
            })?;
            places.push(place(container, &found, settings)?);
        }
        let mut planned = plain(NetworkPlan::Bridges {
            places,
            ports: ports::wanted(config, host)?,
        });
        if mode == Mode::Bridge {
            for link in host.links.iter().flatten() {
                let linked = self.linked(container, link).await?;
                planned.links.push(Link {
                    container: linked.id.clone(),
                    address: linked.address,
                    names: linked.names().join(" "),
                });
                planned.env.extend(linked.variables(&container.name));
            }
        }
        Ok(planned)
    }

    async fn shared(&self, id: &str) -> Result<NetworkPlan> {
        let found = self
            .find(id)
            .await
            .map_err(|error| refused(format!("joining network namespace of container: {error}")))?;
        let status = found.state.status;
        if !status.has_processes() {
            return Err(refused(format!(
                "cannot join network namespace of a non running container: container {} is {status}",
                found.name
            )));
        }
        Ok(NetworkPlan::Container {
            pid: found.state.pid,
            started: found.state.pid_started,
            folder: found.folder.path().to_owned(),
        })
    }

    pub(in crate::engine) async fn linked(
        &self,
        container: &Container,
        link: &str,
    ) -> Result<Linked> {
        let (name, alias) = legacy::parse(link)?;
        let stands_still = |other: &str| {
            refused(format!(
                "Cannot link to a non running container: /{other} AS /{}/{alias}",
                container.name
            ))
        };
        // docker remembers who is gone.
        let found = self.find(&name).await.map_err(|_| stands_still(&name))?;
        let bridge = found.record.networks.get("bridge");
        let place = bridge.and_then(|settings| found.state.place(&settings.network_id));
        let Some(address) = place.and_then(|place| place.address) else {
            return Err(stands_still(&found.name));
        };
        let mut exposed: Vec<String> = found.record.config.exposed_ports.keys().cloned().collect();
        exposed.extend(found.record.host.port_bindings.keys().cloned());
        exposed.sort();
        exposed.dedup();
        Ok(Linked {
            short_id: found.short_id().to_owned(),
            id: found.id.clone(),
            alias,
            address,
            ports: exposed,
            env: found.record.config.env.clone(),
            name: found.name,
        })
    }
}

/// Its networks: the one that it was made for first.
fn ordered(container: &Container) -> Vec<(&str, &EndpointSettings)> {
    let main = container.record.host.network_mode.as_str();
    let networks = container.record.networks.iter();
    let mut all: Vec<_> = networks
        .map(|(name, settings)| (name.as_str(), settings))
        .collect();
    all.sort_by_key(|(name, _)| *name != main);
    all
}

/// Its place on a network.
pub(super) fn place(
    container: &Container,
    network: &Network,
    settings: &EndpointSettings,
) -> Result<PlacePlan> {
    if network.record.config_only {
        let text = "failed to set up container networking: cannot create endpoint on \
                    configuration-only network";
        return Err(refused(text.to_owned()));
    }
    if !network.driver.has_places() {
        let text = "container cannot be connected to multiple networks with one of the networks in \
                    private (none) mode";
        return Err(Error::Invalid(text.to_owned()));
    }
    let options = &network.record.options;
    let mac = mac(container, settings);
    if network.driver == Driver::Ipvlan && mac.is_some() {
        return Err(refused(format!(
            "failed to set up container networking: failed to create endpoint {} on network {}: \
             ipvlan interfaces do not support custom mac address assignment",
            container.name, network.name
        )));
    }
    let addresses = network.addresses();
    Ok(PlacePlan {
        network: network.name.clone(),
        network_id: network.id.clone(),
        endpoint_id: names::new_id().map_err(Error::io("read", "/dev/urandom"))?,
        is_default: network.is_default(),
        bridge: network.bridge(),
        parent: network.parent(),
        addresses: addresses
            .map(|all| (all.subnet.to_string(), all.gateway, all.range.to_string())),
        without_ipv4: network.record.without_ipv4,
        link_local: link_local(settings, network.record.ipv6)?,
        addresses6: network
            .addresses6()
            .map(|all| (all.subnet.to_string(), all.gateway, all.range.to_string())),
        internal: network.record.internal,
        apart: !network.is_on(TOGETHER),
        untranslated: !network.is_on(TRANSLATED),
        mtu: options
            .get(MTU)
            .and_then(|text| text.parse().ok())
            .filter(|mtu| *mtu > 0),
        published_at: options
            .get(PUBLISHED_AT)
            .and_then(|text| text.parse::<Ipv4Addr>().ok())
            .filter(|address| !address.is_unspecified()),
        address: settings.address().and_then(|text| text.parse().ok()),
        address6: settings.address6().and_then(|text| text.parse().ok()),
        reserved: network.record.aux_addresses.values().copied().collect(),
        also: network.link_name(),
        interface: interface(settings)?,
        interfaces: options.get(INTERFACES).cloned().unwrap_or_default(),
        mac,
        names: container.names_on(settings),
        links: settings
            .links
            .iter()
            .flatten()
            .map(|link| legacy::parse(link).map(|(name, alias)| (alias, name)))
            .collect::<Result<_>>()?,
        priority: settings.gw_priority,
    })
}

/// Its addresses that count on the bridge alone.
fn link_local(settings: &EndpointSettings, has_ipv6: bool) -> Result<Vec<IpAddr>> {
    let read = |text: &String| match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) if address.is_link_local() => Ok(address.into()),
        Ok(IpAddr::V6(address)) if address.is_unicast_link_local() => Ok(address.into()),
        _ => Err(refused(format!(
            "failed to set up container networking: invalid link local IP address: {text}"
        ))),
    };
    let all: Vec<IpAddr> = settings
        .link_local()
        .iter()
        .map(read)
        .collect::<Result<_>>()?;
    match all.iter().find(|address| address.is_ipv6() && !has_ipv6) {
        Some(address) => Err(refused(format!(
            "failed to set up container networking: link local IP address {address}: the network \
             has no IPv6"
        ))),
        None => Ok(all),
    }
}

/// What its interface is to be called.
fn interface(settings: &EndpointSettings) -> Result<Option<String>> {
    let options = settings.driver_opts.as_ref();
    let Some(name) = options.and_then(|options| options.get(INTERFACE)) else {
        return Ok(None);
    };
    let is_one = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':');
    match (1..=15).contains(&name.len()) && name.chars().all(is_one) && name != "lo" {
        true => Ok(Some(name.clone())),
        false => Err(Error::Invalid(format!(
            "invalid interface name {name:?} in {INTERFACE}: up to 15 letters, digits and signs"
        ))),
    }
}

fn mac(container: &Container, settings: &EndpointSettings) -> Option<String> {
    let own = Some(settings.mac_address.clone()).filter(|mac| !mac.is_empty());
    let is_only = container.record.networks.len() <= 1;
    own.or_else(|| {
        container
            .record
            .config
            .mac_address
            .clone()
            .filter(|_| is_only)
    })
}

impl Container {
    /// What it is called on a network that knows names.
    pub(super) fn names_on(&self, settings: &EndpointSettings) -> Vec<String> {
        let mut names = vec![self.name.clone()];
        let aliases = settings.aliases.iter().flatten().cloned();
        let last = [
            self.short_id().to_owned(),
            self.record.config.hostname.clone(),
        ];
        for name in aliases.chain(last) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}
