//! What `inspect` shows of networks, with docker's fields.

use serde_json::{Map, Value, json};

use super::manage::notes;
use crate::endpoint::EndpointSettings;
use crate::engine::container::Container;
use crate::engine::handle::{Containers, blocking};
use crate::error::Result;
use crate::network::definition::{
    Driver, MTU, NAME, Network, NetworkRecord, PUBLISHED_AT, TOGETHER, TRANSLATED,
};
use crate::network::{BRIDGE, default_bridge, ports};
use crate::state::{self, Place};

impl Containers {
    /// All that is known of a network, as docker shows it.
    ///
    /// # Errors
    /// Those of the file system, and without privilege.
    pub async fn inspect_network(&self, network: &Network) -> Result<Value> {
        let network = network.clone();
        blocking(move || document(&network)).await
    }
}

fn document(network: &Network) -> Result<Value> {
    let record = &network.record;
    let addresses = match (network.driver, network.addresses()) {
        (Driver::Bridge, None) => Some(runtime::network::make_bridge(&default_bridge())?),
        (_, addresses) => addresses,
    };
    let mut containers = Map::new();
    let mut found = match network.driver.has_places() {
        true => notes(network)?,
        false => Vec::new(),
    };
    found.sort_by(|(_, a), (_, b)| a.container.cmp(&b.container));
    for (address, note) in found {
        let prefix = addresses.map_or(note.prefix, |all| all.subnet.prefix());
        let shown = json!({
            "Name": note.name,
            "EndpointID": note.endpoint,
            "MacAddress": note.mac,
            "IPv4Address": match note.without_ipv4 {
                true => String::new(),
                false => format!("{address}/{prefix}"),
            },
            "IPv6Address": note.address6.map_or_else(String::new, |own| {
                format!("{own}/{}", note.prefix6)
            }),
        });
        containers.insert(note.container, shown);
    }
    let is_made = !record.without_ipv4 && !record.config_only;
    let subnet = match addresses.filter(|_| is_made) {
        Some(all) => Some(all.subnet.to_string()),
        // What the user has said, and nobody gets.
        None => Some(record.subnet.clone()).filter(|_| record.says_subnet),
    };
    let made = addresses.filter(|_| is_made && !record.says_subnet);
    let gateway = record.gateway.filter(|_| record.says_gateway);
    let config = subnet.map(|subnet| {
        let mut config = Map::new();
        config.insert("Subnet".to_owned(), json!(subnet));
        if let Some(range) = &record.range {
            config.insert("IPRange".to_owned(), json!(range));
        }
        if let Some(gateway) = gateway.or(made.map(|all| all.gateway)) {
            config.insert("Gateway".to_owned(), json!(gateway.to_string()));
        }
        add_aux(&mut config, record, false);
        config
    });
    let config = configs(record, config);
    let mut options = json!(record.options);
    if network.is_default() {
        options = json!({
            "com.docker.network.bridge.default_bridge": "true",
            TOGETHER: "true",
            TRANSLATED: "true",
            PUBLISHED_AT: "0.0.0.0",
            NAME: BRIDGE,
            MTU: "1500",
        });
    }
    let ipam_options = match network.is_predefined() {
        true => Value::Null,
        false => json!(record.ipam_options),
    };
    Ok(json!({
        "Name": network.name,
        "Id": network.id,
        "Created": created_at(network),
        "Scope": network.scope(),
        "Driver": network.driver.as_str(),
        "EnableIPv4": !record.without_ipv4,
        "EnableIPv6": record.ipv6,
        "IPAM": {
            "Driver": "default",
            "Options": ipam_options,
            "Config": config,
        },
        "Internal": record.internal,
        "Attachable": record.attachable,
        "Ingress": false,
        "ConfigFrom": { "Network": record.config_from },
        "ConfigOnly": record.config_only,
        "Containers": containers,
        "Options": options,
        "Labels": record.labels,
    }))
}

/// What is shown of its addresses: what the user has said goes first.
fn configs(record: &NetworkRecord, four: Option<Map<String, Value>>) -> Value {
    let mut all: Vec<Map<String, Value>> = four.into_iter().collect();
    if !record.subnet6.is_empty() {
        let mut six = Map::new();
        six.insert("Subnet".to_owned(), json!(record.subnet6));
        if let Some(range) = &record.range6 {
            six.insert("IPRange".to_owned(), json!(range));
        }
        if let Some(gateway) = record.gateway6
            && (!record.says_subnet6 || record.says_gateway6)
        {
            six.insert("Gateway".to_owned(), json!(gateway.to_string()));
        }
        add_aux(&mut six, record, true);
        match record.says_subnet6 && !record.says_subnet {
            true => all.insert(0, six),
            false => all.push(six),
        }
    }
    match all.is_empty() {
        true => Value::Null,
        false => json!(all),
    }
}

