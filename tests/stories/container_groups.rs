//! Containers where version 2 of control groups is all there is: what the kernel has there without
//! any controller, and whichever controllers this machine leaves it. Each command sees nothing of
//! version 1.

use std::fs;
use std::path::PathBuf;

use e2e::{Cmd, Done, Store, need};

use crate::both::{eventually, inspect, pid_of};

/// Shows a command the groups of version 2, where those of the machine are otherwise.
const ALONE: &str =
    "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";

/// A line to a store, by a command that sees version 2 alone.
fn run(store: &Store, words: &[&str]) -> Cmd {
    let alone = [
        "--mount",
        "--propagation",
        "private",
        "--",
        "sh",
        "-c",
        ALONE,
        "sh",
    ];
    store.rbuild(words).by("unshare", &alone)
}

fn says(store: &Store, words: &[&str]) -> String {
    run(store, words).ok().out().trim_end().to_owned()
}

/// The group of a container, as this machine sees it.
fn group(store: &Store, name: &str) -> PathBuf {
    let pid = pid_of(store, name);
    let all = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let own = all
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .unwrap();
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let mount = mounts.lines().find_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[2] == "cgroup2").then(|| words[1].to_owned())
    });
    PathBuf::from(mount.unwrap()).join(own)
}

#[test]
fn version_two_alone_is_enough() {
    let store = need!(Store::busybox());
    let works = run(&store, &["info", "-f", "{{.CgroupVersion}}"]).run();
    assert_eq!(works.out(), "2\n", "{works}");
    let script = "while :; do date +%s%N >/time; done";
    let start = ["run", "-d", "--net", "none", "--name", "busy", "busybox"];
    says(&store, &[&start[..], &["sh", "-c", script]].concat());
    let group = group(&store, "busy");
    let id = inspect(&store, "busy")["Id"].as_str().unwrap().to_owned();
    assert!(
        group.ends_with(format!("rbuild/{id}")),
        "{}",
        group.display()
    );
    // Frozen: what it writes stays as it was.
    let frozen = || fs::read_to_string(group.join("cgroup.events")).unwrap();
    says(&store, &["pause", "busy"]);
    assert!(frozen().contains("frozen 1"), "{}", frozen());
    let time = || {
        let root = format!("/proc/{}/root/time", pid_of(&store, "busy"));
        fs::read_to_string(root).unwrap_or_default()
    };
    let before = time();
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(time(), before);
    run(&store, &["exec", "busy", "true"]).fails(1);
    says(&store, &["unpause", "busy"]);
    assert!(frozen().contains("frozen 0"), "{}", frozen());
    eventually("it goes on", || time() != before);
    // Processes are counted, and what they have used of the processors.
    let used = || {
        let text = fs::read_to_string(group.join("cpu.stat")).unwrap();
        let used = text
            .lines()
            .find_map(|line| line.strip_prefix("usage_usec "));
        used.unwrap().parse::<u64>().unwrap()
    };
    eventually("it is counted", || used() > 0);
    let format = ["stats", "--no-stream", "--format", "{{.PIDs}} {{.CPUPerc}}"];
    eventually("stats tell of it", || {
        let told = says(&store, &[&format[..], &["busy"]].concat());
        let (processes, share) = told.split_once(' ').unwrap();
        processes.parse::<u32>().unwrap() >= 1 && share != "0.00%"
    });
    // Devices are held back by a program of the group.
    let inside =
        |script: &str| -> Done { run(&store, &["exec", "busy", "sh", "-c", script]).run() };
    let made = inside("mknod /disk b 254 0; mknod /zero c 1 5; head -c 1 /disk");
    assert!(
        made.err().contains("/disk: Operation not permitted"),
        "{made}"
    );
    assert_eq!(inside("head -c 3 /zero | wc -c").out(), "3\n");
    let given = [
        "run",
        "--rm",
        "--net",
        "none",
        "--device",
        "/dev/fuse",
        "busybox",
    ];
    let open = "dd if=/dev/fuse count=0 2>/dev/null && mknod /own c 10 229 && dd if=/own count=0 2>/dev/null && echo opens";
    assert_eq!(
        says(&store, &[&given[..], &["sh", "-c", open]].concat()),
        "opens"
    );
    // A command that is run in it belongs to its group, and sees no other.
    let inside = inside("grep 0:: /proc/self/cgroup; ls -d /sys/fs/cgroup/*/ 2>/dev/null");
    assert_eq!(inside.out(), "0::/\n");
    // Nothing of it outlives it: what forks while it is killed, too.
    let forks = "for i in 1 2 3 4; do (while :; do (sleep 1000 &) ; sleep 0.01; done) & done; wait";
    let start = ["run", "-d", "--net", "none", "--name", "forks", "busybox"];
    says(&store, &[&start[..], &["sh", "-c", forks]].concat());
    says(&store, &["rm", "-f", "forks", "busy"]);
    assert!(!group.exists(), "{}", group.display());
}

/// What is told of this machine is what it has; a limit without a controller is refused by name,
/// and one with a controller limits.
#[test]
fn limits_are_those_of_the_controllers_that_there_are() {
    let store = need!(Store::busybox());
    let controllers = Cmd::new("sh").args([
        "-c",
        "mkdir -p \"$0\" && mount -t cgroup2 none \"$0\" && cat \"$0/cgroup.controllers\"",
    ]);
    let controllers = controllers.arg(store.file("groups"));
    let controllers = controllers.by("unshare", &["--mount", "--propagation", "private", "--"]);
    let controllers = controllers.ok().out();
    let has = |name: &str| controllers.split_whitespace().any(|one| one == name);
    let told = says(
        &store,
        &[
            "info",
            "-f",
            "{{.MemoryLimit}} {{.CPUShares}} {{.CPUSet}} {{.PidsLimit}}",
        ],
    );
    let want = ["memory", "cpu", "cpuset", "pids"].map(|name| has(name).to_string());
    assert_eq!(told, want.join(" "), "{controllers}");
    for (controller, flags, file, value) in [
        ("memory", ["-m", "64m"], "memory.max", "67108864"),
        ("pids", ["--pids-limit", "20"], "pids.max", "20"),
        ("cpu", ["--cpus", "0.5"], "cpu.max", "50000 100000"),
    ] {
        let read = format!("cat /sys/fs/cgroup/{file}");
        let start = ["run", "--rm", "--net", "none"];
        let command = ["busybox", "sh", "-c", &read];
        let line = run(&store, &[&start[..], &flags, &command].concat());
        match has(controller) {
            true => assert_eq!(line.ok().out().trim_end(), value, "{controller}"),
            false => {
                let why = format!("this host has no {controller} cgroup controller");
                line.fails(125).tells(&why);
            }
        }
    }
}
