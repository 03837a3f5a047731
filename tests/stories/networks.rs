//! The network of builds: what a RUN reaches, and who reaches it.
//!
//! Builds run on machines of a test's own, in a network namespace each.

use crate::networked::eventually;
use e2e::{Cmd, Dir, Machine, Running, Store, need, program};

/// A build on this machine that goes on in the background.
fn build(machine: &Machine, store: &Store, context: &Dir) -> Running {
    let command = store.rbuild(["build", "--no-cache"]).arg(context.path());
    machine.on(command).spawn()
}

/// The gateway, as a RUN finds it.
const GATEWAY: &str = "gateway=$(ip route | awk '/^default/ {print $3}')";

/// A build that says its address and then answers one call with `inside`.
fn serving() -> Dir {
    Dir::dockerfile(
        "FROM busybox\nRUN ip -4 addr show eth0 | awk '/inet/ {print \"at \" $2 \".\"}'; \
         nc -l -p 7777 -e echo inside; echo served\n",
    )
}

/// The address that [`serving`] tells.
#[track_caller]
fn address_of(build: &Running) -> String {
    build.until_err("/22.");
    let said = build.err_so_far();
    let (_, rest) = said.rsplit_once(" at ").expect("an address");
    rest.split_once('/').expect("a prefix").0.to_owned()
}

/// What nftables and forwarding are like.
fn rules(machine: &Machine) -> String {
    machine.sh("nft list ruleset; cat /proc/sys/net/ipv4/ip_forward")
}

#[test]
fn a_build_keeps_its_network_while_others_come_and_go() {
    let store = need!(Store::busybox());
    let machine = need!(Machine::new());
    let _server = machine.serve(5353, "resolved");
    // Of those that come first one would lend the bridge its hardware address, and take it along
    // when it goes.
    let short = Dir::dockerfile("FROM busybox\nRUN echo sho''rt; sleep 1000\n");
    let come = || {
        let others: Vec<Running> = (0..5).map(|_| build(&machine, &store, &short)).collect();
        others.iter().for_each(|other| other.until_err(" short"));
        others
    };
    let go = |others: Vec<Running>| {
        for other in others {
            other.signal(nix::sys::signal::Signal::SIGTERM);
            other.wait();
        }
    };
    let bridge = || machine.sh("ip -o link show rbuild0 | sed 's/.*link.ether //'");
    let first = come();
    let before = bridge();
    let long = Dir::dockerfile(&format!(
        "FROM busybox\nRUN {GATEWAY}; for i in $(seq 60); do \
         nc -w 4 $gateway 5353 </dev/null >/got && grep -q resolved /got || echo lost; \
         awk '$1 ~ /^10/ {{print \"gateway is\", $4}}' /proc/net/arp; sleep 0.1; done\n"
    ));
    let running = build(&machine, &store, &long);
    running.until_err(" gateway is 0");
    go(first);
    assert_eq!(bridge(), before);
    go(come());
    assert_eq!(bridge(), before);
    let done = running.wait();
    assert!(done.status.success(), "{done}");
    let said = done.err();
    let gateways: std::collections::BTreeSet<&str> = said
        .lines()
        .filter_map(|line| line.split_once(" gateway is "))
        .map(|(_, mac)| mac)
        .collect();
    assert_eq!(gateways.len(), 1, "{done}");
    assert!(!said.lines().any(|line| line.ends_with(" lost")), "{done}");
}

