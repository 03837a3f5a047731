//! From the flags of `run` and `create` about networks to what a container is made with. The words
//! of what is refused are docker's.

use std::collections::BTreeMap;
use std::net::IpAddr;

use containers::endpoint::EndpointSettings;
use containers::engine::Asked;
use containers::record::{Config, HostConfig};

use super::network_flags::NetworkFlags;
use super::ports;
use crate::usage::wrong_value;

/// Writes what the flags say into `config` and `host`; the networks that are asked for.
///
/// # Errors
/// Says which flag has which wrong value.
pub fn read(
    flags: &NetworkFlags,
    config: &mut Config,
    host: &mut HostConfig,
) -> Result<Asked, String> {
    for text in &flags.expose {
        let exposed = ports::exposed(text)?;
        let exposed = exposed.into_iter().map(|port| (port, Default::default()));
        config.exposed_ports.extend(exposed);
    }
    for (port, bindings) in ports::published(&flags.publish)? {
        config
            .exposed_ports
            .insert(port.clone(), Default::default());
        host.port_bindings.insert(port, bindings);
    }
    host.publish_all_ports = flags.publish_all;
    host.extra_hosts = list(&hosts(&flags.add_host)?);
    for server in &flags.dns {
        if server.parse::<IpAddr>().is_err() {
            let why = format!("IP address is not correctly formatted: {server}");
            return Err(wrong_value("--dns", server, &why));
        }
    }
    host.dns.clone_from(&flags.dns);
    host.dns_search.clone_from(&flags.dns_search);
    host.dns_options.clone_from(&flags.dns_option);
    for link in &flags.link {
        if link.split(':').count() > 2 {
            let why = format!("bad format for links: {link}");
            return Err(wrong_value("--link", link, &why));
        }
    }
    host.links = list(&flags.link);
    if let Some(mac) = &flags.mac_address {
        check_mac(mac)?;
        config.mac_address = Some(mac.clone());
    }
    networks(flags, host)
}

fn list(words: &[String]) -> Option<Vec<String>> {
    (!words.is_empty()).then(|| words.to_vec())
}

fn check_mac(text: &str) -> Result<(), String> {
    match text.parse::<runtime::network::Mac>() {
        Ok(_) => Ok(()),
        Err(()) => Err(format!("{text} is not a valid mac address")),
    }
}

/// The networks, the first of which is the container's mode.
fn networks(flags: &NetworkFlags, host: &mut HostConfig) -> Result<Asked, String> {
    let mut all = Vec::new();
    for text in &flags.network {
        all.push(network(text)?);
    }
    if all.is_empty() {
        all.push(("default".to_owned(), EndpointSettings::default()));
    }
    let several = all.len() > 1;
    let mut asked = Asked::new();
    for (at, (name, mut settings)) in all.into_iter().enumerate() {
        let is_user = !matches!(name.as_str(), "default" | "bridge" | "host" | "none")
            && !name.starts_with("container:");
        if several && !is_user {
            return Err(
                "conflicting options: cannot attach both user-defined and non-user-defined \
                 network-modes"
                    .to_owned(),
            );
        }
        if at == 0 {
            join(flags, &mut settings)?;
            host.network_mode.clone_from(&name);
        }
        if settings.aliases.is_some() && !is_user {
            return Err(
                "network-scoped aliases are only supported for user-defined networks".to_owned(),
            );
        }
        let said = settings != EndpointSettings::default();
        let name = match name.as_str() {
            "default" => "bridge".to_owned(),
            _ => name,
        };
        if asked.contains_key(&name) {
            return Err(format!("network {name:?} is specified multiple times"));
        }
        if (is_user || said) && !name.starts_with("container:") {
            asked.insert(name, settings);
        }
    }
    if host.network_mode == "default" {
        host.network_mode = "bridge".to_owned();
    }
    Ok(asked)
}

