//! Networks of containers: who reaches whom, and by which names.
//!
//! What lines print is docker 28's, whose daemon has the host's network to itself and so is not run
//! beside.

use std::net::Ipv4Addr;
use std::path::Path;

use e2e::{Machine, need, program};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::networked::{Host, eventually};

/// The process that watches over a container.
fn monitor(host: &Host, name: &str) -> Pid {
    let pid = host.says(&format!("inspect -f '{{{{.State.Pid}}}}' {name}"));
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let parent = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1);
    Pid::from_raw(parent.unwrap().parse().unwrap())
}

#[test]
fn what_a_killed_monitor_had_of_networks_is_taken_back() {
    let host = need!(Host::new());
    host.says("network create --subnet 10.77.0.0/16 app");
    let before = host.rules();
    host.says("run -d --name web --net app --ip 10.77.5.5 --network-alias db -p 8080:80 busybox sleep 1000");
    host.says("run -d --name stays --net app -p 8090:80 busybox sleep 1000");
    let with_one = |host: &Host| host.machine.sh("nft list ruleset | grep -c 8080 || true");
    assert_ne!(with_one(&host).trim(), "0");
    let pid = host.says("inspect -f '{{.State.Pid}}' web");
    kill(monitor(&host, "web"), Signal::SIGKILL).unwrap();
    eventually("it ends with its monitor", || {
        !Path::new(&format!("/proc/{pid}")).exists()
    });
    assert_eq!(host.resolves("stays", "db"), [""; 0]);
    // Its address and its port are free, whether somebody has looked or not.
    host.server("--name again --net app --ip 10.77.5.5 -p 8080:80", "again");
    eventually("it serves", || {
        host.machine.call("127.0.0.1", 8080) == "again"
    });
    assert_eq!(host.says("inspect -f '{{.State.ExitCode}}' web"), "137");
    kill(monitor(&host, "again"), Signal::SIGKILL).unwrap();
    kill(monitor(&host, "stays"), Signal::SIGKILL).unwrap();
    eventually("both have ended", || host.says("ps -q").is_empty());
    eventually("nothing is left", || host.rules() == before);
    host.says("network rm app");
    assert_eq!(
        host.machine
            .sh("ip -o link | grep -c ': rbuild[0-9a-f]\\{9\\}:' || true")
            .trim(),
        "0"
    );
}

/// Lines with what docker 28 prints, and its exit codes.
const LINES: &[(&str, i32, &str)] = &[
    (
        "network create n1",
        1,
        "network with name n1 already exists",
    ),
    (
        "network create --subnet 10.77.1.0/24 x",
        1,
        "invalid pool request: Pool overlaps with other one on this address space",
    ),
    (
        "network create --subnet 10.78.0.0 x",
        1,
        "invalid network config:\ninvalid subnet 10.78.0.0: invalid CIDR block notation",
    ),
    (
        "network create host",
        1,
        "operation is not permitted on predefined host network",
    ),
    (
        "network create --driver nope x",
        1,
        "plugin \"nope\" not found",
    ),
    (
        "network rm bridge",
        1,
        "bridge is a pre-defined network and cannot be removed",
    ),
    ("network rm nope", 1, "network nope not found"),
    (
        "network rm n2",
        1,
        "error while removing network: network n2 has active endpoints (name:\"c2\" ID",
    ),
    (
        "run --rm --ip 10.0.0.5 busybox true",
        125,
        "invalid config for network bridge: invalid endpoint settings:\n* user specified IP address is supported on user defined networks only\n* no configured subnet or ip-range contain the IP address 10.0.0.5",
    ),
    (
        "run --rm --net n1 --ip 172.18.0.9 busybox true",
        125,
        "invalid config for network n1: invalid endpoint settings:\nuser specified IP address is supported only when connecting to networks with user configured subnets",
    ),
    (
        "run --rm --net n2 --ip 10.77.5.5 busybox true",
        125,
        "failed to set up container networking: Address already in use",
    ),
    (
        "run --rm --net n2 --ip 10.77.0.1 busybox true",
        125,
        "failed to set up container networking: Address already in use",
    ),
    (
        "run --rm --net n2 --mac-address xx busybox true",
        125,
        "xx is not a valid mac address",
    ),
    (
        "run --rm --net nope busybox true",
        125,
        "failed to set up container networking: network nope not found",
    ),
    (
        "run --rm --net container:nope busybox true",
        125,
        "joining network namespace of container: No such container: nope",
    ),
    (
        "run --rm --net container:made busybox true",
        125,
        "cannot join network namespace of a non running container: container made is created",
    ),
    (
        "run --rm --net container:c1 -p 80:80 busybox true",
        125,
        "conflicting options: port publishing and the container type network mode",
    ),
    (
        "run --rm --net container:c1 --hostname x busybox true",
        125,
        "conflicting options: hostname and the network mode",
    ),
    (
        "run --rm --net container:c1 --dns 1.1.1.1 busybox true",
        125,
        "conflicting options: dns and the network mode",
    ),
    (
        "run --rm --net container: busybox true",
        125,
        "invalid network mode: invalid container format container:<name|id>",
    ),
    (
        "run --rm --link nope:x busybox true",
        125,
        "could not get container for nope: No such container: nope",
    ),
    (
        "run --rm --name user --link made:x busybox true",
        125,
        "Cannot link to a non running container: /made AS /user/x",
    ),
    (
        "network connect n2 c2",
        1,
        "endpoint with name c2 already exists in network n2",
    ),
    (
        "network connect host c1",
        1,
        "cannot connect container to host network - container must be created in host network mode",
    ),
    (
        "network connect n1 joined",
        1,
        "container sharing network namespace with another container or host cannot be connected to any other network",
    ),
    ("network connect nope c1", 1, "network nope not found"),
    ("network connect n1 nope", 1, "No such container: nope"),
    (
        "network disconnect n2 c1",
        1,
        "container ID is not connected to network n2",
    ),
    ("network ls -f type=foo", 1, "invalid filter: 'type'='foo'"),
    ("port nope", 1, "No such container: nope"),
];

