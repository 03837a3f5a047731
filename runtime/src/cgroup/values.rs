//! Which controllers limits need, and what is written to which file. Pure.

use super::host::{BLKIO, Version};
use crate::limits::{Counted, Limits, Pids};

/// Controllers with the flag that asks for each.
pub(super) fn needed(limits: &Limits) -> Vec<(&'static str, &'static str)> {
    let mut needed = Vec::new();
    if limits.memory.is_some() || limits.memory_swap.is_some() {
        needed.push(("memory", "--memory"));
    } else if limits.memory_reservation.is_some() {
        needed.push(("memory", "--memory-reservation"));
    } else if limits.oom_kill_disable || limits.memory_swappiness.is_some() {
        needed.push(("memory", "--memory-swappiness"));
    }
    if limits.cpu_quota.is_some() || limits.cpu_period.is_some() {
        needed.push(("cpu", "--cpu-quota"));
    } else if limits.cpu_shares.is_some() {
        needed.push(("cpu", "--cpu-shares"));
    } else if limits.rt_period.is_some() || limits.rt_runtime.is_some() {
        needed.push(("cpu", "--cpu-rt-runtime"));
    }
    if limits.cpuset_cpus.is_some() || limits.cpuset_mems.is_some() {
        needed.push(("cpuset", "--cpuset-cpus"));
    }
    if limits.pids != Pids::Unlimited {
        needed.push(("pids", "--pids-limit"));
    }
    if !limits.devices.is_empty() {
        needed.push((BLKIO, "--blkio-weight"));
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
            let soft = limits.memory_reservation;
            files.extend(soft.map(|n| ("memory.soft_limit_in_bytes", n.to_string(), false)));
            let swappiness = limits.memory_swappiness;
            files.extend(swappiness.map(|n| ("memory.swappiness", n.to_string(), false)));
            if limits.oom_kill_disable {
                files.push(("memory.oom_control", "1".to_owned(), false));
            }
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
            let low = limits.memory_reservation;
            files.extend(low.map(|n| ("memory.low", n.to_string(), false)));
        }
        ("cpu", version) => processors(limits, version, &mut files),
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
        (BLKIO, Version::One) => devices_of_one(limits, &mut files),
        (BLKIO, Version::Two) => devices_of_two(limits, &mut files),
        _ => {}
    }
    files
}

