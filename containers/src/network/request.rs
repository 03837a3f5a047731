//! From what is asked for to a network. Pure; the words of what is refused are docker's.

use std::net::{Ipv4Addr, Ipv6Addr};

use runtime::network::{Subnet, Subnet6, choose_for_user, choose6_for_user};

use super::definition::{Driver, Network, NetworkRecord, is_predefined};
use super::new::{
    NewNetwork, aux_addresses, check_options, check_pairs, invalid, of_kind, subnet_of, subnet6_of,
};
use super::parent;
use super::template::{from_template, template};
use crate::error::Result;

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
    if others.iter().any(|other| other.name == new.name) {
        return invalid(format!("network with name {} already exists", new.name));
    }
    if new.config_only {
        return template(new);
    }
    if !matches!(new.driver.as_str(), "" | "bridge" | "macvlan" | "ipvlan") {
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
    if new.ingress {
        return invalid("Ingress network can only be global scope network".to_owned());
    }
    match new.scope.as_str() {
        "swarm" => invalid("cannot create a swarm scoped network when swarm is not active".into()),
        _ if new.config_from.is_empty() => settle_all(new, others, used),
        _ => settle_all(&from_template(new, others)?, others, used),
    }
}

fn settle_all(new: &NewNetwork, others: &[Network], used: &[Subnet]) -> Result<NetworkRecord> {
    if new.without_ipv4 && !new.ipv6 {
        return invalid("IPv4 or IPv6 must be enabled".to_owned());
    }
    let driver = Driver::named(&new.driver);
    match driver {
        Driver::Bridge => check_options(&new.options)?,
        _ => parent::check(driver, &new.options, others)?,
    }
    check_pairs(new)?;
    let four = Asked {
        subnets: of_kind(&new.subnets, false),
        gateway: of_kind(&new.gateways, false).first().copied(),
        range: of_kind(&new.ranges, false).first().copied(),
    };
    let mut record = match new.without_ipv4 {
        true => without4(new, &four, others)?,
        false => settle4(new, &four, others, used)?,
    };
    let six = Asked {
        subnets: of_kind(&new.subnets, true),
        gateway: of_kind(&new.gateways, true).first().copied(),
        range: of_kind(&new.ranges, true).first().copied(),
    };
    record.ipv6 = new.ipv6;
    settle6(&mut record, &six, others, new)?;
    record.ipam_options = new.ipam_options.clone();
    record.aux_addresses = aux_addresses(&new.aux_addresses, &record)?;
    Ok(record)
}

/// A network without IPv4 addresses, which has numbers all the same: a thousand of those that are
/// kept for nobody (RFC 1112, 4), as many as a bridge has room for.
fn without4(new: &NewNetwork, asked: &Asked<'_>, others: &[Network]) -> Result<NetworkRecord> {
    const FIRST: u32 = 0xf000_0000;
    const LENGTH: u8 = 22;
    const RANGES: u32 = 1 << (LENGTH - 4);
    let subnet = match asked.subnets.first() {
        Some(text) => Some(subnet_of(text)?),
        None => None,
    };
    let taken: Vec<Subnet> = others
        .iter()
        .filter_map(|other| Some(other.addresses()?.subnet))
        .collect();
    // The last range has an address that means everybody.
    let numbers = (0..RANGES - 1).find_map(|more| {
        let range = (new.number % (RANGES - 1) + more) % (RANGES - 1);
        let numbers = Subnet::new((FIRST + (range << (32 - LENGTH))).into(), LENGTH)?;
        let is_free = !taken.iter().any(|other| other.overlaps(numbers));
        is_free.then_some(numbers)
    });
    let Some(numbers) = numbers else {
        return invalid("all predefined address pools have been fully subnetted".to_owned());
    };
    let text = subnet.map(|subnet| subnet.to_string()).unwrap_or_default();
    Ok(NetworkRecord {
        without_ipv4: true,
        numbers: numbers.to_string(),
        says_subnet: !text.is_empty(),
        subnet: text,
        ..plain(new)
    })
}

/// What is asked for, of one kind of addresses.
struct Asked<'a> {
    subnets: Vec<&'a str>,
    gateway: Option<&'a str>,
    range: Option<&'a str>,
}

fn settle4(
    new: &NewNetwork,
    asked: &Asked<'_>,
    others: &[Network],
    used: &[Subnet],
) -> Result<NetworkRecord> {
    let (gateway, range) = (asked.gateway, asked.range);
    let Some(subnet) = asked.subnets.first() else {
        let taken = others.iter().filter_map(|n| Some(n.addresses()?.subnet));
        let used: Vec<Subnet> = used.iter().copied().chain(taken).collect();
        let Some(subnet) = choose_for_user(&used) else {
            let text = "all predefined address pools have been fully subnetted";
            return invalid(text.to_owned());
        };
        return Ok(record(new, subnet, Some(subnet.gateway())));
    };
    if asked.subnets.len() > 1 {
        return several_subnets(new);
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
            Some(_) => return invalid(format!("no matching subnet for range {text}")),
            None => return invalid(format!("invalid CIDR address: {text}")),
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

fn several_subnets<T>(new: &NewNetwork) -> Result<T> {
    let driver = Driver::named(&new.driver).as_str();
    invalid(format!("{driver} driver doesn't support multiple subnets"))
}

fn overlapping<T>() -> Result<T> {
    let text = "invalid pool request: Pool overlaps with other one on this address space";
    invalid(text.to_owned())
}

/// What is asked for of IPv6: it is kept where it is not wanted, too, as docker has it.
fn settle6(
    record: &mut NetworkRecord,
    asked: &Asked<'_>,
    others: &[Network],
    new: &NewNetwork,
) -> Result<()> {
    let taken = others.iter().filter_map(|n| Some(n.addresses6()?.subnet));
    let taken: Vec<Subnet6> = taken.collect();
    let Some(text) = asked.subnets.first() else {
        if record.ipv6 {
            let Some(subnet) = choose6_for_user(new.machine, &taken) else {
                let text = "all predefined address pools have been fully subnetted";
                return invalid(text.to_owned());
            };
            record.subnet6 = subnet.to_string();
            record.gateway6 = Some(subnet.gateway());
        }
        return Ok(());
    };
    if asked.subnets.len() > 1 {
        return several_subnets(new);
    }
    let subnet = subnet6_of(text)?;
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
            Some(_) => return invalid(format!("no matching subnet for range {text}")),
            None => return invalid(format!("invalid CIDR address: {text}")),
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
        ..plain(new)
    }
}

/// What does not depend on addresses.
fn plain(new: &NewNetwork) -> NetworkRecord {
    NetworkRecord {
        internal: new.internal,
        attachable: new.attachable,
        config_from: new.config_from.clone(),
        scope: new.scope.clone(),
        options: new.options.clone(),
        labels: new.labels.clone(),
        ..NetworkRecord::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::definition::MTU;
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
