//! What a build is given and must not keep: secrets, SSH agents; and what it is allowed: privileges
//! and devices of this machine.

use std::fs;
use std::path::Path;

use e2e::{Cmd, Dir, Files, Repositories, Store, need, program};

const VALUE: &str = "s3cr3t-0f-the-t3st";
const KEY: &str =
    "-----BEGIN KEY-----\nbGluZSBvbmUgb2Yga2V5\nbGluZSB0d28gb2Yga2V5\n-----END KEY-----\n";

/// Asserts that no file below `root` holds `needle`, in its name or its bytes.
#[track_caller]
fn not_in(root: &Path, needle: &str) {
    for entry in fs::read_dir(root).unwrap().flatten() {
        let path = entry.path();
        assert!(
            !path.to_string_lossy().contains(needle),
            "{}",
            path.display()
        );
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            not_in(&path, needle);
        } else if kind.is_file() {
            let bytes = fs::read(&path).unwrap();
            let found = String::from_utf8_lossy(&bytes).contains(needle);
            assert!(!found, "{} holds {needle}", path.display());
        }
    }
}

/// Modes and owners are what docker 28's BuildKit gives.
#[test]
fn a_secret_is_there_for_one_step() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox\nRUN mkdir /o\n\
         RUN --mount=type=secret,id=s stat -c '%a %u %g' /run/secrets/s >/o/1; wc -c </run/secrets/s >>/o/1\n\
         RUN --mount=type=secret,id=s,target=/q/w,uid=1000,gid=5,mode=0440 stat -c '%a %u %g' /q/w >/o/2\n\
         RUN --mount=type=secret,id=s,env=MY test \"$MY\" = \"$(printf s3cr3t-0f-)the-t3st\" && ls /run >/o/3 2>/dev/null || echo none >>/o/3\n\
         RUN --mount=type=secret,id=s,env=MY,target=/z test -n \"$MY\" && test -s /z && echo both >/o/4\n\
         RUN --mount=type=secret,id=nope ls /run/secrets/nope 2>/dev/null || echo absent >/o/5\n\
         RUN --mount=type=secret,target=/y/s test -s /y/s && echo last >/o/6\n\
         RUN --mount=type=secret,id=v,env=V echo ${#V} >/o/7\n\
         RUN --mount=type=secret,id=s (echo x >/run/secrets/s) 2>/dev/null || echo read-only >/o/8\n\
         RUN --mount=type=secret,id=nope,env=N echo \"<${N-unset}>\" >/o/10\n\
         RUN env >/o/9; ls /run /q /y /z 2>/dev/null >>/o/9; true\n",
    );
    let file = store.file("value");
    fs::write(&file, format!("{VALUE}\n")).unwrap();
    let done = store
        .build("app", &context)
        .arg(format!("--secret=id=s,src={}", file.display()))
        .arg("--secret=id=v,env=GIVEN")
        .env("GIVEN", VALUE)
        .ok();
    done.never_tells(VALUE);
    fs::remove_file(file).unwrap();
    let tree = store.tree("app");
    let length = VALUE.len();
    for (name, want) in [
        ("1", format!("400 0 0\n{}\n", length + 1)),
        ("2", "440 1000 5\n".to_owned()),
        ("3", "none\n".to_owned()),
        ("4", "both\n".to_owned()),
        ("5", "absent\n".to_owned()),
        ("6", "last\n".to_owned()),
        ("7", format!("{length}\n")),
        ("8", "read-only\n".to_owned()),
        ("10", "<>\n".to_owned()),
    ] {
        assert_eq!(tree.text(&format!("o/{name}")), want, "{name}");
    }
    assert!(!tree.text("o/9").contains(VALUE));
    for point in ["run/secrets", "q", "y", "z"] {
        assert!(!tree.has(point), "{point}");
    }
    not_in(store.home(), VALUE);
}

