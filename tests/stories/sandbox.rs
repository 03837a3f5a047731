//! What a RUN is given: scripts, names, limits; and what it has to ask for.

use e2e::{Cmd, Dir, Store, need};

#[test]
fn here_documents_run_by_their_own_interpreter() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox\n\
         RUN <<EOF\n#!/usr/bin/awk -f\nBEGIN { print \"awk \" ENVIRON[\"HOME\"] >\"/awk\" }\nEOF\n\
         RUN <<-'SCRIPT'\n\t#!/bin/sh -e\n\techo \"$0\" >/sh\n\tls -A /dev/pipes >>/sh\n\
         \tfalse || echo go on >>/sh\n\tSCRIPT\n\
         RUN <<EOF\n#!/bin/sed -nf\nEOF\n\
         RUN ls /dev >/dev-after\n",
    );
    let (_, tree) = store.built(&context);
    // What BuildKit makes of the same lines.
    assert_eq!(tree.text("awk"), "awk /root\n");
    assert_eq!(tree.text("sh"), "/dev/pipes/SCRIPT\nSCRIPT\ngo on\n");
    assert!(!tree.text("dev-after").contains("pipes"));
    assert!(!tree.has("dev/pipes"), "nothing of it is in the image");
    // The script cannot change itself, nor what lies beside it.
    let context = Dir::dockerfile(
        "FROM busybox\nRUN <<EOF\n#!/bin/sh\n(echo more >>$0) 2>/out\n(echo x >/dev/pipes/x) 2>>/out\nexit 0\nEOF\n",
    );
    let (_, tree) = store.built(&context);
    let said = tree.text("out");
    assert_eq!(said.matches("Read-only file system").count(), 2, "{said}");
    // Its exit code is the step's.
    let context = Dir::dockerfile("FROM busybox\nRUN <<EOF\n#!/bin/sh\nexit 7\nEOF\n");
    store.build("no", &context).fails(7);
}

#[test]
fn the_hosts_network_needs_consent() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox\nRUN echo ran >/ran\nRUN --network=host readlink /proc/self/ns/net >/net\n",
    );
    let build = |flags: &[&str]| {
        let command = store.rbuild(["build", "-t", "h"]).args(flags);
        command.arg(context.path())
    };
    let done = build(&[]).fails(1);
    // BuildKit's sentence, at the instruction, before anything has run.
    done.tells("network.host is not allowed")
        .tells("Dockerfile:3:")
        .tells("--allow network.host")
        .never_tells("[2/3]");
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    // As with buildx, --network host is consent too.
    for flags in [&["--allow", "network.host"][..], &["--network=host"]] {
        build(flags).ok();
        let seen = store.tree("h").text("net");
        assert_eq!(seen.trim(), own.to_string_lossy(), "{flags:?}");
    }
    // No other network does, nor a stage that the target does not need ask for it.
    build(&["--network=none"]).fails(1);
    let unused =
        Dir::dockerfile("FROM busybox AS a\nRUN --network=host true\nFROM busybox\nRUN true\n");
    store.build("u", &unused).ok();
    // Nor may a base image.
    let base = Dir::dockerfile("FROM busybox\nONBUILD RUN --network=host true\n");
    store.build("base", &base).ok();
    let derived = Dir::dockerfile("FROM base\nRUN echo ran\n");
    store
        .build("d", &derived)
        .fails(1)
        .tells("network.host is not allowed")
        .never_tells("[2/2]");
    store
        .build("d", &derived)
        .args(["--allow=network.host"])
        .ok();
    build(&["--allow=foo"])
        .fails(125)
        .tells("unknown entitlement foo");
    // What is granted for something else counts for nothing here.
    build(&["--allow=security.insecure"])
        .fails(1)
        .tells("network.host is not allowed");
}

#[test]
fn names_of_the_host() {
    let store = need!(Store::busybox());
    let base = Dir::dockerfile("FROM busybox\nCOPY hostname /etc/hostname\n")
        .file("hostname", "of the image\n");
    store.build("base", &base).ok();
    let context = Dir::dockerfile(
        "FROM base\nRUN hostname >/name; cat /etc/hostname >>/name; echo kept >/etc/hostname\n\
         RUN cat /etc/hostname >>/name; tail -1 /etc/hosts >>/name\n\
         RUN (echo x >>/etc/hosts) 2>/refused; (echo x >/etc/resolv.conf) 2>>/refused; \
         rm /etc/hosts 2>>/refused; true\n",
    );
    // As BuildKit: its own name, the image's file, which is written to as any other; the other two
    // belong to the container and cannot be.
    let (_, tree) = store.built(&context);
    assert_eq!(
        tree.text("name"),
        "buildkitsandbox\nof the image\nkept\n127.0.0.1\tbuildkitsandbox\n"
    );
    assert_eq!(tree.text("etc/hostname"), "kept\n");
    let refused = tree.text("refused");
    assert_eq!(
        refused.matches("Read-only file system").count(),
        2,
        "{refused}"
    );
    assert!(refused.contains("Device or resource busy"), "{refused}");
    // Without one in the image there is none.
    let none = Dir::dockerfile("FROM busybox\nRUN ls /etc >/etc-files\n");
    store.build("n", &none).ok();
    assert!(!store.tree("n").text("etc-files").contains("hostname"));

    let named = |value: &str| {
        let flag = format!("BUILDKIT_SANDBOX_HOSTNAME={value}");
        let done = store
            .build("named", &context)
            .args(["--build-arg", &flag])
            .ok();
        let tree = store.tree("named");
        (done, tree.text("name").lines().next().unwrap().to_owned())
    };
    let (done, name) = named("box.example");
    assert_eq!(name, "box.example");
    done.never_tells("were not consumed");
    // The empty one is the usual one, and in the cache.
    let (done, name) = named("");
    assert_eq!(name, "buildkitsandbox");
    assert_eq!(done.err().matches(" CACHED").count(), 3, "{done}");
    let long = format!("--build-arg=BUILDKIT_SANDBOX_HOSTNAME={}", "x".repeat(65));
    store.build("long", &context).arg(long).fails(125);
}

