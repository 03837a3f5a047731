//! From what is asked for to a network. Pure; the words of what is refused are docker's.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use runtime::network::{Subnet, Subnet6, choose_for_user, choose6_for_user};

use super::definition::{
    INTERFACES, MTU, NAME, Network, NetworkRecord, PUBLISHED_AT, is_predefined,
};
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
    /// It has IPv6 addresses, too.
    pub ipv6: bool,
    /// What tells this machine's IPv6 addresses from those of others.
    pub machine: [u8; 5],
    /// Nobody on it reaches other networks.
    pub internal: bool,
    /// docker's swarm could use it.
    pub attachable: bool,
    /// Addresses that no container gets, by names that say what for.
    pub aux_addresses: BTreeMap<String, String>,
    /// Who gives addresses; empty for the one that there is.
    pub ipam_driver: String,
    /// Options of who gives addresses, which are kept and change nothing.
    pub ipam_options: BTreeMap<String, String>,
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
    if !matches!(new.ipam_driver.as_str(), "" | "default") {
        return invalid(format!("plugin \"{}\" not found", new.ipam_driver));
    }
    check_options(&new.options)?;
    let four = Asked {
        subnets: of_kind(&new.subnets, false),
        gateway: of_kind(&new.gateways, false).first().copied(),
        range: of_kind(&new.ranges, false).first().copied(),
    };
    let mut record = settle4(new, &four, others, used)?;
    let six = Asked {
        subnets: of_kind(&new.subnets, true),
        gateway: of_kind(&new.gateways, true).first().copied(),
        range: of_kind(&new.ranges, true).first().copied(),
    };
    record.ipv6 = new.ipv6;
    settle6(&mut record, &six, others, new.machine)?;
    record.ipam_options = new.ipam_options.clone();
    record.aux_addresses = aux_addresses(&new.aux_addresses, &record)?;
    Ok(record)
}

/// Addresses that nobody gets: each has to be in a subnet that was said.
fn aux_addresses(
    asked: &BTreeMap<String, String>,
    record: &NetworkRecord,
) -> Result<BTreeMap<String, IpAddr>> {
    let four = Subnet::parse(&record.subnet).filter(|_| record.says_subnet);
    let six = Subnet6::parse(&record.subnet6).filter(|_| record.says_subnet6);
    let mut all = BTreeMap::new();
    for (name, text) in asked {
        let is_there = |address: &IpAddr| match address {
            IpAddr::V4(own) => four.is_some_and(|(_, subnet)| subnet.contains(*own)),
            IpAddr::V6(own) => six.is_some_and(|(_, subnet)| subnet.contains(*own)),
        };
        let Some(address) = text.parse::<IpAddr>().ok().filter(is_there) else {
            return invalid(format!("no matching subnet for aux-address {text}"));
        };
        all.insert(name.clone(), address);
    }
    Ok(all)
}

/// What is asked for, of one kind of addresses.
struct Asked<'a> {
    subnets: Vec<&'a str>,
    gateway: Option<&'a str>,
    range: Option<&'a str>,
}

fn of_kind(texts: &[String], six: bool) -> Vec<&str> {
    let all = texts.iter().map(String::as_str);
    all.filter(|text| text.contains(':') == six).collect()
}

