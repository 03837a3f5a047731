//! Exit codes, the environment of the process, users.

use std::fs;

use runtime::{Container, Error, Stdio};

use crate::harness::{Image, Test, failure, output, ran};

pub const TESTS: &[Test] = &[
    ("exit_codes_are_dockers", exit_codes),
    ("what_cannot_be_executed", not_executed),
    ("process_is_alone_in_its_namespaces", namespaces),
    ("privileges_are_dockers_defaults", privileges),
    ("only_what_is_given_is_inherited", inheritance),
    ("users_come_from_the_image", users),
    ("standard_streams_and_terminals_open_by_name", streams),
    ("dropping_kills_everything", dropping),
    ("starting_from_many_threads", threads),
    ("without_root_it_says_so", unprivileged),
];

fn exit_codes() -> Result<(), String> {
    let image = Image::new();
    for (script, code, text) in [
        ("exit 0", 0, "exit code: 0"),
        ("exit 7", 7, "exit code: 7"),
        (
            "kill -9 $$; busybox kill -KILL -1; exit 3",
            3,
            "exit code: 3",
        ),
    ] {
        let status = ran(&image.sh(script)).status;
        assert_eq!(
            (status.exit_code(), status.to_string().as_str()),
            (code, text),
            "{script}"
        );
    }
    let running = Container::spawn(&image.spec(&["sleep", "1000"]), Stdio::default()).unwrap();
    running.kill().unwrap();
    let status = running.wait().unwrap();
    assert_eq!((status.exit_code(), status.signal), (137, Some(9)));
    assert_eq!(status.to_string(), "exit code: 137 (killed by SIGKILL)");
    Ok(())
}

