//! Limits: each is refused as docker refuses it, or holds, by the kernel's own counters.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use e2e::{Store, need};

use crate::both::{Both, eventually, inspect};

/// Lines of which everything is the same, on control groups of version 1 and 2.
const SAME: &[&str] = &[
    "run --rm --net none --memory-reservation 1m busybox true",
    "run --rm --net none --memory-reservation 32m -m 16m busybox true",
    "run --rm --net none --memory-reservation 32m -m 64m busybox cat /sys/fs/cgroup/memory/memory.soft_limit_in_bytes",
    "run --rm --net none --oom-kill-disable -m 64m busybox grep oom_kill_disable /sys/fs/cgroup/memory/memory.oom_control",
    "run --rm --net none --oom-score-adj 500 busybox cat /proc/self/oom_score_adj",
    "run --rm --net none --oom-score-adj 5000 busybox true",
    "run --rm --net none --memory-swappiness 10 busybox cat /sys/fs/cgroup/memory/memory.swappiness",
    "run --rm --net none --memory-swappiness 101 busybox true",
    "run --rm --net none --memory-swappiness -5 busybox true",
    "run --rm --net none --memory-swap 64m busybox true",
    "run --rm --net none --kernel-memory 32m busybox true",
    "run --rm --net none --blkio-weight 300 busybox true",
    "run --rm --net none --blkio-weight-device /dev/null:300 busybox true",
    "run --rm --net none --device-read-bps /dev/nope:1mb busybox true",
    "run --rm --net none --cpus -1 busybox true",
    "run --rm --net none --cpu-quota 500 busybox true",
    "run --rm --net none --cpu-period 7 busybox true",
    "run --rm --net none --cpuset-cpus 99 busybox true",
    "run --rm --net none --cpuset-mems 5 busybox true",
    "run --rm --net none --cpuset-cpus 0 busybox nproc",
    "run --rm --net none --cpu-rt-period 1000000 busybox true",
    "run --rm --net none --pids-limit -1 busybox true",
    "run --rm --net none --cgroupns x busybox true",
    "run --rm --net none --cgroupns private busybox cut -d: -f3 /proc/self/cgroup",
    "run --rm --net none --userns host busybox true",
    "run --rm --net none --userns x busybox true",
    "run --rm --net none --uts host busybox hostname",
    "run --rm --net none --uts host --hostname x busybox hostname",
    "run --rm --net none --uts x busybox true",
    "run --rm --net none --ipc host busybox readlink /proc/self/ns/ipc",
    "run --rm --net none --ipc none busybox grep -c /dev/shm /proc/mounts",
    "run --rm --net none --ipc shareable busybox true",
    "run --rm --net none --ipc x busybox true",
    "run --rm --net none --pid x busybox true",
    "run --rm --net none --pid container: busybox true",
    "run --rm --net none --pid container:nope busybox true",
    "run --rm --net none --pid host busybox sh -c 'test $$ -gt 1 && echo outside'",
    "create --net none --name sleeps busybox sleep 1000",
    "run --rm --net none --pid container:sleeps busybox true",
    "start sleeps",
    "run --rm --net none --pid container:sleeps busybox sh -c 'tr \"\\0\" \" \" </proc/1/cmdline'",
    "rm -f sleeps",
    "run --rm --net none busybox sh -c 'grep cgroup /proc/mounts | cut -d \" \" -f 2-4'",
    "run --rm --net none --privileged --cgroupns private busybox sh -c 'grep cgroup /proc/mounts | cut -d \" \" -f 2-4'",
    "run --rm --net none busybox mkdir /sys/fs/cgroup/x",
];

/// Lines whose errors have more words in docker, which a runtime of its own adds.
const ALIKE: &[(&str, &str)] = &[
    (
        "run --rm --net none --cpu-shares 1 busybox true",
        "the minimum allowed cpu-shares is 2",
    ),
    (
        "run --rm --net none --device-read-bps vda:1mb busybox true",
        "bad format for device path: vda:1mb",
    ),
    (
        "run --rm --net none --device-read-bps /dev/vda:x busybox true",
        "Number must be a positive integer. Unit is optional and can be kb, mb, or gb",
    ),
    (
        "run --rm --net none --device-write-iops /dev/vda:-1 busybox true",
        "The correct format is <device-path>:<number>. Number must be a positive integer",
    ),
    (
        "run --rm --net none --blkio-weight-device /dev/vda:3000 busybox true",
        "invalid weight for device: /dev/vda:3000",
    ),
];

