//! Published ports: from what a container was made with to what its monitor binds, and from what is
//! bound to what is shown. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use runtime::network::Protocol;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::record::{Config, HostConfig, PortBinding};

/// A port that is to be published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Its protocol.
    pub protocol: Protocol,
    /// The container's port.
    pub container: u16,
    /// The address of this machine; nothing for all, of IPv4 and of IPv6.
    pub address: Option<IpAddr>,
    /// The ports of this machine of which the first free one is taken; nothing for any.
    pub among: Option<(u16, u16)>,
}

/// A port that is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Its protocol.
    pub protocol: Protocol,
    /// The container's port.
    pub container: u16,
    /// The address of this machine; unspecified for all of its kind.
    pub address: IpAddr,
    /// The port of this machine.
    pub port: u16,
}

/// Reads `80/tcp`.
pub(crate) fn port(text: &str) -> Option<(u16, Protocol)> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    Some((number.parse().ok()?, Protocol::named(protocol)?))
}

/// What a container wants published: those with a port of this machine first, so that none of them
/// is taken for one that may have any.
///
/// # Errors
/// Ports and addresses that are none.
pub(crate) fn wanted(config: &Config, host: &HostConfig) -> Result<Vec<Wanted>> {
    let mut wanted = Vec::new();
    for (text, bindings) in &host.port_bindings {
        let invalid = || Error::Invalid(format!("invalid port specification: \"{text}\""));
        let (container, protocol) = port(text).ok_or_else(invalid)?;
        for binding in bindings {
            wanted.push(Wanted {
                protocol,
                container,
                address: address(binding)?,
                among: among(binding)?,
            });
        }
    }
    if host.publish_all_ports {
        let exposed = config.exposed_ports.keys();
        let others = exposed.filter(|text| !host.port_bindings.contains_key(*text));
        for (container, protocol) in others.filter_map(|text| port(text)) {
            wanted.push(Wanted {
                protocol,
                container,
                address: None,
                among: None,
            });
        }
    }
    wanted.sort_by_key(|one| (one.among.is_none(), one.container, one.protocol));
    Ok(wanted)
}

fn address(binding: &PortBinding) -> Result<Option<IpAddr>> {
    let text = binding.host_ip.as_str();
    if text.is_empty() {
        return Ok(None);
    }
    let address = text.parse();
    address
        .map(Some)
        .map_err(|_| Error::Invalid(format!("invalid IP address: {text}")))
}

fn among(binding: &PortBinding) -> Result<Option<(u16, u16)>> {
    let text = binding.host_port.as_str();
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok(Some((first, last))),
        _ => Err(Error::Invalid(format!("invalid port range: {text}"))),
    }
}

/// The ports as `inspect` shows them: those that are published, and those that are only told of.
pub(crate) fn document(config: &Config, host: &HostConfig, published: &[Published]) -> Value {
    let mut all: BTreeMap<String, Vec<&Published>> = BTreeMap::new();
    for one in published {
        let key = format!("{}/{}", one.container, one.protocol.name());
        all.entry(key).or_default().push(one);
    }
    let exposed = config.exposed_ports.keys().chain(host.port_bindings.keys());
    for key in exposed {
        all.entry(key.clone()).or_default();
    }
    let shown = all.into_iter().map(|(key, mut bindings)| {
        bindings.sort_by_key(|one| (one.port, one.address));
        let bindings: Vec<Value> = bindings
            .iter()
            .map(|one| json!({"HostIp": one.address.to_string(), "HostPort": one.port.to_string()}))
            .collect();
        let value = match bindings.is_empty() {
            true => Value::Null,
            false => Value::Array(bindings),
        };
        (key, value)
    });
    Value::Object(shown.collect())
}

/// An address and a port in one, IPv6 in brackets.
pub fn joined(address: IpAddr, port: impl std::fmt::Display) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{address}]:{port}"),
    }
}

