//! One name for several platforms: built, kept, moved, and read by the other tools.

use e2e::{Dir, Podman, Registry, Store, Tree, busybox, docker, need, skopeo};
use serde_json::Value;

/// A file that says what the image is for, chosen by the platform that builds.
fn app() -> Dir {
    Dir::dockerfile(
        "FROM --platform=$BUILDPLATFORM scratch AS chosen\nARG TARGETARCH\n\
         COPY arch-$TARGETARCH /arch\nFROM scratch\nCOPY --from=chosen /arch /arch\n",
    )
    .file("arch-amd64", "amd64")
    .file("arch-arm64", "arm64")
}

fn build(store: &Store, name: &str, more: &[&str]) {
    store
        .build(name, &app())
        .args(["--platform", "linux/amd64,linux/arm64"])
        .args(more)
        .ok();
}

/// What the image for a platform says it is for.
fn text_of(store: &Store, image: &str, platform: &str) -> String {
    let tar = store.file("exported.tar");
    store
        .rbuild(["export", "--platform", platform, "-o"])
        .arg(&tar)
        .arg(image)
        .ok();
    Tree::from_tar(&tar).text("arch")
}

fn platforms(index: &Value) -> Vec<String> {
    let entries = index["manifests"].as_array().expect("manifests").iter();
    let platform = entries.map(|entry| &entry["platform"]);
    platform
        .map(|p| {
            let text = |key: &str| p[key].as_str().expect("text").to_owned();
            format!("{}/{}", text("os"), text("architecture"))
        })
        .collect()
}

#[test]
fn an_index_is_built_and_pushed_and_others_pull_it() {
    let store = need!(Store::new());
    let registry = Registry::start();
    let name = registry.name("app:1");
    let (iid, metadata) = (store.file("iid"), store.file("metadata"));
    store
        .build(&name, &app())
        .args(["--platform", "linux/amd64", "--platform", "linux/arm64"])
        .arg("--push")
        .arg("--iidfile")
        .arg(&iid)
        .arg("--metadata-file")
        .arg(&metadata)
        .ok();
    let source = format!("docker://{name}");
    let raw = need!(skopeo(&["inspect", "--raw", "--tls-verify=false", &source]));
    let raw = raw.ok().json();
    assert_eq!(platforms(&raw), ["linux/amd64", "linux/arm64"]);
    let dir = format!("dir:{}", store.file("copied").display());
    need!(skopeo(&[
        "copy",
        "--all",
        "--src-tls-verify=false",
        &source,
        &dir
    ]))
    .ok();
    // What scripts read, as buildx writes it, and readable as any file.
    let told: Value = serde_json::from_slice(&std::fs::read(&metadata).unwrap()).unwrap();
    let pushed = registry.get("/v2/app/manifests/1");
    let digest = pushed.header("docker-content-digest").unwrap();
    assert_eq!(told["containerimage.digest"], digest);
    assert_eq!(told["containerimage.descriptor"]["digest"], digest);
    assert_eq!(told["containerimage.descriptor"]["size"], pushed.body.len());
    assert_eq!(told["image.name"], name);
    assert_eq!(std::fs::read_to_string(&iid).unwrap(), store.id(&name));
    for path in [&iid, &metadata] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o444, 0o444, "{}", path.display());
    }
    let docker = need!(docker());
    for architecture in ["arm64", "amd64"] {
        let platform = format!("linux/{architecture}");
        docker.cmd(["pull", "--platform", &platform, &name]).ok();
        let found = docker.cmd(["inspect", "-f", "{{.Id}} {{.Architecture}}", &name]);
        let inspected = store.rbuild(["inspect", "--platform", &platform, "-f", "{{.Id}}", &name]);
        let expected = format!("{} {architecture}", inspected.ok().out().trim());
        assert_eq!(found.ok().out().trim(), expected);
        docker.cmd(["rmi", "-f", &name]).ok();
    }
}

