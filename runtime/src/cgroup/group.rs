//! The control groups of a container that is kept, found by its name.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::files::write;
use super::host::{Hierarchies, Place, Version};
use super::{PARENT, groups_below, kill_members, remove_all, set_up, values};
use crate::error::{Error, Result};
use crate::limits::{CgroupParent, Limits};

/// How long a group may take to freeze.
const FREEZING: Duration = Duration::from_secs(10);
const FREEZING_PAUSE: Duration = Duration::from_millis(2);

/// The control groups of one container, in whichever hierarchies it has any.
#[derive(Debug)]
pub struct Group {
    places: Vec<(Place, PathBuf)>,
}

/// What a container uses at the moment. Sizes in bytes, times in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Memory without what the kernel can take back at once (inactive files).
    pub memory: u64,
    /// Its limit; nothing where it is as much as the host has.
    pub memory_limit: Option<u64>,
    /// Processor time of all processes since the start.
    pub cpu: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Their limit.
    pub pids_limit: Option<u64>,
    /// Read from block devices.
    pub read: u64,
    /// Written to block devices.
    pub written: u64,
}

impl Group {
    /// The groups of a name, below a parent that was asked for.
    ///
    /// # Errors
    /// [`Error::Setup`] when /proc is not there.
    pub fn named(name: &str, parent: Option<&CgroupParent>) -> Result<Self> {
        let below = parent.map_or(Path::new(""), CgroupParent::path);
        let host = Hierarchies::of_this_host()?;
        let places = host.all().into_iter().filter_map(|place| {
            let path = place.mount.join(below).join(PARENT).join(name);
            path.is_dir().then(|| (place.clone(), path))
        });
        Ok(Self {
            places: places.collect(),
        })
    }

    /// Puts a process into them.
    pub(crate) fn add(&self, pid: i32) -> Result<()> {
        self.places.iter().try_for_each(|(_, path)| {
            let put = |into: &Path| write(&into.join("cgroup.procs"), &pid.to_string());
            match put(path) {
                // In version 2 a group with groups has no processes of its own where these have
                // controllers: those of systemd are beside its first process.
                Err(Error::Cgroup { cause, .. })
                    if cause.raw_os_error() == Some(nix::libc::EBUSY) =>
                {
                    let below = groups_below(path);
                    let mut inhabited = below.iter().filter(|group| !members(group).is_empty());
                    inhabited
                        .next()
                        .map_or_else(|| put(path), |group| put(group))
                }
                done => done,
            }
        })
    }

    /// The processes that are in them.
    pub fn processes(&self) -> Vec<i32> {
        // Any will do: all hold the same. The one of freezing is there on both versions.
        let place = self.with("freezer").or_else(|| self.places.first());
        let Some((_, path)) = place else {
            return Vec::new();
        };
        let mut all = members(path);
        all.extend(groups_below(path).iter().flat_map(|group| members(group)));
        all
    }

    fn with(&self, controller: &str) -> Option<&(Place, PathBuf)> {
        let mut places = self.places.iter();
        places.find(|(place, _)| place.has(controller))
    }

    fn unified(&self) -> Option<&(Place, PathBuf)> {
        let mut places = self.places.iter();
        places.find(|(place, _)| place.version == Version::Two)
    }