/// Adds what flags of their own say of the first network.
fn join(flags: &NetworkFlags, settings: &mut EndpointSettings) -> Result<(), String> {
    let conflict = |flag: &str, other: &str| {
        Err(format!(
            "conflicting options: cannot specify both {flag} and per-network {other}"
        ))
    };
    if let Some(aliases) = list(&flags.network_alias) {
        if settings.aliases.is_some() {
            return conflict("--network-alias", "alias");
        }
        settings.aliases = Some(aliases);
    }
    if let Some(address) = &flags.ip {
        if settings.address().is_some() {
            return conflict("--ip", "IPv4 address");
        }
        let own = settings.ipam_config.get_or_insert_default();
        own.ipv4.clone_from(address);
    }
    if let Some(address) = &flags.ip6 {
        if settings.address6().is_some() {
            return conflict("--ip6", "IPv6 address");
        }
        let own = settings.ipam_config.get_or_insert_default();
        own.ipv6.clone_from(address);
    }
    if !flags.link_local_ip.is_empty() {
        if !settings.link_local().is_empty() {
            return conflict("--link-local-ip", "link-local IP addresses");
        }
        let own = settings.ipam_config.get_or_insert_default();
        own.link_local.clone_from(&flags.link_local_ip);
    }
    if let Some(mac) = &flags.mac_address {
        if !settings.mac_address.is_empty() {
            return conflict("--mac-address", "MAC address");
        }
        settings.mac_address.clone_from(mac);
    }
    Ok(())
}

/// `NETWORK`, or `name=NETWORK,KEY=VALUE,…`
fn network(text: &str) -> Result<(String, EndpointSettings), String> {
    let wrong = |why: String| wrong_value("--network", text, &why);
    let mut settings = EndpointSettings::default();
    if !text.contains('=') {
        return Ok((text.to_owned(), settings));
    }
    let mut name = String::new();
    for field in text.split(',') {
        let Some((key, value)) = field.split_once('=') else {
            return Err(wrong(format!("invalid field {field}")));
        };
        let value = value.trim();
        match key.trim().to_lowercase().as_str() {
            "name" => value.clone_into(&mut name),
            "alias" => settings
                .aliases
                .get_or_insert_default()
                .push(value.to_owned()),
            "ip" => {
                let own = settings.ipam_config.get_or_insert_default();
                value.clone_into(&mut own.ipv4);
            }
            "ip6" => {
                let own = settings.ipam_config.get_or_insert_default();
                value.clone_into(&mut own.ipv6);
            }
            "link-local-ip" => {
                let own = settings.ipam_config.get_or_insert_default();
                own.link_local.push(value.to_owned());
            }
            "mac-address" => {
                check_mac(value).map_err(&wrong)?;
                value.clone_into(&mut settings.mac_address);
            }
            "driver-opt" => {
                let (key, value) = value.split_once('=').ok_or_else(|| {
                    wrong("invalid key value pair format in driver options".into())
                })?;
                let options: &mut BTreeMap<_, _> = settings.driver_opts.get_or_insert_default();
                options.insert(key.to_owned(), value.to_owned());
            }
            "gw-priority" => {
                let number = value.parse();
                let invalid = |_| wrong(format!("invalid gw-priority ({value}): invalid syntax"));
                settings.gw_priority = number.map_err(invalid)?;
            }
            key => return Err(wrong(format!("invalid field key {key}"))),
        }
    }
    match name.is_empty() {
        true => Err(wrong("network name/id is not specified".to_owned())),
        false => Ok((name, settings)),
    }
}

