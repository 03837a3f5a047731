//! What a container that is made says of networks. The words of what is refused are docker's.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::endpoint::EndpointSettings;
use crate::engine::handle::Containers;
use crate::error::{Error, Result};
use crate::network::definition::Network;
use crate::network::legacy;
use crate::network::{Mode, ports};
use crate::record::{Config, HostConfig};

/// Networks that are asked for, by what they are called by who asks.
pub type Asked = BTreeMap<String, EndpointSettings>;

fn invalid<T>(text: impl Into<String>) -> Result<T> {
    Err(Error::Invalid(text.into()))
}

impl Containers {
    /// Fills in what follows from the rest, and refuses what does not go together. Before the
    /// image's configuration is added: what that says does not count here.
    pub(in crate::engine) async fn settle_networks(
        &self,
        config: &mut Config,
        host: &mut HostConfig,
        asked: Asked,
    ) -> Result<BTreeMap<String, EndpointSettings>> {
        let mode = Mode::parse(&host.network_mode)?;
        check(&mode, config, host)?;
        ports::wanted(config, host)?;
        if mode == Mode::Bridge {
            host.network_mode = "bridge".to_owned();
        }
        if let Mode::Container(name) = &mode {
            let found = self.find(name).await.map_err(|error| {
                Error::Invalid(format!("joining network namespace of container: {error}"))
            })?;
            host.network_mode = format!("container:{}", found.id);
            config.hostname.clone_from(&found.record.config.hostname);
            config
                .domainname
                .clone_from(&found.record.config.domainname);
            return Ok(BTreeMap::new());
        }
        if mode == Mode::Bridge {
            for link in host.links.iter().flatten() {
                let (name, _) = legacy::parse(link)?;
                self.find(&name).await.map_err(|error| {
                    Error::Invalid(format!("could not get container for {name}: {error}"))
                })?;
            }
        }
        let mut all = asked;
        let main = all.entry(host.network_mode.clone()).or_default();
        if mode != Mode::Bridge {
            // They mean names that it alone knows.
            let links = host.links.take();
            if let Mode::User(_) = mode {
                main.links = links.or(main.links.take());
            }
        }
        let mut settled = BTreeMap::new();
        for (typed, mut settings) in all {
            let name = match self.find_network(&typed).await {
                Ok(network) => {
                    check_settings(&network, &settings).map_err(|error| {
                        Error::Invalid(format!(
                            "invalid config for network {}: invalid endpoint settings:\n{error}",
                            network.name
                        ))
                    })?;
                    settings.network_id = network.id;
                    network.name
                }
                // It may be there when the container is started.
                Err(Error::Store(store::Error::NoSuchNetwork(_))) => typed,
                Err(error) => return Err(error),
            };
            settled.insert(name, settings);
        }
        Ok(settled)
    }
}

