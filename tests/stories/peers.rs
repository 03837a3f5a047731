//! Flags beside docker and buildah: the same values are taken, mean the same, and are refused in
//! the same words.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use e2e::{Cmd, Dir, Podman, Store, buildah, busybox, docker, need};
use serde_json::Value;

/// `rbuild build` of a context with these flags.
fn with(store: &Store, context: &Dir, flags: &[&str]) -> Cmd {
    let command = store.rbuild(["build", "-t", "f"]).args(flags);
    command.arg(context.path())
}

/// Calls with and without conditions, in the words of busybox. Numbers of errors are those that
/// no such call gives by itself.
const PROFILE: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
    {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
    {"names": ["symlink", "symlinkat", "no_such_call"], "action": "SCMP_ACT_ERRNO"},
    {"names": ["chmod", "fchmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5,
     "args": [{"index": 1, "value": 2048, "valueTwo": 2048, "op": "SCMP_CMP_MASKED_EQ"}]},
    {"names": ["fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5,
     "args": [{"index": 2, "value": 2048, "valueTwo": 2048, "op": "SCMP_CMP_MASKED_EQ"}]},
    {"names": ["sethostname"], "action": "SCMP_ACT_ERRNO", "errnoRet": 17,
     "includes": {"caps": ["CAP_CHOWN"]}},
    {"names": ["truncate", "ftruncate"], "action": "SCMP_ACT_ERRNO", "errnoRet": 27,
     "args": [{"index": 1, "value": 1000, "op": "SCMP_CMP_GT"}]},
    {"names": ["link", "linkat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 31,
     "excludes": {"arches": ["amd64", "arm64"]}}]}"#;
/// What depends on them.
const CALLS: &str = "cd /tmp; touch f; (mkdir m; ln -s f s; chmod 4755 f; chmod 600 f; hostname h; \
    truncate -s 999 f; truncate -s 1001 f; ln f l; mount -t tmpfs none /mnt; unshare -m true; \
    mknod n p; ls -l f l) 2>&1 | sed 's/ [A-Z][a-z][a-z] .*//'; \
    grep Seccomp: /proc/self/status";

#[test]
fn system_calls_are_filtered_as_docker_does() {
    let (store, docker) = (need!(Store::busybox()), need!(docker()));
    let context = Dir::dockerfile(&format!("FROM busybox\nRUN ( {CALLS} ) >/out\n"));
    let profile = context.join("profile.json");
    fs::write(&profile, PROFILE).unwrap();
    let usual = Path::new("/usr/share/containers/seccomp.json");
    let mut seen = BTreeSet::new();
    for profile in [profile.as_path(), usual] {
        if !profile.exists() {
            continue;
        }
        let option = format!("seccomp={}", profile.display());
        let command = docker.cmd(["run", "--rm", "--network=none", "--security-opt", &option]);
        let theirs = command.args(["busybox", "/bin/sh", "-c", CALLS]).ok().out();
        let flags = ["--network=none", "--security-opt", &option];
        with(&store, &context, &flags).ok();
        let ours = store.tree("f").text("out");
        assert_eq!(ours, theirs, "{option}");
        // Another profile is another step.
        assert!(seen.insert(ours), "{theirs}");
    }
}

/// What steps see of `--dns`, `--volume` and `--security-opt`, line by line.
#[test]
fn steps_see_what_they_see_with_buildah() {
    let (store, podman) = (need!(Store::busybox()), need!(Podman::new()));
    let base = need!(busybox());
    podman.podman(&["import"]).arg(base).arg("busybox").ok();
    let vol = tempfile::tempdir().unwrap();
    fs::write(vol.path().join("in"), "content\n").unwrap();
    let script = "cat /etc/resolv.conf; cat /vol/in; (echo x >/vol/out) 2>&1; \
        stat -c '%a %u %g' /vol; grep -e NoNew -e Seccomp: /proc/self/status; cat /etc/hosts | grep b.example";
    let context = Dir::dockerfile(&format!(
        "FROM busybox\nRUN echo begin; {script}; echo end\n"
    ));
    let volume = format!("{}:/vol", vol.path().display());
    let readonly = format!("{volume}:ro");
    for (n, flags) in [
        &[
            "--dns=9.9.9.9",
            "--dns=1.1.1.1",
            "--dns-search=a.example",
            "--dns-option=ndots:3",
            "--volume",
            &readonly,
            "--add-host=b.example:1.2.3.4",
        ][..],
        &["--dns=2001:db8::53", "--dns-search=.", "-v", &volume],
        &["--security-opt=seccomp=unconfined", "-v", &volume],
    ]
    .into_iter()
    .enumerate()
    {
        // Lines between the marks, in any order; a line of progress may stand before each.
        let seen = |text: &str| -> BTreeSet<String> {
            let lines = text
                .lines()
                .skip_while(|line| !line.trim_end().ends_with("begin"));
            let lines = lines
                .skip(1)
                .take_while(|line| !line.trim_end().ends_with(" end") && *line != "end");
            let plain = |line: &str| match line.strip_prefix('#') {
                Some(line) => line.splitn(3, ' ').nth(2).unwrap_or_default().to_owned(),
                None => line.to_owned(),
            };
            let blank = |line: &String| line.split_whitespace().collect::<Vec<_>>().join(" ");
            lines.map(plain).map(|line| blank(&line)).collect()
        };
        let bud = ["bud", "--isolation=chroot", "--tag", "x"];
        let theirs = need!(buildah(&podman, &bud))
            .args(flags)
            .arg(context.path())
            .run();
        let _ = fs::remove_file(vol.path().join("out"));
        let ours = with(&store, &context, flags)
            .args(["--no-cache", "--network=none"])
            .ok();
        let _ = fs::remove_file(vol.path().join("out"));
        let (theirs, ours) = (seen(&(theirs.out() + &theirs.err())), seen(&ours.err()));
        assert!(theirs.len() >= 4, "{n}: {theirs:?}");
        assert_eq!(ours, theirs, "{n}");
    }
}

/// What docker's client says of a value, without its hints; docker 20.10 looks at all of them.
#[test]
fn wrong_values_are_told_in_dockers_words() {
    let (store, docker) = (need!(Store::new()), need!(docker()));
    let context = Dir::dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    for flags in [
        &["build", "--memory", "x"][..],
        &["build", "-m=1z"],
        &["build", "--memory-swap", "x"],
        &["build", "--cpu-shares", "a"],
        &["build", "--cpu-period", ""],
        &["build", "--cpu-quota", "9223372036854775808"],
        &["build", "--ulimit", "x"],
        &["build", "--shm-size", "1 q"],
        &["build", "--add-host", "x"],
        &["build", "--label", "=x"],
        &["build", "--tag", "A/B"],
        &["build", "--pull=x"],
        &["build", "--no-cache=maybe"],
        &["build", "--build-arg", "=x"],
        &["build", "--build-arg", ""],
        &["image", "prune", "-f", "--filter", "dangling"],
    ] {
        let first = |done: e2e::Done| {
            let code = done.status.code().unwrap();
            let lines = done.err();
            let lines = lines.lines().filter(|line| !line.is_empty());
            let mut lines = lines.filter(|line| !line.starts_with("DEPRECATED"));
            let line = lines.next().unwrap_or_default().to_owned();
            (code, line.trim_start_matches("ERROR: ").to_owned())
        };
        let place = match flags[0] {
            "build" => Some(context.path()),
            _ => None,
        };
        let theirs = docker
            .cmd(flags)
            .args(place)
            .env("DOCKER_BUILDKIT", "0")
            .run();
        let (code, theirs) = first(theirs);
        let (own, ours) = first(store.rbuild(flags).args(place).run());
        assert_eq!(own, code, "{flags:?}: {ours}");
        // What can be written may be told behind it.
        let said = ours.strip_prefix(&theirs);
        let fits = said.is_some_and(|rest| rest.is_empty() || rest.starts_with("; "));
        assert!(fits, "{flags:?}:\n{ours}\n{theirs}");
    }
    // docker 28's own.
    with(&store, &context, &["--platform=x/y/z/w"])
        .fails(1)
        .tells("\"x/y/z/w\": cannot parse platform specifier: invalid argument");
}

/// What docker 28 wrote for these flags, with its own reference, and digests that are ours.
#[test]
fn the_metadata_file_tells_where_an_image_comes_from() {
    let store = need!(Store::new());
    let context =
        Dir::dockerfile("FROM scratch AS a\nARG V=1\nCOPY Dockerfile /\nFROM a\nLABEL x=$V\n");
    let file = store.file("metadata.json");
    let build = |flags: &[&str]| {
        let command = store
            .rbuild(["build", "-t", "meta:x", "--metadata-file"])
            .arg(&file);
        command.args(flags).arg(context.path())
    };
    let written = || -> Value { serde_json::from_slice(&fs::read(&file).unwrap()).unwrap() };
    build(&["--build-arg", "V=2", "--label", "l=1"]).ok();
    let mut told = written();
    let id = store.id("meta:x");
    let own = told["buildx.build.ref"].take();
    assert!(
        own.as_str().unwrap().starts_with("default/default/"),
        "{own}"
    );
    assert_eq!(
        told,
        serde_json::json!({
            "buildx.build.provenance": {
                "builder": {"id": ""},
                "buildType": "https://mobyproject.org/buildkit@v1",
                "invocation": {
                    "configSource": {"entryPoint": "Dockerfile"},
                    "parameters": {
                        "frontend": "dockerfile.v0",
                        "args": {"build-arg:V": "2", "label:l": "1"},
                        "locals": [{"name": "context"}, {"name": "dockerfile"}],
                    },
                    "environment": {"platform": "linux/amd64"},
                },
            },
            "buildx.build.ref": null,
            "containerimage.config.digest": id,
            "containerimage.digest": id,
            "image.name": "docker.io/library/meta:x",
        })
    );
    build(&[])
        .env("BUILDX_METADATA_PROVENANCE", "disabled")
        .ok();
    assert!(written().get("buildx.build.provenance").is_none());
    // A key for each platform.
    build(&["--platform=linux/amd64,linux/arm64"]).ok();
    let told = written();
    for platform in ["linux/amd64", "linux/arm64"] {
        let key = format!("buildx.build.provenance/{platform}");
        assert!(told[&key]["invocation"].is_object(), "{told}");
    }
}
