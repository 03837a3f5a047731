//! Networks of rarer kinds: made from what was said of another, without IPv4, with addresses that
//! count on the bridge alone; and links that are taken away.
//!
//! What lines print is docker 28's.

use e2e::need;

use crate::both::Both;
use crate::networked::{Host, eventually};

/// What is refused in docker's words, and what makes no bridge.
const SAME: &[&str] = &[
    "network create --config-only kinds-plain",
    "network create --config-only kinds-plain",
    "network create --config-only -d macvlan kinds-other",
    "network create --config-only --ipv6 --subnet fd00:9::/64 --subnet 10.209.7.0/24 --gateway 10.209.7.9 --ip-range 10.209.7.128/25 --aux-address x=10.209.7.200 --ipam-opt c=d -o e=f --label a=b kinds-full",
    "network inspect -f '{{.Driver}} {{.Scope}} {{.ConfigOnly}} {{json .ConfigFrom}} {{.EnableIPv6}} {{.Internal}} {{json .Containers}}' kinds-plain kinds-other kinds-full",
    "network inspect -f '{{json .Options}} {{json .Labels}} {{json .IPAM.Options}}' kinds-plain kinds-full",
    "network inspect -f '{{json .IPAM.Config}}' kinds-plain",
    "network ls -f name=kinds- --format '{{.Name}} {{.Driver}} {{.Scope}}'",
    "network create --config-only --internal kinds-no",
    "network create --config-only --attachable kinds-no",
    "network create --config-only --scope local kinds-no",
    "network create --config-only --ingress kinds-no",
    "network create --config-only --subnet 10.209.0.0/33 kinds-no",
    "network create --config-only --subnet 10.209.0.1/24 kinds-no",
    "network create --config-only --config-from kinds-plain kinds-no",
    "network create --config-from nope kinds-no",
    "network create --config-from kinds-plain --subnet 10.209.8.0/24 kinds-no",
    "network create --config-from kinds-plain --label a=b kinds-no",
    "network create --config-from kinds-plain --ipv6 kinds-no",
    "network create --config-from kinds-plain -o a=b kinds-no",
    "network create --config-from kinds-plain -d null kinds-no",
    "network create --config-from kinds-plain -d nope kinds-no",
    "network create --scope swarm kinds-no",
    "network create --ingress kinds-no",
    "create --name kinds-c --net kinds-plain busybox true",
    "start kinds-c",
    "rm kinds-c",
    "run --rm --net none --link-local-ip 169.254.7.7 busybox true",
    "network rm kinds-plain kinds-other kinds-full",
];

#[test]
fn settings_are_kept_for_networks_to_come() {
    let both = need!(Both::new());
    both.all_same(SAME);
}

#[test]
fn a_network_is_made_from_what_was_said_of_another() {
    let host = need!(Host::new());
    host.says(
        "network create --config-only --subnet 10.55.0.0/24 --gateway 10.55.0.9 \
         --ip-range 10.55.0.128/25 -o com.docker.network.driver.mtu=1400 --label a=b kept",
    );
    host.says("network create --config-from kept --internal real");
    let format = "'{{.Driver}} {{.Internal}} {{.ConfigFrom.Network}} {{.ConfigOnly}} \
                  {{json .IPAM.Config}} {{json .Options}} {{json .Labels}}'";
    assert_eq!(
        host.says(&format!("network inspect -f {format} real")),
        "bridge true kept false [{\"Subnet\":\"10.55.0.0/24\",\"IPRange\":\"10.55.0.128/25\",\
         \"Gateway\":\"10.55.0.9\"}] {\"com.docker.network.driver.mtu\":\"1400\"} {\"a\":\"b\"}"
    );
    let shown = host.says("run --rm --net real busybox ip addr show eth0");
    assert!(shown.contains("mtu 1400"), "{shown}");
    assert!(shown.contains("inet 10.55.0.128/24 "), "{shown}");
    for (line, why) in [
        (
            "network create --config-from kept again",
            "invalid pool request: Pool overlaps with other one on this address space",
        ),
        (
            "network create --config-from real again",
            "configuration network \"real\" does not exist",
        ),
        (
            "network rm kept",
            "error while removing network: configuration network \"kept\" is in use",
        ),
    ] {
        assert_eq!(host.refuses(line, 1), why, "{line}");
    }
    assert_eq!(
        host.refuses("run --rm --net kept busybox true", 125),
        "failed to set up container networking: cannot create endpoint on configuration-only \
         network"
    );
    // What others are made from is no network that nobody uses.
    assert_eq!(host.says("network prune -f"), "Deleted Networks:\nreal");
    assert_eq!(host.says("network rm kept"), "kept");
    host.says("network create --scope frob far");
    assert_eq!(
        host.says("network ls -f scope=frob --format '{{.Name}} {{.Scope}}'"),
        "far frob"
    );
    host.says("network rm far");
}

