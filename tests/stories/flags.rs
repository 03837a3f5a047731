//! Flags of docker and buildah about how steps run, what of the cache is used, and how it is told.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::{Cmd, Dir, Store, need};
use serde_json::Value;

/// `rbuild build` of a context with these flags.
fn with(store: &Store, context: &Dir, flags: &[&str]) -> Cmd {
    let command = store.rbuild(["build", "-t", "f"]).args(flags);
    command.arg(context.path())
}

#[test]
fn stages_that_are_not_to_be_cached() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox AS one\n\
         RUN --mount=type=cache,id=c,target=/c echo x >>/c/x; wc -l </c/x >/count; echo a >/a; \
         cat /proc/sys/kernel/random/uuid >/one\n\
         FROM busybox AS Two\n\
         COPY --from=one /a /a\n\
         RUN cat /proc/sys/kernel/random/uuid >/two\n\
         FROM scratch\n\
         COPY --from=one /one /count /\n\
         COPY --from=two /two /\n",
    );
    let made = |flags: &[&str]| {
        let done = with(&store, &context, flags).arg("--network=none").ok();
        let tree = store.tree("f");
        let text = |name: &str| tree.text(name).trim().to_owned();
        ((text("one"), text("two"), text("count")), done)
    };
    let ((one, two, _), _) = made(&[]);
    assert_eq!(made(&[]).0, (one.clone(), two.clone(), "1".to_owned()));
    // As docker 28 has it: names in any case, and cache mounts of such a stage begin empty; steps
    // of other stages are found if what they take is the same.
    let ((anew, kept, count), done) = made(&["--no-cache-filter", "ONE"]);
    assert!(anew != one && kept == two, "{done}");
    assert_eq!(count, "1");
    done.tells("not cached: --no-cache-filter");
    let ((same, other, _), _) = made(&["--no-cache-filter=nothing,two"]);
    assert!(same == anew && other != two);
    // What was made without the cache is in it.
    assert_eq!(made(&[]).0, (same, other, "1".to_owned()));
    with(&store, &context, &["--no-cache", "--no-cache-filter=one"])
        .fails(125)
        .tells("--no-cache and --no-cache-filter cannot");
}

#[test]
fn names_and_name_servers() {
    let store = need!(Store::busybox());
    let context =
        Dir::dockerfile("FROM busybox\nRUN cat /etc/hosts >/h; cat /etc/resolv.conf >/r\n");
    let made = |flags: &[&str]| {
        with(&store, &context, flags).ok();
        let tree = store.tree("f");
        (tree.text("h"), tree.text("r"))
    };
    let flags = [
        "--add-host=b=1.2.3.4,d:5.6.7.8",
        "--add-host=c:[::1]",
        "--dns=9.9.9.9",
        "--dns=2001:db8::53",
        "--dns-search=a.example",
        "--dns-search=b.example",
        "--dns-option=ndots:3",
    ];
    let (hosts, resolv) = made(&flags);
    // Lines as hosts(5) and resolv.conf(5) have them.
    assert!(
        hosts.contains("1.2.3.4\tb\n5.6.7.8\td\n::1\tc\n"),
        "{hosts}"
    );
    assert_eq!(
        resolv,
        "nameserver 9.9.9.9\nnameserver 2001:db8::53\nsearch a.example b.example\n\
         options ndots:3\n"
    );
    // Another answer is another step.
    let (_, resolv) = made(&["--dns=9.9.9.10", "--dns-search=."]);
    assert!(resolv.starts_with("nameserver 9.9.9.10\n"), "{resolv}");
    assert!(!resolv.contains("search"), "{resolv}");
    for (flag, told) in [
        ("--dns=one.example", "is not an IP address"),
        ("--add-host=x", "bad format for add-host"),
        ("--dns-search=a b", "write one word"),
    ] {
        with(&store, &context, &[flag]).fails(125).tells(told);
    }
}

#[test]
fn this_machine_has_a_name_in_steps() {
    let store = need!(Store::busybox());
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(b"from the host\n");
        }
    });
    let context = Dir::dockerfile(&format!("FROM busybox\nRUN nc -w 20 me {port} >/got\n"));
    for network in ["default", "host"] {
        let network = format!("--network={network}");
        let flags = ["--add-host=me:host-gateway", "--no-cache", &network];
        with(&store, &context, &flags).ok();
        assert_eq!(store.tree("f").text("got"), "from the host\n", "{network}");
    }
}

