//! Networks, in a network namespace that stands in for the host.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use runtime::network::{Between, Config, Endpoint, Mapping, Namespace, Protocol, Sandbox, Wish};
use runtime::{NetworkMode, Spec};

use crate::harness::{Image, Test, eventually, output};
use crate::probe;

pub const TESTS: &[Test] = &[
    ("network_none_has_only_lo", none),
    ("network_host_is_the_hosts", host),
    ("network_sandbox_reaches_the_bridge", || {
        isolated_test("reach")
    }),
    (
        "network_sandbox_passes_a_closed_forward_chain",
        closed_forward,
    ),
    ("network_sandboxes_get_addresses_of_their_own", || {
        isolated_test("addresses")
    }),
    ("network_links_vanish", || isolated_test("vanish")),
    ("network_ports_lead_inside", || isolated_test("publish")),
];

fn none() -> Result<(), String> {
    let image = Image::new();
    let script = "ls /sys/class/net; busybox ping -c1 -W2 127.0.0.1 >/dev/null && echo up";
    let out = output(&image.sh(script));
    let lines: Vec<&str> = out.split_whitespace().collect();
    // Kernels with tunnel drivers add their fallback devices to every namespace.
    assert!(
        lines.contains(&"lo") && lines.contains(&"up") && !lines.contains(&"eth0"),
        "{out}"
    );
    Ok(())
}

fn host() -> Result<(), String> {
    let image = Image::new();
    let spec = image
        .sh("busybox readlink /proc/self/ns/net")
        .network(NetworkMode::Host);
    let host = fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(output(&spec), host.display().to_string());
    Ok(())
}

fn isolated_test(which: &str) -> Result<(), String> {
    assert_eq!(probe::again("network", &[Path::new(which)]), "done");
    Ok(())
}

fn closed_forward() -> Result<(), String> {
    for tool in [
        "/usr/sbin/iptables-nft",
        "/usr/sbin/nft",
        "/usr/bin/unshare",
    ] {
        if !Path::new(tool).exists() && !Path::new(&tool.replace("/usr", "")).exists() {
            return Err(format!("needs {tool}"));
        }
    }
    isolated_test("forward")
}

fn config(dir: &Path) -> Config {
    Config {
        state_dir: PathBuf::from(dir),
        bridge: "testbr0".to_owned(),
        between: Between::Nothing,
        ..Config::default()
    }
}

fn with(spec: Spec, sandbox: &Arc<Sandbox>) -> Spec {
    spec.network(NetworkMode::Sandbox(Arc::clone(sandbox)))
}

/// Answers every connection with `text`.
fn serve(listener: TcpListener, text: &'static str) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = { stream }.write_all(text.as_bytes());
        }
    });
}

/// Runs in a process that leaves the host's network first.
pub fn isolated(which: &str) {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
    let dir = tempfile::tempdir().unwrap();
    match which {
        "reach" => reach(dir.path()),
        "addresses" => addresses(dir.path()),
        "vanish" => vanish(dir.path()),
        "forward" => forward(dir.path()),
        "publish" => publish(dir.path()),
        other => panic!("unknown test {other}"),
    }
    println!("done");
}

