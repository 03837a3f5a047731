//! Words about containers that are typed to look around: each line to rbuild and to a dockerd.

use std::fs;

use e2e::{Cmd, Dir, Registry, Store, need};

use crate::both::{Both, inspect};

/// Lines of which everything is the same; `DIR` has files for them.
const SAME: &[&str] = &[
    "create --name words-a --net none --label-file DIR/labels busybox true",
    "inspect -f '{{json .Config.Labels}}' words-a",
    "run --rm --net none --env-file DIR/env busybox sh -c 'echo $A-$B-$C'",
    "run --rm --net none --env-file DIR/none busybox true",
    "run --rm --net none --label-file DIR/none busybox true",
    "create --name words-b --net none --stop-timeout 3 --stop-signal USR1 busybox sleep 1000",
    "inspect -f '{{.Config.StopTimeout}} {{.Config.StopSignal}}' words-b",
    "ps -a --filter name=words- --format '{{.Names}} {{.Status}} {{.State}}'",
    "ps --filter name=words- -aq",
    "create -i --name words-in --net none busybox cat",
    "start -ai words-in",
    "run -d --name words-three --net none busybox sh -c 'exit 3'",
    "run -d --name words-four --net none busybox sh -c 'exit 4'",
    "wait words-three words-four",
    "wait words-three nowhere",
    "stop words-a nowhere words-three",
    "start words-a nowhere",
    "restart nowhere",
    "pause words-three",
    "unpause words-three",
    "top words-three",
    "top nowhere",
    "logs words-three",
    "kill words-three",
    "update --restart no words-three",
    "update --restart sometimes words-three",
    "run --restart sometimes --net none busybox true",
    "create --name words-w --net none -w /srv busybox pwd",
    "start -a words-w",
    "rename words-a words-three",
    "rm words-a words-b words-in words-three words-four words-w nowhere",
    "version -f '{{.Server.Os}}/{{.Server.Arch}} {{.Client.Os}}'",
    "info -f '{{.Driver}} {{.CgroupVersion}} {{.CgroupDriver}} {{.OSType}} {{.NCPU}} {{.MemTotal}} {{.LoggingDriver}}'",
];

