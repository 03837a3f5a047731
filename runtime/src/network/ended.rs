//! What is left of network namespaces that are gone: each had a folder of its own, which nobody
//! looks into any more.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::leases;

/// What folders of namespaces begin with; the number of the namespace follows.
const PREFIX: &str = "net-";
/// The number of the PID namespace that sees all processes (`PROC_PID_INIT_INO` in
/// linux/proc_ns.h).
const ALL_PROCESSES: u64 = 0xefff_fffc;

/// What the folder was like when it was last looked through, by its time of modification: so that
/// nobody looks at every process of the machine again while no folder has come.
const LOOKED: &str = "looked";

/// Removes the folders of network namespaces in which nothing is. Where not all of the machine can
/// be seen, all stay. Whoever finds no new folder leaves it to whoever does.
///
/// # Errors
/// Those of reading the folder and /proc.
pub fn sweep_ended(state_dir: &Path) -> io::Result<()> {
    let own = leases::directory(state_dir).map_err(io::Error::other)?;
    // From before the folders are listed: what comes meanwhile is found the next time.
    let found = fs::metadata(state_dir)?;
    let now = format!("{}.{:09}", found.mtime(), found.mtime_nsec());
    let looked = state_dir.join(LOOKED);
    if fs::read_to_string(&looked).is_ok_and(|before| before == now) {
        return Ok(());
    }
    let mut others = folders(state_dir)?;
    others.retain(|(_, path)| *path != own);
    if others.is_empty() || fs::metadata("/proc/self/ns/pid")?.ino() != ALL_PROCESSES {
        return Ok(());
    }
    let alive = alive(Path::new("/proc"))?;
    for (number, path) in others {
        if !alive.contains(&number) {
            let _ = fs::remove_dir_all(path);
        }
    }
    // In place: a name that comes would change the folder. What is half written is looked at again.
    fs::write(looked, now)
}

/// The folders of namespaces, with these's numbers.
fn folders(state_dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(state_dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            found.push((number, entry.path()));
        }
    }
    Ok(found)
}

/// The namespaces that processes are in, or that are mounted somewhere here.
fn alive(proc: &Path) -> io::Result<HashSet<u64>> {
    let mut alive = HashSet::new();
    let mounts = fs::read_to_string(proc.join("self/mountinfo"))?;
    alive.extend(mounts.lines().filter_map(mounted));
    for entry in fs::read_dir(proc)? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        // Threads may be elsewhere than their process.
        let Some(tasks) = unless_gone(fs::read_dir(entry.path().join("task")))? else {
            continue;
        };
        for task in tasks {
            let Some(task) = unless_gone(task)? else {
                continue;
            };
            match fs::metadata(task.path().join("ns/net")) {
                // The first process may be kept from everybody; it is where the machine's network
                // is, as others are that can be seen.
                Err(error) if name == "1" && error.kind() == io::ErrorKind::PermissionDenied => {}
                namespace => alive.extend(unless_gone(namespace)?.map(|found| found.ino())),
            }
        }
    }
    Ok(alive)
}

/// The network namespace that a line of mountinfo (proc_pid_mountinfo(5)) mounts.
fn mounted(line: &str) -> Option<u64> {
    let root = line.split(' ').nth(3)?;
    root.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// Processes end at any moment; what else cannot be seen may be anything.
fn unless_gone<T>(seen: io::Result<T>) -> io::Result<Option<T>> {
    match seen {
        Ok(seen) => Ok(Some(seen)),
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(nix::libc::ESRCH) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounted_namespaces_are_told_from_other_mounts() {
        let line = "52 29 0:4 net:[4026532299] /run/netns/a rw shared:28 - nsfs nsfs rw";
        assert_eq!(mounted(line), Some(4_026_532_299));
        assert_eq!(mounted("22 1 8:1 / / rw - ext4 /dev/vda rw"), None);
        assert_eq!(
            mounted("53 29 0:4 mnt:[4026532300] /m rw - nsfs nsfs rw"),
            None
        );
    }

    #[test]
    fn folders_of_namespaces_that_are_gone_go() {
        let dir = tempfile::tempdir().unwrap();
        // There is no namespace of this number: they begin far above.
        for name in ["net-1", "net-x", "other"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("net-1/rbuild1.lock"), "").unwrap();
        let own = leases::directory(dir.path()).unwrap();
        fs::create_dir(&own).unwrap();
        sweep_ended(dir.path()).unwrap();
        let sees_all = fs::metadata("/proc/self/ns/pid").unwrap().ino() == ALL_PROCESSES;
        assert_eq!(dir.path().join("net-1").exists(), !sees_all);
        assert!(own.exists());
        assert!(dir.path().join("net-x").exists() && dir.path().join("other").exists());
        if !sees_all {
            return;
        }
        // What the note tells of is not looked through again.
        fs::create_dir(dir.path().join("net-2")).unwrap();
        let found = fs::metadata(dir.path()).unwrap();
        let now = format!("{}.{:09}", found.mtime(), found.mtime_nsec());
        fs::write(dir.path().join(LOOKED), now).unwrap();
        sweep_ended(dir.path()).unwrap();
        assert!(dir.path().join("net-2").exists());
        // What it does not tell of is.
        fs::write(dir.path().join(LOOKED), "1.000000000").unwrap();
        sweep_ended(dir.path()).unwrap();
        assert!(!dir.path().join("net-2").exists());
    }

    #[test]
    fn the_namespace_of_a_process_is_alive() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let own = fs::metadata("/proc/self/ns/net").unwrap().ino();
        assert!(alive(Path::new("/proc")).unwrap().contains(&own));
    }
}
