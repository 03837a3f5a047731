//! What somebody types who tries everything: wrong values, things that are not there, and pairs
//! that do not go together, each to rbuild and to a dockerd.

use e2e::{Store, need};

use crate::both::{Both, plain, turn};
use crate::networked::Host;

/// Lines of which everything is the same.
const SAME: &[&str] = &[
    "ps -f name",
    "ps -a -f before=nope",
    "ps -a -f since=nope",
    "ps -f health=frob",
    "run --name 'a b' busybox true",
    "run --name -ab busybox true",
    "run --rm --net none -w /etc/passwd busybox true",
    "run --rm --net none -w rel busybox true",
    "run --rm --net none -u nosuch busybox true",
    "run --rm --net none -u 12:nosuch busybox true",
    "run --rm --net none -u 99999:88888 busybox id",
    "run --rm --net none -u nobody busybox id",
    "run --rm --net none -u :5 busybox id",
    "run --rm --net none -e =x busybox env",
    "run --rm --net none -e '' busybox env",
    "run --rm --net none -e 'A=b c' busybox sh -c 'echo \"$A\"'",
    "run --rm --net none --env-file /nope busybox true",
    "run --rm --net none --hostname '-x' busybox hostname",
    "run --rm --net none --hostname 'a_b' busybox hostname",
    "run --rm --net none --memory 1m busybox true",
    "run --rm --net none --memory -1 busybox true",
    "run --rm --net none --memory 64m --memory-swap 32m busybox true",
    "run --rm --net none --memory-swap 64m busybox true",
    "run --rm --net none --memory 64m --memory-reservation 128m busybox true",
    "run --rm --net none --cpus 99 busybox true",
    "run --rm --net none --cpus x busybox true",
    "run --rm --net none --cpus 1 --cpu-quota 5000 busybox true",
    "run --rm --net none --cpu-period 1 busybox true",
    "run --rm --net none --cpu-quota 1 busybox true",
    "run --rm --net none --cpu-shares -1 busybox true",
    "run --rm --net none --cpuset-cpus 99 busybox true",
    "run --rm --net none --cpuset-cpus a busybox true",
    "run --rm --net none --cpuset-mems 9 busybox true",
    "run --rm --net none --ulimit nofile busybox true",
    "run --rm --net none --ulimit foo=1 busybox true",
    "run --rm --net none --ulimit nofile=1:2:3 busybox true",
    "run --rm --net none --shm-size 0 busybox true",
    "run --rm --net none --shm-size x busybox true",
    "run --rm --net none --oom-score-adj 2000 busybox true",
    "run --rm --net none --cap-add FROB busybox true",
    "run --rm --net none --cap-add net_admin --cap-drop net_admin busybox grep CapEff /proc/self/status",
    "run --rm --net none --security-opt frob busybox true",
    "run --rm --net none --security-opt seccomp=/nope busybox true",
    "run --rm --net none --security-opt apparmor=unconfined busybox true",
    "run --rm --net none --security-opt label=disable busybox true",
    "run --rm --net none --security-opt no-new-privileges:true busybox grep NoNew /proc/self/status",
    "run --rm --net none --device /nope busybox true",
    "run --rm --net none --device /dev/null:/dev/x:z busybox true",
    "run --rm --net none --tmpfs x busybox true",
    "run --rm --net none --tmpfs /x:foo busybox true",
    "run --rm --net none -v /a:b busybox true",
    "run --rm --net none -v /tmp:/x:frob busybox true",
    "run --rm --net none -v a/b:/x busybox true",
    "run --rm --net none -v /tmp:/ busybox true",
    "run --rm --net none -v /tmp:/x:ro,rw busybox true",
    "run --rm --net none -v /tmp:/x -v /etc:/x busybox true",
    "run --rm --net none --mount '' busybox true",
    "run --rm --net none --mount type=bind busybox true",
    "run --rm --net none --mount type=bind,source=/tmp busybox true",
    "run --rm --net none --mount type=bind,target=/x busybox true",
    "run --rm --net none --mount type=bind,source=/nope,target=/x busybox true",
    "run --rm --net none --mount type=bind,source=tmp,target=/x busybox true",
    "run --rm --net none --mount type=frob,source=/tmp,target=/x busybox true",
    "run --rm --net none --mount type=volume,source=a/b,target=/x busybox true",
    "run --rm --net none --mount type=tmpfs,source=/x,target=/x busybox true",
    "run --rm --net none --mount type=tmpfs,target=/x,tmpfs-size=x busybox true",
    "run --rm --net none --mount type=tmpfs,target=/x,tmpfs-mode=999 busybox true",
    "run --rm --net none --mount type=bind,source=/tmp,target=/x,tmpfs-size=1m busybox true",
    "run --rm --net none --mount type=volume,target=/x,bind-propagation=shared busybox true",
    "run --rm --net none --mount type=bind,source=/tmp,target=/x,foo=bar busybox true",
    "run --rm --net none --mount type=bind,source=/tmp,target=/x,readonly=maybe busybox true",
    "run --rm --net none --mount type=bind,source=/tmp,target=x busybox true",
    "run --rm --net none --volumes-from nope busybox true",
    "run --rm --net none --volumes-from a:frob busybox true",
    "run --rm --net none --read-only busybox touch /x",
    "run --net none --restart always:3 busybox true",
    "run --net none --restart no:3 busybox true",
    "run --rm --net none --stop-signal FROB busybox true",
    "run --rm --net none --log-opt foo=bar busybox true",
    "run --rm --net none --pull never nosuch true",
    "run --rm --net none -a frob busybox true",
    "run --rm --net none --health-cmd x --no-healthcheck busybox true",
    "run --rm --net none --health-interval -1s busybox true",
    "run --rm --net none --health-interval 1us busybox true",
    "run --rm --net none --health-retries -1 busybox true",
    "run --rm --net none --ipc frob busybox true",
    "run --rm --net none --pid frob busybox true",
    "run --rm --net none --pid container:nope busybox true",
    "run --rm --net none --ipc container:nope busybox true",
    "run --rm --net none --uts frob busybox true",
    "run --rm --net none --userns frob busybox true",
    "run --rm --net none --cgroupns frob busybox true",
    "run --rm --net container: busybox true",
    "run --rm --net container:nope busybox true",
    "run --rm --net nope busybox true",
    "run --rm --net none --ip 1.2.3.4 busybox true",
    "run --rm --expose x busybox true",
    "run --rm --add-host x busybox true",
    "run --rm --add-host x:y busybox true",
    "run --rm --mac-address x busybox true",
    "run --rm --link x busybox true",
    "run --rm --link a:b:c busybox true",
    "run --rm --net none --gpus all busybox true",
    "run --rm --net none -it busybox true",
    "run --rm --net none --label =x busybox true",
    "volume ls -f dangling=maybe",
    "volume ls -f foo=bar",
    "volume ls -f driver=frob -q",
    "volume prune --filter foo=bar -f",
    "network create host",
    "network create --subnet x y",
    "network create --subnet 10.0.0.0/8 --gateway x y",
    "network create --subnet 10.99.0.0/24 --gateway 10.98.0.1 y",
    "network create --subnet 10.99.0.0/24 --ip-range 10.98.0.0/24 y",
    "network create --gateway 10.99.0.1 y",
    "network create --ip-range 10.99.0.0/24 y",
    "network create -o com.docker.network.driver.mtu=x y",
    "network ls -f type=frob",
    "network ls -f label=x -q",
    "network ls --format 'table {{.Name}}\\t{{.ID}}' -f name=nope",
    "network rm host",
    "network connect nope nope",
    "container inspect nope",
    "container top nope",
];