#[test]
fn each_line_about_limits_does_what_docker_does() {
    let both = need!(Both::new());
    let same = SAME.iter().filter_map(|line| both.same(line));
    let mut wrong: Vec<String> = same.collect();
    wrong.extend(ALIKE.iter().filter_map(|(line, end)| both.alike(line, end)));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The control group of a container in the hierarchy that has one of some files.
fn group(store: &Store, name: &str, files: &[&str]) -> PathBuf {
    let id = inspect(store, name)["Id"].as_str().unwrap().to_owned();
    let below = Path::new("rbuild").join(id);
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root)
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let mut all = hierarchies
        .chain([root.to_owned()])
        .map(|dir| dir.join(&below));
    all.find(|dir| files.iter().any(|file| dir.join(file).exists()))
        .unwrap_or_else(|| panic!("no hierarchy has {files:?}"))
}

/// A number behind a word in a file of several lines.
fn field(dir: &Path, file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(dir.join(file)).ok()?;
    let mut words = text.lines().filter_map(|line| line.split_once(' '));
    words
        .find(|(found, _)| *found == name)
        .and_then(|(_, number)| number.trim().parse().ok())
}

/// Processor time that a container has had, in microseconds.
fn worked(store: &Store, name: &str) -> u64 {
    let one = Path::new("/sys/fs/cgroup/cpuacct").exists();
    match one || Path::new("/sys/fs/cgroup/cpu,cpuacct").exists() {
        true => {
            let dir = group(store, name, &["cpuacct.usage"]);
            let text = fs::read_to_string(dir.join("cpuacct.usage")).unwrap();
            text.trim().parse::<u64>().unwrap() / 1000
        }
        false => field(&group(store, name, &["cpu.max"]), "cpu.stat", "usage_usec").unwrap(),
    }
}

fn run<'s>(store: &'s Store, name: &'s str, flags: &[&str], script: &str) {
    store
        .rbuild(["run", "-d", "--net", "none", "--name", name])
        .args(flags)
        .args(["busybox", "sh", "-c", script])
        .ok();
}

const HOG: &str = "while :; do :; done";

#[test]
fn shares_divide_a_processor() {
    let store = need!(Store::busybox());
    let pinned = |shares| ["--cpuset-cpus", "0", "--cpu-shares", shares];
    run(&store, "third", &pinned("512"), HOG);
    run(&store, "rest", &pinned("1024"), HOG);
    let now = || (worked(&store, "third"), worked(&store, "rest"));
    let before = now();
    // So much that a slice more or less changes nothing.
    eventually("they have worked for three seconds", || {
        let after = now();
        after.0 - before.0 + (after.1 - before.1) > 3_000_000
    });
    let after = now();
    let (third, rest) = (after.0 - before.0, after.1 - before.1);
    let part = third as f64 / (third + rest) as f64;
    assert!((0.30..0.367).contains(&part), "{third} of {}", third + rest);
    store.rbuild(["rm", "-f", "third", "rest"]).ok();
}

#[test]
fn a_quota_is_what_it_gets_of_each_period() {
    let store = need!(Store::busybox());
    let flags = ["--cpu-period", "100000", "--cpu-quota", "8000"];
    run(&store, "web", &flags, HOG);
    let dir = group(&store, "web", &["cpu.cfs_quota_us", "cpu.max"]);
    let count = |name| field(&dir, "cpu.stat", name).unwrap();
    let look = |quota: u64| {
        let now = || {
            (
                count("nr_periods"),
                count("nr_throttled"),
                worked(&store, "web"),
            )
        };
        let before = now();
        eventually("it is held back thirty times", || {
            count("nr_throttled") >= before.1 + 30
        });
        let after = now();
        let had = after.2 - before.2;
        // Where others have the processor it may get less than its quota, and is not held back.
        let (most, least) = (after.0 - before.0 + 1, after.1 - before.1 - 1);
        assert!(had <= most * quota * 11 / 10, "{had} in {most} of {quota}");
        assert!(had >= least * quota * 9 / 10, "{had} in {least} of {quota}");
    };
    look(8_000);
    store.rbuild(["update", "--cpu-quota", "16000", "web"]).ok();
    look(16_000);
    store.rbuild(["rm", "-f", "web"]).ok();
}

