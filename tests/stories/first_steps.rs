//! Somebody who knows docker types at rbuild for the first time.

use e2e::{Cmd, Dir, Done, Registry, Store, need, rbuild};

/// `docker: unknown command` ends with 1, and an unknown flag with 125 (docker 28).
#[test]
fn a_word_that_is_no_command_is_no_build() {
    let store = need!(Store::busybox());
    let folder = Dir::new();
    let typed = |words: &[&str]| store.rbuild(words).current_dir(folder.path()).fails(1);
    typed(&["psuh", "x"]).tells("ERROR: 'psuh' is not an rbuild command. Did you mean push?");
    typed(&["xyzzy"]).tells("'xyzzy' is not an rbuild command, and there is no folder xyzzy");
    typed(&["swarm", "init"])
        .tells("'swarm' is not an rbuild command")
        .tells("clusters are for others")
        .never_tells("Usage: rbuild build");
    // Nor is a word that is a command of docker's, and one here.
    let run = store.rbuild(["run", "--help"]).ok();
    assert!(run.out().contains("Usage: rbuild run"), "{run}");
    typed(&["compose", "up"]).tells("rbuild bake");
    typed(&["buildx", "dial-stdio"]).tells("'dial-stdio' is not an rbuild buildx command");
    typed(&["image", "prnue"]).tells("'prnue' is not an rbuild image command. Did you mean prune?");
    typed(&["help", "psuh"]).tells("Did you mean push?");
    // A path stays a build, whatever it is called.
    let context = Dir::new().file("psuh/Dockerfile", "FROM busybox\nENV A=1\n");
    store
        .rbuild(["psuh", "-t", "built"])
        .current_dir(context.path())
        .ok();
    assert!(store.has("built"));
    typed(&["./nowhere"]).tells("path \"./nowhere\" not found");
}

/// Each line as docker 28's buildx 0.29 takes it, with its code and words; CI scripts begin so.
#[test]
fn scripts_that_make_a_builder_first_go_on() {
    let store = need!(Store::new());
    let typed = |line: &str| store.rbuild(["buildx"]).args(line.split(' '));
    for (line, out) in [
        ("create --name ci --driver docker-container --use", "ci\n"),
        (
            "create --name=ci --driver-opt network=host --bootstrap",
            "ci\n",
        ),
        ("use ci", ""),
        ("use default", ""),
        ("stop", ""),
        ("stop ci", ""),
        ("rm ci", "ci removed\n"),
        ("rm -f a b", "a removed\nb removed\n"),
    ] {
        assert_eq!(typed(line).ok().out(), out, "{line}");
    }
    for (line, told) in [
        (
            "create --name 1a",
            "invalid name 1a, name needs to start with a letter",
        ),
        ("create --name default", "default is a reserved name"),
        ("rm default", "failed to remove one or more builders"),
        ("rm", "failed to remove one or more builders"),
    ] {
        typed(line).fails(1).tells(told);
    }
    // What would build elsewhere is no driver here.
    for driver in ["kubernetes", "remote"] {
        let create = format!("create --driver {driver}");
        typed(&create).fails(125).tells(driver);
    }
    let version = typed("version").ok();
    assert!(version.out().starts_with("rbuild v"), "{version}");

    let listed = typed("ls").ok().out();
    let lines: Vec<Vec<&str>> = listed
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let headers = [
        "NAME/NODE",
        "DRIVER/ENDPOINT",
        "STATUS",
        "BUILDKIT",
        "PLATFORMS",
    ];
    assert_eq!(lines[0], headers, "{listed}");
    assert_eq!(lines[1], ["default*", "rbuild"], "{listed}");
    assert_eq!(
        lines[2][..5],
        ["\\_", "default", "\\_", "default", "running"],
        "{listed}"
    );
    let named = typed("ls --format {{.Name}}").ok();
    assert_eq!(named.out(), "default\ndefault\n");
    let json = typed("ls --format json").ok().json();
    assert_eq!(json["Current"], true);
    let platform = json["Nodes"][0]["Platforms"][0]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(platform.starts_with("linux/"), "{json}");
    let shown = typed("inspect ci --bootstrap").ok();
    let shown = shown.out();
    assert!(
        shown.starts_with("Name:   ci\nDriver: rbuild\n\nNodes:\n"),
        "{shown}"
    );
    let last = shown.lines().last().unwrap();
    assert!(
        last.starts_with(&format!("Platforms:        {platform}")),
        "{shown}"
    );
}