/// The lines of `port`: container's ports, each with a place that leads to it.
pub fn lines(published: &[Published]) -> Vec<(u16, Protocol, String)> {
    let mut lines: Vec<&Published> = published.iter().collect();
    // By what is read, as docker has it: [::1] before [::].
    let text = |address: IpAddr| joined(address, "");
    lines.sort_by_key(|one| (one.container, one.protocol, text(one.address), one.port));
    let line = |one: &&Published| (one.container, one.protocol, joined(one.address, one.port));
    lines.iter().map(line).collect()
}

/// The ports as `ps` shows them, neighbours in one. `exposed` are those that are told of.
pub fn shown<'e>(exposed: impl IntoIterator<Item = &'e str>, published: &[Published]) -> String {
    /// A port: the container's, the place that leads there, the protocol.
    type Port = (u16, Option<(IpAddr, u16)>, Protocol);
    /// Neighbours: address and protocol that they share, the first and the last.
    type Group = ((Option<IpAddr>, Protocol), (u16, u16));
    let mut all: Vec<Port> = published
        .iter()
        .map(|one| (one.container, Some((one.address, one.port)), one.protocol))
        .collect();
    for (number, protocol) in exposed.into_iter().filter_map(port) {
        let is_same = |one: &Published| (one.container, one.protocol) == (number, protocol);
        if !published.iter().any(is_same) {
            all.push((number, None, protocol));
        }
    }
    let text = |place: &Option<(IpAddr, u16)>| place.map(|(address, _)| address.to_string());
    all.sort_by_key(|(number, place, protocol)| {
        (*number, text(place), place.map(|(_, port)| port), *protocol)
    });
    let mut groups: Vec<Group> = Vec::new();
    let (mut done, mut others) = (Vec::new(), Vec::new());
    for (number, place, protocol) in all {
        if let Some((address, port)) = place.filter(|(_, port)| *port != number) {
            let at = joined(address, port);
            others.push(format!("{at}->{number}/{}", protocol.name()));
            continue;
        }
        let key = (place.map(|(address, _)| address), protocol);
        match groups.iter_mut().find(|(of, _)| *of == key) {
            None => groups.push((key, (number, number))),
            Some((_, (_, last))) if number == last.saturating_add(1) => *last = number,
            Some((_, range)) => {
                done.push(group(key, *range));
                *range = (number, number);
            }
        }
    }
    let rest = groups.into_iter().map(|(key, range)| group(key, range));
    let all: Vec<String> = done.into_iter().chain(rest).chain(others).collect();
    all.join(", ")
}