/// `NAME:IP` or `NAME=IP`
fn hosts(texts: &[String]) -> Result<Vec<String>, String> {
    let read = |text: &String| {
        let parts = text.split_once('=').or_else(|| text.split_once(':'));
        let refused = |why: &str| wrong_value("--add-host", text, why);
        let (name, address) = parts
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| refused(&format!("bad format for add-host: \"{text}\"")))?;
        let bare = address.trim_start_matches('[').trim_end_matches(']');
        if bare != "host-gateway" && bare.parse::<IpAddr>().is_err() {
            let why = format!("invalid IP address in add-host: \"{address}\"");
            return Err(refused(&why));
        }
        Ok(format!("{name}:{bare}"))
    };
    texts.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(networks: &[&str], flags: &[(&str, &str)]) -> Result<(String, Asked), String> {
        let of = |name: &str| {
            flags
                .iter()
                .find(|(flag, _)| *flag == name)
                .map(|(_, v)| (*v).to_owned())
        };
        let flags = NetworkFlags {
            network: networks.iter().map(|text| (*text).to_owned()).collect(),
            network_alias: of("--network-alias").into_iter().collect(),
            ip: of("--ip"),
            ip6: of("--ip6"),
            link_local_ip: Vec::new(),
            mac_address: of("--mac-address"),
            link: of("--link").into_iter().collect(),
            publish: Vec::new(),
            publish_all: false,
            expose: Vec::new(),
            add_host: of("--add-host").into_iter().collect(),
            dns: of("--dns").into_iter().collect(),
            dns_search: Vec::new(),
            dns_option: Vec::new(),
        };
        let (mut config, mut host) = (Config::default(), HostConfig::default());
        let asked = read(&flags, &mut config, &mut host)?;
        Ok((host.network_mode, asked))
    }

    #[test]
    fn networks_are_read_as_dockers() {
        assert_eq!(
            asked(&[], &[]).unwrap(),
            ("bridge".to_owned(), Asked::new())
        );
        let (mode, all) = asked(
            &["n1", "name=n4,alias=q,ip=10.90.5.77,ip6=fd00::7"],
            &[("--ip", "10.0.0.9"), ("--ip6", "fd00::9")],
        )
        .unwrap();
        assert_eq!(mode, "n1");
        assert_eq!(all["n1"].address(), Some("10.0.0.9"));
        assert_eq!(all["n4"].address(), Some("10.90.5.77"));
        assert_eq!(all["n1"].address6(), Some("fd00::9"));
        assert_eq!(all["n4"].address6(), Some("fd00::7"));
        assert_eq!(all["n4"].aliases.as_deref().unwrap(), ["q"]);
        assert!(asked(&["container:x"], &[]).unwrap().1.is_empty());
    }

    /// The sentences are those of docker 28's client.
    #[test]
    fn what_makes_no_sense_is_refused() {
        for (networks, flags, why) in [
            (
                vec!["host", "n1"],
                vec![],
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
            ),
            (
                vec!["n1", "n1"],
                vec![],
                "network \"n1\" is specified multiple times",
            ),
            (
                vec!["name=n1,foo=bar"],
                vec![],
                "invalid argument \"name=n1,foo=bar\" for \"--network\" flag: invalid field key foo",
            ),
            (
                vec!["alias=foo"],
                vec![],
                "invalid argument \"alias=foo\" for \"--network\" flag: network name/id is not specified",
            ),
            (
                vec![],
                vec![("--network-alias", "x")],
                "network-scoped aliases are only supported for user-defined networks",
            ),
            (
                vec!["n1"],
                vec![("--mac-address", "xx")],
                "xx is not a valid mac address",
            ),
            (
                vec![],
                vec![("--link", "a:b:c")],
                "invalid argument \"a:b:c\" for \"--link\" flag: bad format for links: a:b:c",
            ),
            (
                vec![],
                vec![("--dns", "abc")],
                "invalid argument \"abc\" for \"--dns\" flag: IP address is not correctly formatted: abc",
            ),
            (
                vec![],
                vec![("--add-host", "test")],
                "invalid argument \"test\" for \"--add-host\" flag: bad format for add-host: \"test\"",
            ),
        ] {
            assert_eq!(asked(&networks, &flags).unwrap_err(), why);
        }
    }
}