#[test]
fn what_is_wrong_is_told_as_docker_tells_it() {
    let _turn = turn();
    let both = need!(Both::new());
    both.all_same(SAME);
}

/// Lines that docker 28's client refuses or takes, in its words: that of docker 20.10 has others.
const NEWER: &[(&str, i32, &str)] = &[
    (
        "run --rm -p x busybox true",
        125,
        "invalid containerPort: x",
    ),
    (
        "run --rm -p 80:x busybox true",
        125,
        "invalid containerPort: x",
    ),
    (
        "run --rm -p 99999:80 busybox true",
        125,
        "invalid hostPort: 99999",
    ),
    (
        "run --rm -p 80:80/frob busybox true",
        125,
        "invalid proto: frob",
    ),
    (
        "run --rm -p 1.2.3:80:80 busybox true",
        125,
        "invalid IP address: 1.2.3",
    ),
    (
        "run --rm -p 80:80-81 busybox true",
        125,
        "invalid ranges specified for container and host Ports: 80-81 and 80",
    ),
    (
        "run --rm --expose 90-80 busybox true",
        125,
        "invalid range format for --expose: 90-80, error: invalid range specified for port: 90-80",
    ),
    (
        "run --rm --restart always busybox true",
        125,
        "conflicting options: cannot specify both --restart and --rm",
    ),
    (
        "ps --all=maybe",
        125,
        "invalid argument \"maybe\" for \"-a, --all\" flag: strconv.ParseBool: parsing \"maybe\": \
         invalid syntax",
    ),
    (
        "network create --label '' no",
        125,
        "invalid argument \"\" for \"--label\" flag: invalid label '': empty name",
    ),
    (
        "volume create --label =x no",
        125,
        "invalid argument \"=x\" for \"--label\" flag: invalid label '=x': empty name",
    ),
    (
        "network create --subnet 10.99.0.0/24 --ip-range x no",
        1,
        "invalid CIDR address: x",
    ),
    (
        "network create --subnet 10.77.0.0/24 --gateway 10.77.0.1 --gateway 10.77.0.2 no",
        1,
        "every ip-range or gateway must have a corresponding subnet",
    ),
    (
        "network create --subnet 10.77.0.0/24 --subnet 10.78.0.0/24 no",
        1,
        "bridge driver doesn't support multiple subnets",
    ),
    (
        "events --since 2026-01-02 --until 2026-01-01",
        1,
        "`since` time (1767312000) cannot be after `until` time (1767225600)",
    ),
    (
        "context ls --format '{{.Name}} {{.Current}}'",
        0,
        "default true",
    ),
    ("context ls -q", 0, "default"),
    ("context show", 0, "default"),
    ("context inspect -f '{{.Name}}'", 0, "default"),
    ("context use default", 0, "default"),
];

