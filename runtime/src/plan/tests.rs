//! Properties of plans that everything else relies on.

use std::path::PathBuf;

use super::*;
use crate::mount::Mount;
use crate::spec::Rootfs;

fn identity(uid: u32) -> Identity {
    Identity {
        uid,
        gid: 0,
        groups: vec![10],
        home: "/root".to_owned(),
    }
}

fn spec() -> Spec {
    Spec::new(Rootfs::Directory(PathBuf::from("/r")), ["true"])
}

fn plan(spec: &Spec) -> Plan {
    let targets = spec
        .mounts
        .iter()
        .map(|mount| Target {
            path: mount.target.clone(),
            dir: false,
            inside: mount.target.starts_with("/dev/"),
            mode: None,
        })
        .collect();
    let host = HostCapabilities {
        mqueue: false,
        thermal: vec!["/sys/devices/system/cpu/cpu0/thermal_throttle".to_owned()],
        cgroups: Vec::new(),
    };
    build(&Inputs {
        spec,
        identity: &identity(0),
        host: &host,
        files: Vec::new(),
        targets,
        open_devices: false,
    })
}

fn position(plan: &Plan, wanted: impl Fn(&Op) -> bool) -> usize {
    plan.ops.iter().position(wanted).unwrap()
}

#[test]
fn network_decides_about_lo_and_slots() {
    let host = plan(&spec().network(NetworkMode::Host));
    assert!(
        !host
            .ops
            .iter()
            .any(|op| matches!(op, Op::RaiseLoopback | Op::JoinNetwork { .. }))
    );
    assert!(plan(&spec()).ops.contains(&Op::RaiseLoopback));
    let bound = plan(
        &spec()
            .mount(Mount::tmpfs("/t", None))
            .mount(Mount::bind("/a", "/b", false)),
    );
    assert!(
        bound
            .ops
            .iter()
            .any(|op| matches!(op, Op::MountTree { slot: 1, .. }))
    );
}

#[test]
fn nothing_writable_takes_devices() {
    let plan = plan(
        &spec()
            .mount(Mount::tmpfs("/t", None))
            .mount(Mount::bind("/a", "/b", false)),
    );
    for op in &plan.ops {
        match op {
            Op::Mount { attrs, target, .. } if target != "/dev/pts" => {
                assert!(attrs.nodev, "{target}");
            }
            Op::MountTree { attrs, .. } => assert!(attrs.nodev),
            _ => {}
        }
    }
}

#[test]
fn privileges_go_after_everything_that_needs_them() {
    let plan = plan(&spec());
    let bounding = position(&plan, |op| matches!(op, Op::BoundingSet { .. }));
    let filter = position(&plan, |op| matches!(op, Op::Filter { .. }));
    let identity = position(&plan, |op| matches!(op, Op::Identity { .. }));
    let caps = position(&plan, |op| matches!(op, Op::Capabilities { .. }));
    assert!(bounding < filter && filter < identity && identity < caps);
    let last_mount = plan.ops.iter().rposition(|op| {
        matches!(
            op,
            Op::Mount { .. } | Op::Mask { .. } | Op::ReadOnly { .. } | Op::ReadOnlyRoot
        )
    });
    assert!(last_mount.unwrap() < bounding);
}

#[test]
fn no_new_privileges_come_after_the_filter_and_before_the_user() {
    let filter = |plan: &Plan| position(plan, |op| matches!(op, Op::Filter { .. }));
    let plan_of = plan(&spec().no_new_privileges(true));
    let forbidden = position(&plan_of, |op| *op == Op::NoNewPrivileges);
    let identity = position(&plan_of, |op| matches!(op, Op::Identity { .. }));
    assert!(filter(&plan_of) < forbidden && forbidden < identity);
    let usual = plan(&spec());
    assert!(!usual.ops.contains(&Op::NoNewPrivileges));
}

