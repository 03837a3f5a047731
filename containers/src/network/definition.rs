//! A network.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use runtime::network::{Addresses, Addresses6, Subnet, Subnet6};
use serde::{Deserialize, Serialize};
use store::StoredNetwork;

use super::BRIDGE;
use crate::error::{Error, Result};

/// What names of bridges begin with; half of a network's ID follows as far as there is room.
const PREFIX: &str = "rbuild";
/// Digits of the ID in the name of its bridge: names of links have 15 letters at most.
const DIGITS: usize = 9;

/// docker's option for packets' length.
pub(crate) const MTU: &str = "com.docker.network.driver.mtu";
/// docker's option that lets those on a network meet.
pub(crate) const TOGETHER: &str = "com.docker.network.bridge.enable_icc";
/// docker's option that hides their addresses from other networks.
pub(crate) const TRANSLATED: &str = "com.docker.network.bridge.enable_ip_masquerade";
/// docker's option for what names of interfaces begin with, inside.
pub(crate) const INTERFACES: &str = "com.docker.network.container_iface_prefix";
/// docker's option for what the bridge is called.
pub(crate) const NAME: &str = "com.docker.network.bridge.name";
/// docker's option of a container's place for what its interface is called, inside.
pub(crate) const INTERFACE: &str = "com.docker.network.endpoint.ifname";
/// docker's option for the address at which ports are published.
pub(crate) const PUBLISHED_AT: &str = "com.docker.network.bridge.host_binding_ipv4";

/// What kind of network it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// A bridge of this machine.
    Bridge,
    /// A link of this machine, on which each has a hardware address of its own.
    Macvlan,
    /// A link of this machine, whose hardware address all have.
    Ipvlan,
    /// This machine's own network.
    Host,
    /// None.
    Null,
}

impl Driver {
    /// docker's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::Host => "host",
            Self::Null => "null",
        }
    }

    /// The one of this name; a bridge for every other.
    pub fn named(name: &str) -> Self {
        let all = [Self::Macvlan, Self::Ipvlan, Self::Host, Self::Null];
        let mut named = all.into_iter().filter(|driver| driver.as_str() == name);
        named.next().unwrap_or(Self::Bridge)
    }

    /// Containers have places on it, with addresses of their own.
    pub fn has_places(self) -> bool {
        matches!(self, Self::Bridge | Self::Macvlan | Self::Ipvlan)
    }
}

/// How a network was made, as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkRecord {
    /// Its addresses, as `172.18.0.0/16`; empty for the bridge that containers share.
    pub subnet: String,
    /// This machine's address on it.
    pub gateway: Option<Ipv4Addr>,
    /// The addresses that are given to who wants none of their own.
    pub range: Option<String>,
    /// The user has said the subnet.
    pub says_subnet: bool,
    /// The user has said the gateway.
    pub says_gateway: bool,
    /// It has no IPv4 addresses: `subnet` is what the user said all the same.
    pub without_ipv4: bool,
    /// Addresses by which this machine tells apart who is on it, where it has none of IPv4: no
    /// interface has one of them.
    pub numbers: String,
    /// It has IPv6 addresses.
    pub ipv6: bool,
    /// Those, as `fd00::/64`; users may say some and not want them.
    pub subnet6: String,
    /// This machine's address among them.
    pub gateway6: Option<Ipv6Addr>,
    /// Those that are given to who wants none of its own.
    pub range6: Option<String>,
    /// The user has said the subnet of IPv6.
    pub says_subnet6: bool,
    /// The user has said the gateway of IPv6.
    pub says_gateway6: bool,
    /// Nobody on it reaches other networks.
    pub internal: bool,
    /// docker's swarm could use it.
    pub attachable: bool,
    /// It is none, but what others are made from.
    pub config_only: bool,
    /// The name of the one that it was made from; empty without.
    pub config_from: String,
    /// How far it is said to reach; empty for this machine.
    pub scope: String,
    /// Addresses that no container gets, by names that say what for.
    pub aux_addresses: BTreeMap<String, IpAddr>,
    /// Options of who gives addresses, which change nothing.
    pub ipam_options: BTreeMap<String, String>,
    /// Options of its driver.
    pub options: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What kind it is.
    pub driver: Driver,
    /// Nanoseconds since the epoch.
    pub created: i64,
    /// How it was made.
    pub record: NetworkRecord,
}