/// Printed whole, in parts of a write, line by line, on failure, and by a wrong command.
#[test]
fn a_secret_is_told_nowhere() {
    let store = need!(Store::busybox());
    let dir = Dir::new().file("value", VALUE).file("key", KEY);
    let flags = [
        format!("--secret=id=s,src={}", dir.join("value").display()),
        format!("--secret=id=k,src={}", dir.join("key").display()),
    ];
    let mounts = "--mount=type=secret,id=s --mount=type=secret,id=k --mount=type=secret,id=s,env=S";
    for (script, code) in [
        ("echo \"is <$(cat /run/secrets/s)>\"; cat /run/secrets/k", 0),
        (
            "printf 'a s3cr3t-'; sleep 1; printf '0f-the'; sleep 1; printf '%s\\n' -t3st",
            0,
        ),
        (
            "sed 's/^/key: /' /run/secrets/k >&2; cat /run/secrets/s; exit 3",
            3,
        ),
        ("cat /run/secrets/k; \"$S\"", 127),
        ("set -x; : $S; exit 4", 4),
    ] {
        for progress in ["plain", "quiet"] {
            let context = Dir::dockerfile(&format!("FROM busybox\nRUN {mounts} {script}\n"));
            let build = store
                .build("app", &context)
                .args(&flags)
                .env("RBUILD_PROGRESS", progress);
            let build = if progress == "quiet" {
                build.arg("-q")
            } else {
                build.arg("--no-cache")
            };
            let done = if code == 0 {
                build.ok()
            } else {
                build.fails(code)
            };
            for line in KEY.lines().chain([VALUE]) {
                done.never_tells(line);
                assert!(!done.out().contains(line), "{done}");
            }
            if code == 0 && progress == "plain" {
                done.tells("***");
            }
            for needle in [VALUE, "bGluZSBvbmUgb2Yga2V5"] {
                not_in(store.home(), needle);
            }
        }
    }
}

/// Another value is not another step: as with BuildKit, a secret is no part of the key.
#[test]
fn a_secret_is_no_part_of_the_key() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nRUN --mount=type=secret,id=s,env=S true\n");
    let build = |value: &str| {
        let build = store.build("app", &context).arg("--secret=id=s,env=VALUE");
        build.env("VALUE", value).ok()
    };
    build("one").never_tells("CACHED [2/2]");
    build("two").tells("CACHED");
}

#[test]
fn wrong_flags_are_told() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile("FROM busybox\nRUN true\n");
    for (flag, code, told) in [
        (
            "--secret=foo",
            125,
            "invalid field 'foo' must be a key=value pair",
        ),
        ("--secret=type=file", 125, "secret missing ID"),
        (
            "--secret=id=x,type=bogus",
            125,
            "unsupported secret type \"bogus\"",
        ),
        (
            "--secret=id=q,src=/nonexistent",
            1,
            "secret q: cannot read /nonexistent",
        ),
        ("--ssh=default", 1, "make sure SSH_AUTH_SOCK is set"),
        ("--ssh=a=/nonexistent", 1, "/nonexistent: No such file"),
        ("--allow=bogus", 125, "unknown entitlement bogus"),
    ] {
        let build = store
            .build("app", &context)
            .arg(flag)
            .env("SSH_AUTH_SOCK", "");
        build.fails(code).tells(told);
    }
}

/// `x-access-token:` and the token, in base64, as git hosts take a token.
fn git_header(token: &str) -> String {
    let pair = format!("x-access-token:{token}");
    let encoded = Cmd::new("base64").arg("-w0").stdin(pair).ok().out();
    format!("basic {encoded}")
}

/// By secrets with the names that BuildKit has for them.
#[test]
fn private_servers_are_asked_with_secrets() {
    let store = need!(Store::busybox());
    let repositories = need!(Repositories::new());
    repositories.init("r.git", "sha1");
    let file = "FROM scratch\nCOPY f /from-git\n";
    repositories.commit("r.git", &[("f", "private"), ("Dockerfile", file)]);
    let server = repositories.plainly(&["r.git"]);
    server.only_for(&git_header(VALUE));
    let host = server.url("").trim_start_matches("http://").to_owned();
    let files = Files::serve(&[("/f.txt", b"hidden")]);
    files.only_for(&format!("Bearer {VALUE}"));
    let other = files.url("").trim_start_matches("http://").to_owned();
    let context = Dir::dockerfile(&format!(
        "FROM busybox\nADD {} /git/\nADD {} /f\n",
        server.url("/r.git"),
        files.url("/f.txt")
    ));
    let build = |context: &str, secrets: &[String]| {
        let mut command = store.rbuild(["build", "--no-cache", "-t", "app"]);
        for id in secrets {
            command = command.arg(format!("--secret=id={id},env=TOKEN"));
        }
        command.env("TOKEN", VALUE).arg(context).run()
    };
    let dir = context.path().to_str().unwrap();
    let (git, http) = ("GIT_AUTH_TOKEN".to_owned(), "HTTP_AUTH_TOKEN".to_owned());
    for (secrets, works) in [
        (vec![], false),
        (vec![git.clone()], false),
        (
            vec![format!("{git}.{host}"), format!("{http}_elsewhere")],
            false,
        ),
        (vec![git.clone(), http.clone()], true),
        (
            vec![format!("{git}.{host}"), format!("{http}_{other}")],
            true,
        ),
        (
            vec![format!("{git}.127.0.0.1"), format!("{http}.127.0.0.1")],
            true,
        ),
    ] {
        let done = build(dir, &secrets);
        assert_eq!(done.status.success(), works, "{secrets:?}: {done}");
        done.never_tells(VALUE);
    }
    let tree = store.tree("app");
    assert_eq!(
        (tree.text("git/f"), tree.text("f")),
        ("private".into(), "hidden".into())
    );
    // A context is fetched before anything is built.
    assert!(!build(&server.url("/r.git"), &[]).status.success());
    let done = build(&server.url("/r.git"), &[git]);
    assert!(done.status.success(), "{done}");
    assert_eq!(store.tree("app").text("from-git"), "private");
    // A header is sent as it is.
    files.only_for("Own scheme");
    let header = store.rbuild(["build", "--no-cache", "--secret=id=HTTP_AUTH_HEADER,env=H"]);
    let only = Dir::dockerfile(&format!("FROM scratch\nADD {} /f\n", files.url("/f.txt")));
    header.env("H", "Own scheme").arg(only.path()).ok();
    for needle in [VALUE, git_header(VALUE).split(' ').nth(1).unwrap()] {
        not_in(store.home(), needle);
    }
    let history = store.rbuild(["history", "--no-trunc", "app"]).ok().out();
    assert!(!history.contains(VALUE));
}