#[test]
fn newer_words_are_those_of_docker_28() {
    let store = need!(Store::busybox());
    for (line, code, want) in NEWER {
        let done = store
            .rbuild(crate::both::words(line))
            .env("TZ", "UTC")
            .run();
        let told = match code {
            0 => plain(&done.out()),
            _ => plain(&done.err()),
        };
        assert_eq!(done.status.code(), Some(*code), "{line}: {done}");
        assert_eq!(told.lines().next(), Some(*want), "{line}: {done}");
    }
    store
        .rbuild(["context", "use", "nope"])
        .fails(1)
        .tells("context \"nope\": context not found");
    // A template that wants what there is not is refused although there is no line.
    let format = ["ps", "--format", "{{.Foo}}"];
    store.rbuild(format).fails(1).tells("Foo");
    // The last value of a variable counts, and names may have the slash that `inspect` shows.
    let run = ["run", "--rm", "--net", "none", "--name", "/slashed"];
    let env = ["-e", "A=1", "-e", "B=1", "-e", "A=2", "busybox", "env"];
    let told = store.rbuild(run).args(env).ok().out();
    let own: Vec<&str> = told.lines().filter(|line| line.len() == 3).collect();
    assert_eq!(own, ["A=2", "B=1"], "{told}");
    store
        .rbuild(["run", "--rm", "--net", "none", "busybox", "/etc"])
        .fails(126)
        .tells("exec: \"/etc\": is a directory: permission denied");
}