#[test]
fn an_index_goes_through_archives_and_comes_back_as_it_was() {
    let store = need!(Store::new());
    build(&store, "multi:1", &[]);
    let id = store.id("multi:1");
    for format in ["docker-archive", "oci-archive"] {
        let tar = store.file(format);
        store
            .rbuild(["save", "--format", format, "-o"])
            .arg(&tar)
            .arg("multi:1")
            .ok();
        let fresh = need!(Store::new());
        let loaded = fresh.rbuild(["load", "-i"]).arg(&tar).ok();
        assert_eq!(loaded.out(), "Loaded image: multi:1\n");
        assert_eq!(fresh.id("multi:1"), id, "{format}");
        for architecture in ["amd64", "arm64"] {
            let platform = format!("linux/{architecture}");
            assert_eq!(text_of(&fresh, "multi:1", &platform), architecture);
        }
        fresh.rbuild(["fsck"]).ok();
    }
    let tar = store.file("docker-archive");
    // Tools that know no indexes find this machine's image.
    let docker = need!(docker());
    docker
        .cmd(["load", "-i"])
        .arg(&tar)
        .ok()
        .says("Loaded image: multi:1");
    let podman = need!(Podman::new());
    podman.podman(&["load", "-i"]).arg(&tar).ok();
    let found = podman.podman(&["inspect", "-f", "{{.Architecture}}", "multi:1"]);
    let host = oci_architecture();
    assert_eq!(found.ok().out().trim(), host);
    docker.cmd(["rmi", "-f", "multi:1"]).ok();
}

