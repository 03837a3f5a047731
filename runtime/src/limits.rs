//! What a container's processes may use: control group limits and ulimits.

use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Resource limits, as Docker's flags of the same names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of memory and swap together; -1 is unlimited swap.
    pub memory_swap: Option<i64>,
    /// Microseconds of CPU time in each period.
    pub cpu_quota: Option<i64>,
    /// Length of a period in microseconds.
    pub cpu_period: Option<u64>,
    /// Relative weight, 2 to 262144; 1024 is the default.
    pub cpu_shares: Option<u64>,
    /// CPUs that may be used, such as `0-1`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes that may be used.
    pub cpuset_mems: Option<String>,
    /// Processes and threads at once.
    pub pids: Pids,
    /// Bytes of memory that are taken from it last when the host has none left.
    pub memory_reservation: Option<u64>,
    /// Processes that want more memory than there is wait for it in place of being killed.
    pub oom_kill_disable: bool,
    /// How readily memory is moved to swap, 0 to 100.
    pub memory_swappiness: Option<u64>,
    /// Length of a real-time period in microseconds.
    pub rt_period: Option<u64>,
    /// Microseconds of real-time scheduling in each of those.
    pub rt_runtime: Option<i64>,
    /// Block devices.
    pub devices: DeviceLimits,
    /// How likely its processes are killed when the host has no memory left, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Per-process limits.
    pub ulimits: Vec<Ulimit>,
    /// The control group that holds those of containers, below the root of each hierarchy; it is
    /// made where it is missing.
    pub parent: Option<CgroupParent>,
}

impl Limits {
    /// Whether a control group is needed.
    pub(crate) fn need_cgroup(&self) -> bool {
        self.memory.is_some()
            || self.memory_swap.is_some()
            || self.cpu_quota.is_some()
            || self.cpu_period.is_some()
            || self.cpu_shares.is_some()
            || self.cpuset_cpus.is_some()
            || self.cpuset_mems.is_some()
            || self.memory_reservation.is_some()
            || self.oom_kill_disable
            || self.memory_swappiness.is_some()
            || self.rt_period.is_some()
            || self.rt_runtime.is_some()
            || !self.devices.is_empty()
            || self.pids != Pids::Unlimited
            || self.parent.is_some()
    }
}

/// How block devices may be used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceLimits {
    /// Relative weight, 10 to 1000.
    pub weight: Option<u16>,
    /// The weight on some devices.
    pub weights: Vec<(Device, u16)>,
    /// What may be done in a second.
    pub rates: Vec<Rate>,
}

impl DeviceLimits {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A block device, by its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

impl Device {
    /// The device of a path.
    ///
    /// # Errors
    /// When there is nothing.
    pub fn at(path: &str) -> io::Result<Self> {
        let number = rustix::fs::stat(path)?.st_rdev;
        Ok(Self {
            major: rustix::fs::major(number),
            minor: rustix::fs::minor(number),
        })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// What may be done with a device in a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Which.
    pub device: Device,
    /// What is counted.
    pub of: Counted,
    /// So many.
    pub most: u64,
}

/// What is counted of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Counted {
    /// Bytes that are read.
    BytesRead,
    /// Bytes that are written.
    BytesWritten,
    /// Reads.
    Reads,
    /// Writes.
    Writes,
}

/// The path of a control group below the root of a hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupParent(PathBuf);

impl CgroupParent {
    /// Reads Docker's `--cgroup-parent`: a leading slash changes nothing.
    ///
    /// # Errors
    /// Says what is wrong with the path: it may not lead out of the hierarchy, nor be its root.
    pub fn parse(text: &str) -> Result<Self, String> {
        let path = Path::new(text.trim_start_matches('/'));
        let plain = |part| matches!(part, Component::Normal(_));
        if path.as_os_str().is_empty() || !path.components().all(plain) || text.contains('\0') {
            return Err(format!(
                "invalid cgroup parent {text:?}: write the path of a control group below the \
                 root of its hierarchy, such as /builds"
            ));
        }
        Ok(Self(path.to_owned()))
    }