#[test]
fn who_comes_to_networks_is_told_in_dockers_words() {
    let host = need!(Host::new());
    host.says("network create auto");
    host.says("create --name still busybox true");
    host.says("run -d --name runs busybox sleep 1000");
    for (line, why) in [
        ("network connect nope nobody", "No such container: nobody"),
        (
            "network disconnect nope nobody",
            "No such container: nobody",
        ),
        (
            "network disconnect auto still",
            "container ID is not connected to the network auto",
        ),
        (
            "network disconnect auto runs",
            "container ID is not connected to network auto",
        ),
        (
            "network connect --ip x auto still",
            "invalid endpoint settings:\n* invalid IPv4 address: x\n* user specified IP address \
             is supported only when connecting to networks with user configured subnets",
        ),
    ] {
        assert_eq!(host.refuses(line, 1), why, "{line}");
    }
    host.says("network disconnect bridge still");
    host.says("network connect none still");
    assert_eq!(
        host.refuses("network connect bridge still", 1),
        "container cannot be connected to multiple networks with one of the networks in private \
         (none) mode"
    );
    host.end();
    host.says("network rm auto");
}

/// Odd ways to run a further command, to change limits, and to ask.
const IN_ONE_THAT_RUNS: &[&str] = &[
    "run -d --name odd -e X=1 --net none busybox sleep 1000",
    "exec -e X odd sh -c 'echo \"[$X]\"'",
    "exec -e X= -e Y=2 odd sh -c 'echo \"[$X$Y]\"'",
    "exec --detach-keys ctrl-x,zz odd true",
    "logs --since 946684800.000000001 odd",
    "kill -s 99 odd",
    "kill -s 0 odd",
    "update --memory 64m odd",
    "update --memory 64m --memory-swap 128m odd",
    "update --memory 256m odd",
    "update --cpus 0.5 odd",
    "update --cpu-quota 10000 odd",
    "update --cpu-period 10000 odd",
    "inspect -f '{{.HostConfig.Binds}} {{.HostConfig.CapAdd}} {{json .HostConfig.CapAdd}} {{.HostConfig.Memory}}' odd",
    "run --rm --net none -e HOME= busybox sh -c 'echo $HOME'",
];

#[test]
fn odd_ways_are_dockers() {
    let both = need!(Both::new());
    both.all_same(IN_ONE_THAT_RUNS);
    // What the runtime cannot do docker tells on standard output.
    for (line, told) in [
        (
            "exec -w /nope odd true",
            "chdir to cwd (\"/nope\") set in config.json failed",
        ),
        (
            "exec -w rel odd true",
            "exec failed: Cwd must be an absolute path",
        ),
    ] {
        let (ours, theirs) = both.run(line);
        assert_eq!(ours.status.code(), theirs.status.code(), "{line}");
        assert!(
            ours.err().contains(told) && theirs.out().contains(told),
            "{ours}\n{theirs}"
        );
    }
    both.all_same(&["stop -t 0 odd nope odd", "rm odd"]);
    let dir = tempfile::tempdir().unwrap();
    let read = |name: &str, text: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let path = path.display();
        format!("run --rm --net none --env-file {path} busybox sh -c 'echo $A$B'")
    };
    let marked = read("marked", b"\xef\xbb\xbfA=1\r\nB=2\n");
    assert_eq!(both.same(&marked), None);
    let broken = read("broken", b"A=1\nX=\xff\n");
    let why = "invalid utf8 bytes at line 2: [88 61 255]";
    assert_eq!(both.alike(&broken, why), None);
}
