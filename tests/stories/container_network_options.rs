//! Networks as docker's less common options make them.

use e2e::{Store, need};
use nix::net::if_::if_nametoindex;
use serde_json::{Value, json};

const SUBNET: &str = "10.213.77.0/29";

#[test]
fn networks_keep_addresses_back_and_have_names_of_links() {
    let store = need!(Store::busybox());
    let name = format!("rbt{}", std::process::id());
    let bridge = format!("com.docker.network.bridge.name={name}");
    let create = ["network", "create", "--subnet", SUBNET];
    store
        .rbuild(create)
        .args(["--aux-address", "x=10.9.9.9", "app"])
        .fails(1)
        .tells("no matching subnet for aux-address 10.9.9.9");
    store
        .rbuild(create)
        .args(["--aux-address", "router=10.213.77.2"])
        .args([
            "--ipam-opt",
            "a=b",
            "--scope",
            "local",
            "-o",
            &bridge,
            "app",
        ])
        .ok();
    assert!(if_nametoindex(name.as_str()).is_ok(), "{name}");
    let told = store.rbuild(["inspect", "--type", "network", "app"]).ok();
    let told: Value = told.json();
    let want = json!({
        "Driver": "default",
        "Options": {"a": "b"},
        "Config": [{"Subnet": SUBNET, "AuxiliaryAddresses": {"router": "10.213.77.2"}}],
    });
    assert_eq!(told[0]["IPAM"], want);
    let run = ["run", "--rm", "--net"];
    let address = store
        .rbuild(run)
        .args(["app", "busybox", "ip", "-4", "-o", "addr", "show", "eth0"])
        .ok()
        .out();
    assert!(address.contains(" 10.213.77.3/29 "), "{address}");
    store
        .rbuild(run)
        .args(["app", "--ip", "10.213.77.2", "busybox", "true"])
        .fails(125)
        .tells("Address already in use");
    let named = "name=app,driver-opt=com.docker.network.endpoint.ifname=up0";
    let links = store
        .rbuild(run)
        .args([named, "busybox", "ls", "/sys/class/net"])
        .ok();
    assert_eq!(links.out(), "lo\nup0\n");
    store.rbuild(["network", "rm", "app"]).ok();
    assert!(if_nametoindex(name.as_str()).is_err());
}
