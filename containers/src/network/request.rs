//! From what is asked for to a network. Pure; the words of what is refused are docker's.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use runtime::network::{Subnet, choose_for_user};

use super::definition::{MTU, Network, NetworkRecord, PUBLISHED_AT, is_predefined};
use crate::error::{Error, Result};

/// A network to be made.
#[derive(Clone, Debug, Default)]
pub struct NewNetwork {
    /// Its name.
    pub name: String,
    /// Its driver; empty for a bridge.
    pub driver: String,
    /// Its addresses; none for some that are free.
    pub subnets: Vec<String>,
    /// This machine's addresses on it.
    pub gateways: Vec<String>,
    /// What is given to those who want no address of their own.
    pub ranges: Vec<String>,
    /// Nobody on it reaches other networks.
    pub internal: bool,
    /// docker's swarm could use it.
    pub attachable: bool,
    /// Options of its driver.
    pub options: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

fn invalid<T>(text: String) -> Result<T> {
    Err(Error::Invalid(text))
}

/// What is stored of a new network. `used` are the ranges of addresses of this machine and of
/// other networks, these alone are `others`.
///
/// # Errors
/// In docker's words.
pub fn settle(new: &NewNetwork, others: &[Network], used: &[Subnet]) -> Result<NetworkRecord> {
    if new.name.trim().is_empty() {
        return invalid("invalid name: name is empty".to_owned());
    }
    if is_predefined(&new.name) {
        let name = &new.name;
        return invalid(format!(
            "operation is not permitted on predefined {name} network"
        ));
    }
    if !matches!(new.driver.as_str(), "" | "bridge") {
        return invalid(match new.driver.as_str() {
            name @ ("host" | "null") => {
                format!("only one instance of \"{name}\" network is allowed")
            }
            name => format!("plugin \"{name}\" not found"),
        });
    }
    check_options(&new.options)?;
    let (gateway, range) = (new.gateways.first(), new.ranges.first());
    let Some(subnet) = new.subnets.first() else {
        if gateway.is_some() || range.is_some() {
            let text = "every ip-range or gateway must have a corresponding subnet";
            return invalid(text.to_owned());
        }
        let taken = others.iter().filter_map(|n| Some(n.addresses()?.subnet));
        let used: Vec<Subnet> = used.iter().copied().chain(taken).collect();
        let Some(subnet) = choose_for_user(&used) else {
            let text = "all predefined address pools have been fully subnetted";
            return invalid(text.to_owned());
        };
        return Ok(record(new, subnet, Some(subnet.gateway())));
    };
    if new.subnets.len() > 1 {
        return invalid("a network has one subnet of IPv4 addresses here".to_owned());
    }
    let subnet = subnet_of(subnet)?;
    let overlaps = |other: &Network| other.addresses().is_some_and(|a| a.subnet.overlaps(subnet));
    let gateway = match gateway {
        None => None,
        Some(text) => match text.parse::<Ipv4Addr>() {
            Ok(address) if subnet.contains(address) => Some(address),
            _ => return invalid(format!("no matching subnet for gateway {text}")),
        },
    };
    let found = match range {
        None => None,
        Some(text) => match Subnet::parse(text) {
            Some((_, range)) if subnet.covers(range) => Some(range),
            _ => return invalid(format!("no matching subnet for range {text}")),
        },
    };
    if others.iter().any(overlaps) {
        let text = "invalid pool request: Pool overlaps with other one on this address space";
        return invalid(text.to_owned());
    }
    let mut record = record(new, subnet, gateway);
    record.range = found.map(|range| range.to_string());
    record.says_subnet = true;
    record.says_gateway = gateway.is_some();
    if record.gateway.is_none() {
        // The first that may be given to somebody.
        let first = found.unwrap_or(subnet);
        record.gateway = Some(match first.base() == subnet.base() {
            true => subnet.gateway(),
            false => first.base(),
        });
    }
    Ok(record)
}

fn record(new: &NewNetwork, subnet: Subnet, gateway: Option<Ipv4Addr>) -> NetworkRecord {
    NetworkRecord {
        subnet: subnet.to_string(),
        gateway,
        internal: new.internal,
        attachable: new.attachable,
        options: new.options.clone(),
        labels: new.labels.clone(),
        ..NetworkRecord::default()
    }
}

fn subnet_of(text: &str) -> Result<Subnet> {
    if text.contains("::") {
        return invalid(format!(
            "invalid subnet {text}: networks have IPv4 addresses here"
        ));
    }
    match Subnet::parse(text) {
        None => invalid(format!(
            "invalid network config:\ninvalid subnet {text}: invalid CIDR block notation"
        )),
        Some((address, subnet)) if address != subnet.base() => invalid(format!(
            "invalid network config:\ninvalid subnet {text}: it should be {subnet}"
        )),
        Some((_, subnet)) if subnet.prefix() > 30 => invalid(format!(
            "subnet {subnet} has no room for a gateway and a container"
        )),
        Some((_, subnet)) => Ok(subnet),
    }
}

/// Options that are not known are kept and change nothing, as docker has it.
fn check_options(options: &BTreeMap<String, String>) -> Result<()> {
    if let Some(text) = options.get(MTU)
        && text.parse::<u32>().is_err()
    {
        return invalid(format!(
            "failed to parse {MTU} value: {text} (strconv.Atoi: parsing {}: invalid syntax)",
            golang::quote::go_quote(text)
        ));
    }
    if let Some(text) = options.get(PUBLISHED_AT)
        && text.parse::<Ipv4Addr>().is_err()
    {
        return invalid(format!("failed to parse {PUBLISHED_AT} value: {text}"));
    }
    if let Some(name) = options.get("com.docker.network.bridge.name") {
        return invalid(format!(
            "the bridge of a network cannot be called {name}: bridges have names of their own here"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::definition::Driver;
    use super::*;

    fn new(subnet: &str, gateway: &str, range: &str) -> NewNetwork {
        let list = |text: &str| match text {
            "" => Vec::new(),
            text => vec![text.to_owned()],
        };
        NewNetwork {
            name: "n".to_owned(),
            subnets: list(subnet),
            gateways: list(gateway),
            ranges: list(range),
            ..NewNetwork::default()
        }
    }

    fn other(subnet: &str) -> Network {
        Network {
            id: "a".repeat(64),
            name: "other".to_owned(),
            driver: Driver::Bridge,
            created: 0,
            record: NetworkRecord {
                subnet: subnet.to_owned(),
                ..NetworkRecord::default()
            },
        }
    }

    /// The sentences are docker 28's.
    #[test]
    fn what_makes_no_sense_is_refused() {
        for (subnet, gateway, range, why) in [
            (
                "10.77.1.0/24",
                "",
                "",
                "invalid pool request: Pool overlaps with other one on this address space",
            ),
            (
                "10.78.0.0",
                "",
                "",
                "invalid network config:\ninvalid subnet 10.78.0.0: invalid CIDR block notation",
            ),
            (
                "10.78.0.1/16",
                "",
                "",
                "invalid network config:\ninvalid subnet 10.78.0.1/16: it should be 10.78.0.0/16",
            ),
            (
                "10.79.0.0/16",
                "10.80.0.1",
                "",
                "no matching subnet for gateway 10.80.0.1",
            ),
            (
                "10.79.0.0/16",
                "",
                "10.80.0.0/24",
                "no matching subnet for range 10.80.0.0/24",
            ),
            (
                "",
                "10.80.0.1",
                "",
                "every ip-range or gateway must have a corresponding subnet",
            ),
        ] {
            let error = settle(&new(subnet, gateway, range), &[other("10.77.0.0/16")], &[]);
            assert_eq!(error.unwrap_err().to_string(), why);
        }
        let named = |name: &str, driver: &str| NewNetwork {
            name: name.to_owned(),
            driver: driver.to_owned(),
            ..NewNetwork::default()
        };
        for (name, driver, why) in [
            ("", "", "invalid name: name is empty"),
            (
                "host",
                "",
                "operation is not permitted on predefined host network",
            ),
            ("n", "nope", "plugin \"nope\" not found"),
        ] {
            let error = settle(&named(name, driver), &[], &[]).unwrap_err();
            assert_eq!(error.to_string(), why);
        }
        let mut mtu = named("n", "");
        mtu.options.insert(MTU.to_owned(), "abc".to_owned());
        let want = "failed to parse com.docker.network.driver.mtu value: abc \
                    (strconv.Atoi: parsing \"abc\": invalid syntax)";
        assert_eq!(settle(&mtu, &[], &[]).unwrap_err().to_string(), want);
    }

    #[test]
    fn addresses_are_those_asked_for_or_free_ones() {
        let given = settle(
            &new("10.90.0.0/16", "10.90.0.254", "10.90.5.0/24"),
            &[],
            &[],
        )
        .unwrap();
        assert_eq!(given.gateway.unwrap().to_string(), "10.90.0.254");
        assert_eq!(given.range.as_deref(), Some("10.90.5.0/24"));
        assert!(given.says_subnet && given.says_gateway);
        let plain = settle(&new("10.90.0.0/16", "", ""), &[], &[]).unwrap();
        assert_eq!(plain.gateway.unwrap().to_string(), "10.90.0.1");
        assert!(plain.says_subnet && !plain.says_gateway);
        let used = [Subnet::parse("172.17.0.0/16").unwrap().1];
        let chosen = settle(&new("", "", ""), &[other("172.18.0.0/16")], &used).unwrap();
        assert_eq!(chosen.subnet, "172.19.0.0/16");
        assert!(!chosen.says_subnet);
    }
}