/// Go's word for this machine's architecture.
fn oci_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[test]
fn images_of_an_index_live_as_long_as_it_does() {
    let store = need!(Store::new());
    build(&store, "multi:1", &[]);
    let lines = |args: &[&str]| {
        let listed = store.rbuild(["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        let out = listed.args(args).ok().out();
        // The newest come first; which platform ends last is not ours to say.
        let mut lines: Vec<_> = out.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&[]), ["multi:1"]);
    assert_eq!(lines(&["-a"]).len(), 3);
    // Neither is dangling.
    assert!(lines(&["-f", "dangling=true"]).is_empty());
    store.rbuild(["prune", "-f"]).ok();
    store.rbuild(["tag", "multi:1", "multi:2"]).ok();
    let child = store.inspect("multi:1")["Manifests"][1]["ImageId"].clone();
    let child = child.as_str().unwrap().to_owned();
    store
        .rbuild(["rmi", &child])
        .fails(1)
        .tells("it is the image of multi:1, which would have none for its platform");
    // A name of its own comes and goes without the image.
    store.rbuild(["tag", &child, "arm:1"]).ok();
    assert_eq!(
        lines(&[]),
        ["arm:1", "multi:1", "multi:2"].map(str::to_owned)
    );
    let removed = store.rbuild(["rmi", "arm:1"]).ok().out();
    assert_eq!(removed, "Untagged: arm:1\n");
    let removed = store.rbuild(["rmi", "multi:1"]).ok().out();
    assert_eq!(removed, "Untagged: multi:1\n");
    let index = store.id("multi:2");
    let short = &index["sha256:".len()..][..12];
    let removed = store.rbuild(["rmi", short]).ok().out();
    let first: Vec<&str> = removed.lines().take(2).collect();
    let deleted = format!("Deleted: {index}");
    assert_eq!(first, ["Untagged: multi:2", &deleted]);
    assert!(removed.contains(&format!("Deleted: {child}")), "{removed}");
    assert!(lines(&["-a"]).is_empty());
    store.rbuild(["fsck"]).ok().says("all is well");
}

#[test]
fn a_pull_of_some_platforms_keeps_the_index_and_another_adds_to_it() {
    let store = need!(Store::new());
    let registry = Registry::start();
    let name = registry.name("app:1");
    build(&store, &name, &["--push"]);
    let pushed = registry.get("/v2/app/manifests/1");
    let digest = pushed.header("docker-content-digest").unwrap();
    let fresh = need!(Store::new());
    let available = |fresh: &Store| {
        let index = fresh.inspect(&name);
        let entries = index["Manifests"].as_array().unwrap().clone();
        let here = entries.iter().map(|e| e["Available"].as_bool().unwrap());
        here.collect::<Vec<_>>()
    };
    fresh
        .rbuild(["pull", "--platform", "linux/arm64,linux/arm64", &name])
        .ok();
    assert_eq!(fresh.id(&name), digest);
    assert_eq!(available(&fresh), [false, true]);
    // It cannot go elsewhere without the rest.
    let elsewhere = registry.name("copy:1");
    fresh.rbuild(["tag", &name, &elsewhere]).ok();
    fresh
        .rbuild(["push", &elsewhere])
        .fails(1)
        .tells("lists an image for linux/amd64");
    fresh
        .rbuild(["pull", "--platform", "linux/amd64", &name])
        .ok();
    assert_eq!(fresh.id(&name), digest);
    assert_eq!(available(&fresh), [true, true]);
    // What was pulled goes out to the byte.
    fresh.rbuild(["push", &elsewhere]).ok().says(digest);
    let copied = registry.get("/v2/copy/manifests/1");
    assert_eq!(copied.body, pushed.body);
    // One platform of it, under a name of its own.
    let one = registry.name("one:1");
    fresh.rbuild(["tag", &name, &one]).ok();
    fresh
        .rbuild(["push", "--platform", "linux/arm64", &one])
        .ok();
    let config = registry.get("/v2/one/manifests/1").text();
    let id = fresh.rbuild([
        "inspect",
        "--platform",
        "linux/arm64",
        "-f",
        "{{.Id}}",
        &name,
    ]);
    assert!(config.contains(id.ok().out().trim()), "{config}");
    fresh
        .rbuild(["inspect", "--platform", "linux/s390x", &name])
        .fails(1)
        .tells("does not provide the specified platform (linux/s390x)");
    // A plain pull of one platform is docker's: the name leads to an image.
    let plain = need!(Store::new());
    plain
        .rbuild(["pull", "--platform", "linux/arm64", &name])
        .ok();
    assert_eq!(plain.inspect(&name)["Architecture"], "arm64");
    assert!(plain.inspect(&name)["Manifests"].is_null());
}

#[test]
fn bases_of_two_platforms_do_not_take_a_name_from_each_other() {
    let store = need!(Store::new());
    let registry = Registry::start();
    let base = registry.name("base:1");
    build(&store, &base, &["--push"]);
    let fresh = need!(Store::new());
    fresh
        .rbuild(["pull", "--platform", "linux/amd64", &base])
        .ok();
    let context = Dir::dockerfile(&format!("FROM {base}\nLABEL a=b\n"));
    for _ in 0..2 {
        fresh
            .build("app", &context)
            .args(["--platform", "linux/amd64,linux/arm64"])
            .ok();
    }
    for architecture in ["amd64", "arm64"] {
        let platform = format!("linux/{architecture}");
        assert_eq!(text_of(&fresh, "app", &platform), architecture);
    }
}

#[test]
fn a_foreign_run_is_refused_before_anything_runs_and_kin_runs() {
    let store = need!(Store::new());
    let tar = need!(busybox());
    for (platform, name) in [("linux/s390x", "z:1"), ("linux/386", "x86:1")] {
        store
            .rbuild(["import", "--platform", platform])
            .arg(&tar)
            .arg(name)
            .ok();
    }
    let registered = std::fs::read_dir("/proc/sys/fs/binfmt_misc")
        .is_ok_and(|mut all| all.any(|e| e.is_ok_and(|e| e.file_name() == "qemu-s390x")));
    store.rbuild(["import"]).arg(&tar).arg("busybox:1").ok();
    if !registered {
        let text = "FROM --platform=linux/amd64 busybox:1 AS first\nRUN echo ran-first\n\
                    FROM z:1\nCOPY --from=first /bin/sh /x\nRUN true\n";
        store
            .build("app", &Dir::dockerfile(text))
            .args(["--platform", "linux/s390x"])
            .fails(1)
            .never_tells("ran-first")
            .tells("cannot run programs for s390x")
            .tells("install qemu-user-static")
            .tells("RUN true");
    }
    if std::env::consts::ARCH == "x86_64" {
        store
            .build("kin", &Dir::dockerfile("FROM x86:1\nRUN echo ran >/ran\n"))
            .args(["--platform", "linux/386"])
            .ok();
        assert_eq!(store.inspect("kin")["Architecture"], "386");
        assert_eq!(store.tree("kin").text("ran"), "ran\n");
    }
}