/// A program of this machine with the libraries that it needs.
fn with_program(context: &Dir, program: &Path) {
    let listed = Cmd::new("ldd").arg(program).ok().out();
    let libraries = listed
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    let files = libraries.chain(program.to_str());
    for file in files {
        context.write(&format!("root{file}"), fs::read(file).unwrap());
        context.chmod(&format!("root{file}"), 0o755);
    }
}

#[test]
fn an_agents_keys_are_at_hand() {
    let store = need!(Store::busybox());
    let (agent, add) = (need!(program("ssh-agent")), need!(program("ssh-add")));
    let keygen = need!(program("ssh-keygen"));
    let context = Dir::dockerfile(&format!(
        "FROM busybox\nCOPY root /\n\
         RUN --mount=type=ssh {add} -l; stat -c '%a %u %F' $SSH_AUTH_SOCK >/1; echo $SSH_AUTH_SOCK >>/1\n\
         RUN --mount=type=ssh,uid=1000,gid=5,mode=0666,target=/k stat -c '%a %u:%g' /k >/2\n\
         RUN --mount=type=ssh,id=none echo $SSH_AUTH_SOCK >/3; ls /run/buildkit 2>/dev/null; true\n\
         RUN ls /run /k >/4 2>&1; echo \"<$SSH_AUTH_SOCK>\" >>/4\n",
        add = add.display()
    ));
    with_program(&context, &add);
    let key = store.file("key");
    let socket = store.file("agent.sock");
    let key_text = key.to_str().unwrap();
    Cmd::new(keygen)
        .args([
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            "of-the-test",
            "-f",
            key_text,
        ])
        .ok();
    let running = Cmd::new(agent).args(["-D", "-a"]).arg(&socket).spawn();
    while !socket.exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Cmd::new(&add).arg(&key).env("SSH_AUTH_SOCK", &socket).ok();
    let build = store.build("app", &context).env("SSH_AUTH_SOCK", &socket);
    build
        .arg("--ssh=default")
        .ok()
        .tells("of-the-test (ED25519)");
    let tree = store.tree("app");
    assert_eq!(tree.text("1"), "600 0 socket\n/run/buildkit/ssh_agent.0\n");
    assert_eq!(tree.text("2"), "666 1000:5\n");
    assert_eq!(tree.text("3"), "/run/buildkit/ssh_agent.0\n");
    assert!(tree.text("4").ends_with("<>\n"), "{}", tree.text("4"));
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.wait();
}