#[test]
fn a_fork_bomb_ends_at_the_limit() {
    let store = need!(Store::busybox());
    let limit = Dir::dockerfile(
        "FROM busybox\nRUN cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null >/max; \
         (for i in $(seq 40); do sleep 5 & done; echo all) >/all 2>&1; true\n",
    );
    let all = |flags: &[&str]| {
        store.build("l", &limit).args(flags).arg("--no-cache").ok();
        store.tree("l").text("all")
    };
    let bombed = all(&["--pids-limit", "20"]);
    assert!(
        bombed.contains("can't fork") && !bombed.contains("all"),
        "{bombed}"
    );
    // Forty are none too many without being told.
    assert_eq!(all(&[]), "all\n");
    assert_eq!(all(&["--pids-limit", "0"]), "all\n");
    assert_eq!(all(&["--pids-limit=-1"]), "all\n");
}

#[test]
fn what_tells_of_the_host_is_hidden() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox\nRUN cat /proc/self/mountinfo >/mounts; wc -c </proc/interrupts >/interrupts\n",
    );
    let (_, tree) = store.built(&context);
    assert_eq!(tree.text("interrupts").trim(), "0");
    let mounts = tree.text("mounts");
    let points: Vec<(&str, &str)> = mounts
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            (fields[4], fields[5])
        })
        .collect();
    // Docker 28's lists, as far as this kernel has the files: hidden, then read-only.
    for path in [
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
        "/sys/devices/virtual/powercap",
        "/sys/devices/system/cpu/cpu0/thermal_throttle",
        "/sys/firmware",
    ] {
        let is_there = std::path::Path::new(path).exists();
        assert_eq!(points.iter().any(|(at, _)| *at == path), is_there, "{path}");
    }
    for path in [
        "/proc/bus",
        "/proc/fs",
        "/proc/irq",
        "/proc/sys",
        "/proc/sysrq-trigger",
    ] {
        let is_there = std::path::Path::new(path).exists();
        let read_only = points
            .iter()
            .any(|(at, options)| *at == path && options.starts_with("ro"));
        assert_eq!(read_only, is_there, "{path}");
    }
    // What the container's own files lie on is small: it is the memory of the host.
    let size = mounts
        .lines()
        .find(|line| line.split(' ').nth(4) == Some("/etc/hosts"))
        .and_then(|line| line.rsplit_once("size="))
        .and_then(|(_, rest)| rest.split_once('k'))
        .map(|(size, _)| size.parse::<u64>().unwrap());
    assert!(size.is_some_and(|kib| kib <= 1024), "{mounts}");
}

#[test]
fn processors_that_are_not_there() {
    let store = need!(Store::busybox());
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
    let context = Dir::dockerfile("FROM busybox\nRUN echo ran\n");
    for (flag, told) in [
        (
            "--cpuset-cpus=8000",
            format!(
                "Requested CPUs are not available - requested 8000, available: {}",
                online.trim()
            ),
        ),
        (
            "--cpuset-cpus=1-x",
            "Invalid value 1-x for cpuset cpus: invalid format: 1-x".to_owned(),
        ),
        (
            "--cpuset-mems=700",
            "Requested memory nodes are not available - requested 700".to_owned(),
        ),
    ] {
        store
            .build("c", &context)
            .arg(flag)
            .fails(125)
            .tells(&told)
            .never_tells("FROM");
    }
    store.build("c", &context).arg("--cpuset-cpus=0").ok();
}

#[test]
fn kill_9_at_any_time_leaves_no_control_group() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nRUN sleep 1\n");
    // From before the guard is there to after the container runs; where it falls on a machine
    // does not matter.
    for delay in (0..80).map(|step| step * 3) {
        let build = store
            .build("k", &context)
            .args(["--no-cache", "--memory", "64m"])
            .spawn();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        // With all that is in its process group, the guard among it while it starts.
        let group = format!("-{}", build.id());
        Cmd::new("kill").args(["-9", "--", &group]).run();
        build.wait();
    }
    // What even the guard could not remove, because it was killed itself, the next build does.
    store
        .build("k", &Dir::dockerfile("FROM scratch\nCOPY Dockerfile /\n"))
        .ok();
    e2e::assert_nothing_left(store.home());
}