fn settle4(
    new: &NewNetwork,
    asked: &Asked<'_>,
    others: &[Network],
    used: &[Subnet],
) -> Result<NetworkRecord> {
    let (gateway, range) = (asked.gateway, asked.range);
    let Some(subnet) = asked.subnets.first() else {
        none_without_subnet(asked)?;
        let taken = others.iter().filter_map(|n| Some(n.addresses()?.subnet));
        let used: Vec<Subnet> = used.iter().copied().chain(taken).collect();
        let Some(subnet) = choose_for_user(&used) else {
            let text = "all predefined address pools have been fully subnetted";
            return invalid(text.to_owned());
        };
        return Ok(record(new, subnet, Some(subnet.gateway())));
    };
    if asked.subnets.len() > 1 {
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
        return overlapping();
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

fn overlapping<T>() -> Result<T> {
    let text = "invalid pool request: Pool overlaps with other one on this address space";
    invalid(text.to_owned())
}

fn none_without_subnet(asked: &Asked<'_>) -> Result<()> {
    match asked.gateway.or(asked.range) {
        Some(_) => invalid("every ip-range or gateway must have a corresponding subnet".to_owned()),
        None => Ok(()),
    }
}

/// What is asked for of IPv6: it is kept where it is not wanted, too, as docker has it.
fn settle6(
    record: &mut NetworkRecord,
    asked: &Asked<'_>,
    others: &[Network],
    machine: [u8; 5],
) -> Result<()> {
    let taken = others.iter().filter_map(|n| Some(n.addresses6()?.subnet));
    let taken: Vec<Subnet6> = taken.collect();
    let Some(text) = asked.subnets.first() else {
        none_without_subnet(asked)?;
        if record.ipv6 {
            let Some(subnet) = choose6_for_user(machine, &taken) else {
                let text = "all predefined address pools have been fully subnetted";
                return invalid(text.to_owned());
            };
            record.subnet6 = subnet.to_string();
            record.gateway6 = Some(subnet.gateway());
        }
        return Ok(());
    };
    if asked.subnets.len() > 1 {
        return invalid("a network has one subnet of IPv6 addresses here".to_owned());
    }
    let subnet = match Subnet6::parse(text) {
        None => {
            return invalid(format!(
                "invalid network config:\ninvalid subnet {text}: invalid CIDR block notation"
            ));
        }
        Some((address, subnet)) if address != subnet.base() => {
            return invalid(format!(
                "invalid network config:\ninvalid subnet {text}: it should be {subnet}"
            ));
        }
        Some((_, subnet)) if subnet.prefix() > 126 => {
            return invalid(format!(
                "subnet {subnet} has no room for a gateway and a container"
            ));
        }
        Some((_, subnet)) => subnet,
    };
    let gateway = match asked.gateway {
        None => None,
        Some(text) => match text.parse::<Ipv6Addr>() {
            Ok(address) if subnet.contains(address) => Some(address),
            _ => return invalid(format!("no matching subnet for gateway {text}")),
        },
    };
    let range = match asked.range {
        None => None,
        Some(text) => match Subnet6::parse(text) {
            Some((_, range)) if subnet.covers(range) => Some(range),
            _ => return invalid(format!("no matching subnet for range {text}")),
        },
    };
    if record.ipv6 && taken.iter().any(|other| other.overlaps(subnet)) {
        return overlapping();
    }
    record.subnet6 = subnet.to_string();
    record.range6 = range.map(|range| range.to_string());
    record.says_subnet6 = true;
    record.says_gateway6 = gateway.is_some();
    let first = range.unwrap_or(subnet);
    record.gateway6 = gateway.or(Some(match first.base() == subnet.base() {
        true => subnet.gateway(),
        false => first.base(),
    }));
    Ok(())
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
    if let Some(text) = options.get(INTERFACES)
        && (text.is_empty() || text.len() > 12 || !text.bytes().all(|b| b.is_ascii_alphanumeric()))
    {
        return invalid(format!(
            "invalid interface prefix {text:?}: up to 12 letters and digits"
        ));
    }
    if let Some(name) = options.get(NAME) {
        let is_one = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':');
        if !(1..=15).contains(&name.len()) || !name.chars().all(is_one) || name.starts_with('.') {
            return invalid(format!(
                "invalid {NAME} {name:?}: names of links have up to 15 letters, digits and signs"
            ));
        }
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
    fn addresses_of_ipv6_are_those_asked_for_or_this_machines() {
        let mut asked = new("fd00:77::/64", "", "");
        asked.ipv6 = true;
        asked.machine = [0xfb, 0x18, 0x2f, 0xb5, 0xf0];
        let given = settle(&asked, &[], &[]).unwrap();
        assert_eq!(given.subnet, "172.17.0.0/16", "and some of IPv4");
        assert_eq!(given.gateway6.unwrap().to_string(), "fd00:77::1");
        assert!(given.says_subnet6 && !given.says_gateway6 && !given.says_subnet);
        let mut six = other("10.77.0.0/16");
        six.record = given.clone();
        let mut free = new("", "", "");
        (free.ipv6, free.machine) = (true, asked.machine);
        let free = settle(&free, &[], &[]).unwrap();
        assert_eq!(free.subnet6, "fdfb:182f:b5f0::/64");
        for (subnet, gateway, why) in [
            (
                "fd00:77::/80",
                "",
                "invalid pool request: Pool overlaps with other one on this address space",
            ),
            (
                "fd00:78::1/64",
                "",
                "invalid network config:\ninvalid subnet fd00:78::1/64: it should be fd00:78::/64",
            ),
            (
                "fd00:78::/64",
                "fd00:79::1",
                "no matching subnet for gateway fd00:79::1",
            ),
        ] {
            let mut asked = new(subnet, gateway, "");
            asked.ipv6 = true;
            let error = settle(&asked, std::slice::from_ref(&six), &[]).unwrap_err();
            assert_eq!(error.to_string(), why);
        }
        let unused = settle(&new("fd00:78::/64", "", ""), &[], &[]).unwrap();
        assert!(!unused.ipv6 && unused.subnet6 == "fd00:78::/64");
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