#[test]
fn a_hog_of_memory_is_killed_and_a_modest_one_lives() {
    let store = need!(Store::busybox());
    // It holds what it reads: there is no end of a line.
    let hold = |megabytes: u32| format!("head -c {megabytes}m /dev/zero | tail -n 1 | wc -c");
    let run = |name: &str, megabytes| {
        store
            .rbuild(["run", "--net", "none", "--name", name])
            .args(["-m", "64m", "--memory-swap", "64m"])
            .args(["busybox", "sh", "-c", &hold(megabytes)])
            .run()
    };
    assert_eq!(run("modest", 16).out(), "16777216\n");
    assert_eq!(inspect(&store, "modest")["State"]["OOMKilled"], false);
    let done = store
        .rbuild(["run", "--net", "none", "--name", "hog", "-m", "64m"])
        .args([
            "--memory-swap",
            "64m",
            "busybox",
            "tail",
            "-n",
            "1",
            "/dev/zero",
        ])
        .run();
    assert_eq!(done.status.code(), Some(137));
    let state = inspect(&store, "hog")["State"].take();
    assert_eq!(
        (&state["OOMKilled"], &state["ExitCode"]),
        (&true.into(), &137.into())
    );
    store.rbuild(["rm", "hog", "modest"]).ok();
}

#[test]
fn a_fork_bomb_stops_at_the_limit() {
    let store = need!(Store::busybox());
    // What cannot fork ends; what it has started stays.
    run(&store, "bomb", &["--pids-limit", "20"], "exec sleep 1000");
    let bomb = "while :; do sleep 1000 & done";
    store.rbuild(["exec", "-d", "bomb", "sh", "-c", bomb]).ok();
    let file = group(&store, "bomb", &["pids.max"]).join("pids.current");
    let now = || fs::read_to_string(&file).unwrap().trim().parse::<u32>();
    eventually("it comes to its limit", || now().is_ok_and(|now| now >= 19));
    for _ in 0..50 {
        assert!(now().unwrap() <= 20);
    }
    let shown = store
        .rbuild(["stats", "--no-stream", "--format", "{{.PIDs}}", "bomb"])
        .ok();
    let count: u32 = shown.out().trim().parse().unwrap();
    assert!(count <= 20, "{count}");
    store.rbuild(["rm", "-f", "bomb"]).ok();
}

/// The disk that holds a folder, when there is one: the whole of it, for parts have no limits.
fn disk(of: &Path) -> Option<String> {
    let device = fs::metadata(of).ok()?.dev();
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let dir = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let whole = match dir.join("partition").exists() {
        true => dir.parent()?.to_owned(),
        false => dir,
    };
    Some(format!("/dev/{}", whole.file_name()?.to_str()?))
}

#[test]
fn a_disk_is_written_no_faster_than_it_may() {
    let store = need!(Store::busybox());
    let Some(disk) = disk(store.home()) else {
        return;
    };
    let rate = format!("{disk}:1mb");
    let script = "while :; do dd if=/dev/zero of=/f bs=64k count=16 oflag=direct; done 2>/dev/null";
    // Before it can write: what is written while the command returns counts as well.
    let begun = Instant::now();
    run(&store, "slow", &["--device-write-bps", &rate], script);
    let shown = ["stats", "--no-stream", "--format", "{{.BlockIO}}", "slow"];
    eventually("it has written", || {
        !store.rbuild(shown).ok().out().ends_with("/ 0B\n")
    });
    std::thread::sleep(Duration::from_secs(2));
    let counted = ["blkio.throttle.io_service_bytes", "io.stat"];
    let dir = group(&store, "slow", &counted);
    let written = match dir.join("io.stat").exists() {
        true => pair(&dir.join("io.stat")),
        false => blkio(&dir),
    };
    // Whatever else goes on only makes it less.
    let most = (begun.elapsed().as_secs() + 2) * (1 << 20);
    assert!(written > 0 && written <= most, "{written} of {most}");
    store.rbuild(["rm", "-f", "slow"]).ok();
}

fn pair(file: &Path) -> u64 {
    let text = fs::read_to_string(file).unwrap();
    let words = text.split_whitespace();
    words
        .filter_map(|word| word.strip_prefix("wbytes=")?.parse::<u64>().ok())
        .sum()
}

fn blkio(dir: &Path) -> u64 {
    let text = fs::read_to_string(dir.join("blkio.throttle.io_service_bytes")).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once(" Write "));
    lines
        .filter_map(|(_, bytes)| bytes.parse::<u64>().ok())
        .sum()
}
