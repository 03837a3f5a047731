//! What hands remember of docker: its own flags, what is asked for in scripts, and `--init`.

use std::fs;

use e2e::{Dir, Registry, Store, need};
use serde_json::json;

use crate::both::{Both, eventually, inspect};

/// Lines of which everything is the same.
const SAME: &[&str] = &[
    "run --rm --net none --workdir '' busybox pwd",
    "run --rm --net none --domainname d.e busybox cat /proc/sys/kernel/domainname",
    "run --rm --net none --init busybox grep SigBlk /proc/self/status",
    "run --rm --net none --init busybox sh -c 'kill -USR1 1; sleep 5; echo not reached'",
    "run --rm --net none --init busybox sh -c 'exit 7'",
    "create --name habit-a --net none --cap-add sys_time --cap-add CAP_NET_RAW --cap-drop all busybox true",
    "inspect -f '{{json .HostConfig.OomKillDisable}}' habit-a",
    "inspect -f '{{len .HostConfig.MaskedPaths}} {{json .HostConfig.ReadonlyPaths}}' habit-a",
    "create --name habit-b --net none --privileged -i -a stdin busybox cat",
    "inspect -f '{{json .HostConfig.MaskedPaths}} {{.Config.AttachStdin}} {{.Config.AttachStdout}} {{.Config.StdinOnce}}' habit-b",
    "create --name habit-c --net none --security-opt systempaths=unconfined busybox true",
    "inspect -f '{{json .HostConfig.MaskedPaths}} {{json .HostConfig.ReadonlyPaths}}' habit-c",
    "rm habit-a habit-b habit-c",
    "run --name habit-d --net none busybox echo said",
    "logs --until=-1h habit-d",
    "logs --since=-1h habit-d",
    "rm habit-d",
    "create --name habit-e --net none --health-cmd x --health-interval 1m30s --health-timeout 300ms busybox true",
    "inspect -f '{{.Config.Healthcheck.Interval}} {{.Config.Healthcheck.Timeout}} {{json .Config.Healthcheck.Interval}}' habit-e",
    "kill habit-e nowhere",
    "rm habit-e",
    "info -f '{{.Swarm.LocalNodeState}} {{.MemoryLimit}} {{.SwapLimit}} {{.CPUShares}} {{.CPUSet}} {{.PidsLimit}} {{.OomKillDisable}} {{.IPv4Forwarding}} {{.Isolation}} {{.Labels}} {{.IndexServerAddress}} {{.Plugins.Volume}}'",
];

#[test]
fn what_scripts_ask_for_is_there() {
    let both = need!(Both::new());
    both.all_same(SAME);
}

/// docker's flags before a command never make a build of it; a daemon elsewhere is nobody's here.
#[test]
fn dockers_own_flags_stand_before_commands() {
    let store = need!(Store::busybox());
    let images = ["images", "--format", "{{.Repository}}"];
    for flags in [
        &["-D"][..],
        &["--debug", "--log-level", "debug"],
        &["-l", "warn", "--context", "default"],
    ] {
        let listed = store.rbuild(flags).args(images).ok();
        assert_eq!(listed.out(), "busybox\n", "{flags:?}");
    }
    for flags in [&["-H", "tcp://x:1"][..], &["--context=other"]] {
        store
            .rbuild(flags)
            .args(images)
            .fails(125)
            .tells("is docker's, and is not supported here; there is no daemon");
    }
    // Who logs in is kept in the folder that is named.
    let registry = Registry::start();
    let dir = Dir::new();
    let login = ["login", "-u", "me", "-p", "secret", registry.address()];
    let config = ["--config".as_ref(), dir.path().as_os_str()];
    store.rbuild(config).args(login).ok();
    let kept = fs::read_to_string(dir.path().join("config.json")).unwrap();
    assert!(kept.contains("auths"), "{kept}");
}