/// Adds the addresses that nobody gets.
fn add_aux(config: &mut Map<String, Value>, record: &NetworkRecord, six: bool) {
    let all = record.aux_addresses.iter();
    let kept = all.filter(|(_, address)| address.is_ipv6() == six);
    let kept: Map<String, Value> = kept
        .map(|(name, address)| (name.clone(), json!(address)))
        .collect();
    if !kept.is_empty() {
        config.insert("AuxiliaryAddresses".to_owned(), Value::Object(kept));
    }
}

/// When a network was made, RFC 3339.
fn created_at(network: &Network) -> String {
    let time = jiff::Timestamp::from_nanosecond(network.created.into());
    time.map(state::time_of).unwrap_or_default()
}

impl Container {
    /// What is shown as its `NetworkSettings`.
    pub(in crate::engine) fn network_document(&self) -> Value {
        let mut networks = Map::new();
        for (name, settings) in &self.record.networks {
            networks.insert(name.clone(), self.place_document(name, settings));
        }
        // docker repeats here what it says of the bridge that all share.
        let bridge = self.record.networks.get("bridge");
        let own = bridge.and_then(|settings| self.state.place(&settings.network_id));
        let text = |of: &dyn Fn(&Place) -> String| own.map(of).unwrap_or_default();
        // Ports are a matter of bridges.
        let ports = match self.state.places.iter().all(|place| place.is_on_link) {
            true => json!({}),
            false => ports::document(&self.record.config, &self.record.host, &self.state.ports),
        };
        json!({
            "Bridge": "",
            "SandboxID": "",
            "SandboxKey": "",
            "Ports": ports,
            "HairpinMode": false,
            "LinkLocalIPv6Address": "",
            "LinkLocalIPv6PrefixLen": 0,
            "SecondaryIPAddresses": null,
            "SecondaryIPv6Addresses": null,
            "EndpointID": text(&|place| place.endpoint_id.clone()),
            "Gateway": text(&gateway),
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "IPAddress": text(&|place| of_some(place.address)),
            "IPPrefixLen": own.map_or(0, |place| place.prefix),
            "IPv6Gateway": "",
            "MacAddress": text(&|place| place.mac.clone()),
            "Networks": networks,
        })
    }

    fn place_document(&self, name: &str, settings: &EndpointSettings) -> Value {
        let place = self.state.place(&settings.network_id);
        let text = |of: &dyn Fn(&Place) -> String| place.map(of).unwrap_or_default();
        // docker finds the network and its names out when it first starts the container.
        let was_started = self.state.started_at != state::NO_TIME;
        // Or when it connects it, which says all that it can say.
        let is_connected = settings.ipam_config.is_some()
            && settings.aliases.is_some()
            && settings.driver_opts.is_some();
        let names = match name {
            "bridge" | "host" | "none" => Value::Null,
            _ if !was_started && !is_connected => Value::Null,
            _ => json!(self.names_on(settings)),
        };
        let network_id = match was_started {
            true => settings.network_id.as_str(),
            false => "",
        };
        json!({
            "IPAMConfig": settings.ipam_config,
            "Links": settings.links,
            "Aliases": settings.aliases,
            "MacAddress": text(&|place| place.mac.clone()),
            "DriverOpts": settings.driver_opts,
            "GwPriority": settings.gw_priority,
            "NetworkID": network_id,
            "EndpointID": text(&|place| place.endpoint_id.clone()),
            "Gateway": text(&gateway),
            "IPAddress": text(&|place| of_some(place.address)),
            "IPPrefixLen": place.map_or(0, |place| place.prefix),
            "IPv6Gateway": text(&gateway6),
            "GlobalIPv6Address": text(&|place| of_some(place.address6)),
            "GlobalIPv6PrefixLen": place.map_or(0, |place| place.prefix6),
            "DNSNames": names,
        })
    }
}

fn gateway(place: &Place) -> String {
    of_some(place.gateway)
}

fn gateway6(place: &Place) -> String {
    of_some(place.gateway6)
}

fn of_some(address: Option<impl ToString>) -> String {
    address.map_or_else(String::new, |address| address.to_string())
}