/// Refuses what does not go together.
fn check(mode: &Mode, config: &Config, host: &HostConfig) -> Result<()> {
    let has = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    match mode {
        Mode::Host if has(&host.links) => invalid(
            "conflicting options: host type networking can't be used with links. This would result \
             in undefined behavior",
        ),
        Mode::Container(_) => {
            if !config.hostname.is_empty() {
                return invalid("conflicting options: hostname and the network mode");
            }
            if has(&host.links) {
                return invalid(
                    "conflicting options: container type network can't be used with links. This \
                     would result in undefined behavior",
                );
            }
            if !host.dns.is_empty() {
                return invalid("conflicting options: dns and the network mode");
            }
            if has(&host.extra_hosts) {
                return invalid(
                    "conflicting options: custom host-to-IP mapping and the network mode",
                );
            }
            if !host.port_bindings.is_empty() || host.publish_all_ports {
                return invalid(
                    "conflicting options: port publishing and the container type network mode",
                );
            }
            if !config.exposed_ports.is_empty() {
                return invalid(
                    "conflicting options: port exposing and the container type network mode",
                );
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Refuses what a network cannot give; all that is wrong at once.
pub(super) fn check_settings(
    network: &Network,
    settings: &EndpointSettings,
) -> std::result::Result<(), String> {
    let mut wrong = Vec::new();
    let record = &network.record;
    if let Some(text) = settings.address() {
        let address = text.parse::<Ipv4Addr>().ok();
        let all = network.addresses().map(|all| all.subnet);
        let holds = address.zip(all).is_some_and(|(own, all)| all.contains(own));
        wrong.extend(wrong_address(
            network,
            text,
            address.is_some(),
            record.says_subnet,
            holds,
            4,
        ));
    }
    if let Some(text) = settings.address6() {
        let address = text.parse::<Ipv6Addr>().ok();
        let all = network.addresses6().map(|all| all.subnet);
        let holds = address.zip(all).is_some_and(|(own, all)| all.contains(own));
        let says = record.says_subnet6;
        wrong.extend(wrong_address(
            network,
            text,
            address.is_some(),
            says,
            holds,
            6,
        ));
    }
    let is_one = |text: &&String| {
        text.parse::<IpAddr>()
            .is_ok_and(|one| !one.is_unspecified())
    };
    let links = settings.link_local().iter().filter(|text| !is_one(text));
    wrong.extend(links.map(|text| format!("invalid link-local IP address: {text}")));
    if settings.aliases.as_ref().is_some_and(|all| !all.is_empty()) && network.is_predefined() {
        wrong.push(
            "network-scoped alias is supported only for containers in user defined networks"
                .to_owned(),
        );
    }
    match wrong.as_slice() {
        [] => Ok(()),
        [only] => Err(only.clone()),
        several => {
            let lines = several.iter().map(|one| format!("* {one}"));
            Err(lines.collect::<Vec<_>>().join("\n"))
        }
    }
}

/// What is wrong with an address that is asked for: whether it is one, whether the network's user
/// has said its addresses, and whether it is among them.
fn wrong_address(
    network: &Network,
    text: &str,
    is_one: bool,
    says_subnet: bool,
    holds: bool,
    version: u8,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let is_predefined = network.is_predefined();
    if is_predefined {
        let why = "user specified IP address is supported on user defined networks only";
        wrong.push(why.to_owned());
    }
    if !is_one {
        wrong.push(format!("invalid IPv{version} address: {text}"));
    }
    // The bridge that all share has addresses of IPv4 that are configured.
    let counts = version == 6 || !network.is_default();
    if counts && !says_subnet {
        wrong.push(
            "user specified IP address is supported only when connecting to networks with user \
             configured subnets"
                .to_owned(),
        );
    } else if !holds {
        wrong.push(format!(
            "no configured subnet or ip-range contain the IP address {text}"
        ));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::EndpointAddresses;
    use crate::network::definition::{Driver, NetworkRecord};

    /// The sentences are docker 28's.
    #[test]
    fn addresses_that_a_network_cannot_give_are_refused() {
        let network = |name: &str, subnet: &str, says_subnet| Network {
            id: "a".repeat(64),
            name: name.to_owned(),
            driver: Driver::Bridge,
            created: 0,
            record: NetworkRecord {
                subnet: subnet.to_owned(),
                says_subnet,
                ..NetworkRecord::default()
            },
        };
        let not_there = "no configured subnet or ip-range contain the IP address";
        for (network, address, why) in [
            (network("n", "10.77.0.0/16", true), "10.77.5.5", String::new()),
            (
                network("bridge", "", false),
                "10.0.0.5",
                format!("* user specified IP address is supported on user defined networks only\n* {not_there} 10.0.0.5"),
            ),
            (
                network("n", "172.18.0.0/16", false),
                "172.18.0.9",
                "user specified IP address is supported only when connecting to networks with user configured subnets".to_owned(),
            ),
            (network("n", "10.77.0.0/16", true), "10.78.0.9", format!("{not_there} 10.78.0.9")),
            (
                network("n", "10.77.0.0/16", true),
                "abc",
                format!("* invalid IPv4 address: abc\n* {not_there} abc"),
            ),
            (
                network("bridge", "", false),
                "abc",
                format!("* user specified IP address is supported on user defined networks only\n* invalid IPv4 address: abc\n* {not_there} abc"),
            ),
        ] {
            let settings = EndpointSettings {
                ipam_config: Some(EndpointAddresses { ipv4: address.to_owned(), ..EndpointAddresses::default() }),
                ..EndpointSettings::default()
            };
            let found = check_settings(&network, &settings).err().unwrap_or_default();
            assert_eq!(found, why);
        }
        let mut six = network("n", "10.77.0.0/16", true);
        six.record.ipv6 = true;
        "fd00:77::/64".clone_into(&mut six.record.subnet6);
        let mut chosen = six.clone();
        six.record.says_subnet6 = true;
        chosen.record.says_subnet6 = false;
        let not_said = "user specified IP address is supported only when connecting to networks \
                        with user configured subnets";
        let on_users = "user specified IP address is supported on user defined networks only";
        for (network, address, why) in [
            (&six, "fd00:77::9", String::new()),
            (&six, "fd00:99::1", format!("{not_there} fd00:99::1")),
            (
                &six,
                "abc",
                format!("* invalid IPv6 address: abc\n* {not_there} abc"),
            ),
            (&chosen, "fd00:77::9", not_said.to_owned()),
            (
                &network("bridge", "", false),
                "fd00:77::9",
                format!("* {on_users}\n* {not_said}"),
            ),
        ] {
            let settings = EndpointSettings {
                ipam_config: Some(EndpointAddresses {
                    ipv6: address.to_owned(),
                    ..EndpointAddresses::default()
                }),
                ..EndpointSettings::default()
            };
            let found = check_settings(network, &settings).err().unwrap_or_default();
            assert_eq!(found, why);
        }
    }
}