type Files = Vec<(&'static str, String, bool)>;

fn processors(limits: &Limits, version: Version, files: &mut Files) {
    let mut set = |file, value: Option<String>| {
        files.extend(value.map(|value| (file, value, false)));
    };
    let shares = limits.cpu_shares;
    match version {
        Version::One => {
            set("cpu.shares", shares.map(|n| n.to_string()));
            let period = limits.cpu_period;
            set("cpu.cfs_period_us", period.map(|n| n.to_string()));
            let quota = limits.cpu_quota;
            set("cpu.cfs_quota_us", quota.map(|n| n.to_string()));
            let period = limits.rt_period;
            set("cpu.rt_period_us", period.map(|n| n.to_string()));
            let runtime = limits.rt_runtime;
            set("cpu.rt_runtime_us", runtime.map(|n| n.to_string()));
        }
        Version::Two => {
            set("cpu.weight", shares.map(|n| weight(n).to_string()));
            if limits.cpu_quota.is_some() || limits.cpu_period.is_some() {
                let quota = match limits.cpu_quota {
                    Some(quota) if quota > 0 => quota.to_string(),
                    _ => "max".to_owned(),
                };
                let period = limits.cpu_period.unwrap_or(100_000);
                set("cpu.max", Some(format!("{quota} {period}")));
            }
        }
    }
}

/// Weights are there with some schedulers only, and under two names.
fn devices_of_one(limits: &Limits, files: &mut Files) {
    let devices = &limits.devices;
    if let Some(weight) = devices.weight {
        for file in ["blkio.weight", "blkio.bfq.weight"] {
            files.push((file, weight.to_string(), true));
        }
    }
    for (device, weight) in &devices.weights {
        for file in ["blkio.weight_device", "blkio.bfq.weight_device"] {
            files.push((file, format!("{device} {weight}"), true));
        }
    }
    for rate in &devices.rates {
        let file = match rate.of {
            Counted::BytesRead => "blkio.throttle.read_bps_device",
            Counted::BytesWritten => "blkio.throttle.write_bps_device",
            Counted::Reads => "blkio.throttle.read_iops_device",
            Counted::Writes => "blkio.throttle.write_iops_device",
        };
        files.push((file, format!("{} {}", rate.device, rate.most), false));
    }
}

/// The scheduler that heeds weights counts as version 1 does; others have a range of their own.
fn devices_of_two(limits: &Limits, files: &mut Files) {
    let devices = &limits.devices;
    if let Some(weight) = devices.weight {
        files.push(("io.bfq.weight", weight.to_string(), true));
        files.push(("io.weight", io_weight(weight).to_string(), true));
    }
    for (device, weight) in &devices.weights {
        files.push(("io.bfq.weight", format!("{device} {weight}"), true));
        files.push((
            "io.weight",
            format!("{device} {}", io_weight(*weight)),
            true,
        ));
    }
    for rate in &devices.rates {
        let key = match rate.of {
            Counted::BytesRead => "rbps",
            Counted::BytesWritten => "wbps",
            Counted::Reads => "riops",
            Counted::Writes => "wiops",
        };
        files.push((
            "io.max",
            format!("{} {key}={}", rate.device, rate.most),
            false,
        ));
    }
}

/// Weights 10 to 1000 as 1 to 10000, as container runtimes convert them.
fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight.clamp(10, 1000)) - 10) * 9_999 / 990
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

    /// What is written, all controllers one after the other.
    fn text(limits: &Limits, version: Version) -> Vec<String> {
        let all = needed(limits);
        let files = all
            .iter()
            .flat_map(|(controller, _)| files(controller, version, limits));
        files
            .map(|(file, value, _)| format!("{file}={value}"))
            .collect()
    }

    #[test]
    fn values_of_both_versions() {
        let limits = Limits {
            memory: Some(1 << 20),
            cpu_quota: Some(50_000),
            cpu_shares: Some(1024),
            pids: Pids::AtMost(9),
            ..Limits::default()
        };
        let text = |version| text(&limits, version);
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
    fn devices_and_what_is_special() {
        use crate::limits::{Device, DeviceLimits, Rate};
        let device = Device {
            major: 254,
            minor: 0,
        };
        let rate = |of, most| Rate { device, of, most };
        let limits = Limits {
            memory_reservation: Some(7),
            memory_swappiness: Some(10),
            oom_kill_disable: true,
            rt_period: Some(1_000_000),
            devices: DeviceLimits {
                weight: Some(300),
                weights: vec![(device, 1000)],
                rates: vec![rate(Counted::BytesRead, 1 << 20), rate(Counted::Writes, 9)],
            },
            ..Limits::default()
        };
        let text = |version| text(&limits, version);
        assert_eq!(
            text(Version::One),
            [
                "memory.soft_limit_in_bytes=7",
                "memory.swappiness=10",
                "memory.oom_control=1",
                "cpu.rt_period_us=1000000",
                "blkio.weight=300",
                "blkio.bfq.weight=300",
                "blkio.weight_device=254:0 1000",
                "blkio.bfq.weight_device=254:0 1000",
                "blkio.throttle.read_bps_device=254:0 1048576",
                "blkio.throttle.write_iops_device=254:0 9",
            ]
        );
        // (300 - 10) of 990 steps on a scale of 9999 more.
        assert_eq!(
            text(Version::Two),
            [
                "memory.low=7",
                "io.bfq.weight=300",
                "io.weight=2930",
                "io.bfq.weight=254:0 1000",
                "io.weight=254:0 10000",
                "io.max=254:0 rbps=1048576",
                "io.max=254:0 wiops=9",
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
