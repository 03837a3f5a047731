//! Control groups for containers that ask for limits, on version 1, 2 and hybrids of both.
//!
//! A group is named after the process that made it (number, start time, count), below `rbuild`
//! in each hierarchy. So groups whose maker has died can be told apart and are removed.

mod devices;
mod files;
mod forgotten;
mod group;
mod host;
mod shown;
mod supported;
mod values;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::limits::{CgroupParent, Limits, Pids};
use crate::node::{DeviceRule, Devices, Node};
use files::write;
pub use forgotten::sweep_groups;
pub use group::{Group, Sizes};
pub(crate) use host::start_time;
use host::{Hierarchies, Place, Version};
pub(crate) use shown::{Shown, shown};
pub use supported::{Supported, supported};

/// Holds all groups of this crate in a hierarchy.
const PARENT: &str = "rbuild";
/// Ended processes leave a group within milliseconds; waiting is bounded all the same.
const REMOVE_TRIES: u32 = 400;
const REMOVE_PAUSE: Duration = Duration::from_millis(5);

/// The groups of one container, one in each hierarchy that is needed; removed when dropped.
#[derive(Debug)]
pub(crate) struct Cgroup {
    paths: Vec<PathBuf>,
    /// Parents that were made for them, outermost first.
    made: Vec<PathBuf>,
    memory: Option<(PathBuf, Version)>,
    guards_devices: bool,
}

impl Cgroup {
    /// Makes the groups and sets the limits. `announce` hears of the groups before any is made.
    /// They are in every hierarchy where a parent is named.
    /// With [`Devices::Usual`] the group keeps from all devices but those, `nodes` and what `rules`
    /// add, if it can.
    pub(crate) fn create(
        limits: &Limits,
        (devices, nodes, rules): (Devices, &[Node], &[DeviceRule]),
        lasting: Option<&str>,
        announce: impl FnOnce(&[PathBuf]) -> Result<()>,
    ) -> Result<Self> {
        let host = Hierarchies::of_this_host()?;
        let name = match lasting {
            Some(name) => name.to_owned(),
            None => own_name()?,
        };
        let mut places = Vec::new();
        for (controller, limit) in values::needed(limits) {
            match host.place_of(controller) {
                Some(place) => places.push((controller, place)),
                None if is_precaution(controller, limits) => {}
                None => return Err(Error::NoController { controller, limit }),
            }
        }
        let guard = match devices {
            Devices::Usual => host.devices(),
            Devices::Closed | Devices::All => None,
        };
        let named = limits.parent.as_ref().map(CgroupParent::path);
        let everywhere = match named.is_some() || lasting.is_some() {
            true => host.all(),
            false => Vec::new(),
        };
        let home = |place: &Place| {
            place
                .mount
                .join(named.unwrap_or(Path::new("")))
                .join(PARENT)
        };
        let mut paths: Vec<PathBuf> = Vec::new();
        let wanted = places.iter().map(|(_, place)| *place).chain(guard);
        for place in wanted.chain(everywhere.iter().copied()) {
            let path = home(place).join(&name);
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        announce(&paths)?;
        let mut cgroup = Self {
            made: missing(&paths, named),
            paths,
            memory: None,
            guards_devices: false,
        };
        let mut refused = Vec::new();
        for (controller, place) in places {
            let path = home(place).join(&name);
            match set_up(controller, place, &path, limits) {
                // A host may forbid this program its control groups, as containers do.
                Err(_) if is_precaution(controller, limits) => refused.push(path),
                made => made?,
            }
            if controller == "memory" {
                cgroup.memory = Some((home(place).join(&name), place.version));
            }
        }
        for place in everywhere {
            let path = home(place).join(&name);
            if !path.exists() && !refused.contains(&path) {
                remove_stale(&home(place));
                match make_plain(place, &path) {
                    // Nobody has asked for one here.
                    Err(_) if named.is_none() => refused.push(path),
                    made => made?,
                }
            }
        }
        if let Some(place) = guard {
            let path = home(place).join(&name);
            let rules = devices::rules(nodes, rules);
            remove_stale(&home(place));
            let made = make(&path).and_then(|()| devices::restrict(&path, place.version, &rules));
            cgroup.guards_devices = made.is_ok();
            // Then device nodes work nowhere: as safe, if not as useful.
            if made.is_err() && !path.exists() {
                refused.push(path);
            }
        }
        // In version 2 all controllers share one group.
        cgroup
            .paths
            .retain(|path| !refused.contains(path) || path.exists());
        Ok(cgroup)
    }

    /// Puts a process into the groups.
    pub(crate) fn add(&self, pid: i32) -> Result<()> {
        self.paths
            .iter()
            .try_for_each(|path| write(&path.join("cgroup.procs"), &pid.to_string()))
    }

    /// Whether processes in the groups can open no device that they must not.
    pub(crate) fn guards_devices(&self) -> bool {
        self.guards_devices
    }

    /// Whether the kernel has killed a process because of the memory limit.
    pub(crate) fn oom_killed(&self) -> bool {
        let Some((path, version)) = &self.memory else {
            return false;
        };
        let file = match version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        let text = fs::read_to_string(path.join(file)).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.strip_prefix("oom_kill "))
            .any(|count| count.trim() != "0")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        remove_all(&self.paths);
        for made in self.made.iter().rev() {
            // Whoever has something in it keeps it.
            let _ = fs::remove_dir(made);
        }
    }
}