fn group((address, protocol): (Option<IpAddr>, Protocol), (first, last): (u16, u16)) -> String {
    let range = match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let protocol = protocol.name();
    match address {
        None => format!("{range}/{protocol}"),
        Some(address) => format!("{}->{range}/{protocol}", joined(address, &range)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(list: &[(&str, u16, u16, Protocol)]) -> Vec<Published> {
        let one = |(address, port, container, protocol): &(&str, u16, u16, Protocol)| Published {
            protocol: *protocol,
            container: *container,
            address: address.parse().unwrap(),
            port: *port,
        };
        list.iter().map(one).collect()
    }

    /// A container of docker 28, made with -p 8080:80 -p 127.0.0.1:81:80 -p 82:80/udp
    /// -p 7000-7002:7000-7002 -p 127.0.0.1::90 -p 91.
    fn example() -> Vec<Published> {
        let mut list = published(&[
            ("0.0.0.0", 8080, 80, Protocol::Tcp),
            ("::", 8080, 80, Protocol::Tcp),
            ("127.0.0.1", 81, 80, Protocol::Tcp),
            ("0.0.0.0", 82, 80, Protocol::Udp),
            ("::", 82, 80, Protocol::Udp),
            ("127.0.0.1", 32768, 90, Protocol::Tcp),
            ("0.0.0.0", 32769, 91, Protocol::Tcp),
            ("::", 32769, 91, Protocol::Tcp),
        ]);
        for port in 7000..=7002 {
            let both = [
                ("0.0.0.0", port, port, Protocol::Tcp),
                ("::", port, port, Protocol::Tcp),
            ];
            list.extend(published(&both));
        }
        list
    }

    #[test]
    fn they_are_shown_as_dockers_are() {
        let want = "0.0.0.0:7000-7002->7000-7002/tcp, [::]:7000-7002->7000-7002/tcp, \
            0.0.0.0:82->80/udp, 0.0.0.0:8080->80/tcp, 127.0.0.1:81->80/tcp, [::]:82->80/udp, \
            [::]:8080->80/tcp, 127.0.0.1:32768->90/tcp, 0.0.0.0:32769->91/tcp, [::]:32769->91/tcp";
        assert_eq!(shown(["80/tcp", "7001/tcp"], &example()), want);
        assert_eq!(
            shown(["8001/tcp", "8000/tcp", "8002/tcp"], &[]),
            "8000-8002/tcp"
        );
        assert_eq!(shown(["53/udp", "53/tcp"], &[]), "53/tcp, 53/udp");
        let gap = published(&[
            ("::1", 80, 80, Protocol::Tcp),
            ("::1", 82, 82, Protocol::Tcp),
        ]);
        assert_eq!(shown([], &gap), "[::1]:80->80/tcp, [::1]:82->82/tcp");
    }

    #[test]
    fn lines_are_in_dockers_order() {
        let lines: Vec<String> = lines(&example())
            .into_iter()
            .map(|(number, protocol, at)| format!("{number}/{} -> {at}", protocol.name()))
            .collect();
        let want = [
            "80/tcp -> 0.0.0.0:8080",
            "80/tcp -> 127.0.0.1:81",
            "80/tcp -> [::]:8080",
            "80/udp -> 0.0.0.0:82",
            "80/udp -> [::]:82",
            "90/tcp -> 127.0.0.1:32768",
        ];
        assert_eq!(lines[..6], want);
        let six = published(&[
            ("::", 8090, 80, Protocol::Tcp),
            ("::1", 8091, 80, Protocol::Tcp),
        ]);
        let places: Vec<String> = super::lines(&six).into_iter().map(|(.., at)| at).collect();
        assert_eq!(places, ["[::1]:8091", "[::]:8090"]);
    }

    #[test]
    fn the_document_is_dockers() {
        let config = Config {
            exposed_ports: [
                ("80/tcp".to_owned(), Default::default()),
                ("99/tcp".to_owned(), Default::default()),
            ]
            .into(),
            ..Config::default()
        };
        let some = published(&[
            ("::", 8080, 80, Protocol::Tcp),
            ("0.0.0.0", 8080, 80, Protocol::Tcp),
            ("127.0.0.1", 81, 80, Protocol::Tcp),
        ]);
        let want = json!({
            "80/tcp": [
                {"HostIp": "127.0.0.1", "HostPort": "81"},
                {"HostIp": "0.0.0.0", "HostPort": "8080"},
                {"HostIp": "::", "HostPort": "8080"},
            ],
            "99/tcp": null,
        });
        assert_eq!(document(&config, &HostConfig::default(), &some), want);
    }

    #[test]
    fn ports_of_this_machine_are_bound_before_any() {
        let binding = |ip: &str, port: &str| PortBinding {
            host_ip: ip.to_owned(),
            host_port: port.to_owned(),
        };
        let host = HostConfig {
            port_bindings: [
                ("53/udp".to_owned(), vec![binding("", "")]),
                ("80/tcp".to_owned(), vec![binding("::1", "8000-8010")]),
            ]
            .into(),
            publish_all_ports: true,
            ..HostConfig::default()
        };
        let config = Config {
            exposed_ports: [
                ("80/tcp".to_owned(), Default::default()),
                ("90/tcp".to_owned(), Default::default()),
            ]
            .into(),
            ..Config::default()
        };
        let all = wanted(&config, &host).unwrap();
        let seen: Vec<_> = all.iter().map(|one| (one.container, one.among)).collect();
        assert_eq!(seen, [(80, Some((8000, 8010))), (53, None), (90, None)]);
        assert_eq!(all[0].address, Some("::1".parse().unwrap()));
    }
}
