//! What a RUN can see and do, and what it cannot.

use e2e::{Dir, Store, need};

/// The lines that a script leaves in /out.
#[track_caller]
fn out(store: &Store, flags: &[&str], script: &str) -> String {
    let context = Dir::new()
        .file(
            "Dockerfile",
            "FROM busybox\nCOPY script /script\nRUN sh /script >/out 2>&1\n",
        )
        .file("script", script);
    store.build("built", &context).args(flags).ok();
    store.tree("built").text("out")
}

#[test]
fn only_its_own_processes() {
    let store = need!(Store::busybox());
    let pids = out(
        &store,
        &[],
        "echo $$; set -- /proc/[0-9]*; echo $#; cat /proc/1/comm",
    );
    // The shell, which fills the pattern in itself.
    assert_eq!(pids, "1\n1\nsh\n");
}

#[test]
fn nothing_of_the_hosts_environment_or_files() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox\nRUN env >/env; ls -l /proc/self/fd >/fds; ls / >/root-dir; hostname >/name\n",
    );
    store
        .build("built", &context)
        .env("SECRET_OF_THE_HOST", "leaked")
        .env("LD_PRELOAD", "")
        .ok();
    let tree = store.tree("built");
    let mut env: Vec<String> = tree.text("env").lines().map(str::to_owned).collect();
    env.sort();
    assert_eq!(
        env,
        [
            "HOME=/root",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PWD=/",
            "SHLVL=1",
        ]
    );
    // Standard streams; the output; what ls itself reads.
    let fds = tree.text("fds");
    let numbers: Vec<&str> = fds
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(8))
        .filter(|name| !name.starts_with('.'))
        .collect();
    assert_eq!(numbers, ["0", "1", "2", "3"], "{fds}");
    assert!(fds.contains("0 -> /dev/null"), "{fds}");
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_ne!(tree.text("name").trim(), host.trim());
}

#[test]
fn capabilities_and_seccomp() {
    let store = need!(Store::busybox());
    let status = out(
        &store,
        &[],
        "grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status",
    );
    let lines: Vec<String> = status.lines().map(|line| line.replace('\t', " ")).collect();
    // Docker's fourteen, none of them inheritable; no_new_privs is off for sudo's sake.
    assert_eq!(
        lines,
        [
            "CapInh: 0000000000000000",
            "CapPrm: 00000000a80425fb",
            "CapEff: 00000000a80425fb",
            "CapBnd: 00000000a80425fb",
            "CapAmb: 0000000000000000",
            "NoNewPrivs: 0",
            "Seccomp: 2",
        ]
    );
    let user =
        "FROM busybox\nUSER nobody\nRUN grep -E '^Cap(Prm|Eff|Bnd)' /proc/self/status >/tmp/out\n";
    let (_, tree) = store.built(&Dir::dockerfile(user));
    assert_eq!(
        tree.text("tmp/out"),
        "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\n"
    );
}

#[test]
fn what_needs_more_than_root_in_a_container() {
    let store = need!(Store::busybox());
    for command in [
        "mount -t tmpfs none /mnt",
        "mount -t proc none /mnt",
        "mount --bind / /mnt",
        "umount /proc",
        "unshare -m true",
        "unshare -U true",
        "mknod /dev/sda b 8 0 && cat /dev/sda",
        "hostname other",
        "sysctl -w kernel.hostname=other",
        "echo 1 >/proc/sys/vm/drop_caches",
        "echo b >/proc/sysrq-trigger",
        "cat /proc/kcore",
        "test -s /proc/keys",
        "nsenter -t 1 -m true",
        "chroot /proc/1/root/../../.. ls /work",
        "dmesg",
        "swapoff -a",
        "ip link add type dummy",
        "ls /sys/firmware/*",
        "echo /x >/sys/fs/cgroup/memory/release_agent",
        "mkdir /sys/fs/cgroup/memory/mine",
    ] {
        let script = format!(
            "mkdir -p /mnt; if ({command}) >/dev/null 2>&1; then echo could; else echo denied; fi"
        );
        let said = out(&store, &[], &script);
        assert_eq!(said, "denied\n", "{command}");
    }
}

