//! IPv6 in networks of users: addresses, names, ways out, ports, and nobody who is another.
//!
//! What lines print is docker 28's.

use e2e::need;

use crate::networked::{Host, eventually};

/// An IPv6 address of a container.
fn address6(host: &Host, name: &str) -> String {
    let format = "'{{range .NetworkSettings.Networks}}{{.GlobalIPv6Address}}{{end}}'";
    host.says(&format!("inspect -f {format} {name}"))
}

#[test]
fn a_network_has_ipv6_addresses_where_it_is_asked_for() {
    let host = need!(Host::new());
    host.says("network create --ipv6 --subnet fd00:77::/64 six");
    let shown = host.says("network inspect -f '{{.EnableIPv6}} {{json .IPAM.Config}}' six");
    let (is_on, config) = shown.split_once(' ').unwrap();
    assert_eq!(is_on, "true");
    let config: serde_json::Value = serde_json::from_str(config).unwrap();
    assert_eq!(config[0], serde_json::json!({"Subnet": "fd00:77::/64"}));
    assert!(config[1]["Gateway"].is_string(), "{config}");
    assert_eq!(
        host.says("network ls --format {{.IPv6}} --filter name=six"),
        "true"
    );
    host.says("run -d --name web --net six --ip6 fd00:77::99 busybox sleep 1000");
    host.says("run -d --name other --net six busybox sleep 1000");
    assert_eq!(address6(&host, "web"), "fd00:77::99");
    assert_eq!(address6(&host, "other"), "fd00:77::2");
    let format = "'{{range .NetworkSettings.Networks}}{{.IPv6Gateway}} {{.GlobalIPv6PrefixLen}} \
                  {{json .IPAMConfig}}{{end}}'";
    assert_eq!(
        host.says(&format!("inspect -f {format} web")),
        "fd00:77::1 64 {\"IPv6Address\":\"fd00:77::99\"}"
    );
    let listed = host
        .says("network inspect -f '{{range .Containers}}{{.Name}} {{.IPv6Address}}\n{{end}}' six");
    let mut listed: Vec<&str> = listed.lines().collect();
    listed.sort();
    assert_eq!(listed, ["other fd00:77::2/64", "web fd00:77::99/64"]);
    let hosts = host.says("exec web cat /etc/hosts");
    let own: Vec<&str> = hosts.lines().rev().take(2).collect();
    let id = host.says("inspect -f '{{.Config.Hostname}}' web");
    assert_eq!(own[0], format!("fd00:77::99\t{id}"));
    // It answers, and is found by its name and its address.
    let ping = host.line("exec other ping -6 -c 1 -W 30 web").ok().out();
    assert!(ping.contains("fd00:77::99"), "{ping}");
    let found = host.says("exec other nslookup -type=aaaa web");
    assert!(found.contains("Address: fd00:77::99"), "{found}");
    let found = host.says("exec other nslookup fd00:77::99");
    assert!(found.contains("name = web.six"), "{found}");
    host.line("exec other ping -6 -c 1 -W 30 fd00:77::1").ok();
    let default = host.says("exec web ip -6 route show default");
    assert!(
        default.starts_with("default via fd00:77::1 dev eth0"),
        "{default}"
    );
    for (line, why) in [
        (
            "run --rm --net six --ip6 fd00:99::1 busybox true",
            "invalid config for network six: invalid endpoint settings:\nno configured subnet or \
             ip-range contain the IP address fd00:99::1",
        ),
        (
            "run --rm --net six --ip6 fd00:77::99 busybox true",
            "failed to set up container networking: Address already in use",
        ),
    ] {
        assert_eq!(host.refuses(line, 125), why, "{line}");
    }
    // One of another network comes to it, and leaves.
    host.says("network create plain");
    host.says("run -d --name late --net plain busybox sleep 1000");
    host.says("network connect --ip6 fd00:77::aa six late");
    let format = "'{{.NetworkSettings.Networks.six.GlobalIPv6Address}}'";
    assert_eq!(
        host.says(&format!("inspect -f {format} late")),
        "fd00:77::aa"
    );
    host.line("exec other ping -6 -c 1 -W 30 fd00:77::aa").ok();
    host.says("network disconnect six late");
    let hosts = host.says("exec late cat /etc/hosts");
    assert!(!hosts.contains("fd00:77::aa"), "{hosts}");
    // Nothing of IPv6 is on a network that has none.
    assert_eq!(host.says("exec late ip -6 -o addr show dev eth0"), "");
    host.end();
    host.says("network rm six plain");
}

#[test]
fn published_ports_lead_to_ipv6_addresses_and_nobody_is_another() {
    let host = need!(Host::new());
    let before = host.rules();
    host.machine
        .sh("ip -6 addr add 2001:db8::7/64 dev lo nodad");
    host.says("network create --ipv6 --subnet fd00:78::/64 six");
    host.says("network create --ipv6 --subnet fd00:79::/64 apart");
    let serve = "'busybox nc -ll -p 80 -e echo inside'";
    host.says(&format!(
        "run -d --name web --net six -p 8080:80 -p [2001:db8::7]:8081:80 busybox sh -c {serve}"
    ));
    host.says("run -d --name client --net six busybox sleep 1000");
    host.says("run -d --name far --net apart busybox sleep 1000");
    assert_eq!(
        host.says("port web 80"),
        "0.0.0.0:8080\n[2001:db8::7]:8081\n[::]:8080"
    );
    eventually("it serves", || host.hears("client", "web", 80) == "inside");
    let call = |address: &str, port: u16| host.machine.call(address, port);
    for (address, port) in [("::1", 8080), ("2001:db8::7", 8080), ("2001:db8::7", 8081)] {
        eventually("its port answers", || call(address, port) == "inside");
    }
    // From another network and from its own, by this machine's address.
    for name in ["far", "client", "web"] {
        eventually("they reach it", || {
            host.hears(name, "2001:db8::7", 8080) == "inside"
        });
    }
    let own = address6(&host, "web");
    assert_eq!(host.hears("far", &own, 80), "", "networks are apart");
    // Who takes another's address is not heard.
    host.says("run -d --name thief --net six --cap-add NET_ADMIN busybox sleep 1000");
    host.line("exec thief ping -6 -c 1 -W 30 fd00:78::1").ok();
    host.says("exec thief ip -6 addr add fd00:78::bad/64 dev eth0");
    let ping = || {
        host.line("exec thief ping -6 -c 1 -W 1 -I fd00:78::bad fd00:78::1")
            .run()
    };
    // Its kernel asks first whether it is somebody else's.
    eventually("it may be used", || !ping().err().contains("bind"));
    let stolen = ping();
    assert!(stolen.out().contains("100% packet loss"), "{stolen}");
    let found = host
        .line("exec client ping -6 -c 1 -W 1 fd00:78::bad")
        .run();
    assert!(found.out().contains("100% packet loss"), "{found}");
    host.end();
    host.says("network rm six apart");
    host.machine.sh("ip -6 addr del 2001:db8::7/64 dev lo");
    eventually("nothing is left", || host.rules() == before);
    assert_eq!(
        host.machine
            .sh("cat /proc/sys/net/ipv6/conf/all/forwarding")
            .trim(),
        "0"
    );
}