#[test]
fn buildx_build_builds() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nENV A=1\n");
    store
        .rbuild([
            "buildx",
            "build",
            "--load",
            "--provenance=false",
            "--sbom=false",
        ])
        .args([
            "--builder",
            "default",
            "--isolation=default",
            "--rm=false",
            "-t",
            "app",
        ])
        .args(["--disable-content-trust=false", "--memory-swappiness", "0"])
        .arg(context.path())
        .ok();
    assert!(store.has("app"));
}

#[test]
fn flags_of_dockers_are_called_dockers() {
    let store = need!(Store::busybox());
    for (flag, instead) in [("--policy=x", "rbuild lint"), ("--stream", "where it is")] {
        let name = flag.split('=').next().unwrap();
        store
            .rbuild(["build", flag, "."])
            .fails(125)
            .tells(&format!(
                "ERROR: {name} is docker's, and is not supported here; "
            ))
            .tells(instead)
            .never_tells("similar")
            .never_tells("'-- ");
    }
    store
        .rbuild(["build", "--frobnicate", "."])
        .fails(125)
        .tells("ERROR: unknown flag: --frobnicate\n")
        .never_tells("did you mean")
        .never_tells("tip");
    store
        .rbuild(["build", "--no-cahce", "."])
        .fails(125)
        .tells("unknown flag: --no-cahce; did you mean --no-cache?");
    store
        .rbuild(["build", "--provenance=mode=max", "."])
        .fails(125)
        .tells("--provenance")
        .tells("only =false is supported");
}

#[test]
fn help_teaches() {
    let help = |words: &[&str]| Cmd::new(rbuild()).args(words).ok().out();
    let version = help(&["--version"]);
    assert_eq!(help(&["-v"]), version);
    assert_eq!(help(&["-V"]), version);
    let build = help(&["build", "--help"]);
    assert!(
        build.contains("Examples:\n  rbuild build -t app:v1 ."),
        "{build}"
    );
    let (own, global) = build
        .split_once("Global options:")
        .expect("a group of their own");
    assert!(
        !own.contains("--root") && !own.contains("--no-color"),
        "{own}"
    );
    assert!(
        global.contains("--root") && global.contains("--no-color"),
        "{global}"
    );
    let own = |words: &[&str]| {
        let help = help(words);
        let (own, _) = help.split_once("Global options:").expect("global options");
        own.to_owned()
    };
    let images = own(&["image", "prune", "--help"]);
    assert!(
        !images.contains("cache") && !images.contains("--keep-storage"),
        "{images}"
    );
    let cache = own(&["builder", "prune", "--help"]);
    assert!(!cache.contains("Also images"), "{cache}");
    assert!(cache.contains("--keep-storage"), "{cache}");
}

/// In a private mount namespace, with this `/etc/docker/daemon.json`.
fn with_daemon_json(store: &Store, json: &str, words: &[&str]) -> Cmd {
    let script = "mkdir -p /etc/docker && mount -t tmpfs none /etc/docker && \
        printf %s \"$1\" >/etc/docker/daemon.json && shift && exec \"$@\"";
    Cmd::new("unshare")
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
            "sh",
            json,
        ])
        .arg(rbuild())
        .args(words)
        .env("RBUILD_ROOT", store.root())
        .env("RBUILD_PROGRESS", "plain")
        .env("HOME", store.home())
}