#[test]
fn networks() {
    let store = need!(Store::busybox());
    let script = "ls /sys/class/net; cat /etc/hosts; cat /etc/resolv.conf | wc -l";
    let none = out(&store, &[], script);
    assert!(none.starts_with("lo\n127.0.0.1\tlocalhost"), "{none}");
    let default = Dir::dockerfile(
        "FROM busybox\nRUN ls /sys/class/net >/nets; ip -4 addr show dev lo >/lo; ip route >/routes; cat /etc/resolv.conf >/dns\n",
    );
    store.rbuild(["build", "-t", "d"]).arg(default.path()).ok();
    let tree = store.tree("d");
    assert_eq!(tree.text("nets"), "eth0\nlo\n");
    assert!(tree.text("lo").contains("127.0.0.1/8"), "lo is up");
    assert!(
        tree.text("routes").starts_with("default via "),
        "{}",
        tree.text("routes")
    );
    assert!(
        tree.text("dns").contains("nameserver "),
        "{}",
        tree.text("dns")
    );
    let host = Dir::dockerfile("FROM busybox\nRUN ls /sys/class/net >/nets\n");
    store
        .rbuild(["build", "--network", "host", "-t", "h"])
        .arg(host.path())
        .ok();
    let links = std::fs::read_dir("/sys/class/net").unwrap();
    let theirs = store.tree("h").text("nets");
    for link in links {
        let name = link.unwrap().file_name().into_string().unwrap();
        // Links of other builds come and go.
        assert!(
            name.starts_with("vrb") || theirs.contains(&name),
            "{name} in {theirs}"
        );
    }
}

#[test]
fn hosts_limits_and_sizes() {
    let store = need!(Store::busybox());
    let flags = [
        "--add-host",
        "db:10.1.2.3",
        "--ulimit",
        "nofile=99:100",
        "--shm-size",
        "3m",
        "--memory",
        "40m",
    ];
    let script = "grep -w db /etc/hosts; ulimit -Sn; ulimit -Hn; df -k /dev/shm | tail -1 | awk '{print $2}'";
    let said = out(&store, &flags, script);
    assert_eq!(said, "10.1.2.3\tdb\n99\n100\n3072\n");
    // More memory than it may have.
    let hog = Dir::dockerfile(
        "FROM busybox\nRUN dd if=/dev/zero of=/dev/shm/x bs=1M count=60; tail /dev/zero\n",
    );
    let done = store
        .build("hog", &hog)
        .args(["--memory", "20m", "--shm-size", "100m"])
        .run();
    assert_eq!(done.status.code(), Some(137), "{done}");
    done.tells("137");
}

#[test]
fn links_in_the_image_cannot_lead_out() {
    let store = need!(Store::busybox());
    let host = Dir::new().file("victim", "untouched");
    let outside = host.path().display();
    let context = Dir::dockerfile(&format!(
        "FROM busybox\nRUN rm -f /etc/resolv.conf /etc/hosts && ln -s {outside}/victim /etc/resolv.conf && ln -s {outside}/victim /etc/hosts \\\n\
           && ln -s {outside} /out && ln -s ../../../../../../../..{outside} /up\n\
         RUN true\nCOPY f /out/f\nCOPY f /up/g\nADD f /out/h\nWORKDIR /out/w\nRUN echo x >/out/run\n"
    ))
    .file("f", "f");
    store.build("built", &context).run();
    assert_eq!(host.read("victim"), "untouched");
    let names: Vec<_> = std::fs::read_dir(host.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn builds_side_by_side_in_one_store() {
    let store = need!(Store::busybox());
    let contexts: Vec<Dir> = (0..6)
        .map(|i| {
            Dir::dockerfile(&format!(
                "FROM busybox\nRUN echo shared >/shared\nRUN echo {} >/own; sleep 0.1\nCOPY f /f\n",
                i % 3
            ))
            .file("f", format!("{i}"))
        })
        .collect();
    let running: Vec<_> = contexts
        .iter()
        .enumerate()
        .map(|(i, context)| {
            store
                .rbuild(["build", "-t", &format!("app{i}")])
                .arg(context.path())
                .spawn()
        })
        .collect();
    for running in running {
        let done = running.wait();
        assert!(done.status.success(), "{done}");
    }
    for i in 0..contexts.len() {
        let tree = store.tree(&format!("app{i}"));
        let texts = ["shared", "own", "f"].map(|name| tree.text(name));
        assert_eq!(
            texts,
            ["shared\n".to_owned(), format!("{}\n", i % 3), i.to_string()]
        );
    }
}

#[test]
fn what_was_left_running_ends_with_its_step() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox\nRUN setsid sh -c 'sleep 2000' </dev/null >/dev/null 2>&1 & echo on >/on\nRUN set -- /proc/[0-9]* && echo $# >/count\n",
    );
    let (_, tree) = store.built(&context);
    assert_eq!(tree.text("on"), "on\n");
    // The shell itself.
    assert_eq!(tree.text("count"), "1\n");
}
