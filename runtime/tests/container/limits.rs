//! Control groups, ulimits, and what is left when the process that made them is killed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio as ProcessStdio;

use runtime::{Container, Limits, Stdio, Ulimit};

use crate::harness::{Image, Test, eventually, output, ran};
use crate::probe;

pub const TESTS: &[Test] = &[
    ("fork_bomb_is_contained", fork_bomb),
    ("memory_hog_is_killed_and_said_so", memory),
    ("cpu_limits_are_accepted", cpu),
    ("ulimits_apply", ulimits),
    ("nothing_is_left_after_kill_9", kill_9),
    ("groups_of_dead_processes_are_removed", stale),
];

/// Every group of ours on this host.
fn groups() -> Vec<String> {
    let mut found = Vec::new();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        if fields[2].starts_with("cgroup") {
            let dir = Path::new(fields[1]).join("rbuild");
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    found.push(entry.path().display().to_string());
                }
            }
        }
    }
    found
}

fn own_groups() -> Vec<String> {
    let own = format!("/{}-", std::process::id());
    groups()
        .into_iter()
        .filter(|path| path.contains(&own))
        .collect()
}

fn fork_bomb() -> Result<(), String> {
    let image = Image::new();
    let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 5 & done; \
                  echo all";
    let limits = Limits {
        pids: runtime::Pids::AtMost(8),
        ..Limits::default()
    };
    let spec = image.sh(script).limits(limits);
    let ran = ran(&spec);
    assert!(
        !ran.out.contains("all") && ran.out.contains("can't fork"),
        "{}",
        ran.out
    );
    assert!(own_groups().is_empty(), "{:?}", own_groups());
    Ok(())
}

fn memory() -> Result<(), String> {
    let image = Image::new();
    let limits = Limits {
        memory: Some(16 << 20),
        ..Limits::default()
    };
    let hog = [
        "busybox",
        "dd",
        "if=/dev/zero",
        "of=/dev/null",
        "bs=200M",
        "count=1",
    ];
    let ran = ran(&image.spec(&hog).limits(limits));
    assert!(ran.status.oom_killed, "{}: {}", ran.status, ran.out);
    assert_eq!(ran.status.exit_code(), 137);
    assert_eq!(
        ran.status.to_string(),
        "exit code: 137 (out of memory: the memory limit was reached)"
    );
    assert!(own_groups().is_empty());
    Ok(())
}

fn cpu() -> Result<(), String> {
    let image = Image::new();
    let limits = Limits {
        cpu_quota: Some(50_000),
        cpu_period: Some(100_000),
        cpu_shares: Some(512),
        cpuset_cpus: Some("0".to_owned()),
        ..Limits::default()
    };
    let spec = image
        .sh("busybox grep Cpus_allowed_list /proc/self/status")
        .limits(limits);
    assert_eq!(output(&spec), "Cpus_allowed_list:\t0");
    let bad = Limits {
        cpuset_cpus: Some("4095".to_owned()),
        ..Limits::default()
    };
    let error = Container::spawn(&image.sh("true").limits(bad), Stdio::default()).unwrap_err();
    assert!(error.to_string().contains("cpuset.cpus"), "{error}");
    assert!(own_groups().is_empty());
    Ok(())
}

fn ulimits() -> Result<(), String> {
    let image = Image::new();
    let limits = Limits {
        ulimits: vec![
            Ulimit::parse("nofile=64:128").unwrap(),
            Ulimit::parse("core=0").unwrap(),
        ],
        ..Limits::default()
    };
    let spec = image.sh("ulimit -Sn; ulimit -Hn; ulimit -c").limits(limits);
    assert_eq!(output(&spec), "64\n128\n0");
    Ok(())
}

fn kill_9() -> Result<(), String> {
    let image = Image::new();
    let mut victim = probe::command("victim", &[image.path()])
        .stdout(ProcessStdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(victim.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let container = format!("/proc/{}", line.trim());
    let own = format!("/{}-", victim.id());
    assert!(Path::new(&container).exists());
    assert!(groups().iter().any(|path| path.contains(&own)));
    victim.kill().unwrap();
    victim.wait().unwrap();
    eventually("container killed", || !Path::new(&container).exists());
    eventually("groups removed", || {
        !groups().iter().any(|path| path.contains(&own))
    });
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(image.path().to_str().unwrap()));
    // The same directories serve the next container.
    let work = image.path().join("work/work");
    eventually("overlay unmounted", || fs::read_dir(&work).is_ok());
    assert_eq!(output(&image.sh("echo again")), "again");
    Ok(())
}

fn stale() -> Result<(), String> {
    let image = Image::new();
    let limits = Limits {
        pids: runtime::Pids::AtMost(8),
        ..Limits::default()
    };
    let running = Container::spawn(
        &image.spec(&["sleep", "1000"]).limits(limits.clone()),
        Stdio::default(),
    )
    .unwrap();
    let own = own_groups();
    let parent = Path::new(&own[0]).parent().unwrap();
    // Number 1 lives, but did not start then: its maker is dead.
    let dead = parent.join("1-1-0");
    fs::create_dir(&dead).unwrap();
    output(&image.sh("true").limits(limits));
    assert!(!dead.exists());
    assert_eq!(own_groups(), own, "a living one is kept");
    drop(running);
    assert!(own_groups().is_empty());
    Ok(())
}
