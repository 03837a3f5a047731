//! Published ports of containers: who reaches them, and what is told of them.
//!
//! What lines print is docker 28's, whose daemon has the host's network to itself and so is not run
//! beside.

use std::net::UdpSocket;
use std::time::Duration;

use e2e::{Cmd, Machine, need};

use crate::networked::{Host, eventually, in_network};

#[test]
fn published_ports_lead_to_a_container_from_everywhere_and_nothing_else_does() {
    let host = need!(Host::new());
    let lan = need!(Machine::new());
    host.machine
        .connect("lan0", "203.0.113.1/24", &lan, "203.0.113.2/24");
    lan.sh("ip route add default via 203.0.113.1");
    let before = host.rules();
    host.server("--name web -p 8080:80 -p 127.0.0.1:81:80 -p 80", "inside");
    let own = host.address("web");
    eventually("it serves", || host.machine.call(&own, 80) == "inside");
    for (address, port, answer) in [
        ("127.0.0.1", 8080, "inside"),
        ("203.0.113.1", 8080, "inside"),
        ("::1", 8080, "inside"),
        ("127.0.0.1", 81, "inside"),
        ("203.0.113.1", 81, ""),
    ] {
        let heard = host.machine.call(address, port);
        assert_eq!(heard, answer, "{address} {port}: {}", host.rules());
    }
    // One of any number leads there, too.
    let any = host.says("port web 80/tcp");
    let any = any.lines().find_map(|line| line.strip_prefix("0.0.0.0:"));
    let ports = host.says("port web");
    assert!(
        any.is_some() && ports.contains("80/tcp -> 127.0.0.1:81"),
        "{ports}"
    );
    assert_eq!(lan.call("203.0.113.1", 8080), "inside");
    assert_eq!(
        lan.call("203.0.113.1", 81),
        "",
        "published for this machine only"
    );
    assert_eq!(lan.call(&own, 80), "", "a port of the container itself");
    // From inside, from beside, and from another network.
    host.says("network create other");
    host.says("run -d --name beside busybox sleep 1000");
    host.says("run -d --name apart --net other busybox sleep 1000");
    for name in ["web", "beside", "apart"] {
        assert_eq!(host.hears(name, "203.0.113.1", 8080), "inside", "{name}");
    }
    assert_eq!(host.hears("beside", &own, 80), "inside");
    assert_eq!(host.hears("apart", &own, 80), "", "networks are apart");
    assert_eq!(host.hears("beside", "203.0.113.1", 81), "");
    // Datagrams, by either kind of address.
    host.says("run -d --name udp -p 82:90/udp busybox sleep 1000");
    let pid = host.says("inspect -f '{{.State.Pid}}' udp");
    let server = in_network(&format!("/proc/{pid}/ns/net"), || {
        UdpSocket::bind("0.0.0.0:90").unwrap()
    });
    std::thread::spawn(move || {
        let mut heard = [0; 64];
        // Its end is that of the namespace.
        while let Ok((length, from)) = server.recv_from(&mut heard)
            && &heard[..length] != b"end"
        {
            let _ = server.send_to(&heard[..length], from);
        }
    });
    for (own, address) in [("127.0.0.1:0", "127.0.0.1:82"), ("[::1]:0", "[::1]:82")] {
        let client = in_network(&host.machine.namespace(), || UdpSocket::bind(own).unwrap());
        client
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        client.send_to(b"sent", address).unwrap();
        let mut heard = [0; 64];
        let length = client.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"sent", "{address}");
        if address.starts_with('[') {
            client.send_to(b"end", address).unwrap();
        }
    }
    for name in ["web", "beside", "apart", "udp"] {
        host.says(&format!("rm -f {name}"));
    }
    host.says("network rm other");
    eventually("nothing is left", || host.rules() == before);
}

#[test]
fn a_taken_port_is_told_before_anything_runs() {
    let host = need!(Host::new());
    let _taken = host.machine.serve(8081, "other");
    host.says("run -d --name web -p 8080:80 -p 7000-7002:7000-7002 busybox sleep 1000");
    let start = "failed to set up container networking: driver failed programming external \
                 connectivity on endpoint";
    assert_eq!(
        host.refuses("run --name second -p 8080:80 busybox touch /ran", 125),
        format!("{start} second ID Bind for 0.0.0.0:8080 failed: port is already allocated")
    );
    assert_eq!(
        host.says("inspect -f '{{.State.Status}}' second"),
        "created"
    );
    let told = host.refuses("run --name third -p 8081:80 busybox true", 125);
    assert!(told.starts_with(&format!("{start} third ID")), "{told}");
    assert!(told.ends_with(":80/tcp: address already in use"), "{told}");
    // Other programs see it taken.
    let bind = Cmd::new("busybox").args(["nc", "-l", "-p", "8080"]);
    let done = host.machine.on(bind).run();
    assert!(!done.status.success(), "{done}");
    // The first of a range that is free.
    host.says("run -d --name next -p 8080-8085:80 busybox sleep 1000");
    let ps = |name: &str| {
        host.says(&format!(
            "ps --filter name={name} --format '{{{{.Ports}}}}'"
        ))
    };
    assert_eq!(ps("next"), "0.0.0.0:8082->80/tcp, [::]:8082->80/tcp");
    let ranges = "0.0.0.0:7000-7002->7000-7002/tcp, [::]:7000-7002->7000-7002/tcp, \
                  0.0.0.0:8080->80/tcp, [::]:8080->80/tcp";
    assert_eq!(ps("web"), ranges);
    host.says("run -d --name told --expose 8000-8002 busybox sleep 1000");
    assert_eq!(ps("told"), "8000-8002/tcp");
    assert_eq!(
        host.says("inspect -f '{{json (index .NetworkSettings.Ports \"80/tcp\")}}' web"),
        r#"[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":"8080"}]"#
    );
    assert_eq!(
        host.refuses("port web 99", 1),
        "No public port '99' published for web"
    );
    host.says("stop -t 0 web");
    assert_eq!(
        host.says("inspect -f '{{json .NetworkSettings.Ports}}' web"),
        "{}"
    );
    host.says("run --rm -p 8080:80 busybox true");
    host.end();
}
