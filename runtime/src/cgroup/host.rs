//! Which control group hierarchies this host has.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The controller of block devices, as version 1 calls it.
pub(super) const BLKIO: &str = "blkio";
/// Options that are no hierarchy's name.
const ASIDE: [&str; 7] = [
    "rw",
    "ro",
    "xattr",
    "clone_children",
    "cpuset_v2_mode",
    "noprefix",
    "seclabel",
];

/// Version of the interface of a hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// Where a controller is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) mount: PathBuf,
    pub(super) version: Version,
    controllers: Vec<String>,
}

impl Place {
    /// Whether the controller is here, by its name in version 1.
    pub(super) fn has(&self, controller: &str) -> bool {
        let name = self.name_of(controller);
        self.controllers.iter().any(|known| known == name)
    }

    /// How a controller of version 1 is called here.
    pub(super) fn name_of<'n>(&self, controller: &'n str) -> &'n str {
        match (controller, self.version) {
            (BLKIO, Version::Two) => "io",
            (name, _) => name,
        }
    }

    /// The options that tell it from others.
    pub(super) fn options(&self) -> impl Iterator<Item = &str> {
        let known = self.controllers.iter().map(String::as_str);
        let names = |option: &&str| !option.contains('=') || option.starts_with("name=");
        known.filter(move |option| !ASIDE.contains(option) && names(option))
    }
}

/// Every hierarchy that is mounted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hierarchies(Vec<Place>);

impl Hierarchies {
    pub(super) fn of_this_host() -> Result<Self> {
        let text = fs::read_to_string("/proc/self/mountinfo")
            .map_err(|error| Error::setup("read /proc/self/mountinfo", error))?;
        let mut places = parse(&text);
        for place in &mut places {
            if place.version == Version::Two {
                let known = fs::read_to_string(place.mount.join("cgroup.controllers"));
                place.controllers = known
                    .unwrap_or_default()
                    .split_whitespace()
                    .map(str::to_owned)
                    .collect();
            }
        }
        Ok(Self(places))
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<&Place> {
        self.0.iter().collect()
    }

    /// Where they are mounted.
    pub(super) fn mounts(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|place| place.mount.as_path())
    }

    /// Where devices are kept away: by a controller of version 1, else by a program in any group
    /// of version 2.
    pub(super) fn devices(&self) -> Option<&Place> {
        let any_of_two = || self.0.iter().find(|place| place.version == Version::Two);
        self.place_of("devices").or_else(any_of_two)
    }

    /// The hierarchy of version 2.
    #[cfg(test)]
    pub(super) fn unified(&self) -> Option<&Path> {
        let mut two = self.0.iter().filter(|place| place.version == Version::Two);
        two.next().map(|place| place.mount.as_path())
    }

    pub(super) fn place_of(&self, controller: &str) -> Option<&Place> {
        self.0.iter().find(|place| place.has(controller))
    }
}

/// Reads mountinfo (proc_pid_mountinfo(5)): `… root mountpoint options … - type source options`.
fn parse(mountinfo: &str) -> Vec<Place> {
    let mut places = Vec::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let (mut left, mut right) = (left.split(' '), right.split(' '));
        let (Some(root), Some(mount)) = (left.nth(3), left.next()) else {
            continue;
        };
        let (Some(kind), Some(options)) = (right.next(), right.nth(1)) else {
            continue;
        };
        let version = match kind {
            "cgroup" => Version::One,
            "cgroup2" => Version::Two,
            _ => continue,
        };
        if root != "/" {
            continue;
        }
        let controllers = options.split(',').map(str::to_owned).collect();
        places.push(Place {
            mount: PathBuf::from(mount),
            version,
            controllers,
        });
    }
    places
}

/// When a process started, in clock ticks since boot; with its number it identifies it for good.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; field 22 is the 20th after it.
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(19)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_hierarchies() {
        let text = "\
30 25 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:5 - cgroup2 cgroup2 rw
33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
34 30 0:30 /docker/x /bound/memory rw,nosuid - cgroup cgroup rw,memory
35 30 0:31 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory
";
        let host = Hierarchies(parse(text));
        let mount = |name| host.place_of(name).map(|p| p.mount.display().to_string());
        assert_eq!(mount("cpu").as_deref(), Some("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(mount("memory").as_deref(), Some("/sys/fs/cgroup/memory"));
        assert_eq!(mount("pids"), None);
    }

    #[test]
    fn own_start_time_is_known_and_stable() {
        let own = start_time(std::process::id());
        assert!(own.is_some());
        assert_eq!(own, start_time(std::process::id()));
        assert_eq!(start_time(u32::MAX), None);
    }
}