/// What Docker 28 hides and protects (moby's `oci/defaults.go`).
#[test]
fn hidden_and_protected_as_docker_does() {
    let plan = plan(&spec());
    let mut masked: Vec<&str> = plan
        .ops
        .iter()
        .filter_map(|op| match op {
            Op::Mask { path } => Some(path.as_str()),
            _ => None,
        })
        .collect();
    masked.sort_unstable();
    assert_eq!(
        masked,
        [
            "/proc/acpi",
            "/proc/asound",
            "/proc/interrupts",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/sched_debug",
            "/proc/scsi",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/sys/devices/system/cpu/cpu0/thermal_throttle",
            "/sys/devices/virtual/powercap",
            "/sys/firmware",
        ]
    );
    let mut protected: Vec<&str> = plan
        .ops
        .iter()
        .filter_map(|op| match op {
            Op::ReadOnly { path } => Some(path.as_str()),
            _ => None,
        })
        .collect();
    protected.sort_unstable();
    assert_eq!(
        protected,
        [
            "/proc/bus",
            "/proc/fs",
            "/proc/irq",
            "/proc/sys",
            "/proc/sysrq-trigger"
        ]
    );
}

#[test]
fn a_mount_in_dev_is_made_there_first() {
    let plan = plan(
        &spec()
            .mount(Mount::bind("/a", "/dev/pipes", true))
            .mount(Mount::bind("/a", "/b", true)),
    );
    let dev = position(
        &plan,
        |op| matches!(op, Op::Mount { target, .. } if target == "/dev"),
    );
    let made = position(
        &plan,
        |op| matches!(op, Op::MakePoint { path, .. } if path == "/dev/pipes"),
    );
    let mounted = position(
        &plan,
        |op| matches!(op, Op::MountTree { target, .. } if target == "/dev/pipes"),
    );
    assert!(dev < made && made + 1 == mounted);
    let points = plan
        .ops
        .iter()
        .filter(|op| matches!(op, Op::MakePoint { .. }));
    assert_eq!(points.count(), 1);
}

#[test]
fn home_comes_from_the_image_unless_set() {
    assert_eq!(plan(&spec().env(["A=1"])).env, ["A=1", "HOME=/root"]);
    assert_eq!(plan(&spec().env(["HOME=/x"])).env, ["HOME=/x"]);
    assert_eq!(plan(&spec().env(["HOME="])).env, ["HOME=/root"]);
}

#[test]
fn plans_survive_the_pipe() {
    let plan = plan(&spec().mount(Mount::tmpfs("/t", Some(1))).readonly(true));
    let bytes = serde_json::to_vec(&plan).unwrap();
    assert_eq!(serde_json::from_slice::<Plan>(&bytes).unwrap(), plan);
}

#[test]
fn kernel_parameters_are_set_while_they_can_be() {
    let plan = plan(
        &spec()
            .sysctl("net.ipv4.ip_forward", "1")
            .sysctl("net.ipv4.conf.eth0/7.forwarding", "1")
            .sysctl("net/ipv4/conf/eth0.8/forwarding", "1"),
    );
    let is_set = |op: &Op| matches!(op, Op::Sysctl { .. });
    let mounted = position(
        &plan,
        |op| matches!(op, Op::Mount { target, .. } if target == "/proc"),
    );
    let sealed = position(
        &plan,
        |op| matches!(op, Op::ReadOnly { path } if path == "/proc/sys"),
    );
    let first = position(&plan, is_set);
    assert!(mounted < first && first < sealed);
    let paths = plan.ops.iter().filter_map(|op| match op {
        Op::Sysctl { path, .. } => Some(path.as_str()),
        _ => None,
    });
    let want = [
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/net/ipv4/conf/eth0.7/forwarding",
        "/proc/sys/net/ipv4/conf/eth0.8/forwarding",
    ];
    assert_eq!(paths.collect::<Vec<_>>(), want);
}
