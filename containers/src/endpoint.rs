//! How a container is to be on a network: docker's `EndpointSettings`, as far as users say it. They
//! are stored as they are shown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A container's place on a network, as its user wants it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointSettings {
    /// Addresses of its own.
    #[serde(rename = "IPAMConfig")]
    pub ipam_config: Option<EndpointAddresses>,
    /// Other containers by names that it alone knows: `CONTAINER:NAME`.
    pub links: Option<Vec<String>>,
    /// Further names of it, on this network.
    pub aliases: Option<Vec<String>>,
    /// A hardware address of its own; empty for one that is chosen.
    pub mac_address: String,
    /// Options of the network's driver.
    pub driver_opts: Option<BTreeMap<String, String>>,
    /// The network with the highest is the way out.
    pub gw_priority: i64,
    /// The network's ID; empty as long as there is none of its name.
    #[serde(rename = "NetworkID")]
    pub network_id: String,
}

/// Addresses that a container wants for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointAddresses {
    /// An IPv4 address; empty for one that is chosen.
    #[serde(rename = "IPv4Address", skip_serializing_if = "String::is_empty")]
    pub ipv4: String,
    /// An IPv6 address, likewise.
    #[serde(rename = "IPv6Address", skip_serializing_if = "String::is_empty")]
    pub ipv6: String,
    /// Addresses beside those that count on the network's bridge alone.
    #[serde(rename = "LinkLocalIPs", skip_serializing_if = "Vec::is_empty")]
    pub link_local: Vec<String>,
}

impl EndpointSettings {
    /// The IPv4 address that is wanted.
    pub fn address(&self) -> Option<&str> {
        let wanted = self.ipam_config.as_ref()?.ipv4.as_str();
        Some(wanted).filter(|text| !text.is_empty())
    }

    /// The addresses that count on the network's bridge alone.
    pub fn link_local(&self) -> &[String] {
        self.ipam_config.as_ref().map_or(&[], |own| &own.link_local)
    }

    /// The IPv6 address that is wanted.
    pub fn address6(&self) -> Option<&str> {
        let wanted = self.ipam_config.as_ref()?.ipv6.as_str();
        Some(wanted).filter(|text| !text.is_empty())
    }
}