/// What signs is a key that no step can read; OpenSSH itself signs with it, and verifies.
#[test]
fn keys_sign_from_their_files() {
    let store = need!(Store::busybox());
    let (keygen, add) = (need!(program("ssh-keygen")), need!(program("ssh-add")));
    let dir = Dir::new();
    let kinds = [
        ("ed25519", &["-t", "ed25519"][..]),
        ("ecdsa", &["-t", "ecdsa", "-b", "384"]),
        ("rsa", &["-t", "rsa", "-b", "2048"]),
        ("pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
    ];
    let make = |name: &str, flags: &[&str], passphrase: &str| {
        let key = dir.join(name);
        let command = Cmd::new(&keygen).args(["-q", "-C", name, "-N", passphrase]);
        command.args(flags).arg("-f").arg(&key).ok();
        key.display().to_string()
    };
    let keys = kinds.map(|(name, flags)| make(name, flags, ""));
    let mut text =
        String::from("FROM busybox\nCOPY root /\nRUN echo root:x:0:0::/:/bin/sh >/etc/passwd\n");
    for (name, _) in kinds {
        text.push_str(&format!(
            "RUN --mount=type=ssh echo signed >/{name} && {} -Y sign -q -n file -f /keys/{name}.pub /{name}\n",
            keygen.display()
        ));
    }
    text.push_str(&format!(
        "RUN --mount=type=ssh {} -l >/listed\n",
        add.display()
    ));
    let context = Dir::dockerfile(&text);
    with_program(&context, &keygen);
    with_program(&context, &add);
    for (name, _) in kinds {
        let public = fs::read(dir.join(&format!("{name}.pub"))).unwrap();
        context.write(&format!("root/keys/{name}.pub"), public);
    }
    let flag = format!("--ssh=default={}", keys.join(","));
    let done = store.build("app", &context).arg(&flag).ok();
    let tree = store.tree("app");
    for (name, _) in kinds {
        let signature = store.file("signature");
        fs::write(&signature, tree.text(&format!("{name}.sig"))).unwrap();
        let verify = Cmd::new(&keygen).args(["-Y", "check-novalidate", "-n", "file", "-s"]);
        let told = verify.arg(&signature).stdin("signed\n").ok().out();
        assert!(told.starts_with("Good"), "{told}");
        // Lines of the private key, which both forms have in base64.
        let private = fs::read_to_string(dir.join(name)).unwrap();
        let line = private.lines().nth(3).unwrap().to_owned();
        done.never_tells(&line);
        not_in(store.home(), &line);
    }
    assert_eq!(
        tree.text("listed").lines().count(),
        4,
        "{}",
        tree.text("listed")
    );
    for (flags, told) in [
        (&["-t", "ed25519"][..], "the key has a passphrase"),
        (
            &["-t", "rsa", "-b", "2048", "-m", "PEM"],
            "the key has a passphrase",
        ),
    ] {
        let _ = fs::remove_file(dir.join("locked"));
        let key = make("locked", flags, "a passphrase");
        let build = store
            .build("app", &context)
            .arg(format!("--ssh=default={key}"));
        build.fails(1).tells(told).tells("ssh-add");
    }
    let public = format!("--ssh=default={}.pub", keys[0]);
    let build = store.build("app", &context).arg(public);
    build.fails(1).tells("it is no private key");
}

#[test]
fn all_privileges_need_consent() {
    let store = need!(Store::busybox());
    let script = "grep CapEff /proc/self/status; grep Seccomp: /proc/self/status; \
        mount -t tmpfs none /mnt && echo mounted; test -c /dev/kmsg && echo kmsg; \
        touch /proc/sys/kernel/hostname && echo sys; ls /dev/loop0";
    let context = |flag: &str| {
        Dir::dockerfile(&format!(
            "FROM busybox\nRUN mkdir -p /mnt\nRUN {flag} ( {script} ) >/out 2>&1; true\n"
        ))
    };
    let insecure = context("--security=insecure");
    store
        .build("app", &insecure)
        .fails(1)
        .tells("security.insecure is not allowed");
    store
        .build("app", &insecure)
        .arg("--allow=security.insecure")
        .ok();
    let out = store.tree("app").text("out");
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let caps = own.lines().find(|line| line.starts_with("CapPrm")).unwrap();
    let caps = caps.replace("CapPrm", "CapEff");
    assert_eq!(
        out,
        format!("{caps}\nSeccomp:\t0\nmounted\nkmsg\nsys\n/dev/loop0\n")
    );
    // Allowed is not asked for.
    store
        .build("app", &context(""))
        .arg("--allow=security.insecure")
        .ok();
    let out = store.tree("app").text("out");
    assert!(
        out.contains("Seccomp:\t2") && !out.contains("mounted"),
        "{out}"
    );
}

/// debootstrap makes its own nodes and uses them; those that reach the machine stay shut.
#[test]
fn nodes_made_in_a_step_open_as_dockers_do() {
    let store = need!(Store::busybox());
    let context = Dir::dockerfile(
        "FROM busybox\nRUN mkdir /d; cd /d; mknod null c 1 3; mknod zero c 1 5; mknod tty c 5 0; \
         echo x >null && head -c 3 zero | wc -c >/out; mknod kmsg c 1 11; mknod disk b 254 0; \
         for name in kmsg disk; do (: <$name) 2>/dev/null && echo $name opened >>/out; done; \
         mknod /dev/own c 1 3 && echo x >/dev/own && echo own >>/out; rm -r /d\n",
    );
    let (_, tree) = store.built(&context);
    assert_eq!(tree.text("out"), "3\nown\n");
}

/// In a private mount namespace, with a device file of this machine.
#[test]
fn devices_are_given_by_their_cdi_names() {
    let store = need!(Store::busybox());
    let spec = r#"{"cdiVersion":"0.6.0","kind":"vendor.com/class","devices":[{"name":"zero",
        "containerEdits":{"env":["VENDOR=yes"],"deviceNodes":[{"path":"/dev/vendor0","hostPath":"/dev/zero"}]}},
        {"name":"hooked","containerEdits":{"hooks":[{"hookName":"createContainer","path":"/bin/hook"}]}}]}"#;
    let build = |device: &str, flags: &[&str]| {
        let context = Dir::dockerfile(&format!(
            "FROM busybox\nRUN --device={device} (echo \"$VENDOR\"; head -c 2 /dev/vendor0 | wc -c) >/out 2>/dev/null\n"
        ));
        let script = "mkdir -p /etc/cdi && mount -t tmpfs none /etc/cdi && \
            printf %s \"$1\" >/etc/cdi/vendor.json && shift && exec \"$@\"";
        Cmd::new("unshare")
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                script,
                "sh",
                spec,
            ])
            .arg(e2e::rbuild())
            .args(["build", "-t", "app"])
            .args(flags)
            .arg(context.path())
            .env("RBUILD_ROOT", store.root())
            .env("RBUILD_PROGRESS", "plain")
            .env("HOME", store.home())
            .run()
    };
    let allowed = ["--allow", "device"];
    let done = build("vendor.com/class=zero", &allowed);
    assert!(done.status.success(), "{done}");
    assert_eq!(store.tree("app").text("out"), "yes\n2\n");
    let done = build("vendor.com/class=none", &allowed);
    assert!(done.status.success(), "{done}");
    for allowed in [
        "vendor.com/class=zero",
        "vendor.com/class",
        "vendor.com/class=*",
    ] {
        let done = build(
            "vendor.com/class=zero",
            &["--allow", &format!("device={allowed}")],
        );
        assert!(done.status.success(), "{done}");
    }
    // As buildah's --device, for every step.
    let done = build(
        "vendor.com/class=none",
        &["--allow=device", "--device=vendor.com/class=zero"],
    );
    assert!(done.status.success(), "{done}");
    assert_eq!(store.tree("app").text("out"), "yes\n2\n");
    let other = ["--allow", "device=vendor.com/other"];
    for (device, flags, told) in [
        ("vendor.com/class=zero", &[][..], "device is not allowed"),
        ("vendor.com/class=zero", &other, "device is not allowed"),
        (
            "vendor.com/class=none,required",
            &allowed,
            "is not registered",
        ),
        (
            "vendor.com/class=hooked",
            &allowed,
            "its hook /bin/hook would run",
        ),
    ] {
        let done = build(device, flags);
        assert!(!done.status.success(), "{device}");
        done.tells(told);
    }
}

