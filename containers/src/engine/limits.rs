//! docker's limits as the runtime has them, and what cannot be.

use runtime::{CgroupParent, Limits, Pids, Resource, Ulimit};

use super::devices;
use crate::error::{Error, Result};
use crate::record::HostConfig;

/// The least memory that a container can have.
const MIN_MEMORY: u64 = 6 << 20;
/// What `--cpus` is given of, in microseconds.
const PERIOD: u64 = 100_000;

fn invalid(text: impl Into<String>) -> Error {
    Error::Invalid(text.into())
}

/// The control group that holds the container's.
pub(super) fn parent(host: &HostConfig) -> Result<Option<CgroupParent>> {
    match host.cgroup_parent.as_str() {
        "" => Ok(None),
        text => CgroupParent::parse(text).map(Some).map_err(invalid),
    }
}

/// The limits of a container.
///
/// # Errors
/// What makes no sense, or this machine does not have, in docker's words.
pub(super) fn limits(host: &HostConfig) -> Result<Limits> {
    check(host)?;
    let given = |number: u64| (number != 0).then_some(number);
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let (quota, period) = match host.nano_cpus {
        0 => (host.cpu_quota, given(host.cpu_period)),
        nano => {
            let quota = nano / (1_000_000_000 / PERIOD);
            (i64::try_from(quota).unwrap_or(i64::MAX), Some(PERIOD))
        }
    };
    let limits = Limits {
        memory: given(host.memory),
        memory_swap: (host.memory_swap != 0).then_some(host.memory_swap),
        cpu_quota: (quota != 0).then_some(quota),
        cpu_period: period,
        cpu_shares: given(host.cpu_shares),
        cpuset_cpus: text(&host.cpuset_cpus),
        cpuset_mems: text(&host.cpuset_mems),
        pids: match host.pids_limit.unwrap_or(0) {
            number if number > 0 => Pids::AtMost(number.unsigned_abs()),
            _ => Pids::Unlimited,
        },
        memory_reservation: given(host.memory_reservation),
        oom_kill_disable: host.oom_kill_disable == Some(true),
        memory_swappiness: host
            .memory_swappiness
            .and_then(|number| u64::try_from(number).ok()),
        rt_period: given(host.cpu_realtime_period),
        rt_runtime: (host.cpu_realtime_runtime != 0).then_some(host.cpu_realtime_runtime),
        devices: devices::limits(host)?,
        oom_score_adj: match host.oom_score_adj {
            0 => None,
            score => i32::try_from(score).ok(),
        },
        ulimits: ulimits(host)?,
        parent: parent(host)?,
    };
    runtime::check_sets(&limits).map_err(invalid)?;
    Ok(limits)
}

fn ulimits(host: &HostConfig) -> Result<Vec<Ulimit>> {
    let value = |number: i64| u64::try_from(number).unwrap_or(u64::MAX);
    let rules = host.ulimits.iter().map(|rule| {
        let name = serde_json::Value::String(rule.name.clone());
        let resource: Resource = serde_json::from_value(name)
            .map_err(|_| invalid(format!("invalid ulimit type: {}", rule.name)))?;
        Ok(Ulimit {
            resource,
            soft: value(rule.soft),
            hard: value(rule.hard),
        })
    });
    rules.collect()
}

fn check(host: &HostConfig) -> Result<()> {
    if host.memory != 0 && host.memory < MIN_MEMORY {
        return Err(invalid("Minimum memory limit allowed is 6MB"));
    }
    if host.memory_swap > 0 && host.memory == 0 {
        return Err(invalid(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ));
    }
    if host.memory_swap > 0 && host.memory_swap.unsigned_abs() < host.memory {
        return Err(invalid(
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ));
    }
    if host.memory_reservation != 0 && host.memory != 0 && host.memory < host.memory_reservation {
        return Err(invalid(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ));
    }
    if host.memory_reservation != 0 && host.memory_reservation < MIN_MEMORY {
        return Err(invalid("Minimum memory reservation allowed is 6MB"));
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return Err(invalid(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        )));
    }
    check_cpu(host)?;
    if host.blkio_weight != 0 && !(10..=1000).contains(&host.blkio_weight) {
        return Err(invalid("Range of blkio weight is from 10 to 1000"));
    }
    Ok(())
}

fn check_cpu(host: &HostConfig) -> Result<()> {
    match host.cpu_shares {
        1 => return Err(invalid("the minimum allowed cpu-shares is 2")),
        262_145.. => return Err(invalid("the maximum allowed cpu-shares is 262144")),
        _ => {}
    }
    let period = i64::try_from(host.cpu_realtime_period).unwrap_or(i64::MAX);
    if period != 0 && host.cpu_realtime_runtime > period {
        return Err(invalid(
            "cpu real-time runtime cannot be higher than cpu real-time period",
        ));
    }
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    if host.nano_cpus > cpus as u64 * 1_000_000_000 {
        return Err(invalid(format!(
            "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        )));
    }
    if host.nano_cpus > 0 && (host.cpu_period > 0 || host.cpu_quota > 0) {
        let what = if host.cpu_period > 0 {
            "Period"
        } else {
            "Quota"
        };
        return Err(invalid(format!(
            "Conflicting options: Nano CPUs and CPU {what} cannot both be set"
        )));
    }
    if host.cpu_period != 0 && !(1_000..=1_000_000).contains(&host.cpu_period) {
        return Err(invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ));
    }
    if host.cpu_quota > 0 && host.cpu_quota < 1_000 {
        return Err(invalid(
            "CPU cfs quota can not be less than 1ms (i.e. 1000)",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_limits_are_refused_in_dockers_words() {
        for (host, why) in [
            (
                HostConfig {
                    memory: 1 << 20,
                    ..HostConfig::default()
                },
                "Minimum memory limit allowed is 6MB",
            ),
            (
                HostConfig {
                    memory: 20 << 20,
                    memory_swap: 10 << 20,
                    ..HostConfig::default()
                },
                "Minimum memoryswap limit should be larger than memory limit, see usage",
            ),
            (
                HostConfig {
                    cpu_period: 1,
                    ..HostConfig::default()
                },
                "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. \
                 1000000)",
            ),
        ] {
            assert_eq!(limits(&host).unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn cpus_are_a_quota() {
        let host = HostConfig {
            nano_cpus: 500_000_000,
            ..HostConfig::default()
        };
        let limits = limits(&host).unwrap();
        assert_eq!(
            (limits.cpu_quota, limits.cpu_period),
            (Some(50_000), Some(100_000))
        );
    }
}