/// The parents of the groups that are not there yet, of those that were asked for by name.
fn missing(paths: &[PathBuf], named: Option<&Path>) -> Vec<PathBuf> {
    let depth = named.map_or(0, |named| named.components().count());
    let mut missing = Vec::new();
    for path in paths {
        // The group itself and the one that holds all of this crate's are not among them.
        let mut parents: Vec<&Path> = path.ancestors().skip(2).take(depth).collect();
        parents.reverse();
        let parents = parents.into_iter().filter(|parent| !parent.exists());
        missing.extend(parents.map(Path::to_owned));
    }
    missing
}

/// Whether the container runs without this controller where the host has none.
fn is_precaution(controller: &str, limits: &Limits) -> bool {
    controller == "pids" && matches!(limits.pids, Pids::Precaution(_))
}

/// Makes the group of one controller and sets its limits.
fn set_up(controller: &'static str, place: &Place, path: &Path, limits: &Limits) -> Result<()> {
    if let Some(home) = path.parent() {
        remove_stale(home);
    }
    make(path)?;
    match place.version {
        Version::One if controller == "cpuset" => inherit_cpuset(&place.mount, path)?,
        Version::One => {}
        Version::Two => enable(&place.mount, path, place.name_of(controller))?,
    }
    for (file, value, optional) in values::files(controller, place.version, limits) {
        let file = path.join(file);
        if !optional || file.exists() {
            write(&file, &value)?;
        }
    }
    Ok(())
}

/// Makes a group that limits nothing.
fn make_plain(place: &Place, path: &Path) -> Result<()> {
    make(path)?;
    match place.version {
        Version::One if place.has("cpuset") => inherit_cpuset(&place.mount, path)?,
        Version::One => {}
        // Counting takes the controllers; where one cannot be had there is no count.
        Version::Two => {
            for controller in ["cpu", "cpuset", "memory", "pids", "io"] {
                let _ = enable(&place.mount, path, controller);
            }
        }
    }
    Ok(())
}

/// Removes the groups of all processes that have died, in every hierarchy.
pub(crate) fn sweep() -> Result<()> {
    for mount in Hierarchies::of_this_host()?.mounts() {
        let parent = mount.join(PARENT);
        remove_stale(&parent);
        // Whose owner died before it made its own group in it. Others' groups keep it.
        let _ = fs::remove_dir(&parent);
    }
    Ok(())
}