fn reach(dir: &Path) {
    let image = Image::new();
    let sandbox = Arc::new(Sandbox::create(&config(dir)).unwrap());
    let listener = TcpListener::bind((sandbox.gateway(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    serve(listener, "hello");
    let script = format!("busybox nc {} {port} </dev/null", sandbox.gateway());
    // The same namespace serves several steps.
    for _ in 0..2 {
        assert_eq!(output(&with(image.sh(&script), &sandbox)), "hello");
    }
    let hosts = output(&with(image.sh("busybox tail -1 /etc/hosts"), &sandbox));
    assert_eq!(hosts, format!("{}\tlocalhost", sandbox.address()));
    assert_eq!(
        fs::read_to_string("/proc/sys/net/ipv4/ip_forward")
            .unwrap()
            .trim(),
        "1"
    );
    runtime::network::remove_bridge("testbr0").unwrap();
    assert!(!Path::new("/proc/sys/net/ipv4/conf/testbr0").exists());
}

fn addresses(dir: &Path) {
    let sandboxes: Vec<Sandbox> = std::thread::scope(|scope| {
        let make = || Sandbox::create(&config(dir)).unwrap();
        (0..6)
            .map(|_| scope.spawn(make))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|t| t.join().unwrap())
            .collect()
    });
    let mut found: Vec<_> = sandboxes.iter().map(Sandbox::address).collect();
    found.sort();
    let first = found[0];
    found.dedup();
    assert_eq!(found.len(), 6);
    drop(sandboxes);
    assert_eq!(
        Sandbox::create(&config(dir)).unwrap().address(),
        first,
        "leases end"
    );
}

fn links() -> Vec<String> {
    let text = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim().to_owned())
        .filter(|name| name.starts_with("vrb"))
        .collect()
}

fn vanish(dir: &Path) {
    let sandbox = Sandbox::create(&config(dir)).unwrap();
    assert_eq!(links().len(), 1);
    drop(sandbox);
    eventually("link gone", || links().is_empty());
}

/// What a server tells who calls it; nothing when nobody answers.
fn call(address: std::net::Ipv4Addr, port: u16) -> String {
    use std::io::Read as _;
    let mut text = String::new();
    let within = std::time::Duration::from_secs(2);
    if let Ok(mut stream) = std::net::TcpStream::connect_timeout(&(address, port).into(), within) {
        let _ = stream.read_to_string(&mut text);
    }
    text
}

fn rules() -> String {
    let listed = Command::new("nft").args(["list", "ruleset"]).output();
    String::from_utf8(listed.unwrap().stdout).unwrap()
}

fn publish(dir: &Path) {
    let up = "ip link set lo up; ip addr add 192.0.2.7/32 dev lo";
    assert!(
        Command::new("sh")
            .args(["-c", up])
            .status()
            .unwrap()
            .success()
    );
    let local = std::net::Ipv4Addr::LOCALHOST;
    let config = Config {
        between: Between::Everything,
        publishes: true,
        ..config(dir)
    };
    let place = |interface: &str| {
        let namespace = Namespace::create(false).unwrap();
        let wish = Wish {
            interface: interface.to_owned(),
            note: "says".to_owned(),
            ..Wish::default()
        };
        let endpoint = Endpoint::attach(&config, &namespace, &wish).unwrap();
        namespace
            .route_by(Some((interface, Some(endpoint.gateway()))))
            .unwrap();
        (namespace, endpoint)
    };
    let (server, mut served) = place("eth0");
    let listener = server.enter("listen", || TcpListener::bind("0.0.0.0:80"));
    serve(listener.unwrap(), "inside");
    let mapping = |address: std::net::Ipv4Addr, port| Mapping {
        protocol: Protocol::Tcp,
        address: address.into(),
        port,
        to: 80,
    };
    let everywhere = std::net::Ipv4Addr::UNSPECIFIED;
    let wanted = [mapping(everywhere, 8080), mapping(local, 81)];
    served.publish(&wanted).unwrap();
    assert_eq!(call(local, 8080), "inside", "{}", rules());
    assert_eq!(call(local, 81), "inside");
    assert_eq!(call(served.gateway(), 8080), "inside");
    assert_eq!(call([192, 0, 2, 7].into(), 8080), "inside");
    assert_eq!(
        call([192, 0, 2, 7].into(), 81),
        "",
        "published at 127.0.0.1 only"
    );
    let (client, other) = place("eth0");
    let (own, gateway) = (served.address(), served.gateway());
    let from_inside = |from: &Namespace| {
        let calls = || Ok((call(gateway, 8080), call([192, 0, 2, 7].into(), 8080)));
        from.enter("call", calls).unwrap()
    };
    let inside = || "inside".to_owned();
    assert_eq!(from_inside(&client), (inside(), inside()), "{}", rules());
    assert_eq!(from_inside(&server), (inside(), inside()), "its own port");
    // The host's own 127.0.0.1 is nobody's business.
    let secret = TcpListener::bind("127.0.0.1:9999").unwrap();
    serve(secret, "secret");
    let hostile = || {
        let route = format!("ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.1 via {gateway}");
        let _ = Command::new("sh").args(["-c", &route]).status();
        Ok(call(local, 9999))
    };
    assert_eq!(client.enter("call", hostile).unwrap(), "");
    let notes = runtime::network::notes(&runtime::network::directory(dir).unwrap(), "testbr0");
    assert_eq!(notes.len(), 2);
    assert_eq!(notes[0], (own, "says".to_owned()));
    drop(other);
    assert_eq!(
        call(local, 8080),
        "inside",
        "the other has taken its own away only"
    );
    served.publish(&[mapping(everywhere, 8081)]).unwrap();
    assert_eq!(
        (call(local, 8080), call(local, 8081)),
        (String::new(), inside())
    );
    drop(served);
    assert_eq!(call(local, 8081), "");
    assert_eq!(rules(), "", "nothing is left");
}

/// A host whose FORWARD policy is DROP, as Docker leaves it, and a server behind it.
fn forward(dir: &Path) {
    let image = Image::new();
    let mut outside = Command::new("unshare")
        .args(["-n", "sleep", "60"])
        .spawn()
        .unwrap();
    let pid = outside.id();
    let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
    eventually("namespace", || {
        fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|link| link != own)
    });
    let script = format!(
        "set -e
        export PATH=$PATH:/usr/sbin:/sbin
        ip link set lo up
        ip link add out0 type veth peer name out1 netns {pid}
        ip addr add 203.0.113.1/24 dev out0; ip link set out0 up
        nsenter -t {pid} -n ip addr add 203.0.113.2/24 dev out1
        nsenter -t {pid} -n ip link set out1 up
        nsenter -t {pid} -n busybox nc -ll -p 7777 -e echo outside </dev/null >/dev/null 2>&1 &
        iptables-nft -P FORWARD DROP"
    );
    let made = Command::new("sh").args(["-c", &script]).status().unwrap();
    let outcome = std::panic::catch_unwind(|| {
        assert!(made.success());
        let sandbox = Arc::new(Sandbox::create(&config(dir)).unwrap());
        let again = Sandbox::create(&config(dir)).unwrap();
        let script = "for i in 1 2 3 4 5 6 7 8 9 10; do busybox nc -w 5 203.0.113.2 7777 </dev/null && \
                      exit 0; sleep 0.3; done; exit 1";
        assert_eq!(output(&with(image.sh(script), &sandbox)), "outside");
        drop(again);
        // What the administrator's own tool makes of it: two rules, not four.
        let listed = Command::new("iptables-nft")
            .args(["-S", "FORWARD"])
            .output()
            .unwrap();
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert_eq!(listed.matches("-i testbr0 ").count(), 1, "{listed}");
        assert_eq!(listed.matches("-o testbr0 ").count(), 1, "{listed}");
        assert!(listed.contains("RELATED,ESTABLISHED"), "{listed}");
    });
    // The listener lives in the namespace and is found by it.
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let same = fs::read_link(entry.path().join("ns/net")).ok()
            == fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let number = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok());
        if let (true, Some(number)) = (same, number)
            && number != pid as i32
        {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(number),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
    }
    outside.kill().unwrap();
    outside.wait().unwrap();
    outcome.unwrap();
}