    /// Relative to the root of a hierarchy.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

/// How many processes and threads there may be at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pids {
    /// As many as the host has room for.
    #[default]
    Unlimited,
    /// At most this many where the host can limit them, as many as there is room elsewhere.
    Precaution(u64),
    /// At most this many; where the host cannot limit them nothing runs.
    AtMost(u64),
}

impl Pids {
    /// The number, if there is one.
    pub(crate) fn number(self) -> Option<u64> {
        match self {
            Self::Unlimited => None,
            Self::Precaution(number) | Self::AtMost(number) => Some(number),
        }
    }
}

/// One `ulimit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Which resource.
    pub resource: Resource,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// A resource with a limit, by the name `docker --ulimit` gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(
    missing_docs,
    reason = "setrlimit(2) documents them under the same names"
)]
pub enum Resource {
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

impl Ulimit {
    /// Reads Docker's `NAME=SOFT[:HARD]`; -1 is unlimited.
    ///
    /// # Errors
    /// Says which part is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, values) = text
            .split_once('=')
            .ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
        let resource: Resource = serde_json::from_value(serde_json::Value::String(name.to_owned()))
            .map_err(|_| format!("invalid ulimit type: {name}"))?;
        let number = |text: &str| {
            let number = text.parse::<i64>().ok().filter(|number| *number >= -1);
            number.ok_or_else(|| format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
        };
        let parts: Vec<&str> = values.split(':').collect();
        let (soft, hard) = match parts.as_slice() {
            [both] => (number(both)?, number(both)?),
            [soft, hard] => {
                let hard = number(hard)?;
                (number(soft)?, hard)
            }
            _ => {
                return Err(format!(
                    "too many limit value arguments - {values}, can only have up to two, \
                     `soft[:hard]`"
                ));
            }
        };
        let beyond = "ulimit soft limit must be less than or equal to hard limit";
        match hard {
            -1 => {}
            hard if soft == -1 => {
                return Err(format!("{beyond}: soft: -1 (unlimited), hard: {hard}"));
            }
            hard if soft > hard => return Err(format!("{beyond}: {soft} > {hard}")),
            _ => {}
        }
        let value = |number: i64| u64::try_from(number).unwrap_or(u64::MAX);
        Ok(Self {
            resource,
            soft: value(soft),
            hard: value(hard),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulimits_as_docker_writes_them() {
        let parsed = Ulimit::parse("nofile=1024:2048").unwrap();
        assert_eq!(
            parsed,
            Ulimit {
                resource: Resource::Nofile,
                soft: 1024,
                hard: 2048
            }
        );
        assert_eq!(Ulimit::parse("core=-1").unwrap().hard, u64::MAX);
        for (bad, why) in [
            ("nofile", "invalid ulimit argument: nofile"),
            ("files=1", "invalid ulimit type: files"),
            (
                "nofile=x",
                "strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
            (
                "nofile=5:3",
                "ulimit soft limit must be less than or equal to hard limit: 5 > 3",
            ),
            (
                "nofile=-1:3",
                "ulimit soft limit must be less than or equal to hard limit: soft: -1 \
                 (unlimited), hard: 3",
            ),
            (
                "nofile=1:2:3",
                "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`",
            ),
        ] {
            assert_eq!(Ulimit::parse(bad).unwrap_err(), why);
        }
        assert!(Ulimit::parse("nofile=2:1").is_err());
    }

    #[test]
    fn parents_of_groups_stay_in_the_hierarchy() {
        for (text, path) in [
            ("/builds", "builds"),
            ("a/b", "a/b"),
            ("x.slice", "x.slice"),
        ] {
            assert_eq!(CgroupParent::parse(text).unwrap().path(), Path::new(path));
        }
        for text in ["", "/", "../a", "a/../b", "/a/.."] {
            assert!(CgroupParent::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_real_limits_need_a_cgroup() {
        assert!(!Limits::default().need_cgroup());
        let ulimit = Ulimit::parse("nofile=10").unwrap();
        assert!(
            !Limits {
                ulimits: vec![ulimit],
                ..Limits::default()
            }
            .need_cgroup()
        );
        assert!(
            Limits {
                pids: Pids::AtMost(5),
                ..Limits::default()
            }
            .need_cgroup()
        );
    }
}