    /// Stops all processes where they are, and returns when they stand.
    ///
    /// # Errors
    /// [`Error::NoController`] where the host cannot; [`Error::Cgroup`] when they do not stand.
    pub fn freeze(&self) -> Result<()> {
        self.set_frozen(true)
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// As [`freeze`](Self::freeze).
    pub fn thaw(&self) -> Result<()> {
        self.set_frozen(false)
    }

    fn set_frozen(&self, frozen: bool) -> Result<()> {
        let (file, value, state, wanted) = match (self.with("freezer"), self.unified()) {
            (Some((_, path)), _) => {
                let wanted = if frozen { "FROZEN" } else { "THAWED" };
                let file = path.join("freezer.state");
                (file.clone(), wanted, file, wanted)
            }
            (None, Some((_, path))) => {
                let value = if frozen { "1" } else { "0" };
                let wanted = if frozen { "frozen 1" } else { "frozen 0" };
                (
                    path.join("cgroup.freeze"),
                    value,
                    path.join("cgroup.events"),
                    wanted,
                )
            }
            (None, None) => {
                return Err(Error::NoController {
                    controller: "freezer",
                    limit: "pausing",
                });
            }
        };
        write(&file, value)?;
        let until = Instant::now() + FREEZING;
        loop {
            let found = fs::read_to_string(&state).unwrap_or_default();
            if found.lines().any(|line| line == wanted) {
                return Ok(());
            }
            if Instant::now() >= until {
                // What stands half-way is worse than what runs.
                let undone = if file.ends_with("freezer.state") {
                    "THAWED"
                } else {
                    "0"
                };
                write(&file, undone)?;
                return Err(Error::Cgroup {
                    path: file,
                    step: format!("become {wanted:?}"),
                    cause: std::io::ErrorKind::TimedOut.into(),
                });
            }
            std::thread::sleep(FREEZING_PAUSE);
        }
    }

    /// Kills all processes, frozen ones too.
    pub fn kill(&self) {
        for (_, path) in &self.places {
            kill_members(path);
            groups_below(path)
                .iter()
                .for_each(|group| kill_members(group));
        }
        let _ = self.thaw();
    }

    /// Kills all processes and removes the groups.
    pub fn remove(self) {
        let _ = self.thaw();
        let paths: Vec<PathBuf> = self.places.into_iter().map(|(_, path)| path).collect();
        remove_all(&paths);
    }

    /// Sets limits anew, those that are told.
    ///
    /// # Errors
    /// [`Error::NoController`], [`Error::Cgroup`].
    pub fn limit(&self, limits: &Limits) -> Result<()> {
        for (controller, limit) in values::needed(limits) {
            let place = self.with(controller);
            let (place, path) = place.ok_or(Error::NoController { controller, limit })?;
            set_up(controller, place, path, limits)?;
        }
        Ok(())
    }

    /// What is used now; what the host does not count is 0.
    pub fn sizes(&self) -> Sizes {
        let mut sizes = Sizes::default();
        for (place, path) in &self.places {
            let read = |file: &str| fs::read_to_string(path.join(file)).unwrap_or_default();
            let number = |file: &str| read(file).trim().parse::<u64>().ok();
            match place.version {
                Version::One => {
                    if place.has("memory") {
                        let used = number("memory.usage_in_bytes").unwrap_or(0);
                        let idle = field(&read("memory.stat"), "total_inactive_file");
                        sizes.memory = used.saturating_sub(idle.unwrap_or(0));
                        let limit = number("memory.limit_in_bytes");
                        // Without a limit it is the largest number of pages.
                        sizes.memory_limit = limit.filter(|limit| *limit < 1 << 60);
                    }
                    if place.has("cpuacct") {
                        sizes.cpu = number("cpuacct.usage").unwrap_or(0);
                    }
                    if place.has("blkio") {
                        let text = read("blkio.throttle.io_service_bytes");
                        sizes.read = sum(&text, "Read");
                        sizes.written = sum(&text, "Write");
                    }
                }
                Version::Two => {
                    if let Some(used) = number("memory.current") {
                        let idle = field(&read("memory.stat"), "inactive_file");
                        sizes.memory = used.saturating_sub(idle.unwrap_or(0));
                        sizes.memory_limit = number("memory.max");
                    }
                    // Counted without the controller too.
                    if sizes.cpu == 0 {
                        let micros = field(&read("cpu.stat"), "usage_usec").unwrap_or(0);
                        sizes.cpu = micros.saturating_mul(1000);
                    }
                    if place.has("io") {
                        let text = read("io.stat");
                        sizes.read = pairs(&text, "rbytes=");
                        sizes.written = pairs(&text, "wbytes=");
                    }
                }
            }
            if place.has("pids") {
                sizes.pids = number("pids.current").unwrap_or(0);
                sizes.pids_limit = number("pids.max");
            }
        }
        if sizes.pids == 0
            && let Some((_, path)) = self.places.first()
        {
            sizes.pids = threads(path);
        }
        sizes
    }
}

/// How many threads are in a group and in those below it.
fn threads(group: &Path) -> u64 {
    // In version 1 `tasks` are the threads.
    let of = |group: &Path| {
        let files = ["cgroup.threads", "tasks"].into_iter();
        let text = files
            .map(|name| fs::read_to_string(group.join(name)))
            .find_map(Result::ok);
        text.map_or(0, |text| text.lines().count())
    };
    let below = groups_below(group);
    let all = below.iter().map(|group| of(group)).sum::<usize>() + of(group);
    u64::try_from(all).unwrap_or(u64::MAX)
}

/// The processes in a group itself.
fn members(group: &Path) -> Vec<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// The number after a word at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let (_, value) = lines.find(|(found, _)| *found == name)?;
    value.trim().parse().ok()
}

/// The sum of the lines `MAJOR:MINOR KIND NUMBER` of a kind.
fn sum(text: &str, kind: &str) -> u64 {
    let numbers = text.lines().filter_map(|line| {
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some(_), Some(found), Some(number)) if found == kind => number.parse::<u64>().ok(),
            _ => None,
        }
    });
    numbers.sum()
}

/// The sum of all `KEY=NUMBER` of a key, which has its `=` with it.
fn pairs(text: &str, key: &str) -> u64 {
    let words = text.split_ascii_whitespace();
    let numbers = words.filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok());
    numbers.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_a_container_has_made_go_with_its_own() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let host = Hierarchies::of_this_host().unwrap();
        let group = format!("rbuild-nested-{}", std::process::id());
        let paths: Vec<PathBuf> = host.all().iter().map(|p| p.mount.join(&group)).collect();
        if fs::create_dir(&paths[0]).is_err() {
            println!("skipped: no group can be made");
            return;
        }
        for path in &paths {
            fs::create_dir_all(path.join("system.slice/x.service")).unwrap();
            fs::create_dir(path.join("init.scope")).unwrap();
            let below = groups_below(path);
            assert_eq!(below.len(), 3, "{below:?}");
            assert!(below.last().unwrap().ends_with("system.slice/x.service"));
        }
        remove_all(&paths);
        assert!(paths.iter().all(|path| !path.exists()));
    }

    #[test]
    fn numbers_of_the_kernel_are_understood() {
        let stat = "cache 4096\ninactive_file 12\ntotal_inactive_file 34\n";
        assert_eq!(field(stat, "total_inactive_file"), Some(34));
        assert_eq!(field(stat, "file"), None);
        let throttle = "8:0 Read 10\n8:0 Write 20\n253:0 Read 5\nTotal 35\n";
        assert_eq!((sum(throttle, "Read"), sum(throttle, "Write")), (15, 20));
        let io = "8:0 rbytes=7 wbytes=9 rios=1\n8:16 rbytes=1 wbytes=2\n";
        assert_eq!((pairs(io, "rbytes="), pairs(io, "wbytes=")), (8, 11));
    }
}
