//! What is asked for of a network, and how its parts are read. Pure; the words of what is refused
//! are docker's.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use runtime::network::{Subnet, Subnet6};

use super::definition::{INTERFACES, MTU, NAME, NetworkRecord, PUBLISHED_AT};
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
    /// It has no IPv4 addresses.
    pub without_ipv4: bool,
    /// It has IPv6 addresses.
    pub ipv6: bool,
    /// What tells this machine's IPv6 addresses from those of others.
    pub machine: [u8; 5],
    /// Nobody on it reaches other networks.
    pub internal: bool,
    /// docker's swarm could use it.
    pub attachable: bool,
    /// It is none, but what others are made from.
    pub config_only: bool,
    /// The name of the one that it is made from; empty without.
    pub config_from: String,
    /// It is docker's swarm's way in, which there is none of.
    pub ingress: bool,
    /// How far it is said to reach; empty for this machine.
    pub scope: String,
    /// A number that hardly any other network has.
    pub number: u32,
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

pub(super) fn invalid<T>(text: String) -> Result<T> {
    Err(Error::Invalid(text))
}

/// Addresses that nobody gets: each has to be in a subnet that was said.
pub(super) fn aux_addresses(
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
        let gateways = [
            record.gateway.map(IpAddr::V4),
            record.gateway6.map(IpAddr::V6),
        ];
        let is_taken = !record.config_only && gateways.contains(&Some(address));
        if is_taken || all.values().any(|other| *other == address) {
            return invalid(format!(
                "failed to allocate secondary ip address ({name}:{address}): Address already in use"
            ));
        }
        all.insert(name.clone(), address);
    }
    Ok(all)
}

/// Those of IPv4, or of IPv6.
pub(super) fn of_kind(texts: &[String], six: bool) -> Vec<&str> {
    let all = texts.iter().map(String::as_str);
    all.filter(|text| text.contains(':') == six).collect()
}

/// A subnet of IPv4.
pub(super) fn subnet_of(text: &str) -> Result<Subnet> {
    match Subnet::parse(text) {
        None => invalid(format!(
            "invalid network config:\ninvalid subnet {text}: invalid CIDR block notation"
        )),
        Some((address, subnet)) if address != subnet.base() => invalid(format!(
            "invalid network config:\ninvalid subnet {text}: it should be {subnet}"
        )),
        Some((_, subnet)) => Ok(subnet),
    }
}

/// A subnet of IPv6.
pub(super) fn subnet6_of(text: &str) -> Result<Subnet6> {
    match Subnet6::parse(text) {
        None => invalid(format!(
            "invalid network config:\ninvalid subnet {text}: invalid CIDR block notation"
        )),
        Some((address, subnet)) if address != subnet.base() => invalid(format!(
            "invalid network config:\ninvalid subnet {text}: it should be {subnet}"
        )),
        Some((_, subnet)) if subnet.prefix() > 127 => {
            invalid("failed to allocate gateway (): no available addresses on this pool".to_owned())
        }
        Some((_, subnet)) => Ok(subnet),
    }
}

/// Options that are not known are kept and change nothing, as docker has it.
pub(super) fn check_options(options: &BTreeMap<String, String>) -> Result<()> {
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

/// Refuses gateways and ranges that have no subnet, or not one each.
pub(super) fn check_pairs(new: &NewNetwork) -> Result<()> {
    for six in [false, true] {
        let subnets = of_kind(&new.subnets, six).len();
        let lists = [&new.gateways, &new.ranges];
        if lists.iter().any(|list| of_kind(list, six).len() > subnets) {
            let text = "every ip-range or gateway must have a corresponding subnet";
            return invalid(text.to_owned());
        }
    }
    Ok(())
}