#[test]
fn networks_are_made_shown_and_refused_as_dockers() {
    let host = need!(Host::new());
    host.says("network create n1");
    host.says("network create --subnet 10.77.0.0/16 n2");
    host.says(
        "network create --subnet 10.90.0.0/16 --gateway 10.90.0.254 --ip-range 10.90.5.0/24 \
         --internal -o com.docker.network.driver.mtu=1400 --label a=b --attachable n4",
    );
    host.says("run -d --name c1 --net n1 busybox sleep 1000");
    host.says(
        "run -d --name c2 --net n2 --ip 10.77.5.5 --network-alias db --network-alias db2 \
         --mac-address 02:00:00:00:00:05 --hostname hh busybox sleep 1000",
    );
    host.says("run -d --name joined --net container:c1 busybox sleep 1000");
    host.says("create --name made busybox true");
    let mut wrong = Vec::new();
    for (line, code, told) in LINES {
        let found = host.refuses(line, *code);
        if found != *told {
            wrong.push(format!("{line}\n  rbuild: {found}\n  docker: {told}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (line, said) in [
        (
            "network ls --format '{{.Name}} {{.Driver}} {{.Scope}} {{.IPv4}} {{.IPv6}} {{.Internal}} {{.Labels}}'",
            "bridge bridge local true false false \nhost host local true false false \nn1 bridge local true false false \nn2 bridge local true false false \nn4 bridge local true false true a=b\nnone null local true false false",
        ),
        (
            "network list -qf type=custom -f label=a --format '{{.Name}}'",
            "",
        ),
        ("network ls -f dangling=true --format '{{.Name}}'", "n4"),
        (
            "network inspect -f '{{json .IPAM}}' n4",
            r#"{"Driver":"default","Options":{},"Config":[{"Subnet":"10.90.0.0/16","IPRange":"10.90.5.0/24","Gateway":"10.90.0.254"}]}"#,
        ),
        (
            "network inspect -f '{{json .IPAM.Config}} {{.Internal}} {{.Attachable}} {{json .Options}}' n2",
            r#"[{"Subnet":"10.77.0.0/16"}] false false {}"#,
        ),
        (
            "network inspect -f '{{range .Containers}}{{.Name}} {{.MacAddress}} {{.IPv4Address}}{{end}}' n2",
            "c2 02:00:00:00:00:05 10.77.5.5/16",
        ),
        (
            "inspect -f '{{json .NetworkSettings.Networks.n2.IPAMConfig}} {{json .NetworkSettings.Networks.n2.Aliases}} {{.NetworkSettings.Networks.n2.Gateway}} {{.NetworkSettings.Networks.n2.IPPrefixLen}}' c2",
            r#"{"IPv4Address":"10.77.5.5"} ["db","db2"] 10.77.0.1 16"#,
        ),
        (
            "inspect -f '{{.NetworkSettings.IPAddress}}|{{.HostConfig.NetworkMode}}|{{.Config.MacAddress}}' c2",
            "|n2|02:00:00:00:00:05",
        ),
        (
            "ps -f network=n2 --format '{{.Names}} {{.Networks}}'",
            "c2 n2",
        ),
        ("ps -f name=joined --format '{{.Networks}}|{{.Ports}}'", "|"),
        (
            "exec c2 ip route",
            "default via 10.77.0.1 dev eth0 \n10.77.0.0/16 dev eth0 scope link  src 10.77.5.5",
        ),
        (
            "exec c2 cat /etc/hosts",
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n10.77.5.5\thh",
        ),
        ("network rm -f nope", ""),
        ("network prune -f --filter label=c", ""),
        ("network prune -f --filter label=a", "Deleted Networks:\nn4"),
    ] {
        let found = host.says(line);
        match line.contains(" -qf ") {
            // IDs are never the same.
            true => assert_eq!(found.len(), 12, "{line}: {found}"),
            false => assert_eq!(found, said, "{line}"),
        }
    }
    host.says("network create idle");
    let pruned = host.says("system prune -f");
    assert!(pruned.contains("Deleted Networks:\nidle\n"), "{pruned}");
    let names = host.says("inspect -f '{{json .NetworkSettings.Networks.n2.DNSNames}}' c2");
    assert!(
        names.starts_with(r#"["c2","db","db2",""#) && names.ends_with(r#"","hh"]"#),
        "{names}"
    );
    let resolv = host.says("exec c2 cat /etc/resolv.conf");
    assert!(
        resolv.contains("nameserver 127.0.0.11\n") && resolv.contains("ndots:0"),
        "{resolv}"
    );
    // A network that is gone is told when a container of it is started.
    host.says("stop -t 0 c2");
    let id = host.says("network inspect -f '{{.Id}}' n2");
    host.says("network rm n2");
    let done = host.line("start c2").fails(1);
    let want = format!("failed to set up container networking: network {id} not found");
    done.tells(&want);
    assert_eq!(host.says("inspect -f '{{.State.Error}}' c2"), want);
    host.end();
}

#[test]
fn names_are_known_within_networks_also_of_those_that_come_later() {
    let host = need!(Host::new());
    host.machine.sh("ip addr add 192.0.2.53/32 dev lo");
    host.machine
        .serve_names("192.0.2.53", Ipv4Addr::new(192, 0, 2, 99));
    host.says("network create --subnet 10.77.0.0/16 n1");
    host.says("network create --subnet 10.78.0.0/16 n2");
    host.says("run -d --name c1 --net n1 --dns 192.0.2.53 busybox sleep 1000");
    host.says("run -d --name c2 --net n1 --ip 10.77.5.5 --network-alias db busybox sleep 1000");
    host.says("run -d --name c3 --net n1 --ip 10.77.5.6 --network-alias db busybox sleep 1000");
    host.says("run -d --name far --net n2 --ip 10.78.0.9 busybox sleep 1000");
    assert_eq!(host.resolves("c1", "c2"), ["10.77.5.5"]);
    assert_eq!(host.resolves("c1", "C2.n1"), ["10.77.5.5"]);
    let mut both = host.resolves("c1", "db");
    both.sort();
    assert_eq!(both, ["10.77.5.5", "10.77.5.6"], "all that have the name");
    // What is nobody's here is asked elsewhere.
    assert_eq!(host.resolves("c1", "far"), ["192.0.2.99"]);
    assert_eq!(host.resolves("c1", "example.org"), ["192.0.2.99"]);
    let reverse = host.says("exec c1 nslookup 10.77.5.5");
    assert!(reverse.contains("name = c2.n1"), "{reverse}");
    // It may have port 53 for itself.
    host.says("exec -d c1 nc -lu -p 53");
    assert_eq!(host.resolves("c1", "c2"), ["10.77.5.5"]);
    // Coming and going, while they run.
    assert_eq!(host.hears("far", "10.77.5.5", 80), "");
    host.says("network connect --ip 10.77.9.9 --alias late n1 far");
    assert_eq!(host.resolves("c1", "late"), ["10.77.9.9"]);
    assert_eq!(host.resolves("far", "c1"), [host.address("c1")]);
    let addresses = host.says("exec far ip -o -4 addr show scope global");
    assert!(
        addresses.contains("10.78.0.9/16") && addresses.contains("10.77.9.9/16"),
        "{addresses}"
    );
    let hosts = host.says("exec far cat /etc/hosts");
    assert!(
        hosts.contains("10.78.0.9\t") && hosts.contains("10.77.9.9\t"),
        "{hosts}"
    );
    host.says("network disconnect n2 far");
    let routes = host.says("exec far ip route");
    assert!(
        routes.starts_with("default via 10.77.0.1 dev eth1"),
        "{routes}"
    );
    assert!(!host.says("exec far cat /etc/hosts").contains("10.78.0.9"));
    // And when it is started again.
    host.says("restart -t 0 far");
    assert_eq!(host.address("far"), "10.77.9.9");
    host.says("network disconnect n1 far");
    assert_eq!(host.resolves("c1", "late"), ["192.0.2.99"]);
    assert_eq!(
        host.says("inspect -f '{{json .NetworkSettings.Networks}}' far"),
        "{}"
    );
    // On the bridge that all share there are no names; with a network of one's own they come.
    host.says("run -d --name plain busybox sleep 1000");
    host.says("network connect n1 plain");
    assert_eq!(host.resolves("plain", "c2"), ["10.77.5.5"]);
    host.says("rename c3 third");
    assert_eq!(host.resolves("c1", "third"), ["10.77.5.6"]);
    assert_eq!(host.resolves("c1", "c3"), ["192.0.2.99"]);
    assert_eq!(host.resolves("c1", "db").len(), 2);
    // By one's own name for somebody.
    host.says("run -d --name linked --net n1 --link c2:store busybox sleep 1000");
    assert_eq!(host.resolves("linked", "store"), ["10.77.5.5"]);
    host.says("run -d --name base --expose 5000 busybox sleep 1000");
    let env =
        host.says("run --rm --name user --link base:the-alias busybox sh -c 'env; cat /etc/hosts'");
    let address = host.address("base");
    let want = format!("THE_ALIAS_PORT_5000_TCP=tcp://{address}:5000");
    assert!(env.lines().any(|line| line == want), "{env}");
    assert!(env.contains("THE_ALIAS_NAME=/user/the-alias"), "{env}");
    assert!(env.contains(&format!("{address}\tthe-alias ")), "{env}");
    host.end();
}

#[test]
fn networks_are_apart_and_nobody_is_another() {
    let host = need!(Host::new());
    let far = need!(Machine::new());
    host.machine
        .connect("far0", "198.51.100.1/24", &far, "198.51.100.2/24");
    let _server = far.serve(7777, "far");
    host.says("network create --subnet 10.77.0.0/16 open");
    host.says("network create --subnet 10.78.0.0/16 --internal quiet");
    host.server("--name aa --net open --ip 10.77.0.9", "a");
    host.server("--name bb --net quiet --ip 10.78.0.9", "b");
    host.says("run -d --name cc --net quiet busybox sleep 1000");
    host.says("run -d --name dd --net open --net quiet busybox sleep 1000");
    eventually("they serve", || host.machine.call("10.77.0.9", 80) == "a");
    assert_eq!(host.hears("aa", "198.51.100.2", 7777), "far");
    assert_eq!(host.hears("cc", "198.51.100.2", 7777), "", "it is internal");
    assert_eq!(host.hears("cc", "10.78.0.9", 80), "b");
    assert_eq!(host.hears("aa", "10.78.0.9", 80), "");
    assert_eq!(host.hears("cc", "10.77.0.9", 80), "");
    assert_eq!(host.hears("dd", "10.77.0.9", 80), "a");
    assert_eq!(host.hears("dd", "10.78.0.9", 80), "b");
    assert_eq!(
        host.hears("dd", "198.51.100.2", 7777),
        "far",
        "by the network that leads out"
    );
    // The same network, joined.
    host.says("run -d --name ee --net container:aa busybox sleep 1000");
    assert_eq!(host.hears("ee", "127.0.0.1", 80), "a");
    // With another's address, or another's hardware address, it is heard by nobody.
    host.says("run -d --name spoof --net open --cap-add NET_ADMIN busybox sleep 1000");
    assert_eq!(host.hears("spoof", "10.77.0.9", 80), "a");
    host.says("exec spoof ip addr add 10.77.0.200/16 dev eth0");
    host.says("exec spoof ip route replace 10.77.0.9 dev eth0 src 10.77.0.200");
    assert_eq!(host.hears("spoof", "10.77.0.9", 80), "");
    host.says("exec spoof ip route del 10.77.0.9");
    host.says("exec spoof ip link set eth0 address 02:00:00:00:00:66");
    assert_eq!(host.hears("spoof", "10.77.0.9", 80), "");
    // Who shares the network of one that is gone has its address no longer.
    assert_eq!(host.hears("ee", "198.51.100.2", 7777), "far");
    host.says("rm -f aa");
    assert_eq!(host.hears("ee", "198.51.100.2", 7777), "");
    host.end();
}

#[test]
fn a_closed_forward_chain_of_the_old_iptables_is_told() {
    let host = need!(Host::new());
    need!(program("iptables-legacy"));
    host.machine.sh("iptables-legacy -P FORWARD DROP");
    let done = host.line("run --rm busybox true").ok();
    done.tells("legacy iptables")
        .tells("iptables-legacy -I FORWARD -i rbuild+ -j ACCEPT");
    host.machine
        .sh("iptables-legacy -I FORWARD -i rbuild+ -j ACCEPT");
    let done = host.line("run --rm busybox true").ok();
    done.never_tells("legacy iptables");
}

/// What docker 28 tells of the same lines, but for IDs and times.
const EVENTS: &[&str] = &[
    "network create name=app type=bridge",
    "network connect container=web name=app type=bridge",
    "container start",
    "network create name=other type=bridge",
    "network connect container=web name=other type=bridge",
    "network disconnect container=web name=other type=bridge",
    "network disconnect container=web name=app type=bridge",
    "container die",
    "network destroy name=app type=bridge",
    "network destroy name=other type=bridge",
];

#[test]
fn what_a_container_had_is_free_when_its_end_is_told() {
    let host = need!(Host::new());
    let before = host.rules();
    host.says("network create --subnet 10.77.0.0/24 app");
    let members = "network inspect -f '{{range .Containers}}{{.Name}}{{end}}' app";
    let mut had = String::new();
    for with in ["", "-p 8080:80", "", "--network-alias db -p 8080:80", ""] {
        let run = format!("run --rm --name once --net app --ip 10.77.0.9 {with}");
        host.says(&format!("{run} busybox true"));
        assert_eq!(host.says("ps -aq"), had);
        let stays = host.says("ps --format '{{.Names}}'");
        assert_eq!(host.says(members), stays);
        // As the last that leaves, and then as one of several.
        if had.is_empty() {
            host.says("run -d --name stays --net app busybox sleep 1000");
            had = host.says("ps -q");
        }
    }
    assert_eq!(host.resolves("stays", "once"), [""; 0]);
    assert_eq!(
        host.machine
            .sh("nft list ruleset | grep -c 8080 || true")
            .trim(),
        "0"
    );
    host.end();
    host.says("network rm app");
    eventually("nothing is left", || host.rules() == before);
}

#[test]
fn events_tell_of_networks() {
    let host = need!(Host::new());
    host.says("network create app");
    let id = host.says("run -d --name web --net app busybox sleep 1000");
    host.says("network create other");
    host.says("network connect other web");
    host.says("network disconnect other web");
    host.says("kill web");
    host.says("wait web");
    host.says("rm web");
    host.says("network rm app other");
    let told = host.says(
        "events --since 1h --until 0s --filter type=network --filter event=start \
         --filter event=die --filter event=create --filter event=connect \
         --filter event=disconnect --filter event=destroy --filter type=container",
    );
    let told: Vec<String> = told
        .lines()
        .filter_map(|line| {
            let line = line.split_once(' ')?.1;
            let (start, attributes) = line.split_once(" (")?;
            let kind = start.rsplit_once(' ')?.0;
            let kept = attributes.trim_end_matches(')').replace(&id, "web");
            match kind {
                "container start" | "container die" => Some(kind.to_owned()),
                _ if kind.starts_with("network") => {
                    Some(format!("{kind} {}", kept.replace(", ", " ")))
                }
                _ => None,
            }
        })
        .collect();
    assert_eq!(told, EVENTS);
}

#[test]
fn who_is_linked_learns_where_the_other_is_when_it_comes_back() {
    let host = need!(Host::new());
    host.says("run -d --name db busybox sleep 1000");
    host.says("run -d --name web --link db:store busybox sleep 1000");
    let knows = |address: &str| {
        let hosts = host.says("exec web cat /etc/hosts");
        let lines = hosts.lines().filter(|line| line.ends_with(" db"));
        let found: Vec<&str> = lines.filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(found.len(), 1, "{hosts}");
        found[0] == address
    };
    let before = host.address("db");
    assert!(knows(&before));
    // Its address is another's meanwhile.
    host.says("stop -t 0 db");
    host.says("run -d --name other busybox sleep 1000");
    host.says("start db");
    let now = host.address("db");
    assert_ne!(before, now);
    eventually("it knows the new address", || knows(&now));
    host.line("exec web ping -c 1 -W 30 store").ok();
    host.end();
}