#[test]
fn steps_are_confined_as_asked() {
    let store = need!(Store::busybox());
    let context =
        Dir::dockerfile("FROM busybox\nRUN grep -e Seccomp: -e NoNew /proc/self/status >/s\n");
    // Seccomp and NoNewPrivs as proc(5) has them: 2 is a filter, 0 none.
    for (flags, want) in [
        (&[][..], "NoNewPrivs:\t0\nSeccomp:\t2\n"),
        (
            &["--security-opt", "seccomp=unconfined"],
            "NoNewPrivs:\t0\nSeccomp:\t0\n",
        ),
        (
            &["--security-opt=no-new-privileges"],
            "NoNewPrivs:\t1\nSeccomp:\t2\n",
        ),
        (
            &["--security-opt=apparmor=unconfined,label=disable"],
            "NoNewPrivs:\t0\nSeccomp:\t2\n",
        ),
    ] {
        with(&store, &context, flags).arg("--network=none").ok();
        assert_eq!(store.tree("f").text("s"), want, "{flags:?}");
    }
    // Docker takes labels where there is no SELinux, and buildah no profile without AppArmor.
    with(&store, &context, &["--security-opt=label=type:x"]).ok();
    with(&store, &context, &["--security-opt=label=nothing"])
        .fails(125)
        .tells("invalid --security-opt \"label=nothing\"");
    if !Path::new("/sys/kernel/security/apparmor").exists() {
        with(
            &store,
            &context,
            &["--security-opt=apparmor=docker-default"],
        )
        .fails(125)
        .tells("AppArmor is disabled");
    }
    with(&store, &context, &["--security-opt=seccomp=/nonexistent"])
        .fails(125)
        .tells("opening seccomp profile (/nonexistent) failed: ");
}

#[test]
fn devices_by_their_paths() {
    let store = need!(Store::busybox());
    let script = "head -c 2 /dev/z | wc -c; (echo >/dev/z) 2>/dev/null && echo written";
    let context = Dir::dockerfile(&format!(
        "FROM busybox\nRUN ( {script} ) >/out 2>&1; true\n"
    ));
    // A device that no container has by itself.
    let device = "/dev/fuse";
    if !Path::new(device).exists() {
        println!("skipped: there is no {device}");
        return;
    }
    let opened = |flags: &[&str], at: &str| {
        let context = Dir::dockerfile(&format!(
            "FROM busybox\nRUN [ -c {at} ] || exit 0; (: <{at}) && echo read >/out; \
             (: >>{at}) && echo written >>/out; true\n"
        ));
        with(&store, &context, flags).arg("--network=none").ok();
        let tree = store.tree("f");
        if tree.has("out") {
            tree.text("out")
        } else {
            String::new()
        }
    };
    assert_eq!(opened(&[], device), "");
    // Letters as docker's `--device` has them.
    assert_eq!(opened(&["--device=/dev/fuse"], device), "read\nwritten\n");
    assert_eq!(opened(&["--device=/dev/fuse:r"], device), "read\n");
    assert_eq!(
        opened(&["--device=/dev/fuse:/dev/other:w"], "/dev/other"),
        "written\n"
    );
    with(&store, &context, &["--device=/dev/zero:/dev/z"]).ok();
    assert_eq!(store.tree("f").text("out"), "2\nwritten\n");
    let asks = Dir::dockerfile(
        "FROM busybox\nRUN --device=/dev/fuse:r (: </dev/fuse) && echo read >/out\n",
    );
    with(&store, &asks, &[])
        .fails(1)
        .tells("device is not allowed");
    with(&store, &asks, &["--allow=device=/dev/null"]).fails(1);
    with(&store, &asks, &["--allow=device=/dev/fuse"]).ok();
    assert_eq!(store.tree("f").text("out"), "read\n");
    for (flag, code, told) in [
        (
            "--device=/dev/nothing",
            1,
            "device /dev/nothing: No such file",
        ),
        ("--device=/etc/passwd:/dev/p", 1, "is no device here"),
        ("--device=/dev/zero:/dev/z:q", 125, "bad mode specified: q"),
        ("--device=fuse", 125, "write a path"),
    ] {
        with(&store, &context, &["--no-cache", flag])
            .fails(code)
            .tells(told);
    }
}

#[test]
fn volumes_are_seen_and_not_kept() {
    let store = need!(Store::busybox());
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("in"), "first").unwrap();
    let context = Dir::dockerfile(
        "FROM busybox\nRUN cat /vol/in >/got; (echo x >/vol/out) 2>/refused; true\n",
    );
    let flag = |options: &str| format!("-v{}:/vol{options}", dir.path().display());
    let build = |options: &str, more: &[&str]| {
        let command = with(&store, &context, more).arg("--network=none");
        command.arg(flag(options)).ok()
    };
    build(":ro,z", &[]).tells("not part of the cache's key");
    let tree = store.tree("f");
    assert_eq!(tree.text("got"), "first");
    assert!(tree.text("refused").contains("Read-only"), "{tree:?}");
    assert!(!tree.has("vol"), "the mount point is no part of the image");
    fs::write(dir.path().join("in"), "second").unwrap();
    build(":ro,z", &[]).tells(" CACHED");
    build("", &["--no-cache"]);
    assert_eq!(store.tree("f").text("got"), "second");
    assert_eq!(fs::read_to_string(dir.path().join("out")).unwrap(), "x\n");
    with(&store, &context, &["-v", "name:/vol"])
        .fails(125)
        .tells("--volume name:/vol: ");
}