#[test]
fn dockers_daemon_json_is_read() {
    let store = need!(Store::busybox());
    let registry = Registry::start();
    let name = registry.name("library/base:1");
    store.rbuild(["tag", "busybox", &name]).ok();
    store.rbuild(["push", &name]).ok();

    let other = need!(Store::new());
    let mirrors = format!(
        r#"{{"registry-mirrors": ["http://{}"]}}"#,
        registry.address()
    );
    with_daemon_json(&other, &mirrors, &["pull", "base:1"]).ok();
    assert_eq!(other.id("base:1"), store.id("busybox"));

    let dns = r#"{"dns": ["192.0.2.7"], "dns-search": ["corp.example"], "dns-opts": ["ndots:3"]}"#;
    let context = Dir::dockerfile("FROM busybox\nRUN cat /etc/resolv.conf\n");
    let path = context.path().to_str().unwrap();
    let words = ["build", "--network=none", path];
    with_daemon_json(&store, dns, &words)
        .ok()
        .tells("nameserver 192.0.2.7")
        .tells("search corp.example")
        .tells("options ndots:3");

    with_daemon_json(&store, r#"{"dns": ["moon"]}"#, &words)
        .fails(1)
        .tells("/etc/docker/daemon.json: dns: \"moon\" is no address");
}

#[test]
fn without_hub_there_are_other_ways() {
    let store = need!(Store::new());
    // Nothing listens on the discard port.
    let tells_ways = |done: &Done| {
        done.tells("rbuild import ROOTFS.tar NAME")
            .tells("rbuild load -i FILE")
            .tells("mirrors = [\"https://HOST\"]")
            .tells("/etc/rbuild/registries.toml")
            .tells("/etc/docker/daemon.json");
    };
    let context = Dir::dockerfile("FROM 127.0.0.1:9/busybox\nRUN true\n");
    tells_ways(&store.build("x", &context).fails(1));
    tells_ways(&store.rbuild(["pull", "127.0.0.1:9/busybox"]).fails(1));
}

/// `rbuild` as nobody, on a store of nobody's.
fn as_nobody(store: &Store, words: &[&str]) -> Cmd {
    let dir = store.file("nobody");
    std::fs::create_dir_all(&dir).unwrap();
    let (uid, gid) = (Some(65534), Some(65534));
    std::os::unix::fs::chown(&dir, uid, gid).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(store.home(), open).unwrap();
    // A copy: the folder that it was built in may be closed to others.
    let program = store.file("rbuild");
    if !program.exists() {
        std::fs::copy(rbuild(), &program).unwrap();
    }
    Cmd::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(program)
        .args(words)
        .env("RBUILD_ROOT", dir.join("store"))
        .env("RBUILD_PROGRESS", "plain")
        .env("HOME", &dir)
        .current_dir("/")
}

#[test]
fn an_ordinary_user_moves_images_and_is_told_what_needs_root() {
    let store = need!(Store::busybox());
    let registry = Registry::start();
    let name = registry.name("base:1");
    store.rbuild(["tag", "busybox", &name]).ok();
    store.rbuild(["push", &name]).ok();

    as_nobody(&store, &["pull", &name]).ok();
    let format = ["images", "--format", "{{.Repository}} {{.Size}}"];
    // The same as for root, who unpacks it.
    let other = need!(Store::new());
    other.rbuild(["pull", &name]).ok();
    let size = other.rbuild(format).ok().out();
    assert!(!size.contains(" 0B"), "{size}");
    assert_eq!(as_nobody(&store, &format).ok().out(), size);

    as_nobody(&store, &["export", "-o", "/dev/null", &name])
        .fails(1)
        .tells("exporting the files of an image needs root")
        .never_tells("building");
    let context = Dir::dockerfile("FROM 127.0.0.1:9/nowhere\nRUN true\n");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(context.path(), open).unwrap();
    let path = context.path().to_str().unwrap();
    as_nobody(&store, &["build", path])
        .fails(1)
        .tells("building needs root")
        .never_tells("127.0.0.1:9")
        .never_tells("pulling");
}

/// What a shell offers for a command line: bash, through the script that is printed for it.
#[test]
fn bash_completes_commands_flags_and_names_of_images() {
    let store = need!(Store::busybox());
    store
        .rbuild(["tag", "busybox", "localhost:5000/team/app:v1"])
        .ok();
    let offers = |line: &str| {
        let script = format!(
            "PATH={}:$PATH\nsource <(rbuild completions bash)\n\
             COMP_LINE={line:?} COMP_POINT={}\n_rbuild\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            rbuild().parent().unwrap().display(),
            line.len(),
        );
        let done = Cmd::new("bash")
            .args(["--norc", "-c", &script])
            .env("RBUILD_ROOT", store.root())
            .env("HOME", store.home())
            .ok();
        done.out().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(offers("rbuild pus"), ["push"]);
    assert_eq!(offers("rbuild rmi busy"), ["busybox:latest"]);
    assert_eq!(offers("rbuild image rm busy"), ["busybox:latest"]);
    // Words are taken apart at colons: only what follows the last one is offered.
    assert_eq!(offers("rbuild push localhost:5000/team/app:"), ["v1"]);
    assert_eq!(offers("rbuild push localhost:5"), ["5000/team/app:v1"]);
    store
        .rbuild(["create", "--name", "webserver", "busybox"])
        .ok();
    assert_eq!(offers("rbuild exec web"), ["webserver"]);
    assert_eq!(offers("rbuild build --iidf"), ["--iidfile"]);
    assert_eq!(offers("rbuild -t x --targ"), ["--target"]);
    let all = offers("rbuild save ");
    assert!(
        all.contains(&"localhost:5000/team/app:v1".to_owned()),
        "{all:?}"
    );
}

/// The same of zsh, which is started on a terminal of its own and gets keys typed: what stands on
/// its command line after a tab.
#[test]
fn zsh_completes_commands_flags_and_names_of_images() {
    let store = need!(Store::busybox());
    let zsh = need!(e2e::program("zsh"));
    store
        .rbuild(["tag", "busybox", "localhost:5000/team/app:v1"])
        .ok();
    let completed = |line: &str| {
        let script = format!(
            r#"zmodload zsh/zpty
zpty inner zsh -f -i
zpty -w inner 'PS1= PATH={}:$PATH; autoload -Uz compinit; compinit -u -D
source <(rbuild completions zsh)
tell() {{ print -r -- "<$BUFFER>"; BUFFER=; zle -R }}; zle -N tell; bindkey "^G" tell
print rea""dy'
zpty -r inner seen '*ready*'
zpty -w -n inner $'{line}\t\a'
zpty -r inner seen '*<rbuild*>*'
print -r -- "$seen"
zpty -d inner"#,
            rbuild().parent().unwrap().display(),
        );
        let done = Cmd::new(&zsh)
            .args(["-f", "-c", &script])
            .env("RBUILD_ROOT", store.root())
            .env("HOME", store.home())
            .env("TERM", "dumb")
            .ok();
        let out = done.out();
        let (_, told) = out.rsplit_once('<').expect("a command line");
        let (told, _) = told.split_once('>').expect("its end");
        told.trim_end().to_owned()
    };
    assert_eq!(completed("rbuild pus"), "rbuild push");
    assert_eq!(completed("rbuild rmi busy"), "rbuild rmi busybox:latest");
    assert_eq!(
        completed("rbuild image rm localhost:5"),
        "rbuild image rm localhost:5000/team/app:v1"
    );
    assert_eq!(completed("rbuild build --labe"), "rbuild build --label");
    assert_eq!(completed("rbuild -t x --targ"), "rbuild -t x --target");
}

/// The same of fish, which tells what it would offer.
#[test]
fn fish_completes_commands_flags_and_names_of_images() {
    let store = need!(Store::busybox());
    let fish = need!(e2e::program("fish"));
    store
        .rbuild(["tag", "busybox", "localhost:5000/team/app:v1"])
        .ok();
    let offers = |line: &str| {
        let script = format!(
            "set -gx PATH {} $PATH\nrbuild completions fish | source\n\
             complete --do-complete {line:?}",
            rbuild().parent().unwrap().display(),
        );
        let done = Cmd::new(&fish)
            .args(["--no-config", "-c", &script])
            .env("RBUILD_ROOT", store.root())
            .env("HOME", store.home())
            .ok();
        let words = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
        done.out().lines().map(words).collect::<Vec<_>>()
    };
    assert_eq!(offers("rbuild pus"), ["push"]);
    assert_eq!(offers("rbuild rmi busy"), ["busybox:latest"]);
    assert_eq!(
        offers("rbuild push localhost:5"),
        ["localhost:5000/team/app:v1"]
    );
    assert_eq!(offers("rbuild build --labe"), ["--label"]);
    assert_eq!(offers("rbuild -t x --targ"), ["--target"]);
}