#[test]
fn a_network_has_no_ipv4_where_it_is_not_wanted() {
    let host = need!(Host::new());
    assert_eq!(
        host.refuses("network create --ipv4=false no", 1),
        "IPv4 or IPv6 must be enabled"
    );
    host.says("network create --ipv4=false --ipv6 --subnet fd00:44::/64 six");
    host.says("network create --ipv4=false --ipv6 chosen");
    let format = "'{{.EnableIPv4}} {{.EnableIPv6}} {{json .IPAM.Config}}'";
    assert_eq!(
        host.says(&format!("network inspect -f {format} six")),
        "false true [{\"Subnet\":\"fd00:44::/64\"}]"
    );
    assert_eq!(
        host.says("network ls -f name=six --format '{{.IPv4}} {{.IPv6}}'"),
        "false true"
    );
    host.says("run -d --name web --net six -p 8081:80 -p 127.0.0.1:8082:80 busybox nc -ll -p 80 -e echo hello");
    let format = "'{{json .NetworkSettings.Networks.six.IPAddress}} \
                  {{.NetworkSettings.Networks.six.IPPrefixLen}} \
                  {{json .NetworkSettings.Networks.six.Gateway}} \
                  {{.NetworkSettings.Networks.six.GlobalIPv6Address}}'";
    assert_eq!(
        host.says(&format!("inspect -f {format} web")),
        "\"\" 0 \"\" fd00:44::2"
    );
    assert_eq!(
        host.says("network inspect -f '{{range .Containers}}{{json .IPv4Address}} {{.IPv6Address}}{{end}}' six"),
        "\"\" fd00:44::2/64"
    );
    // Nothing of IPv4 is anywhere: not inside, not on the bridge, no switch and no table.
    assert_eq!(host.says("exec web ip -4 addr show eth0"), "");
    let bridges = "ip -o -4 addr | grep rbuild || true";
    assert_eq!(host.machine.sh(bridges), "");
    assert_eq!(host.machine.sh("cat /proc/sys/net/ipv4/ip_forward"), "0\n");
    let hosts = host.says("exec web cat /etc/hosts");
    let id = host.says("inspect -f '{{.Config.Hostname}}' web");
    assert!(hosts.ends_with(&format!("fd00:44::2\t{id}")), "{hosts}");
    // Others find it by its name, and by its port from this machine and from beside.
    host.says("run -d --name beside --net six busybox sleep 1000");
    let ping = host.says("exec beside ping -c 1 -W 30 web");
    assert!(ping.contains("(fd00:44::2)"), "{ping}");
    assert!(host.resolves("beside", "web").is_empty());
    assert_eq!(host.hears("beside", "web", 80), "hello");
    assert_eq!(host.says("port web"), "80/tcp -> [::]:8081");
    for address in ["::1", "fd00:44::1"] {
        assert_eq!(host.machine.call(address, 8081), "hello", "{address}");
    }
    let route = host.says("exec web ip -6 route show default");
    assert!(
        route.starts_with("default via fd00:44::1 dev eth0"),
        "{route}"
    );
    // One that has IPv4 elsewhere comes, and is reached by either.
    host.says("network create four");
    host.says("network connect four web");
    assert_eq!(
        host.says("port web"),
        "80/tcp -> 0.0.0.0:8081\n80/tcp -> 127.0.0.1:8082\n80/tcp -> [::]:8081"
    );
    assert_eq!(host.machine.call("127.0.0.1", 8082), "hello");
    host.says("network disconnect four web");
    assert_eq!(host.says("port web"), "80/tcp -> [::]:8081");
    assert_eq!(
        host.refuses("run --rm --net six --ip 10.1.1.1 busybox true", 125),
        "invalid config for network six: invalid endpoint settings:\nuser specified IP address is \
         supported only when connecting to networks with user configured subnets"
    );
    host.end();
    host.says("network rm six chosen four");
    eventually("its rules are gone", || !host.rules().contains("rbuild"));
}

#[test]
fn addresses_that_count_on_the_bridge_alone_are_given() {
    let host = need!(Host::new());
    host.says("network create --subnet 10.66.0.0/24 net");
    host.says("run -d --name one --net net --link-local-ip 169.254.7.8 --link-local-ip 169.254.7.9 busybox sleep 1000");
    host.says("run -d --name two busybox sleep 1000");
    let format = "'{{json .NetworkSettings.Networks.net.IPAMConfig}}'";
    assert_eq!(
        host.says(&format!("inspect -f {format} one")),
        "{\"LinkLocalIPs\":[\"169.254.7.8\",\"169.254.7.9\"]}"
    );
    let shown = host.says("exec one ip -4 addr show eth0");
    for address in ["10.66.0.2/24", "169.254.7.8/16", "169.254.7.9/16"] {
        assert!(shown.contains(&format!("inet {address} ")), "{shown}");
    }
    host.says("network connect --link-local-ip 169.254.7.10 net two");
    host.line("exec two ping -c 1 -W 30 169.254.7.9").ok();
    host.line("exec one ping -c 1 -W 30 169.254.7.10").ok();
    host.says("network disconnect net two");
    let flag = "--net name=net,link-local-ip=169.254.8.8";
    let shown = host.says(&format!("run --rm {flag} busybox ip -4 addr show eth0"));
    assert!(shown.contains("inet 169.254.8.8/16 "), "{shown}");
    for (line, why) in [
        (
            format!("run --rm {flag} --link-local-ip 169.254.8.9 busybox true"),
            "conflicting options: cannot specify both --link-local-ip and per-network link-local \
             IP addresses",
        ),
        (
            "run --rm --net net --link-local-ip 10.9.9.9 busybox true".to_owned(),
            "failed to set up container networking: invalid link local IP address: 10.9.9.9",
        ),
        (
            "run --rm --net net --link-local-ip frob busybox true".to_owned(),
            "invalid config for network net: invalid endpoint settings:\ninvalid link-local IP \
             address: frob",
        ),
    ] {
        assert_eq!(host.refuses(&line, 125), why, "{line}");
    }
    host.end();
    host.says("network rm net");
}