#[test]
fn an_init_passes_signals_on_to_its_command() {
    let store = need!(Store::busybox());
    let run = ["run", "-d", "--init", "--net", "none", "--name"];
    let script = "trap 'echo got; exit 5' TERM; echo ready; while :; do sleep 0.1; done";
    store
        .rbuild(run)
        .args(["traps", "busybox", "sh", "-c", script])
        .ok();
    store
        .rbuild(run)
        .args(["sleeps", "busybox", "sleep", "1000"])
        .ok();
    let said = || store.rbuild(["logs", "traps"]).ok().out();
    eventually("it listens", || said() == "ready\n");
    store.rbuild(["stop", "-t", "60", "traps"]).ok();
    assert_eq!(inspect(&store, "traps")["State"]["ExitCode"], 5);
    assert_eq!(said(), "ready\ngot\n");
    store.rbuild(["kill", "-s", "INT", "sleeps"]).ok();
    assert_eq!(store.rbuild(["wait", "sleeps"]).ok().out(), "130\n");
    store.rbuild(["rm", "traps", "sleeps"]).ok();
}

/// The values are docker 28's.
#[test]
fn a_container_knows_its_name_by_parts_and_shows_its_files() {
    let store = need!(Store::busybox());
    let hosts = |flags: &[&str]| {
        let run = ["run", "--rm"];
        let tail = ["busybox", "tail", "-n", "1", "/etc/hosts"];
        let told = store.rbuild(run).args(flags).args(tail).ok().out();
        told.split_once('\t').unwrap().1.trim_end().to_owned()
    };
    assert_eq!(hosts(&["-h", "a.b.c"]), "a.b.c a");
    assert_eq!(hosts(&["-h", "a", "--domainname", "b.c"]), "a.b.c a");
    assert_eq!(hosts(&["-h", "a"]), "a");
    store
        .rbuild(["run", "-d", "--net", "none", "--name", "files", "busybox"])
        .args(["sh", "-c", "echo here >/made; exec sleep 1000"])
        .ok();
    let data = inspect(&store, "files")["GraphDriver"]["Data"].clone();
    let made = format!("{}/made", data["MergedDir"].as_str().unwrap());
    eventually("it is seen from outside", || {
        fs::read_to_string(&made).is_ok_and(|text| text == "here\n")
    });
    let caps = [
        "--cap-add",
        "sys_time",
        "--cap-add",
        "CAP_NET_RAW",
        "--cap-drop",
        "all",
    ];
    let create = ["create", "--net", "none", "--name", "caps"];
    store
        .rbuild(create)
        .args(caps)
        .args(["busybox", "true"])
        .ok();
    let host = inspect(&store, "caps")["HostConfig"].clone();
    assert_eq!(host["CapAdd"], json!(["CAP_NET_RAW", "CAP_SYS_TIME"]));
    assert_eq!(host["CapDrop"], json!(["ALL"]));
    let lower = data["LowerDir"].as_str().unwrap();
    assert!(
        fs::metadata(format!("{lower}/bin/busybox")).is_ok(),
        "{lower}"
    );
    store.rbuild(["rm", "-f", "files", "caps"]).ok();
}

/// The values are docker 28's.
#[test]
fn what_is_listed_has_dockers_forms() {
    let store = need!(Store::busybox());
    let empty = store.rbuild(["inspect", "-f", "json", "nowhere"]).fails(1);
    assert_eq!(empty.out(), "[]\n");
    let all = ["system", "df", "-v", "--format"];
    let shown = "{{len .Images}} {{json .Containers}} {{json .Volumes}} {{json .BuildCache}}";
    assert_eq!(store.rbuild(all).arg(shown).ok().out(), "1 [] [] []\n");
    store
        .rbuild(["system", "prune", "-f", "--volumes", "--filter", "until=1h"])
        .fails(1)
        .tells("The \"until\" filter is not supported with \"--volumes\"");
    let network = ["network", "create", "--label", "a=b", "labeled"];
    store.rbuild(network).ok();
    let label = ["network", "ls", "-f", "name=labeled", "--format"];
    let label = store.rbuild(label).arg("{{.Label \"a\"}}").ok().out();
    assert_eq!(label, "b\n");
    store.rbuild(["network", "rm", "labeled"]).ok();
    // A build's tag is told without `latest`.
    let context = Dir::new().file("Dockerfile", "FROM busybox\nLABEL a=b\n");
    store.build("evb", &context).arg("-t").arg("evb:2").ok();
    let events = ["events", "--since", "1h", "--until", "0s"];
    let tags = ["--filter", "event=tag", "--filter", "label=a=b"];
    let told = store.rbuild(events).args(tags);
    let told = told.args(["--format", "{{.Actor.Attributes.name}}"]);
    assert_eq!(told.ok().out(), "evb\nevb:2\n");
}
