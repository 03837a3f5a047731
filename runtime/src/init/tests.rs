//! The init against a kernel that only writes down what it is asked.

use std::path::PathBuf;

use nix::libc::{EACCES, ENOENT, ENOSYS, EPERM};

use super::*;
use crate::limits::Ulimit;
use crate::mount::Mount;
use crate::plan::{File as PlanFile, HostCapabilities, Inputs, Target, build};
use crate::spec::{Rootfs, Spec};
use crate::sys::fake::Fake;
use crate::users::Identity;

fn spec() -> Spec {
    spec_of(["tool", "-x"])
}

fn spec_of<const N: usize>(argv: [&str; N]) -> Spec {
    Spec::new(Rootfs::Directory(PathBuf::from("/nowhere")), argv).env(["PATH=/a:/b"])
}

#[test]
fn without_a_search_path_only_a_path_finds_the_command() {
    let fake = Fake::default();
    let missing = Failure::NotFound {
        message: "exec: \"tool\": executable file not found in $PATH".to_owned(),
    };
    assert_eq!(outcome(&fake, &spec().env([""; 0]), &["root"]), missing);
    assert!(
        !fake
            .calls()
            .iter()
            .any(|call| call.starts_with("executable?"))
    );
    let spec = spec_of(["/bin/tool"]).env([""; 0]);
    assert_ne!(outcome(&fake, &spec, &["root"]), missing);
    assert!(fake.calls().contains(&"executable? /bin/tool".to_owned()));
}

fn plan_of(spec: &Spec, uid: u32) -> Plan {
    let identity = Identity {
        uid,
        gid: uid,
        groups: vec![7],
        home: "/home".to_owned(),
    };
    let files = vec![PlanFile {
        name: "hosts",
        target: "/etc/hosts".to_owned(),
        text: "127.0.0.1\n".to_owned(),
    }];
    let targets = spec
        .mounts
        .iter()
        .map(|mount| Target {
            path: mount.target.clone(),
            dir: true,
            inside: mount.target.starts_with("/dev/"),
            mode: None,
        })
        .collect();
    let host = HostCapabilities {
        mqueue: true,
        thermal: Vec::new(),
        cgroups: Vec::new(),
    };
    build(&Inputs {
        spec,
        identity: &identity,
        host: &host,
        files,
        targets,
        open_devices: false,
    })
}

fn outcome(fake: &Fake, spec: &Spec, slots: &[&str]) -> Failure {
    let slots = slots.iter().map(|name| fake.fd(name)).collect();
    run(fake, &plan_of(spec, 0), slots, &mut None).unwrap_err()
}

#[test]
fn whole_set_up_in_order() {
    let mut spec = spec()
        .mount(Mount::bind("/src", "/mnt", true))
        .mount(Mount::tmpfs("/run", Some(4096)))
        .mount(Mount::tmpfs("/dev/pipes/x", None))
        .readonly(true);
    spec.limits.ulimits = vec![Ulimit::parse("nofile=64:128").unwrap()];
    let fake = Fake {
        dirs: vec!["/proc/acpi".to_owned(), "/sys/firmware".to_owned()],
        failures: [
            ("open /proc/asound", ENOENT),
            ("open /proc/timer_stats", ENOENT),
            ("keyctl", ENOSYS),
        ]
        .map(|(call, errno)| (call.to_owned(), errno))
        .into(),
        ..Fake::default()
    };
    outcome(&fake, &spec, &["root", "src"]);
    insta::assert_snapshot!(fake.calls().join("\n"));
}

#[test]
fn another_user_keeps_no_capability_and_dies_with_the_parent() {
    let fake = Fake::default();
    let slots = vec![fake.fd("root")];
    run(&fake, &plan_of(&spec(), 1000), slots, &mut None).unwrap_err();
    let calls = fake.calls();
    let at = |call: &str| calls.iter().rposition(|c| c == call).unwrap();
    assert!(at("seccomp") < at("setuid 1000:1000 [1000, 7]"));
    assert!(at("setuid 1000:1000 [1000, 7]") < at("capset 0"));
    assert!(
        at("capset 0") < at("pdeathsig"),
        "changing the user clears it"
    );
}

#[test]
fn a_working_directory_outside_of_the_root_is_refused() {
    let fake = Fake {
        cwd: Some("(unreachable)/etc".to_owned()),
        ..Fake::default()
    };
    let spec = spec().cwd("/proc/self/fd/9");
    assert_eq!(
        outcome(&fake, &spec, &["root"]),
        Failure::Cwd {
            cwd: "/proc/self/fd/9".to_owned()
        }
    );
    assert!(!fake.calls().iter().any(|call| call.starts_with("exec")));
}

#[test]
fn failures_name_the_operation() {
    let mut fake = Fake::default();
    fake.failures.insert("fsmount".to_owned(), EPERM);
    let want = Failure::Step {
        step: "mount proc on /proc".to_owned(),
        errno: EPERM,
    };
    assert_eq!(outcome(&fake, &spec(), &["root"]), want);
    let want = Failure::Step {
        step: "enter the root file system".to_owned(),
        errno: nix::libc::EINVAL,
    };
    assert_eq!(
        outcome(&Fake::default(), &spec(), &[]),
        want,
        "no root handed over"
    );
}

#[test]
fn commands_that_cannot_run() {
    let not_found = |message: &str| Failure::NotFound {
        message: message.to_owned(),
    };
    let denied = |message: &str| Failure::NotExecutable {
        message: message.to_owned(),
    };
    for (name, failures, want) in [
        (
            "tool",
            vec![("executable?", ENOENT)],
            not_found("exec: \"tool\": executable file not found in $PATH"),
        ),
        (
            "tool",
            vec![
                ("executable? /a/tool", EACCES),
                ("executable? /b/tool", ENOENT),
            ],
            denied("exec: \"tool\": permission denied"),
        ),
        (
            "/x/tool",
            vec![("executable?", ENOENT)],
            not_found("exec: \"/x/tool\": stat /x/tool: no such file or directory"),
        ),
        (
            "./tool",
            vec![("executable?", EACCES)],
            denied("exec: \"./tool\": permission denied"),
        ),
        (
            "tool",
            vec![("executable? /a/tool", ENOENT), ("exec", ENOENT)],
            not_found("exec /b/tool: no such file or directory"),
        ),
        ("tool", vec![], denied("exec /a/tool: exec format error")),
        (
            "",
            vec![("executable?", EACCES)],
            not_found("exec: \"\": executable file not found in $PATH"),
        ),
    ] {
        let failures = failures
            .into_iter()
            .map(|(call, errno)| (call.to_owned(), errno))
            .collect();
        let fake = Fake {
            failures,
            ..Fake::default()
        };
        let spec = spec_of([name]);
        assert_eq!(outcome(&fake, &spec, &["root"]), want, "{name:?}");
    }
}
