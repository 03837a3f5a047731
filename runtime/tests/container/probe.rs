//! What this program does when a test starts it again.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use runtime::{Container, Limits, Overlay, Rootfs, Spec, Stdio};

/// Names the role; set by tests only.
const ROLE: &str = "CONTAINER_TEST_ROLE";

/// A command that runs this program in a role.
pub fn command(role: &str, args: &[&Path]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.env(ROLE, role).args(args);
    command
}

/// Runs this program in a role; what it prints.
pub fn again(role: &str, args: &[&Path]) -> String {
    let output = command(role, args).output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned();
    assert!(
        output.status.success(),
        "{out}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    out
}

/// Plays the role this process was started for, if any.
pub fn run() -> Option<ExitCode> {
    let role = std::env::var(ROLE).ok()?;
    let args: Vec<String> = std::env::args().skip(1).collect();
    match role.as_str() {
        "unprivileged" => unprivileged(&args[0]),
        "victim" => victim(&args[0]),
        "self-exe" => open_self_exe(),
        "network" => crate::network::isolated(&args[0]),
        other => panic!("unknown role {other}"),
    }
    Some(ExitCode::SUCCESS)
}

fn overlay(dir: &str) -> Rootfs {
    let path = |name: &str| Path::new(dir).join(name);
    for name in ["upper", "work"] {
        std::fs::create_dir_all(path(name)).unwrap();
    }
    Rootfs::Overlay(Overlay {
        lowers: vec![path("base")],
        stub: Some(path("stub")),
        upper: path("upper"),
        work: path("work"),
    })
}

fn unprivileged(dir: &str) {
    std::os::unix::fs::chown(dir, Some(65534), Some(65534)).unwrap();
    let rootfs = overlay(dir);
    for name in ["upper", "work"] {
        std::os::unix::fs::chown(Path::new(dir).join(name), Some(65534), None).unwrap();
    }
    nix::unistd::setuid(nix::unistd::Uid::from_raw(65534)).unwrap();
    let spec = Spec::new(rootfs, ["true"]);
    println!("{}", Container::spawn(&spec, Stdio::default()).unwrap_err());
}

/// Starts a container that lasts, says its number, and waits to be killed.
fn victim(dir: &str) {
    let limits = Limits {
        memory: Some(64 << 20),
        pids: runtime::Pids::AtMost(20),
        ..Limits::default()
    };
    let script = "trap '' TERM INT HUP; sleep 1000 & sleep 1000";
    let spec = Spec::new(overlay(dir), ["/bin/sh", "-c", script]).env(["PATH=/bin"]);
    let running = Container::spawn(&spec.limits(limits), Stdio::default()).unwrap();
    println!("{}", running.pid());
    std::io::Write::flush(&mut std::io::stdout()).unwrap();
    running.wait().unwrap();
}

/// In the container, as the copy of this program: keeps itself open and lets a shell write to it.
fn open_self_exe() {
    let exe = std::fs::File::open("/proc/self/exe").unwrap();
    rustix::io::fcntl_setfd(&exe, rustix::io::FdFlags::empty()).unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&exe);
    let script = format!(
        "busybox dd if=/bin/busybox of=/proc/self/fd/{number} bs=1 count=4 conv=notrunc 2>/dev/null \
         && echo overwritten; (: > /proc/self/fd/{number}) && echo truncated; echo tried"
    );
    let error = Command::new("/bin/busybox")
        .args(["sh", "-c", &script])
        .exec();
    panic!("{error}");
}
