//! Containers: each line is typed to rbuild and to a dockerd, and comes to the same.

use std::path::Path;

use e2e::{Cmd, Store, busybox, need};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::both::{Both, eventually, inspect, monitor, pid_of};

/// Lines of which everything is the same.
const SAME: &[&str] = &[
    "run --rm --net none busybox echo 'Hello world'",
    "run --rm --net none busybox sh -c 'exit 7'",
    "run --rm --net none busybox sh -c 'kill -9 $$'",
    "run --rm --net none busybox sh -c 'echo out; echo err >&2'",
    "run --rm -i --net none busybox cat",
    "run --rm --net none busybox cat",
    "run --rm --net none -e A=b -e C= busybox sh -c 'echo $A-$C-$HOME'",
    "run --rm --net none -w /not/there busybox sh -c 'pwd; ls -ld .'",
    "run --rm --net none -w relative busybox pwd",
    "run --rm --net none -u 65534:65534 busybox id",
    "run --rm --net none -u nope busybox id",
    "run --rm --net none --hostname barker busybox hostname",
    "run --rm --net none --entrypoint /bin/ls busybox -d /etc",
    "run --rm --net none --read-only busybox touch /f",
    "run --rm --net none --read-only --tmpfs /run busybox sh -c 'touch /run/f && echo done'",
    "run --rm --net none --cap-drop ALL busybox chown 1:1 /etc",
    "run --rm --net none --cap-drop ALL busybox grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status",
    "run --rm --net none busybox grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp:' /proc/self/status",
    "run --rm --net none --cap-drop ALL --cap-add NET_BIND_SERVICE busybox grep CapPrm /proc/self/status",
    "run --rm --net none --security-opt no-new-privileges busybox grep NoNewPrivs /proc/self/status",
    "run --rm --net none --cap-add FLYING busybox true",
    "run --rm --net none -m 1m busybox true",
    "run --rm --net none --ulimit nofile=1024:2048 busybox sh -c 'ulimit -Sn; ulimit -Hn'",
    "run --rm --net none --shm-size 128m busybox df -h /dev/shm",
    "run --rm --net none --add-host test:10.1.2.2 busybox grep test /etc/hosts",
    "run --rm --net none --cpus 99 busybox true",
    "run --rm --net none --cpuset-cpus 99 busybox true",
    "run --name 'b d' --net none busybox true",
    "create --net none --name kept -l a=b lines sh -c 'echo said; exit 4'",
    "create --net none --name kept busybox true",
    "start -a kept",
    "logs kept",
    "wait kept",
    "ps -a --filter name=kept --format '{{.Names}} {{.Image}} {{.Command}} {{.State}} {{.Labels}}'",
    "inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.Running}} {{.Name}}' kept",
    "inspect -f '{{json .Config.Cmd}} {{json .Config.Labels}} {{.Path}} {{.Args}}' kept",
    "rmi lines",
    "stop kept",
    "rename kept kept2",
    "rename kept2 kept2",
    "rm kept2",
    "rm kept2",
    "start nowhere",
    "stop nowhere",
    "exec nowhere true",
    "logs nowhere",
    "run -d --net none --name runs busybox sleep 1000",
    "ps --filter name=runs --format 'table {{.Names}}\t{{.Image}}\t{{.Command}}'",
    "rm runs",
    "exec runs echo 'in it'",
    "exec -e A=b -w /etc -u 65534 runs sh -c 'echo $A; pwd; id -u'",
    "exec runs sh -c 'exit 3'",
    "exec -i runs cat",
    "exec runs touch /made",
    "update --memory 64m --memory-swap 64m runs",
    "inspect -f '{{.HostConfig.Memory}}' runs",
    "stats --no-stream --format '{{.Name}} {{.PIDs}}' runs",
    "commit -a me -m why -c 'CMD [\"x\"]' runs img:v2",
    "inspect -f '{{.Config.Cmd}} {{.Author}} {{.Comment}}' img:v2",
    "exec -d runs touch /later",
    "pause runs",
    "pause runs",
    "exec runs true",
    "unpause runs",
    "kill -s NOPE runs",
    "kill -s 0 runs",
    "kill runs",
    "inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}' runs",
    "exec runs true",
    "restart -t 0 runs",
    "stop -t 0 runs",
    "ps -aqf name=runs",
    "rm runs",
    "run -d --net none --name lasts busybox sleep 1000",
];