#[test]
fn each_word_does_what_docker_does() {
    let both = need!(Both::new());
    let dir = Dir::new()
        .file("labels", "# those of a file\na=b\nonly\n")
        .file("env", "A=1\n# B\nB=two words\n");
    let path = dir.path().display().to_string();
    let wrong: Vec<String> = SAME
        .iter()
        .filter_map(|line| both.same(&line.replace("DIR", &path)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Flags and filters that few type, of which everything is the same.
const RARE: &[&str] = &[
    "run --rm --net none -h barker busybox hostname",
    "run --rm --net none --sysctl kernel.msgmax=4096 busybox cat /proc/sys/kernel/msgmax",
    "run --rm --net none busybox cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
    "run --rm --net none busybox cat /proc/sys/net/ipv4/ping_group_range",
    "run --rm --net none --sysctl net.ipv4.ip_unprivileged_port_start=80 busybox cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
    "run --rm --net none --isolation default busybox echo isolated",
    "run --rm --net none --isolation hyperv busybox true",
    "run --rm --net none --runtime frob busybox true",
    "run --rm --net none --device-cgroup-rule 'c 1:3 rwm' busybox true",
    "run --rm --net none --device-cgroup-rule 'c 1:3' busybox true",
    "run --rm --net none --device /dev/zero:/dev/there:r busybox sh -c 'head -c 3 /dev/there | wc -c; (echo x >/dev/there) 2>/dev/null && echo writes; true'",
    "run --rm --net none --group-add mail --group-add 7 busybox id -G",
    "run --rm --net none --group-add nope busybox true",
    "run --rm --net none --ulimit nofile=5:3 busybox true",
    "run --rm --net none --log-opt a busybox true",
    "create --name rare-a --net none -l a=b -l c=d busybox true",
    "run -d --name rare-b --net none --group-add mail busybox sleep 1000",
    "exec rare-b id -G",
    "ps -a --filter name=rare- --format '{{.Names}} {{.Label \"a\"}}{{.Label \"nope\"}}'",
    "ps -a --filter name=rare- --filter publish=80 -q",
    "ps -a --filter name=rare- --filter expose=80 -q",
    "ps --filter publish=x",
    "ps --filter exited=x",
    "ps --filter is-task=x",
    "ps --filter status=nope",
    "rename rare-a 'a b'",
    "rename nowhere rare-c",
    "kill -s '' rare-b",
    "rm rare-a rare-b",
];

/// Lines that both refuse for the same reason.
const REFUSED: &[(&str, &str)] = &[
    (
        "run --rm --net none --log-opt max-file=x busybox true",
        "strconv.Atoi: parsing \"x\": invalid syntax",
    ),
    (
        "run --rm --net host --sysctl net.ipv4.ip_forward=1 busybox true",
        "sysctl \"net.ipv4.ip_forward\" not allowed in host network namespace",
    ),
    (
        "run --rm --net none --cidfile /nowhere/id busybox true",
        "open /nowhere/id: no such file or directory",
    ),
    (
        "run --rm --net none --log-opt compress=x busybox true",
        "strconv.ParseBool: parsing \"x\": invalid syntax",
    ),
];

#[test]
fn rare_flags_do_what_docker_does() {
    let both = need!(Both::new());
    let mut wrong: Vec<String> = RARE.iter().filter_map(|line| both.same(line)).collect();
    let refused = REFUSED.iter();
    wrong.extend(refused.filter_map(|(line, reason)| both.alike(line, reason)));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// docker gives all devices that are in a folder.
#[test]
fn a_folder_of_devices_is_given() {
    let store = need!(Store::busybox());
    let dir = Dir::new().file("plain", "no device");
    for (name, minor) in [("nothing", "3"), ("zeros", "5")] {
        let path = dir.path().join(name);
        Cmd::new("mknod")
            .arg(&path)
            .args(["-m", "666", "c", "1", minor])
            .ok();
    }
    let device = format!("{}:/dev/some", dir.path().display());
    let run = ["run", "--rm", "--net", "none", "--device", &device];
    let script = "ls /dev/some && head -c 3 /dev/some/zeros | wc -c";
    let done = store.rbuild(run).args(["busybox", "sh", "-c", script]).ok();
    assert_eq!(done.out(), "nothing\nzeros\n3\n");
}

#[test]
fn containers_are_counted_and_their_ids_written_to_files() {
    let store = need!(Store::busybox());
    let file = store.file("id");
    store
        .rbuild(["create", "--net", "none", "--name", "made", "--cidfile"])
        .arg(&file)
        .args(["busybox", "true"])
        .ok();
    let id = inspect(&store, "made")["Id"].as_str().unwrap().to_owned();
    assert_eq!(fs::read_to_string(&file).unwrap(), id);
    store
        .rbuild(["create", "--cidfile"])
        .arg(&file)
        .args(["busybox", "true"])
        .run()
        .tells("container ID file found, make sure the other container isn't running or delete");
    for name in ["runs", "stands", "ends"] {
        store
            .rbuild(["run", "-d", "--net", "none", "--name", name, "busybox"])
            .args(["sleep", "1000"])
            .ok();
    }
    store.rbuild(["pause", "stands"]).ok();
    store.rbuild(["kill", "ends"]).ok();
    let counts =
        "{{.Containers}} {{.ContainersRunning}} {{.ContainersPaused}} {{.ContainersStopped}}";
    let told = store.rbuild(["info", "-f", counts]).ok().out();
    assert_eq!(told, "4 1 1 2\n");
    let last = |flags: &[&str]| {
        let format = ["--format", "{{.Names}}"];
        store.rbuild(["ps"]).args(flags).args(format).ok().out()
    };
    assert_eq!(last(&["-l"]), "ends\n");
    assert_eq!(last(&["-n", "2"]), "ends\nstands\n");
    assert_eq!(last(&[]), "stands\nruns\n");
    let image = store.rbuild(["images", "--format", "{{.Size}}"]).ok().out();
    let sizes = store
        .rbuild(["ps", "-ls", "--format", "{{.Size}}"])
        .ok()
        .out();
    assert_eq!(sizes, format!("0B (virtual {})\n", image.trim_end()));
    store
        .rbuild(["rm", "-f", "made", "runs", "stands", "ends"])
        .ok();
}

#[test]
fn a_registry_is_searched() {
    let store = need!(Store::busybox());
    let registry = Registry::start();
    for name in ["app/web", "app/db", "other"] {
        let full = registry.name(name);
        store.rbuild(["tag", "busybox", &full]).ok();
        store.rbuild(["push", "-q", &full]).ok();
    }
    let search = |term: &str, flags: &[&str]| {
        let term = registry.name(term);
        let format = ["--format", "{{.Name}}"];
        let done = store.rbuild(["search"]).args(flags).args(format).arg(term);
        done.ok().out()
    };
    let (db, web) = (registry.name("app/db"), registry.name("app/web"));
    assert_eq!(search("app", &[]), format!("{db}\n{web}\n"));
    assert_eq!(search("app", &["--limit", "1"]), format!("{db}\n"));
    assert_eq!(search("nope", &[]), "");
    store
        .rbuild(["search", "--limit", "101", "x"])
        .fails(1)
        .tells("limit 101 is outside the range of [1, 100]");
}