#[test]
fn links_have_names_and_can_be_taken_away() {
    let host = need!(Host::new());
    host.says("run -d --name web --expose 80 --expose 7000-7002 --expose 53/udp -e A=b busybox sleep 1000");
    host.says("run -d --name cli --link web:w busybox sleep 1000");
    let address = host.address("web");
    let ports = |start: &str, port: u16, protocol: &str| {
        format!(
            "{start}={protocol}://{address}:{port}\n{start}_ADDR={address}\n{start}_PORT={port}\n\
             {start}_PROTO={protocol}\n"
        )
    };
    let range = format!(
        "W_PORT_7000_TCP_START=tcp://{address}:7000\nW_PORT_7000_TCP_PORT_START=7000\n\
         W_PORT_7000_TCP_END=tcp://{address}:7002\nW_PORT_7000_TCP_PORT_END=7002\n"
    );
    let want = [
        format!("W_PORT=tcp://{address}:80\n"),
        ports("W_PORT_80_TCP", 80, "tcp"),
        ports("W_PORT_7000_TCP", 7000, "tcp"),
        ports("W_PORT_7001_TCP", 7001, "tcp"),
        ports("W_PORT_7002_TCP", 7002, "tcp"),
        ports("W_PORT_53_UDP", 53, "udp"),
        range,
        "W_NAME=/cli/w\nW_ENV_A=b".to_owned(),
    ];
    let linked = |told: &str| {
        let lines = told.lines().filter(|line| line.starts_with("W_"));
        lines.collect::<Vec<_>>().join("\n")
    };
    // For its process and for whoever comes later.
    assert_eq!(linked(&host.says("exec cli env")), want.concat());
    let first = host
        .says("exec cli cat /proc/1/environ")
        .replace('\0', "\n");
    assert_eq!(linked(&first), want.concat());
    // A link is a name.
    assert_eq!(host.says("inspect -f '{{.Name}}' cli/w"), "/web");
    assert_eq!(
        host.says("ps --no-trunc -f name=web --format '{{.Names}}'"),
        "cli/w,web"
    );
    assert_eq!(host.says("ps -f name=web --format '{{.Names}}'"), "web");
    for (line, why) in [
        ("rm -l nowhere", "No such container: nowhere"),
        ("rm -l nowhere/w", "No such container: nowhere/w"),
        ("rm --link /cli/web/", "No such container: cli/web"),
        (
            "rm -l cli",
            "Conflict, cannot remove the default link name of the container",
        ),
    ] {
        assert_eq!(host.refuses(line, 1), why, "{line}");
    }
    assert!(host.says("exec cli cat /etc/hosts").contains("\tw "));
    assert_eq!(host.says("rm -l /cli/w"), "/cli/w");
    assert!(!host.says("exec cli cat /etc/hosts").contains("\tw "));
    assert_eq!(linked(&host.says("exec cli env")), "");
    assert_eq!(
        host.says("inspect -f '{{json .HostConfig.Links}}' cli"),
        "null"
    );
    let again = host.line("rm -f -l cli/w").run();
    assert!(again.status.success(), "{again}");
    assert!(again.err().contains("No such container: cli/w"), "{again}");
    // Who is gone is linked to all the same.
    host.says("run -d --name other --link web:x busybox sleep 1000");
    host.says("rm -f web");
    assert_eq!(
        host.refuses("restart -t 0 other", 1),
        "Cannot restart container other: Cannot link to a non running container: /web AS /other/x"
    );
    host.end();
}

#[test]
fn what_is_not_started_yet_has_no_place() {
    let host = need!(Host::new());
    host.says("network create net");
    host.says("create --name new --net net busybox sleep 1000");
    let format =
        "'{{range .NetworkSettings.Networks}}{{json .NetworkID}} {{json .DNSNames}}{{end}}'";
    let shown = host.says(&format!("inspect -f {format} new"));
    assert_eq!(shown, "\"\" null");
    host.says("start new");
    let shown = host.says(&format!("inspect -f {format} new"));
    let id = host.says("network inspect -f '{{.Id}}' net");
    let own = host.says("inspect -f '{{.Config.Hostname}}' new");
    assert_eq!(shown, format!("\"{id}\" [\"new\",\"{own}\"]"));
    eventually("it runs", || host.says("ps -q -f name=new") == own);
    host.end();
    host.says("network rm net");
}