impl Network {
    /// From what is stored.
    ///
    /// # Errors
    /// [`Error::NetworkRecord`] when that is damaged.
    pub fn read(stored: StoredNetwork) -> Result<Self> {
        let record = serde_json::from_str(&stored.record);
        Ok(Self {
            record: record.map_err(|cause| Error::NetworkRecord {
                name: stored.name.clone(),
                cause,
            })?,
            driver: Driver::named(&stored.driver),
            id: stored.id,
            name: stored.name,
            created: stored.created,
        })
    }

    /// Whether it is always there.
    pub fn is_predefined(&self) -> bool {
        is_predefined(&self.name)
    }

    /// Whether it is the bridge that containers share.
    pub fn is_default(&self) -> bool {
        self.name == "bridge"
    }

    /// The name of its bridge.
    pub fn bridge(&self) -> String {
        match self.is_default() {
            true => BRIDGE.to_owned(),
            false => format!("{PREFIX}{}", self.id.get(..DIGITS).unwrap_or(&self.id)),
        }
    }

    /// What its bridge is called beside its own name.
    pub fn link_name(&self) -> Option<String> {
        let said = self.record.options.get(NAME).cloned();
        let is_user = self.driver == Driver::Bridge && !self.is_default();
        said.filter(|name| is_user && *name != self.bridge())
    }

    /// How far it reaches, as docker tells.
    pub fn scope(&self) -> &str {
        match self.record.scope.as_str() {
            "" => "local",
            scope => scope,
        }
    }

    /// Its addresses; nothing for the bridge that containers share, which has those that are free.
    pub fn addresses(&self) -> Option<Addresses> {
        if self.record.config_only {
            return None;
        }
        if self.record.without_ipv4 {
            let (_, subnet) = Subnet::parse(&self.record.numbers)?;
            return Some(Addresses {
                subnet,
                gateway: subnet.gateway(),
                range: subnet,
            });
        }
        let (_, subnet) = Subnet::parse(&self.record.subnet)?;
        let range = self.record.range.as_deref().and_then(Subnet::parse);
        let gateway = self.record.gateway.unwrap_or_else(|| subnet.gateway());
        Some(Addresses {
            subnet,
            gateway: match self.has_gateway(self.record.says_gateway) {
                true => gateway,
                false => Ipv4Addr::UNSPECIFIED,
            },
            range: range.map_or(subnet, |(_, range)| range),
        })
    }

    /// Its IPv6 addresses, where it has some.
    pub fn addresses6(&self) -> Option<Addresses6> {
        let (_, subnet) = Subnet6::parse(&self.record.subnet6)
            .filter(|_| self.record.ipv6 && !self.record.config_only)?;
        let range = self.record.range6.as_deref().and_then(Subnet6::parse);
        let gateway = self.record.gateway6.unwrap_or_else(|| subnet.gateway());
        Some(Addresses6 {
            subnet,
            gateway: match self.has_gateway(self.record.says_gateway6) {
                true => gateway,
                false => Ipv6Addr::UNSPECIFIED,
            },
            range: range.map_or(subnet, |(_, range)| range),
        })
    }

    /// Without a bridge, nobody has the gateway's address where nobody leaves the network.
    fn has_gateway(&self, is_said: bool) -> bool {
        self.driver == Driver::Bridge || is_said || !self.record.internal
    }

    /// An option that is on unless it was switched off.
    pub fn is_on(&self, option: &str) -> bool {
        let said = self.record.options.get(option);
        !said.is_some_and(|value| {
            matches!(
                value.as_str(),
                "0" | "f" | "F" | "false" | "False" | "FALSE"
            )
        })
    }
}

/// Whether a network of this name is always there.
pub fn is_predefined(name: &str) -> bool {
    matches!(name, "bridge" | "host" | "none")
}
