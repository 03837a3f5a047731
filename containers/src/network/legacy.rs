//! Links on the bridge that all containers share: lines of /etc/hosts, and variables. Pure.

use std::net::Ipv4Addr;

use runtime::network::Protocol;

use super::ports::port;
use crate::error::{Error, Result};

/// A container that another one is linked to.
#[derive(Clone, Debug)]
pub(crate) struct Linked {
    /// Its name.
    pub(crate) name: String,
    /// Its ID.
    pub(crate) id: String,
    /// The first digits of that.
    pub(crate) short_id: String,
    /// What it is called by the other.
    pub(crate) alias: String,
    /// Its address.
    pub(crate) address: Ipv4Addr,
    /// Its ports, as `80/tcp`.
    pub(crate) ports: Vec<String>,
    /// Its environment.
    pub(crate) env: Vec<String>,
}

/// Reads `CONTAINER[:ALIAS]`.
///
/// # Errors
/// In docker's words.
pub(crate) fn parse(text: &str) -> Result<(String, String)> {
    if text.is_empty() {
        return Err(Error::Invalid(
            "empty string specified for links".to_owned(),
        ));
    }
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [name] => Ok(((*name).to_owned(), name.trim_start_matches('/').to_owned())),
        [name, alias] => {
            // As `inspect` shows it: /NAME:/OTHER/ALIAS.
            let alias = alias.rsplit('/').next().unwrap_or(alias);
            Ok((name.trim_start_matches('/').to_owned(), alias.to_owned()))
        }
        _ => Err(Error::Invalid(format!("bad format for links: {text}"))),
    }
}

impl Linked {
    /// The names of its line in /etc/hosts, the alias first.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names = vec![self.alias.clone(), self.short_id.clone()];
        if self.name != self.alias {
            names.push(self.name.clone());
        }
        names
    }

    /// The variables by which `of`, the other container, finds it.
    pub(crate) fn variables(&self, of: &str) -> Vec<String> {
        let alias = self.alias.replace('-', "_").to_uppercase();
        let address = self.address;
        let mut ports: Vec<(Protocol, u16)> = self
            .ports
            .iter()
            .filter_map(|text| port(text))
            .map(|(number, protocol)| (protocol, number))
            .collect();
        ports.sort_unstable_by_key(|(protocol, number)| {
            (*protocol != Protocol::Tcp, protocol.name(), *number)
        });
        let mut all = Vec::new();
        if let Some((protocol, number)) = ports.first() {
            let protocol = protocol.name();
            all.push(format!("{alias}_PORT={protocol}://{address}:{number}"));
        }
        // Neighbours are told of as one as well, behind the first that is none of them.
        let mut neighbours: Vec<(Protocol, u16)> = Vec::new();
        for (kind, number) in ports {
            let protocol = kind.name();
            let start = format!("{alias}_PORT_{number}_{}", protocol.to_uppercase());
            all.push(format!("{start}={protocol}://{address}:{number}"));
            all.push(format!("{start}_ADDR={address}"));
            all.push(format!("{start}_PORT={number}"));
            all.push(format!("{start}_PROTO={protocol}"));
            let last = neighbours.last();
            if !last.is_some_and(|&(of, port)| of == kind && port.checked_add(1) == Some(number)) {
                all.extend(self.range(&alias, &neighbours));
                neighbours.clear();
            }
            neighbours.push((kind, number));
        }
        all.extend(self.range(&alias, &neighbours));
        all.push(format!("{alias}_NAME=/{of}/{}", self.alias));
        for entry in &self.env {
            let Some((name, value)) = entry.split_once('=') else {
                continue;
            };
            if !matches!(name, "HOME" | "PATH") {
                all.push(format!("{alias}_ENV_{name}={value}"));
            }
        }
        all
    }

    /// The variables of several ports in a row; none of one alone.
    fn range(&self, alias: &str, ports: &[(Protocol, u16)]) -> Vec<String> {
        let [(protocol, first), .., (_, last)] = ports else {
            return Vec::new();
        };
        let (protocol, address) = (protocol.name(), self.address);
        let start = format!("{alias}_PORT_{first}_{}", protocol.to_uppercase());
        vec![
            format!("{start}_START={protocol}://{address}:{first}"),
            format!("{start}_PORT_START={first}"),
            format!("{start}_END={protocol}://{address}:{last}"),
            format!("{start}_PORT_END={last}"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_as_dockers() {
        let read = |text| parse(text).unwrap();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(read("db"), pair("db", "db"));
        assert_eq!(read("db:store"), pair("db", "store"));
        assert_eq!(read("/db:/web/store"), pair("db", "store"));
        let error = parse("a:b:c").unwrap_err();
        assert_eq!(error.to_string(), "bad format for links: a:b:c");
    }

    /// What docker 28 sets for a container with port 5000 and variable A.
    #[test]
    fn variables_are_dockers() {
        let linked = Linked {
            name: "c20".to_owned(),
            id: "3a78d0d0db89".repeat(5),
            short_id: "3a78d0d0db89".to_owned(),
            alias: "the-alias".to_owned(),
            address: Ipv4Addr::new(172, 17, 0, 3),
            ports: vec!["5000/tcp".to_owned()],
            env: vec!["PATH=/bin".to_owned(), "A=b".to_owned()],
        };
        let want = [
            "THE_ALIAS_PORT=tcp://172.17.0.3:5000",
            "THE_ALIAS_PORT_5000_TCP=tcp://172.17.0.3:5000",
            "THE_ALIAS_PORT_5000_TCP_ADDR=172.17.0.3",
            "THE_ALIAS_PORT_5000_TCP_PORT=5000",
            "THE_ALIAS_PORT_5000_TCP_PROTO=tcp",
            "THE_ALIAS_NAME=/web/the-alias",
            "THE_ALIAS_ENV_A=b",
        ];
        assert_eq!(linked.variables("web"), want);
        let ports = ["90/tcp", "82/tcp", "81/tcp", "81/udp", "7/udp", "6/udp"];
        let several = Linked {
            ports: ports.map(str::to_owned).to_vec(),
            ..linked.clone()
        };
        let told = several.variables("web").into_iter();
        let told: Vec<String> = told
            .filter_map(|one| Some(one.strip_prefix("THE_ALIAS_PORT_")?.to_owned()))
            .filter(|one| {
                !["_ADDR=", "_PROTO=", "://"]
                    .iter()
                    .any(|part| one.contains(part))
            })
            .collect();
        let want = [
            "81_TCP_PORT=81",
            "82_TCP_PORT=82",
            "90_TCP_PORT=90",
            "81_TCP_PORT_START=81",
            "81_TCP_PORT_END=82",
            "6_UDP_PORT=6",
            "7_UDP_PORT=7",
            "81_UDP_PORT=81",
            "6_UDP_PORT_START=6",
            "6_UDP_PORT_END=7",
        ];
        assert_eq!(told, want);
        assert_eq!(linked.names(), ["the-alias", "3a78d0d0db89", "c20"]);
    }
}
