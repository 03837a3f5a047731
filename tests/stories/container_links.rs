//! Networks on a link of this machine, in place of a bridge: macvlan and ipvlan; and small ones.
//!
//! Each line is typed to a docker 28 on a machine of its own, and to us on another with the same
//! links. A kernel that lacks a kind of links makes both say so.

use e2e::{Docker, Machine, need};

use crate::both::{plain, words};
use crate::networked::Host;

/// Two links of a machine that lead to each other.
const PAIR: &str = "ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up; \
                    ip addr add 10.44.0.1/24 dev v1; echo 1 >/proc/sys/net/ipv4/ip_forward";

/// What each line prints is the same, but for IDs and hardware addresses.
const SAME: &[&str] = &[
    "network create -d macvlan -o parent=lo no",
    "network create -d ipvlan -o parent=lo no",
    "network create -d macvlan -o parent=nope no",
    "network create -d macvlan -o parent=nope.10 no",
    "network create -d macvlan -o parent=v0.abc no",
    "network create -d macvlan -o parent=v0. no",
    "network create -d macvlan -o parent=v0.1.2 no",
    "network create -d macvlan -o parent=v0.0 no",
    "network create -d macvlan -o parent=v0.4095 no",
    "network create -d macvlan -o parent=v0 -o macvlan_mode=zzz no",
    "network create -d ipvlan -o parent=v0 -o ipvlan_mode=zzz no",
    "network create -d ipvlan -o parent=v0 -o ipvlan_flag=zzz no",
    // These are made where the kernel can.
    "network create -d macvlan -o parent=v0.10 vlan",
    "network create -d ipvlan nowhere",
    "network create -d ipvlan -o parent=v0 --subnet 10.43.0.0/24 -o ipvlan_mode=l3 three",
    "network inspect -f '{{.Driver}} {{json .Options}} {{json .IPAM}}' three",
    "run --rm --name typed --net three --mac-address 02:00:00:00:00:09 busybox true",
    "network rm three",
    "network create -d macvlan -o parent=v0 -o com.docker.network.driver.mtu=x -o foo=bar --subnet 10.44.0.0/24 --gateway 10.44.0.1 --ip-range 10.44.0.128/25 --aux-address x=10.44.0.129 lan",
    "network create -d macvlan -o parent=v0 -o macvlan_mode=passthru no",
    "network create -d macvlan -o parent=v0 --subnet 10.45.0.0/24 --aux-address x=10.45.0.1 no",
    "network create -d macvlan -o parent=v0 --subnet 10.44.0.0/25 no",
    "network create -d macvlan -o parent=v0 --internal --subnet 10.46.0.0/24 inner",
    "network inspect -f '{{.Driver}} {{.Internal}} {{json .Options}} {{json .IPAM}}' lan inner",
    "network ls -f driver=macvlan --format '{{.Name}} {{.Driver}} {{.Scope}}'",
    "run -d --name web --net lan -p 8080:80 --expose 90 busybox sleep 1000",
    "inspect -f '{{json .NetworkSettings.Ports}} {{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Gateway}} {{.IPPrefixLen}}{{end}}' web",
    "exec web ip route",
    "exec web ip -o -4 addr show eth0",
    "port web",
    "ps --format '{{.Names}} {{.Ports}} {{.Networks}}'",
    "network rm lan",
    "run --rm --net lan --ip 10.44.0.128 busybox true",
    "run --rm --net lan --ip 10.44.0.5 busybox true",
    "run --rm --net lan busybox ip route",
    "run --rm --net lan busybox sh -c 'ping -c 1 -W 30 web >/dev/null && echo reached'",
    "run --rm --net inner busybox ip route",
    "network connect --ip 10.46.0.7 inner web",
    "exec web ip route",
    "inspect -f '{{json (index .NetworkSettings.Networks \"inner\").IPAMConfig}}' web",
    "network disconnect lan web",
    "exec web ip route",
    "exec web ls /sys/class/net",
    "rm -f web",
    "network create --config-only -o parent=v1 --subnet 10.47.0.0/24 --gateway 10.47.0.254 said",
    "network create -d macvlan --config-from said made",
    "run --rm --net made busybox ip route",
    "network create -d macvlan -o parent=v1 -o macvlan_mode=private --ipv6 --subnet fd00:44::/64 --subnet 10.48.0.0/24 six",
    "run --rm --net six busybox ip -6 route",
    "network rm lan inner made said six",
    // Networks with room for one, or for nobody.
    "network create --subnet 10.92.0.0/31 pair",
    "network create --subnet 10.93.0.0/31 --gateway 10.93.0.1 other",
    "network create --subnet 10.94.0.1/32 --gateway 10.94.0.1 single",
    "network create --ipv6 --subnet fd00:1::/127 --subnet 10.95.0.0/24 pair6",
    "network create --ipv6 --subnet fd00:2::/128 no",
    "network inspect -f '{{json .IPAM.Config}}' pair other single pair6",
    "run --rm --net pair busybox ip -o -4 addr show eth0",
    "run --rm --net other busybox ip route",
    "run --name first --net single busybox true",
    "run --rm --net pair6 busybox true",
    "rm first",
    "network rm pair other single pair6",
    // Networks that are removed before a container is started.
    "network create gone",
    "network create stays",
    "create --name never --net stays busybox true",
    "network connect gone never",
    "inspect -f '{{with index .NetworkSettings.Networks \"gone\"}}{{json .IPAMConfig}} {{json .DriverOpts}}{{end}}' never",
    "network rm gone",
    "start never",
    "inspect -f '{{json .State}}' never",
    "network create gone",
    "start -a never",
    "network rm gone",
    "start never",
    "inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}' never",
    "network create gone",
    "start never",
    "network disconnect gone never",
    "start -a never",
    "network disconnect gone never",
    "network connect gone never",
    "network rm gone",
    "network disconnect gone never",
    "network disconnect gone never",
    "network disconnect nope never",
    "rm never",
    "network rm stays",
];

#[test]
fn networks_on_links_are_dockers() {
    let ours = need!(Host::new());
    let machine = need!(Machine::new());
    ours.machine.sh(PAIR);
    machine.sh(PAIR);
    let docker = need!(Docker::on(&machine));
    let mut wrong = Vec::new();
    for line in SAME {
        let of = |done: e2e::Done| {
            let text = |text: String| {
                // The number of an interface is its namespace's business.
                let lines = plain(&text);
                let lines = lines.lines().map(|line| match line.split_once(": eth") {
                    Some((_, rest)) => format!("eth{rest}"),
                    // A place on a network has an ID.
                    None => line.split(" id:").next().unwrap_or_default().to_owned(),
                });
                lines.collect::<Vec<_>>().join("\n")
            };
            (done.status.code(), text(done.out()), text(done.err()))
        };
        let found = (of(ours.line(line).run()), of(docker.cmd(words(line)).run()));
        if found.0 != found.1 {
            wrong.push(format!(
                "{line}\n  rbuild: {:?}\n  docker: {:?}",
                found.0, found.1
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