/// The control groups of this name, in every hierarchy.
fn groups(name: &str) -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let mut mounts: Vec<PathBuf> = fs::read_dir(top)
        .unwrap()
        .flatten()
        .filter(|entry| !entry.file_type().unwrap().is_symlink())
        .map(|entry| entry.path())
        .collect();
    mounts.push(top.to_owned());
    let all = mounts.into_iter().map(|mount| mount.join(name));
    all.filter(|group| group.is_dir()).collect()
}

/// Whether a process is in a group below this one.
fn populated(group: &Path) -> bool {
    let below = fs::read_dir(group).into_iter().flatten().flatten();
    let mut below = below.map(|entry| entry.path()).filter(|path| path.is_dir());
    let own = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    !own.trim().is_empty() || below.any(|path| populated(&path))
}

#[test]
fn steps_run_below_a_control_group() {
    let store = need!(Store::busybox());
    let name = format!("rbuild-story-{}", std::process::id());
    let dir = tempfile::tempdir().unwrap();
    let context = Dir::dockerfile(
        "FROM busybox\nRUN echo >/vol/begun; until [ -e /vol/go ]; do sleep 0.02; done\n",
    );
    let parent = format!("--cgroup-parent=/{name}/inner");
    let volume = format!("-v{}:/vol", dir.path().display());
    let running = with(&store, &context, &[&parent, &volume])
        .args(["--network=none", "--memory=64m"])
        .spawn();
    let until = Instant::now() + Duration::from_secs(60);
    while !dir.path().join("begun").exists() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    let seen = groups(&name);
    let all_there = !seen.is_empty() && seen.iter().all(|group| populated(&group.join("inner")));
    let limit = seen.iter().any(|group| limited(group, 64 << 20));
    fs::write(dir.path().join("go"), "").unwrap();
    let done = running.wait();
    assert!(done.status.success(), "{done}");
    assert!(all_there, "{seen:?}");
    assert!(limit, "the limit is set below the parent");
    assert_eq!(
        groups(&name),
        Vec::<PathBuf>::new(),
        "what was made is removed"
    );
    for wrong in ["/", "../x"] {
        let flag = format!("--cgroup-parent={wrong}");
        with(&store, &context, &[&flag])
            .fails(125)
            .tells("invalid cgroup parent");
    }
}

/// Whether a group below this one has that memory limit.
fn limited(group: &Path, bytes: u64) -> bool {
    let below = fs::read_dir(group).into_iter().flatten().flatten();
    let mut below = below.map(|entry| entry.path()).filter(|path| path.is_dir());
    let own = ["memory.limit_in_bytes", "memory.max"]
        .map(|file| fs::read_to_string(group.join(file)).unwrap_or_default());
    own.iter().any(|text| text.trim() == bytes.to_string())
        || below.any(|path| limited(&path, bytes))
}

