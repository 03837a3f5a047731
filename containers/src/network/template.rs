//! Networks that are none, but what others are made from (`--config-only`, `--config-from`). Pure;
//! the words of what is refused are docker's.

use super::definition::{Network, NetworkRecord};
use super::new::{
    NewNetwork, aux_addresses, check_options, check_pairs, invalid, of_kind, subnet_of, subnet6_of,
};
use crate::error::Result;

/// What is stored of a network that others are made from: what was said, and no addresses.
pub(super) fn template(new: &NewNetwork) -> Result<NetworkRecord> {
    if !new.config_from.is_empty() {
        return invalid(
            "a configuration network cannot depend on another configuration network".to_owned(),
        );
    }
    if new.ingress || new.internal || new.attachable || !new.scope.is_empty() {
        return invalid(
            "configuration network can only contain network specific fields. Network operator \
             fields like [ ingress | internal | attachable | scope ] are not supported."
                .to_owned(),
        );
    }
    check_options(&new.options)?;
    check_pairs(new)?;
    let said = |list: &[String], six: bool| of_kind(list, six).first().map(|one| (*one).to_owned());
    let mut record = NetworkRecord {
        config_only: true,
        without_ipv4: new.without_ipv4,
        ipv6: new.ipv6,
        ipam_options: new.ipam_options.clone(),
        options: new.options.clone(),
        labels: new.labels.clone(),
        ..NetworkRecord::default()
    };
    if let Some(text) = said(&new.subnets, false) {
        record.subnet = subnet_of(&text)?.to_string();
        record.says_subnet = true;
    }
    if let Some(text) = said(&new.subnets, true) {
        record.subnet6 = subnet6_of(&text)?.to_string();
        record.says_subnet6 = true;
    }
    record.range = said(&new.ranges, false);
    record.range6 = said(&new.ranges, true);
    record.gateway = said(&new.gateways, false).and_then(|text| text.parse().ok());
    record.gateway6 = said(&new.gateways, true).and_then(|text| text.parse().ok());
    record.says_gateway = record.gateway.is_some();
    record.says_gateway6 = record.gateway6.is_some();
    record.aux_addresses = aux_addresses(&new.aux_addresses, &record)?;
    Ok(record)
}

/// What is asked for by one that is made from another.
pub(super) fn from_template(new: &NewNetwork, others: &[Network]) -> Result<NewNetwork> {
    if !new.options.is_empty() {
        return invalid(
            "network driver options are not supported if the network depends on a configuration \
             network"
                .to_owned(),
        );
    }
    let says = [&new.labels, &new.aux_addresses, &new.ipam_options];
    let lists = [&new.subnets, &new.gateways, &new.ranges];
    if new.ipv6
        || new.without_ipv4
        || says.iter().any(|map| !map.is_empty())
        || lists.iter().any(|list| !list.is_empty())
    {
        return invalid(
            "user specified configurations are not supported if the network depends on a \
             configuration network"
                .to_owned(),
        );
    }
    let mut others = others.iter();
    let found = others.find(|one| one.record.config_only && one.name == new.config_from);
    let Some(found) = found else {
        return invalid(format!(
            "configuration network {:?} does not exist",
            new.config_from
        ));
    };
    let record = &found.record;
    let both = |four: Option<String>, six: Option<String>| four.into_iter().chain(six).collect();
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let aux = record.aux_addresses.iter();
    Ok(NewNetwork {
        subnets: both(text(&record.subnet), text(&record.subnet6)),
        gateways: both(
            record.gateway.map(|one| one.to_string()),
            record.gateway6.map(|one| one.to_string()),
        ),
        ranges: both(record.range.clone(), record.range6.clone()),
        without_ipv4: record.without_ipv4,
        ipv6: record.ipv6,
        aux_addresses: aux
            .map(|(name, one)| (name.clone(), one.to_string()))
            .collect(),
        ipam_options: record.ipam_options.clone(),
        options: record.options.clone(),
        labels: record.labels.clone(),
        ..new.clone()
    })
}
