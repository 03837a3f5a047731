//! Contents of /etc/resolv.conf and /etc/hosts in a container.

use std::fs;
use std::net::IpAddr;

use crate::spec::Dns;

const HOST: &str = "/etc/resolv.conf";
/// Where systemd-resolved keeps the servers behind its stub at 127.0.0.53.
const SYSTEMD_UPSTREAM: &str = "/run/systemd/resolve/resolv.conf";
/// Used, as Docker does, when the host has no server that a container can reach.
const FALLBACK: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

/// /etc/resolv.conf for a container. `own_network` says that the container has a network
/// namespace of its own, where the host's loopback resolvers cannot be reached.
pub fn resolv_conf(dns: &Dns, own_network: bool) -> String {
    let host = fs::read_to_string(HOST).unwrap_or_default();
    let upstream = || fs::read_to_string(SYSTEMD_UPSTREAM).unwrap_or_default();
    compose(&host, upstream, dns, own_network)
}

/// /etc/resolv.conf for a container whose questions are answered at `server`, which is asked for
/// names without a dot, too.
pub fn resolv_conf_of(server: IpAddr, dns: &Dns) -> String {
    const EVERYTHING: &str = "ndots:0";
    let host = parse(&fs::read_to_string(HOST).unwrap_or_default());
    let mut own = dns.clone();
    own.servers = vec![server.to_string()];
    if own.options.is_empty() {
        own.options = host.options;
    }
    if !own
        .options
        .iter()
        .any(|option| option.starts_with("ndots:"))
    {
        own.options.push(EVERYTHING.to_owned());
    }
    resolv_conf(&own, false)
}

/// The servers that this host asks, those too that only it can reach.
pub fn host_servers() -> Vec<IpAddr> {
    let parsed = parse(&fs::read_to_string(HOST).unwrap_or_default());
    let mut servers = addresses(&parsed.servers);
    if servers.is_empty() {
        servers = addresses(&FALLBACK.map(str::to_owned));
    }
    servers
}

/// Those of `servers` that are addresses.
pub fn addresses(servers: &[String]) -> Vec<IpAddr> {
    let address = |server: &String| server.split('%').next().unwrap_or(server).parse().ok();
    servers.iter().filter_map(address).collect()
}

fn compose(host: &str, upstream: impl Fn() -> String, dns: &Dns, own_network: bool) -> String {
    let mut parsed = parse(host);
    if own_network {
        parsed.servers.retain(|server| !is_loopback(server));
        if parsed.servers.is_empty() {
            parsed.servers = parse(&upstream()).servers;
            parsed.servers.retain(|server| !is_loopback(server));
        }
        if parsed.servers.is_empty() {
            parsed.servers = FALLBACK.map(str::to_owned).to_vec();
        }
    }
    let pick = |own: &[String], hosts: Vec<String>| if own.is_empty() { hosts } else { own.into() };
    let servers = pick(&dns.servers, parsed.servers);
    // Docker: a sole `.` clears the search list.
    let search = pick(&dns.search, parsed.search);
    let options = pick(&dns.options, parsed.options);
    let mut text = String::new();
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !search.is_empty() && search != ["."] {
        text.push_str(&format!("search {}\n", search.join(" ")));
    }
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    text
}

fn parse(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let values = |words: std::str::SplitWhitespace<'_>| words.map(str::to_owned).collect();
        match words.next() {
            Some("nameserver") => dns.servers.extend(words.next().map(str::to_owned)),
            // The last of them counts, resolv.conf(5).
            Some("search" | "domain") => dns.search = values(words),
            Some("options") => dns.options = values(words),
            _ => {}
        }
    }
    dns
}

fn is_loopback(server: &str) -> bool {
    let address = server.split('%').next().unwrap_or(server);
    address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// /etc/hosts: loopback names, the container's own name, the extra entries.
pub fn hosts(hostname: &str, own: Option<IpAddr>, extra: &[(String, String)]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n",
    );
    for (name, address) in extra {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    if !hostname.is_empty() {
        let own = own.map_or_else(|| "127.0.0.1".to_owned(), |ip| ip.to_string());
        text.push_str(&format!("{own}\t{hostname}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composed(host: &str, upstream: &str, dns: &Dns, own_network: bool) -> String {
        compose(host, || upstream.to_owned(), dns, own_network)
    }

    #[test]
    fn loopback_servers_are_replaced_in_a_network_of_its_own() {
        let stub = "nameserver 127.0.0.53\nsearch corp.example\noptions edns0 trust-ad\n";
        let none = Dns::default();
        let rest = "search corp.example\noptions edns0 trust-ad\n";
        assert_eq!(
            composed(stub, "", &none, false),
            format!("nameserver 127.0.0.53\n{rest}")
        );
        assert_eq!(
            composed(stub, "nameserver 192.0.2.53\n", &none, true),
            format!("nameserver 192.0.2.53\n{rest}")
        );
        assert_eq!(
            composed(stub, "", &none, true),
            format!("nameserver 8.8.8.8\nnameserver 8.8.4.4\n{rest}")
        );
        assert_eq!(
            composed("nameserver ::1\nnameserver 192.0.2.1\n", "", &none, true),
            "nameserver 192.0.2.1\n"
        );
    }

    #[test]
    fn own_settings_win_and_a_dot_clears_the_search_list() {
        let dns = Dns {
            servers: vec!["1.2.3.4".to_owned()],
            search: vec![".".to_owned()],
            options: vec!["ndots:1".to_owned()],
        };
        assert_eq!(
            composed("nameserver 9.9.9.9\nsearch a b\n", "", &dns, true),
            "nameserver 1.2.3.4\noptions ndots:1\n"
        );
    }

    #[test]
    fn hosts_end_with_the_own_name() {
        let text = hosts("box", None, &[("db".to_owned(), "10.0.0.7".to_owned())]);
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with("10.0.0.7\tdb\n127.0.0.1\tbox\n"));
    }
}