/// Lines that fail for a reason that both give, in different sentences.
const ALIKE: &[(&str, &str)] = &[
    (
        "run --rm --net none busybox nope",
        "exec: \"nope\": executable file not found in $PATH",
    ),
    (
        "run --rm --net none busybox /etc",
        "exec: \"/etc\": is a directory",
    ),
    (
        "run --rm --net none busybox /etc/passwd",
        "permission denied",
    ),
    (
        "run --rm --net none --pull never nosuchimage true",
        "No such image: nosuchimage:latest",
    ),
];

/// Lines of which docker tells on standard output why they fail.
const CODES: &[&str] = &[
    "exec lasts nope",
    "exec lasts /etc/passwd",
    "exec -w /gone lasts pwd",
    "exec -w /etc/passwd lasts pwd",
    "exec -u nope lasts pwd",
];

#[test]
fn each_line_does_what_docker_does() {
    let both = need!(Both::new());
    // An image that nobody else tags: only the last name of one is kept by its containers.
    let base = need!(busybox());
    let import = |cmd: Cmd| cmd.arg("import").arg(&base).arg("lines").ok();
    import(both.ours.rbuild([""; 0]));
    import(both.docker.cmd([""; 0]));
    let same = SAME.iter().filter_map(|line| both.same(line));
    let mut wrong: Vec<String> = same.collect();
    wrong.extend(ALIKE.iter().filter_map(|(line, end)| both.alike(line, end)));
    wrong.extend(CODES.iter().filter_map(|line| both.same_code(line)));
    wrong.extend(both.same("rm -f lasts"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The lines of `diff` are docker 28's for the same script.
#[test]
fn what_a_container_changed_is_told_kept_and_exported() {
    let store = need!(Store::busybox());
    let script = "echo a >/new; rm /bin/ls; mkdir /dd; echo done; exec sleep 1000";
    store
        .rbuild(["run", "-d", "--net", "none", "--init", "--name", "web"])
        .args(["busybox", "sh", "-c", script])
        .ok();
    eventually("the script has done its work", || {
        store.rbuild(["logs", "web"]).ok().out() == "done\n"
    });
    let told = store.rbuild(["diff", "web"]).ok().out();
    let mut told: Vec<&str> = told.lines().collect();
    told.sort();
    assert_eq!(told, ["A /dd", "A /new", "C /bin", "D /bin/ls"]);
    // The process that reaps, and the command.
    let top = store.rbuild(["top", "web", "-o", "pid,cmd"]).ok().out();
    assert_eq!(top.lines().count(), 3, "{top}");
    assert!(top.lines().last().unwrap().ends_with("sleep 1000"), "{top}");
    store.rbuild(["commit", "web", "img:v2"]).ok();
    let files = ["cat /new; test -d /dd && test ! -e /bin/ls && echo kept"];
    let kept = store.rbuild(["run", "--rm", "--net", "none", "img:v2", "sh", "-c"]);
    assert_eq!(kept.args(files).ok().out(), "a\nkept\n");
    let tar = store.file("web.tar");
    store.rbuild(["export", "-o"]).arg(&tar).arg("web").ok();
    let listed = Cmd::new("tar").arg("-tf").arg(&tar).ok().out();
    let has = |name: &str| listed.lines().any(|line| line == name);
    assert_eq!((has("new"), has("dd/"), has("bin/ls")), (true, true, false));
    store.rbuild(["rm", "-f", "web"]).ok();
}

#[test]
fn what_a_killed_monitor_leaves_is_put_right_by_the_next_command() {
    let store = need!(Store::busybox());
    store
        .rbuild(["run", "-d", "--name", "web", "busybox", "sleep", "1000"])
        .ok();
    let pid = pid_of(&store, "web");
    kill(monitor(pid), Signal::SIGKILL).unwrap();
    let process = format!("/proc/{pid}");
    eventually("the container ends with its monitor", || {
        !Path::new(&process).exists()
    });
    let state = inspect(&store, "web")["State"].take();
    assert_eq!(state["Status"], "exited");
    assert_eq!(state["ExitCode"], 137);
    assert_eq!(state["Error"], "the container's monitor was killed");
    let id = inspect(&store, "web")["Id"].as_str().unwrap().to_owned();
    // Those of others may go while they are looked for, which find takes for a failure.
    let groups = Cmd::new("find")
        .args(["/sys/fs/cgroup", "-name", &id])
        .run();
    assert_eq!(groups.out(), "", "no control group is left");
    store.rbuild(["start", "web"]).ok();
    assert_eq!(inspect(&store, "web")["State"]["Status"], "running");
    store.rbuild(["rm", "-f", "web"]).ok();
    // One that is removed when it ends is gone then, too.
    store
        .rbuild([
            "run", "-d", "--rm", "--name", "once", "busybox", "sleep", "1000",
        ])
        .ok();
    let pid = pid_of(&store, "once");
    kill(monitor(pid), Signal::SIGKILL).unwrap();
    let process = format!("/proc/{pid}");
    eventually("the container ends with its monitor", || {
        !Path::new(&process).exists()
    });
    store.rbuild(["ps", "-aq"]).ok().says("");
    assert_eq!(store.rbuild(["ps", "-aq"]).ok().out(), "");
}

#[test]
fn a_container_that_is_removed_when_it_ends_is_gone() {
    let store = need!(Store::busybox());
    store
        .rbuild([
            "run", "-d", "--rm", "--name", "once", "busybox", "sleep", "0.2",
        ])
        .ok();
    eventually("it is removed", || {
        store.rbuild(["ps", "-aq"]).ok().out().is_empty()
    });
    let left = std::fs::read_dir(store.root().join("containers")).unwrap();
    eventually("its folder is gone", || {
        std::fs::read_dir(store.root().join("containers"))
            .unwrap()
            .next()
            .is_none()
    });
    drop(left);
}

#[test]
fn restart_policies_start_it_again_and_stop_ends_that() {
    let store = need!(Store::busybox());
    let run = ["run", "-d", "--name", "web", "--restart", "on-failure:2"];
    store
        .rbuild(run)
        .args(["busybox", "sh", "-c", "echo again; exit 3"])
        .ok();
    eventually("it gives up", || {
        inspect(&store, "web")["State"]["Status"] == "exited"
    });
    let found = inspect(&store, "web");
    assert_eq!(found["RestartCount"], 2);
    assert_eq!(found["State"]["ExitCode"], 3);
    let logs = store.rbuild(["logs", "web"]).ok().out();
    assert_eq!(logs, "again\nagain\nagain\n");
    store.rbuild(["rm", "web"]).ok();
    store
        .rbuild(["run", "-d", "--name", "web", "--restart", "always"])
        .args(["busybox", "sleep", "1000"])
        .ok();
    store.rbuild(["stop", "-t", "0", "web"]).ok();
    assert_eq!(inspect(&store, "web")["State"]["Status"], "exited");
    store.rbuild(["rm", "web"]).ok();
}

#[test]
fn logs_are_followed_to_the_end() {
    let store = need!(Store::busybox());
    let script = "for n in $(seq 1 2000); do echo line $n; done; sleep 0.5; echo last";
    store
        .rbuild(["run", "-d", "--name", "web", "--log-opt", "max-size=8k"])
        .args(["--log-opt", "max-file=100"])
        .args(["busybox", "sh", "-c", script])
        .ok();
    let followed = store.rbuild(["logs", "-f", "web"]).ok().out();
    let lines: Vec<&str> = followed.lines().collect();
    assert_eq!(lines.len(), 2001);
    assert_eq!((lines[0], lines[2000]), ("line 1", "last"));
    let tail = store.rbuild(["logs", "--tail", "3", "web"]).ok().out();
    assert_eq!(tail, "line 1999\nline 2000\nlast\n");
    let timed = store
        .rbuild(["logs", "-t", "--tail", "1", "web"])
        .ok()
        .out();
    let (time, text) = timed.split_once(' ').unwrap();
    assert_eq!(text, "last\n");
    assert_eq!(time.len(), "2026-11-27T12:00:00.123456789Z".len());
    store.rbuild(["rm", "web"]).ok();
}

#[test]
fn a_terminal_is_one_inside_and_the_keys_leave_it_running() {
    let store = need!(Store::busybox());
    let done = store
        .rbuild(["run", "-it", "--rm", "--net", "none", "busybox", "sh", "-c"])
        .arg("tty; ls /dev/console; exit 5")
        .on_terminal(77)
        .fails(5);
    done.says("/dev/pts/0").says("/dev/console");
    store
        .rbuild(["run", "-it", "--net", "none", "busybox", "sh"])
        .stdin("")
        .fails(1)
        .tells("the input device is not a TTY");
    let leaves = store
        .rbuild([
            "run",
            "-it",
            "--detach-keys",
            "x,y",
            "--name",
            "box",
            "--net",
            "none",
        ])
        .args(["busybox", "cat"])
        .stdin("hello\nxy\n")
        .on_terminal(80)
        .ok();
    leaves.says("hello");
    assert_eq!(inspect(&store, "box")["State"]["Status"], "running");
    store.rbuild(["rm", "-f", "box"]).ok();
}

/// What a container can do to a command that is run in it.
#[test]
fn a_hostile_container_gains_nothing_by_an_exec() {
    let store = need!(Store::busybox());
    store
        .rbuild(["run", "-d", "--name", "evil", "busybox", "sleep", "1000"])
        .ok();
    let exec = |args: &[&str]| store.rbuild(["exec"]).args(args);
    // Its user database is a pipe: whoever reads it would wait for ever.
    exec(&["evil", "sh", "-c", "rm /etc/passwd; mkfifo /etc/passwd"]).ok();
    exec(&["-u", "app", "evil", "true"])
        .fails(1)
        .tells("cannot read /etc/passwd in the image: it is not a regular file");
    exec(&["evil", "sh", "-c", "rm /etc/passwd"]).ok();
    // A link out of the root leads into the root.
    exec(&["evil", "ln", "-s", "/proc/self/fd/3/../../..", "/dir"]).ok();
    let out = exec(&["-w", "/dir", "evil", "true"]).run();
    assert!(!out.status.success(), "{out}");
    // No descriptor but its streams, and the host's program is not to be had.
    let fds = exec(&["evil", "sh", "-c", "ls /proc/self/fd | wc -l"]).ok();
    assert_eq!(
        fds.out().trim(),
        "4",
        "three streams, and the folder that is listed"
    );
    let program = e2e::rbuild();
    let before = std::fs::metadata(&program).unwrap();
    let script = "#!/proc/self/exe\n";
    exec(&["-i", "evil", "sh", "-c", "cat >/run.sh; chmod +x /run.sh"])
        .stdin(script)
        .ok();
    let _ = exec(&["evil", "/run.sh"]).run();
    let steal = "for p in /proc/[0-9]*; do (: >>$p/exe) 2>/dev/null; done; true";
    exec(&["evil", "sh", "-c", steal]).ok();
    let after = std::fs::metadata(&program).unwrap();
    assert_eq!(before.len(), after.len());
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
    // Its first process stands: a command runs all the same.
    let pid = Pid::from_raw(pid_of(&store, "evil"));
    kill(pid, Signal::SIGSTOP).unwrap();
    exec(&["evil", "echo", "runs"]).ok().says("runs");
    kill(pid, Signal::SIGCONT).unwrap();
    // The working directory that it had is gone.
    exec(&["-w", "/gone", "evil", "true"])
        .fails(127)
        .tells("chdir to cwd (\"/gone\") set in config.json failed: no such file or directory");
    store.rbuild(["rm", "-f", "evil"]).ok();
}

/// The sentences are docker 28's.
#[test]
fn memory_is_shared_with_who_is_shareable() {
    let store = need!(Store::busybox());
    let run = |words: &[&str]| store.rbuild(["run", "--net", "none"]).args(words);
    let sleep = ["busybox", "sleep", "1000"];
    let shares = [
        "-d",
        "--name",
        "one",
        "--ipc",
        "shareable",
        "--shm-size",
        "1m",
    ];
    run(&[&shares[..], &sleep].concat()).ok();
    run(&[&["-d", "--name", "alone"][..], &sleep].concat()).ok();
    store
        .rbuild(["exec", "one", "sh", "-c", "echo kept >/dev/shm/f"])
        .ok();
    let script = "cat /dev/shm/f; df -k /dev/shm | tail -1 | awk '{print $2}'; \
                  readlink /proc/self/ns/ipc";
    let beside = run(&[
        "--rm",
        "--ipc",
        "container:one",
        "busybox",
        "sh",
        "-c",
        script,
    ])
    .ok();
    let own = store.rbuild(["exec", "one", "readlink", "/proc/self/ns/ipc"]);
    assert_eq!(beside.out(), format!("kept\n1024\n{}", own.ok().out()));
    let id = |name: &str| inspect(&store, name)["Id"].as_str().unwrap().to_owned();
    let refused = |of: &str| {
        let mode = format!("container:{of}");
        run(&["--rm", "--ipc", &mode, "busybox", "true"]).fails(125)
    };
    refused("alone").tells(&format!(
        "failed to join IPC namespace: container {}: non-shareable IPC (hint: use \
         IpcMode:shareable for the donor container)",
        id("alone")
    ));
    store.rbuild(["stop", "-t", "0", "one"]).ok();
    refused("one").tells(&format!(
        "failed to join IPC namespace: container {} is not running",
        id("one")
    ));
    refused("").tells("failed to join IPC namespace: invalid name or ID supplied: \"\"");
    // What a container has put in the place of its memory leads nobody astray.
    store.rbuild(["rm", "-f", "one"]).ok();
    let evil = [
        "-d",
        "--name",
        "evil",
        "--ipc",
        "shareable",
        "--cap-add",
        "SYS_ADMIN",
    ];
    let script = "umount /dev/shm && rmdir /dev/shm && ln -s /etc /dev/shm; exec sleep 1000";
    let made = run(&evil)
        .args([
            "--security-opt",
            "seccomp=unconfined",
            "busybox",
            "sh",
            "-c",
        ])
        .arg(script);
    made.ok();
    eventually("the link is there", || {
        let look = store.rbuild(["exec", "evil", "test", "-L", "/dev/shm"]);
        look.run().status.success()
    });
    refused("evil").tells("open another container's /dev/shm");
    store.rbuild(["rm", "-f", "evil", "alone"]).ok();
}

/// As `docker run --help` says of `--sig-proxy`: the command ends as what it traps has it end.
#[test]
fn signals_are_passed_on_to_a_container() {
    let store = need!(Store::busybox());
    let script = "trap 'exit 9' INT; trap 'exit 8' TERM; echo up; while :; do sleep 0.1; done";
    let line = [
        "run", "--name", "web", "--net", "none", "busybox", "sh", "-c", script,
    ];
    let ends = |words: &[&str], signal| {
        let started = store.rbuild(words).spawn();
        started.until_out("up\n");
        started.signal(signal);
        started.wait().status.code()
    };
    assert_eq!(ends(&line, Signal::SIGINT), Some(9));
    assert_eq!(ends(&["start", "-a", "web"], Signal::SIGTERM), Some(8));
    store.rbuild(["rm", "web"]).ok();
}