#[test]
fn no_other_machine_reaches_a_build_or_goes_through_its_host() {
    need!(program("nft"));
    let store = need!(Store::busybox());
    let (host, lan, far) = (
        need!(Machine::new()),
        need!(Machine::new()),
        need!(Machine::new()),
    );
    host.connect("lan0", "203.0.113.1/24", &lan, "203.0.113.2/24");
    host.connect("far0", "198.51.100.1/24", &far, "198.51.100.2/24");
    lan.sh("ip route add default via 203.0.113.1");
    far.sh("ip route add default via 198.51.100.1");
    let _server = far.serve(7777, "far");
    let _lan_server = lan.serve(7777, "lan");
    let before = rules(&host);
    assert_eq!(lan.call("198.51.100.2", 7777), "", "no router yet");

    let service = serving();
    let inside = build(&host, &store, &service);
    let address = address_of(&inside);
    assert_eq!(lan.call(&address, 7777), "", "the build's port");
    assert_eq!(lan.call("198.51.100.2", 7777), "", "the host as a router");
    // A build reaches both, for its packets and their answers pass.
    let out = Dir::dockerfile(
        "FROM busybox\nRUN nc 203.0.113.2 7777 </dev/null; nc 198.51.100.2 7777 </dev/null\n",
    );
    let done = build(&host, &store, &out).wait();
    done.tells(" lan").tells(" far");
    // The port was there all the time, and the first build has not lost what the host does for it.
    assert_eq!(host.call(&address, 7777), "inside");
    let done = inside.wait();
    assert!(done.status.success(), "{done}");
    done.tells(" served");
    assert_eq!(rules(&host), before);

    // Where the host was a router it stays one, and builds are out of reach all the same.
    host.sh("echo 1 >/proc/sys/net/ipv4/ip_forward");
    let before = rules(&host);
    let inside = build(&host, &store, &service);
    let address = address_of(&inside);
    assert_eq!(lan.call(&address, 7777), "");
    assert_eq!(lan.call("198.51.100.2", 7777), "far");
    assert_eq!(host.call(&address, 7777), "inside");
    assert!(inside.wait().status.success());
    assert_eq!(rules(&host), before);
    assert_eq!(lan.call("198.51.100.2", 7777), "far");
}

#[test]
fn an_administrators_rules_come_first() {
    need!(program("iptables-nft"));
    let store = need!(Store::busybox());
    let (host, lan, far) = (
        need!(Machine::new()),
        need!(Machine::new()),
        need!(Machine::new()),
    );
    host.connect("lan0", "203.0.113.1/24", &lan, "203.0.113.2/24");
    host.connect("far0", "198.51.100.1/24", &far, "198.51.100.2/24");
    let _server = far.serve(7777, "far");
    let _lan_server = lan.serve(7777, "lan");
    // As Docker leaves it, before version 28 with a RETURN at the end of its chain.
    host.sh(
        "iptables-nft -P FORWARD DROP; iptables-nft -N DOCKER-USER; \
             iptables-nft -A FORWARD -j DOCKER-USER; \
             iptables-nft -A DOCKER-USER -d 203.0.113.2 -j DROP; \
             iptables-nft -A DOCKER-USER -j RETURN",
    );
    let list = || host.sh("iptables-nft -S");
    let before = list();
    let out = Dir::dockerfile(
        "FROM busybox\nRUN nc -w 2 203.0.113.2 7777 </dev/null; nc 198.51.100.2 7777 </dev/null; \
         echo wait''ing; nc -l -p 7778\n",
    );
    let first = build(&host, &store, &out);
    first.until_err(" waiting");
    let said = first.err_so_far();
    assert!(
        said.contains(" far\n") && !said.contains(" lan\n"),
        "{said}"
    );
    // Two rules behind all others, also when the administrator has added one since.
    host.sh("iptables-nft -A FORWARD -s 192.0.2.1 -j DROP");
    let second = build(&host, &store, &out);
    second.until_err(" waiting");
    let forward: Vec<String> = list()
        .lines()
        .filter(|line| line.starts_with("-A FORWARD"))
        .map(|line| line.split(" -m comment").next().unwrap().to_owned())
        .collect();
    assert_eq!(forward.len(), 4, "{forward:?}");
    assert_eq!(forward[1], "-A FORWARD -s 192.0.2.1/32 -j DROP");
    assert!(
        forward[2].starts_with("-A FORWARD -i rbuild0"),
        "{forward:?}"
    );
    assert!(
        forward[3].starts_with("-A FORWARD -o rbuild0 -m conntrack"),
        "{forward:?}"
    );
    drop((first, second));
    // What killed builds left goes with the next one.
    let next = Dir::dockerfile("FROM busybox\nRUN true\n");
    let done = build(&host, &store, &next).wait();
    assert!(done.status.success(), "{done}");
    host.sh("iptables-nft -D FORWARD -s 192.0.2.1 -j DROP");
    assert_eq!(list(), before);
}

#[test]
fn a_killed_builds_changes_are_taken_back_by_the_next_build() {
    need!(program("nft"));
    let store = need!(Store::busybox());
    for next in ["RUN echo next", "COPY Dockerfile /"] {
        let host = need!(Machine::new());
        let before = rules(&host);
        let service = serving();
        let killed = build(&host, &store, &service);
        address_of(&killed);
        assert!(rules(&host).ends_with("\n1\n"), "forwarding is on");
        killed.signal(nix::sys::signal::Signal::SIGKILL);
        killed.wait();
        let next = Dir::dockerfile(&format!("FROM busybox\n{next}\n"));
        let done = build(&host, &store, &next).wait();
        assert!(done.status.success(), "{done}");
        assert_eq!(rules(&host), before);
    }
}

