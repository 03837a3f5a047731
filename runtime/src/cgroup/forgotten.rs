//! Groups of containers that nobody knows any more: killed, and their store deleted.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::host::Hierarchies;
use super::{PARENT, groups_below};
use crate::error::Result;

/// How old such a group is at least: one that was just made may get its process yet.
const AGE: Duration = Duration::from_secs(60);
/// Digits of a container's ID, which its groups are named by.
const DIGITS: usize = 64;

/// Removes the groups of containers that have had no process for a minute. Those of one that runs
/// always have some, and who starts one makes its groups anew.
///
/// # Errors
/// [`crate::Error::Setup`] when /proc is not there.
pub fn sweep_groups() -> Result<()> {
    for mount in Hierarchies::of_this_host()?.mounts() {
        remove_forgotten(&mount.join(PARENT), AGE);
    }
    Ok(())
}

/// Removes those in `home` that are older than `age`.
fn remove_forgotten(home: &Path, age: Duration) {
    let entries = fs::read_dir(home).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    for path in paths.filter(|path| is_of_container(path) && is_older(path, age)) {
        // The innermost first. The kernel keeps a group that has a process.
        let mut groups: Vec<PathBuf> = groups_below(&path);
        groups.insert(0, path);
        if groups.iter().any(|group| has_processes(group)) {
            continue;
        }
        for group in groups.iter().rev() {
            if fs::remove_dir(group).is_err() {
                break;
            }
        }
    }
}

fn is_of_container(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| {
        name.len() == DIGITS && name.bytes().all(|b| b.is_ascii_hexdigit()) && path.is_dir()
    })
}

fn is_older(path: &Path, age: Duration) -> bool {
    let changed = path.metadata().and_then(|found| found.modified());
    changed.is_ok_and(|time| time.elapsed().is_ok_and(|found| found >= age))
}

/// What cannot be read may have some.
fn has_processes(group: &Path) -> bool {
    let listed = fs::read_to_string(group.join("cgroup.procs"));
    listed.map_or(true, |text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_without_processes_go_and_others_stay() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let host = Hierarchies::of_this_host().unwrap();
        let Some(place) = host.all().into_iter().find(|place| place.has("freezer")) else {
            println!("skipped: no hierarchy with a freezer");
            return;
        };
        let home = place
            .mount
            .join(format!("rbuild-forgotten-{}", std::process::id()));
        let [empty, lives] = ["a", "b"].map(|digit| home.join(digit.repeat(DIGITS)));
        let other = home.join("other");
        if fs::create_dir_all(empty.join("system.slice/x.service")).is_err() {
            println!("skipped: no group can be made");
            return;
        }
        fs::create_dir_all(lives.join("inner")).unwrap();
        fs::create_dir(&other).unwrap();
        let mut sleeps = std::process::Command::new("sleep");
        let mut sleeps = sleeps.arg("1000").spawn().unwrap();
        fs::write(lives.join("inner/cgroup.procs"), sleeps.id().to_string()).unwrap();
        remove_forgotten(&home, Duration::from_secs(3600));
        assert!(empty.exists(), "it is too young");
        remove_forgotten(&home, Duration::ZERO);
        let left = [&empty, &lives, &other].map(|path| path.exists());
        sleeps.kill().unwrap();
        sleeps.wait().unwrap();
        remove_forgotten(&home, Duration::ZERO);
        assert!(!lives.exists());
        fs::remove_dir(&other).unwrap();
        fs::remove_dir(&home).unwrap();
        assert_eq!(left, [false, true, true]);
    }
}