/// docker's own configuration names proxies for containers; a build argument counts for more.
#[test]
fn dockers_proxies_reach_a_step() {
    let store = need!(Store::busybox());
    let config = Dir::new().file(
        "config.json",
        r#"{"proxies":{"default":{"httpProxy":"http://usual:1","noProxy":"local"},
            "tcp://far:2375":{"httpProxy":"http://far:2"}}}"#,
    );
    let context = Dir::dockerfile("FROM busybox\nRUN env | grep -i proxy | sort >/out\n");
    for (host, flag, want) in [
        (
            "",
            "--pull=false",
            "HTTP_PROXY=http://usual:1\nNO_PROXY=local\nhttp_proxy=http://usual:1\nno_proxy=local\n",
        ),
        (
            "tcp://far:2375",
            "--pull=false",
            "HTTP_PROXY=http://far:2\nhttp_proxy=http://far:2\n",
        ),
        (
            "tcp://far:2375",
            "--build-arg=http_proxy=http://own:3",
            "HTTP_PROXY=http://own:3\nhttp_proxy=http://own:3\n",
        ),
    ] {
        let build = store.build("app", &context).args(["--no-cache", flag]);
        build
            .env("DOCKER_CONFIG", config.path())
            .env("DOCKER_HOST", host)
            .ok();
        assert_eq!(store.tree("app").text("out"), want, "{host} {flag}");
    }
    let history = store.rbuild(["history", "--no-trunc", "app"]).ok().out();
    assert!(!history.contains("far:2"), "{history}");
}
