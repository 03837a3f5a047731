//! Which controllers limits need, and what is written to which file. Pure.

use super::host::Version;
use crate::limits::{Limits, Pids};

/// Controllers with the flag that asks for each.
pub(super) fn needed(limits: &Limits) -> Vec<(&'static str, &'static str)> {
    let mut needed = Vec::new();
    if limits.memory.is_some() || limits.memory_swap.is_some() {
        needed.push(("memory", "--memory"));
    }
    if limits.cpu_quota.is_some() || limits.cpu_period.is_some() {
        needed.push(("cpu", "--cpu-quota"));
    } else if limits.cpu_shares.is_some() {
        needed.push(("cpu", "--cpu-shares"));
    }
    if limits.cpuset_cpus.is_some() || limits.cpuset_mems.is_some() {
        needed.push(("cpuset", "--cpuset-cpus"));
    }
    if limits.pids != Pids::Unlimited {
        needed.push(("pids", "--pids-limit"));
    }
    needed
}

/// (file, value, may be missing), in the order they must be written.
pub(super) fn files(
    controller: &str,
    version: Version,
    limits: &Limits,
) -> Vec<(&'static str, String, bool)> {
    let mut files = Vec::new();
    match (controller, version) {
        ("memory", Version::One) => {
            files.extend(
                limits
                    .memory
                    .map(|n| ("memory.limit_in_bytes", n.to_string(), false)),
            );
            // Missing without swap accounting. Asked for by name it must work.
            let asked = limits.memory_swap.is_some();
            files.extend(
                swap(limits).map(|n| ("memory.memsw.limit_in_bytes", n.to_string(), !asked)),
            );
        }
        ("memory", Version::Two) => {
            files.extend(limits.memory.map(|n| ("memory.max", n.to_string(), false)));
            let asked = limits.memory_swap.is_some();
            files.extend(swap(limits).map(|total| {
                let memory = i64::try_from(limits.memory.unwrap_or(0)).unwrap_or(i64::MAX);
                let value = match total {
                    -1 => "max".to_owned(),
                    total => (total - memory).max(0).to_string(),
                };
                ("memory.swap.max", value, !asked)
            }));
        }
        ("cpu", Version::One) => {
            files.extend(
                limits
                    .cpu_shares
                    .map(|n| ("cpu.shares", n.to_string(), false)),
            );
            files.extend(
                limits
                    .cpu_period
                    .map(|n| ("cpu.cfs_period_us", n.to_string(), false)),
            );
            files.extend(
                limits
                    .cpu_quota
                    .map(|n| ("cpu.cfs_quota_us", n.to_string(), false)),
            );
        }
        ("cpu", Version::Two) => {
            files.extend(
                limits
                    .cpu_shares
                    .map(|n| ("cpu.weight", weight(n).to_string(), false)),
            );
            if limits.cpu_quota.is_some() || limits.cpu_period.is_some() {
                let quota = match limits.cpu_quota {
                    Some(quota) if quota > 0 => quota.to_string(),
                    _ => "max".to_owned(),
                };
                let period = limits.cpu_period.unwrap_or(100_000);
                files.push(("cpu.max", format!("{quota} {period}"), false));
            }
        }
        ("cpuset", _) => {
            files.extend(
                limits
                    .cpuset_cpus
                    .clone()
                    .map(|set| ("cpuset.cpus", set, false)),
            );
            files.extend(
                limits
                    .cpuset_mems
                    .clone()
                    .map(|set| ("cpuset.mems", set, false)),
            );
        }
        ("pids", _) => {
            files.extend(
                limits
                    .pids
                    .number()
                    .map(|n| ("pids.max", n.to_string(), false)),
            );
        }
        _ => {}
    }
    files
}

/// Memory and swap together; Docker allows as much swap as memory when not told.
fn swap(limits: &Limits) -> Option<i64> {
    limits.memory_swap.or_else(|| {
        limits
            .memory
            .map(|memory| i64::try_from(memory.saturating_mul(2)).unwrap_or(i64::MAX))
    })
}

/// Shares 2 to 262144 as a version 2 weight 1 to 10000, as container runtimes convert them.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_both_versions() {
        let limits = Limits {
            memory: Some(1 << 20),
            cpu_quota: Some(50_000),
            cpu_shares: Some(1024),
            pids: Pids::AtMost(9),
            ..Limits::default()
        };
        let text = |version| {
            needed(&limits)
                .iter()
                .flat_map(|(controller, _)| files(controller, version, &limits))
                .map(|(file, value, _)| format!("{file}={value}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            text(Version::One),
            [
                "memory.limit_in_bytes=1048576",
                "memory.memsw.limit_in_bytes=2097152",
                "cpu.shares=1024",
                "cpu.cfs_quota_us=50000",
                "pids.max=9",
            ]
        );
        assert_eq!(
            text(Version::Two),
            [
                "memory.max=1048576",
                "memory.swap.max=1048576",
                "cpu.weight=39",
                "cpu.max=50000 100000",
                "pids.max=9",
            ]
        );
    }

    #[test]
    fn unlimited_swap() {
        let limits = Limits {
            memory: Some(10),
            memory_swap: Some(-1),
            ..Limits::default()
        };
        let value = |version| files("memory", version, &limits)[1].1.clone();
        assert_eq!(
            (value(Version::One), value(Version::Two)),
            ("-1".into(), "max".into())
        );
    }
}