#[test]
fn progress_for_programs() {
    let store = need!(Store::busybox());
    let text = "FROM busybox AS one\nMAINTAINER me\nRUN echo two\nRUN exit 3\n";
    let context = Dir::dockerfile(text);
    let lines = |target: &[&str]| {
        let done = with(&store, &context, &["--progress=rawjson", "--network=none"])
            .args(target)
            .run();
        let text = done.err();
        let parsed = text
            .lines()
            .map_while(|line| serde_json::from_str(line).ok());
        (parsed.collect::<Vec<Value>>(), done)
    };
    let (told, done) = lines(&[]);
    assert_eq!(done.status.code(), Some(3), "{done}");
    let all = |kind: &str| -> Vec<Value> {
        let lists = told.iter().filter_map(|line| line[kind].as_array());
        lists.flatten().cloned().collect()
    };
    // The fields of docker 28's lines, of which those that are empty are left out.
    for (kind, fields) in [
        (
            "vertexes",
            &[
                "digest",
                "inputs",
                "name",
                "started",
                "completed",
                "cached",
                "error",
            ][..],
        ),
        (
            "statuses",
            &[
                "id",
                "vertex",
                "name",
                "current",
                "total",
                "timestamp",
                "started",
                "completed",
            ],
        ),
        ("logs", &["vertex", "stream", "data", "timestamp"]),
    ] {
        // Nothing is told of a step that does not stand in a vertex, when it was never built.
        let entries = all(kind);
        assert_eq!(entries.is_empty(), kind == "statuses", "{kind}: {done}");
        for entry in entries {
            for field in entry.as_object().unwrap().keys() {
                assert!(fields.contains(&field.as_str()), "{kind}: {entry}");
            }
        }
    }
    // What docker 28 says of the file, also when the build fails later on, but for a vertex.
    let base64 = |value: &Value| {
        let bytes = STANDARD.decode(value.as_str().unwrap()).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    let warning = &all("warnings")[0];
    assert_eq!(
        base64(&warning["short"]),
        "MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 2)"
    );
    assert_eq!(
        base64(&warning["detail"][0]),
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author"
    );
    let url = "https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/";
    assert_eq!(warning["url"], url);
    assert_eq!(
        warning["range"],
        serde_json::json!([{"start": {"line": 2}, "end": {"line": 2}}])
    );
    assert_eq!(warning["sourceInfo"]["filename"], "Dockerfile");
    assert_eq!(base64(&warning["sourceInfo"]["data"]), text);
    let vertexes = all("vertexes");
    let known: BTreeSet<&str> = vertexes
        .iter()
        .filter_map(|v| v["digest"].as_str())
        .collect();
    let inputs = vertexes.iter().filter_map(|v| v["inputs"].as_array());
    assert!(
        inputs
            .flatten()
            .all(|input| known.contains(input.as_str().unwrap()))
    );
    let last = |name: &str| {
        let mut of_name = vertexes.iter().rev().filter(|v| v["name"] == name);
        of_name
            .next()
            .unwrap_or_else(|| panic!("{name}: {done}"))
            .clone()
    };
    let (from, run, fails) = (
        last("[1/3] FROM docker.io/library/busybox:latest"),
        last("[2/3] RUN echo two"),
        last("[3/3] RUN exit 3"),
    );
    assert_eq!(run["inputs"], serde_json::json!([from["digest"]]));
    assert_eq!(fails["inputs"], serde_json::json!([run["digest"]]));
    assert!(run["completed"].is_string() && run["error"].is_null());
    assert!(fails["error"].as_str().unwrap().contains("exit code: 3"));
    // What docker 28 writes of the same line.
    let log = &all("logs")[0];
    assert_eq!(
        (&log["vertex"], &log["data"]),
        (&run["digest"], &Value::from("dHdvCg=="))
    );
    // The same work has the same digest the next time, and was cached.
    let again = lines(&[]).0;
    let cached = again
        .iter()
        .filter_map(|line| line["vertexes"].as_array())
        .flatten();
    let mut cached = cached.filter(|vertex| vertex["cached"] == true);
    assert_eq!(cached.next().unwrap()["digest"], run["digest"]);
    // Why a step is done again is a status of it.
    let anew = lines(&["--no-cache"]).0;
    let mut statuses = anew
        .iter()
        .filter_map(|line| line["statuses"].as_array())
        .flatten();
    let why = statuses.next().unwrap();
    assert_eq!(why["vertex"], run["digest"]);
    assert!(why["timestamp"].is_string(), "{why}");
    assert!(why.to_string().contains("--no-cache"), "{why}");
}

#[test]
fn what_dockers_variables_say() {
    let store = need!(Store::new());
    let context = Dir::dockerfile("FROM scratch\nCOPY a /\n").file("a", "a");
    let build = |flags: &[&str]| with(&store, &context, flags);
    // RBUILD_PROGRESS, which the harness sets, goes before.
    let bare = |variable: &str| {
        build(&[])
            .env("RBUILD_PROGRESS", "")
            .env("BUILDKIT_PROGRESS", variable)
    };
    bare("rawjson").ok().tells("{\"vertexes\":");
    bare("plain").ok().tells("#1 ");
    bare("bogus")
        .fails(125)
        .tells("invalid progress mode bogus");
    // As docker 28: quiet tells the ID, none nothing at all.
    let id = store.id("f");
    let quiet = build(&["--progress=quiet"]).ok();
    assert_eq!(
        (quiet.out().trim(), quiet.err().as_str()),
        (id.as_str(), "")
    );
    let none = build(&["--progress=none"]).ok();
    assert_eq!((none.out().as_str(), none.err().as_str()), ("", ""));
    build(&["-D", "--progress=auto"]).ok().tells("#1 ");
    build(&[])
        .env("DOCKER_DEFAULT_PLATFORM", "linux/arm64")
        .ok();
    assert_eq!(store.inspect("f")["Architecture"], "arm64");
    build(&["--platform=linux/riscv64"])
        .env("DOCKER_DEFAULT_PLATFORM", "linux/arm64")
        .ok();
    assert_eq!(store.inspect("f")["Architecture"], "riscv64");
    // These change nothing here.
    build(&["--pull=F", "--no-cache=1", "--rm=false", "--load=false"])
        .env("DOCKER_BUILDKIT", "0")
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        .ok();
}
