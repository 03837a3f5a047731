//! What a build must not leave behind.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where builds lease addresses of their bridge.
const LEASES: &str = "/run/rbuild";

/// Asserts that nothing on this machine still belongs to the store below `root`: no mount in any
/// mount namespace, no process; and that no build that is over left a link or a control group.
///
/// What ends with a process may take the kernel a moment.
#[track_caller]
pub fn assert_nothing_left(root: &Path) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let mut found = of_store(root);
        found.extend(links());
        found.extend(groups());
        if found.is_empty() {
            return;
        }
        assert!(
            Instant::now() < until,
            "left behind in {}:\n{}",
            root.display(),
            found.join("\n")
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn processes() -> Vec<(u32, PathBuf)> {
    let entries = fs::read_dir("/proc").expect("/proc");
    entries
        .flatten()
        .filter_map(|e| Some((e.file_name().to_str()?.parse().ok()?, e.path())))
        .collect()
}

fn of_store(root: &Path) -> Vec<String> {
    let needle = root.to_str().expect("a path of UTF-8");
    let own = std::process::id();
    let mut found = Vec::new();
    for (pid, proc) in processes() {
        let read = |name: &str| fs::read(proc.join(name)).unwrap_or_default();
        let mounts = String::from_utf8_lossy(&read("mountinfo")).into_owned();
        let name = String::from_utf8_lossy(&read("comm")).trim().to_owned();
        for line in mounts.lines().filter(|line| line.contains(needle)) {
            found.push(format!("mount seen by process {pid} ({name}): {line}"));
        }
        if pid == own {
            continue;
        }
        let environment = String::from_utf8_lossy(&read("environ")).into_owned();
        let arguments = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        let program = fs::read_link(proc.join("exe"));
        let ours = program.is_ok_and(|exe| exe.to_string_lossy().contains("rbuild"))
            || name.contains("rbuild");
        // Monitors have neither, but files of their containers.
        let files = || {
            let open = fs::read_dir(proc.join("fd"))
                .into_iter()
                .flatten()
                .flatten();
            let mut paths = open.filter_map(|entry| fs::read_link(entry.path()).ok());
            paths.any(|path| path.to_string_lossy().contains(needle))
        };
        if ours && (environment.contains(needle) || arguments.contains(needle) || files()) {
            found.push(format!("process {pid} ({name}): {arguments}"));
        }
    }
    found
}

/// Links of builds whose address nobody holds any more.
fn links() -> Vec<String> {
    let entries = fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten();
    let names = entries.filter_map(|e| e.file_name().into_string().ok());
    names
        .filter(|name| {
            let address = name
                .strip_prefix("vrb")
                .and_then(|hex| u32::from_str_radix(hex, 16).ok())
                .map(Ipv4Addr::from);
            address.is_some_and(|address| !is_leased(address))
        })
        .map(|name| format!("network link {name} of no build"))
        .collect()
}

fn is_leased(address: Ipv4Addr) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let namespace = fs::metadata("/proc/self/ns/net").expect("/proc").ino();
    // Of builds, and of containers.
    ["rbuild0", "rbuild1"].iter().any(|bridge| {
        let file = File::open(format!("{LEASES}/net-{namespace}/{bridge}-{address}.lease"));
        file.is_ok_and(|file| file.try_lock_shared().is_err())
    })
}

/// Control groups of builds (`rbuild/PID-…`) whose process has ended.
fn groups() -> Vec<String> {
    let top = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(top).into_iter().flatten().flatten();
    let parents = hierarchies
        .map(|e| e.path().join("rbuild"))
        .chain([top.join("rbuild")]);
    parents
        .flat_map(|parent| fs::read_dir(parent).into_iter().flatten().flatten())
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            // Those of containers have their IDs.
            let pid = name.split_once('-').map(|(pid, _)| pid);
            pid.and_then(|pid| pid.parse::<u32>().ok())
                .is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
        })
        .map(|entry| format!("control group {}", entry.path().display()))
        .collect()
}