/// Makes a group; its parent may be removed by another process at the same time.
fn make(path: &Path) -> Result<()> {
    let mut tries = 0;
    loop {
        match fs::create_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < 10 => tries += 1,
            Err(cause) => {
                return Err(Error::Cgroup {
                    path: path.to_owned(),
                    step: "make".to_owned(),
                    cause,
                });
            }
            Ok(()) => return Ok(()),
        }
    }
}

/// Version 2: a controller must be enabled at every level above.
fn enable(mount: &Path, path: &Path, controller: &str) -> Result<()> {
    for dir in above(mount, path) {
        let file = dir.join("cgroup.subtree_control");
        let on = fs::read_to_string(&file).unwrap_or_default();
        if !on.split_whitespace().any(|name| name == controller) {
            write(&file, &format!("+{controller}"))?;
        }
    }
    Ok(())
}

/// The groups above one, from the root of its hierarchy down.
fn above<'p>(mount: &Path, path: &'p Path) -> Vec<&'p Path> {
    let above = path.ancestors().skip(1);
    let mut above: Vec<&Path> = above.take_while(|dir| dir.starts_with(mount)).collect();
    above.reverse();
    above
}

/// Version 1: a new cpuset is empty and takes no process until it is filled.
fn inherit_cpuset(mount: &Path, path: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let mut outer = String::new();
        for dir in above(mount, path).into_iter().chain([path]) {
            let file = dir.join(file);
            let own = fs::read_to_string(&file).unwrap_or_default();
            if own.trim().is_empty() {
                write(&file, &outer)?;
            } else {
                outer = own.trim().to_owned();
            }
        }
    }
    Ok(())
}

/// Kills what is left in the groups and removes them.
pub(crate) fn remove_all(paths: &[PathBuf]) {
    for path in paths {
        for _ in 0..REMOVE_TRIES {
            // A container may have made groups in its own, as systemd does.
            for below in groups_below(path).iter().rev() {
                if fs::remove_dir(below).is_err() {
                    kill_members(below);
                }
            }
            match fs::remove_dir(path) {
                Err(error) if error.raw_os_error() == Some(nix::libc::EBUSY) => {
                    kill_members(path);
                    std::thread::sleep(REMOVE_PAUSE);
                }
                _ => break,
            }
        }
        if let Some(parent) = path.parent()
            && parent.ends_with(PARENT)
        {
            // Another container's group keeps it.
            let _ = fs::remove_dir(parent);
        }
    }
}

/// All groups below one, each before those below it.
pub(super) fn groups_below(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    let mut at = 0;
    while let Some(group) = found.get(at) {
        let entries = fs::read_dir(group).into_iter().flatten().flatten();
        let groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let groups: Vec<PathBuf> = groups.map(|entry| entry.path()).collect();
        found.extend(groups);
        at += 1;
    }
    found.remove(0);
    found
}

fn kill_members(path: &Path) {
    if fs::write(path.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let members = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    for pid in members.lines().filter_map(|line| line.parse().ok()) {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Removes the groups of processes that have died.
fn remove_stale(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let mut parts = name.split('-');
        if let (Some(Ok(pid)), Some(Ok(start)), Some(_)) = (
            parts.next().map(str::parse::<u32>),
            parts.next().map(str::parse::<u64>),
            parts.next(),
        ) && start_time(pid) != Some(start)
        {
            remove_all(&[entry.path()]);
        }
    }
}

fn own_name() -> Result<String> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let pid = std::process::id();
    let start = start_time(pid).ok_or_else(|| {
        Error::setup(
            "read /proc/self/stat",
            io::Error::from(io::ErrorKind::InvalidData),
        )
    })?;
    Ok(format!(
        "{pid}-{start}-{}",
        COUNT.fetch_add(1, Ordering::Relaxed)
    ))
}