#[test]
fn who_relies_on_forwarding_meanwhile_keeps_it() {
    need!(program("nft"));
    let store = need!(Store::busybox());
    let host = need!(Machine::new());
    let service = serving();
    let running = build(&host, &store, &service);
    let address = address_of(&running);
    host.sh("nft 'add table ip theirs; \
             add chain ip theirs out { type nat hook postrouting priority 100; }'");
    // It says its address before it listens.
    eventually("it serves", || host.call(&address, 7777) == "inside");
    assert!(running.wait().status.success());
    let left = rules(&host);
    assert!(
        left.ends_with("\n1\n") && !left.contains("rbuild0"),
        "{left}"
    );
}

/// The process in the container of a build, as this machine's kernel numbers it.
#[track_caller]
fn process_of(mark: &str) -> String {
    let found = Cmd::new("pgrep")
        .args(["-f", &format!("^sleep {mark}")])
        .ok();
    found.out().trim().to_owned()
}

#[test]
fn builds_side_by_side_do_not_meet() {
    let store = need!(Store::busybox());
    let host = need!(Machine::new());
    need!(program("pgrep"));
    let (service, idle) = (
        serving(),
        Dir::dockerfile("FROM busybox\nRUN echo u''p; sleep 654321\n"),
    );
    let victim = build(&host, &store, &service);
    let address = address_of(&victim);
    let attacker = build(&host, &store, &idle);
    attacker.until_err(" up");
    // With more rights than a RUN has: those of root on the host, in the build's network.
    let pid = process_of("654321");
    let inside = |script: &str| {
        let enter = ["--target", &pid, "--net", "--", "sh", "-c", script];
        Cmd::new("nsenter").args(enter).run().out()
    };
    let gateway = inside("ip route | awk '/^default/ {print $3}'");
    let gateway = gateway.trim();
    let call = |to: &str, port| format!("busybox nc -w 2 {to} {port} </dev/null");
    let _server = host.serve(5353, "gateway");
    assert_eq!(inside(&call(gateway, 5353)), "gateway\n");
    // By the bridge, and by way of the gateway.
    assert_eq!(inside(&call(&address, 7777)), "");
    inside(&format!("ip route add {address}/32 via {gateway}"));
    assert_eq!(inside(&call(&address, 7777)), "");
    inside(&format!("ip route del {address}/32"));
    // Under the victim's address.
    let victims = || host.sh(&format!("ip neigh show {address} | awk '{{print $5}}'"));
    host.call(&address, 1);
    let known = victims();
    assert!(known.starts_with("02:62:"), "{known}");
    inside(&format!(
        "ip addr add {address}/32 dev eth0; busybox arping -c 2 -w 2 -U -I eth0 {address}; \
         busybox arping -c 2 -w 2 -A -I eth0 {address}"
    ));
    assert_eq!(victims(), known, "ARP of another's address");
    assert_eq!(
        inside(&format!(
            "busybox nc -w 2 -s {address} {gateway} 5353 </dev/null"
        )),
        ""
    );
    inside(&format!("ip addr del {address}/32 dev eth0"));
    assert_eq!(
        inside(&call(gateway, 5353)),
        "gateway\n",
        "still by its own"
    );
    // Under the victim's hardware address.
    let own = inside("cat /sys/class/net/eth0/address");
    inside(&format!(
        "ip link set eth0 address {}; ip neigh flush dev eth0",
        known.trim()
    ));
    assert_eq!(inside(&call(gateway, 5353)), "", "{own}");
    // Nor another language than IPv4 and ARP.
    let port = host.sh("ip -o link show type veth | awk -F'[ @:]+' '{print $2}' | tail -1");
    assert!(port.starts_with("vrb"), "{port}");
    let ping = "ip -6 addr add fd00::2/64 dev eth0 nodad; ping -6 -c 1 -W 1 fd00::1";
    host.sh("ip -6 addr add fd00::1/64 dev rbuild0 nodad");
    assert!(!inside(ping).contains(" 1 received"));
    // The victim has noticed nothing of all that.
    assert_eq!(host.call(&address, 7777), "inside");
    let done = victim.wait();
    assert!(done.status.success(), "{done}");
}