fn not_executed() -> Result<(), String> {
    let image = Image::new();
    fs::write(image.file("bin/plain"), "x").unwrap();
    fs::write(image.file("bin/script"), "#!/no/interpreter\n").unwrap();
    fs::write(image.file("bin/junk"), "\0\0\0\0").unwrap();
    for name in ["bin/script", "bin/junk"] {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(image.file(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    for (argv0, code, message) in [
        (
            "nope",
            127,
            "exec: \"nope\": executable file not found in $PATH",
        ),
        (
            "/nope",
            127,
            "exec: \"/nope\": stat /nope: no such file or directory",
        ),
        (
            "/bin/script",
            127,
            "exec /bin/script: no such file or directory",
        ),
        ("/bin/plain", 126, "exec: \"/bin/plain\": permission denied"),
        ("plain", 126, "exec: \"plain\": permission denied"),
        (
            "/tmp",
            126,
            "exec: \"/tmp\": is a directory: permission denied",
        ),
        ("/bin/junk", 126, "exec /bin/junk: exec format error"),
    ] {
        let error = failure(&image.spec(&[argv0]));
        assert_eq!(
            (error.exit_code(), error.to_string().as_str()),
            (code, message)
        );
    }
    assert!(image.changes().is_empty(), "{:?}", image.changes());
    Ok(())
}

fn namespaces() -> Result<(), String> {
    let image = Image::new();
    let spec = image.sh("echo $$; hostname; cat /proc/mounts | head -1 | cut -d' ' -f2,3; umask");
    assert_eq!(output(&spec.hostname("box")), "1\nbox\n/ overlay\n0022");
    let kinds = ["mnt", "pid", "ipc", "uts", "net", "cgroup"];
    let script = kinds
        .map(|kind| format!("busybox readlink /proc/self/ns/{kind}"))
        .join("; ");
    let inside = output(&image.sh(&script));
    for (kind, inside) in kinds.iter().zip(inside.lines()) {
        let host = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert_ne!(host.display().to_string(), inside);
    }
    Ok(())
}

fn privileges() -> Result<(), String> {
    let image = Image::new();
    let script = "busybox grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status";
    let squeeze = |text: String| text.replace('\t', "");
    assert_eq!(
        squeeze(output(&image.sh(script))),
        "CapInh:0000000000000000\nCapPrm:00000000a80425fb\nCapEff:00000000a80425fb\n\
         CapBnd:00000000a80425fb\nCapAmb:0000000000000000\nNoNewPrivs:0\nSeccomp:2"
    );
    assert_eq!(
        squeeze(output(&image.sh(script).user("1000"))),
        "CapInh:0000000000000000\nCapPrm:0000000000000000\nCapEff:0000000000000000\n\
         CapBnd:00000000a80425fb\nCapAmb:0000000000000000\nNoNewPrivs:0\nSeccomp:2"
    );
    Ok(())
}

fn inheritance() -> Result<(), String> {
    let image = Image::new();
    // A descriptor of the host without close-on-exec, as another library might leave one.
    let leaky = fs::File::open("/etc/hostname").unwrap();
    rustix::io::fcntl_setfd(&leaky, rustix::io::FdFlags::empty()).unwrap();
    let fds = "for f in $(busybox seq 0 9) $(busybox seq 60 99); do \
               [ -e /proc/1/fd/$f ] && echo $f; done; true";
    // The shell keeps a script it reads from a string in no descriptor.
    assert_eq!(output(&image.sh(fds)), "0\n1\n2");
    let spec = image.sh("cat /proc/1/environ | busybox tr '\\0' '\\n'");
    assert_eq!(
        output(&spec.env(["PATH=/bin", "A=b c"])),
        "PATH=/bin\nA=b c\nHOME=/"
    );
    // Without a shell: busybox's ignores SIGQUIT itself.
    let status = image.spec(&[
        "busybox",
        "grep",
        "-E",
        "^Sig(Blk|Ign)",
        "/proc/self/status",
    ]);
    assert_eq!(
        output(&status).replace('\t', ""),
        "SigBlk:0000000000000000\nSigIgn:0000000000000000"
    );
    drop(leaky);
    Ok(())
}

fn users() -> Result<(), String> {
    let image = Image::new();
    fs::write(
        image.file("etc/passwd"),
        "root:x:0:0::/root:\napp:x:1000:1001::/home/app:\n",
    )
    .unwrap();
    fs::write(image.file("etc/group"), "app:x:1001:\nwheel:x:10:app\n").unwrap();
    let script = "echo $(busybox id -u) $(busybox id -g) $(busybox id -G) $HOME";
    for (user, want) in [
        ("", "0 0 0 /root"),
        ("app", "1000 1001 1001 10 /home/app"),
        ("app:wheel", "1000 10 10 /home/app"),
        ("4242", "4242 0 0 /"),
        ("4242:4243", "4242 4243 4243 /"),
    ] {
        assert_eq!(output(&image.sh(script).user(user)), want, "{user:?}");
    }
    for (user, want) in [
        (
            "nobody",
            "unable to find user nobody: no matching entries in passwd file",
        ),
        (
            "app:no",
            "unable to find group no: no matching entries in group file",
        ),
        (
            "-1",
            "uids and gids must be in range 0-2147483647: -1 is not",
        ),
        (
            "2147483648",
            "uids and gids must be in range 0-2147483647: 2147483648 is not",
        ),
    ] {
        assert_eq!(failure(&image.sh("true").user(user)).to_string(), want);
    }
    Ok(())
}

fn streams() -> Result<(), String> {
    let image = Image::new();
    let script = "echo a > /dev/stdout; echo b > /dev/stderr; echo c > /dev/fd/1; \
                  (exec 3<>/dev/ptmx) && echo pty; (exec 3<>/dev/pts/ptmx) && echo pty; \
                  ls /dev/pts";
    for user in ["", "1000:1000"] {
        assert_eq!(
            output(&image.sh(script).user(user)),
            "a\nb\nc\npty\npty\nptmx",
            "{user:?}"
        );
    }
    Ok(())
}

fn dropping() -> Result<(), String> {
    let image = Image::new();
    let spec = image.sh("sleep 1000 & sleep 1000 & sleep 1000");
    let running = Container::spawn(&spec, Stdio::default()).unwrap();
    let proc = format!("/proc/{}", running.pid());
    assert!(fs::metadata(&proc).is_ok());
    drop(running);
    assert!(fs::metadata(&proc).is_err());
    Ok(())
}

fn threads() -> Result<(), String> {
    let outputs: Vec<String> = std::thread::scope(|scope| {
        let start = |n: usize| scope.spawn(move || output(&Image::new().sh(&format!("echo {n}"))));
        (0..8)
            .map(start)
            .collect::<Vec<_>>()
            .into_iter()
            .map(|t| t.join().unwrap())
            .collect()
    });
    assert_eq!(outputs, ["0", "1", "2", "3", "4", "5", "6", "7"]);
    // The thread that asked for a container may end before it.
    let image = Image::new();
    let spec = image.sh("sleep 0.2; echo done");
    let running = std::thread::spawn(move || Container::spawn(&spec, Stdio::default()));
    let running = running.join().unwrap().unwrap();
    assert!(running.wait().unwrap().success());
    Ok(())
}

fn unprivileged() -> Result<(), String> {
    let image = Image::new();
    let said = crate::probe::again("unprivileged", &[image.path()]);
    assert_eq!(
        said,
        "mounting an overlay needs root with CAP_SYS_ADMIN: run with sudo, or in a privileged \
         container"
    );
    let error = failure(&image.spec(&[]));
    assert!(matches!(error, Error::InvalidSpec(_)), "{error}");
    Ok(())
}
