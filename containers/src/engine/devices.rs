//! Limits on block devices, and those that this machine may lack.

use runtime::{Counted, Device, DeviceLimits, Rate, Supported};

use crate::error::{Error, Result};
use crate::record::HostConfig;

/// What may be done with block devices.
///
/// # Errors
/// Devices that are not there, in docker's words and with its exit code.
pub(super) fn limits(host: &HostConfig) -> Result<DeviceLimits> {
    let device = |path: &str| {
        Device::at(path).map_err(|_| Error::NotStarted {
            message: format!("stat {path}: no such file or directory"),
            code: 127,
        })
    };
    let mut limits = DeviceLimits {
        weight: (host.blkio_weight != 0).then_some(host.blkio_weight),
        ..DeviceLimits::default()
    };
    for rule in &host.blkio_weight_device {
        limits.weights.push((device(&rule.path)?, rule.weight));
    }
    for (rules, of) in [
        (&host.blkio_device_read_bps, Counted::BytesRead),
        (&host.blkio_device_write_bps, Counted::BytesWritten),
        (&host.blkio_device_read_iops, Counted::Reads),
        (&host.blkio_device_write_iops, Counted::Writes),
    ] {
        for rule in rules {
            limits.rates.push(Rate {
                device: device(&rule.path)?,
                of,
                most: rule.rate,
            });
        }
    }
    Ok(limits)
}

/// Takes back what this machine cannot do, and says so in docker's words.
pub(super) fn discard(host: &mut HostConfig, supported: &Supported) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut lacks = |what: &str, how: &str| {
        warnings.push(format!("Your kernel does not support {what}{how}"));
    };
    let unmounted = |what: &str| format!(" or the cgroup is not mounted. {what} discarded.");
    if host.memory_swappiness.is_some() && !supported.memory_swappiness {
        lacks(
            "memory swappiness capabilities",
            &unmounted("Memory swappiness"),
        );
        host.memory_swappiness = None;
    }
    if host.memory_reservation != 0 && !supported.memory_reservation {
        lacks("memory soft limit capabilities", &unmounted("Limitation"));
        host.memory_reservation = 0;
    }
    if !supported.oom_kill_disable {
        if host.oom_kill_disable == Some(true) {
            lacks("OomKillDisable", ". OomKillDisable discarded.");
        }
        host.oom_kill_disable = None;
    } else {
        // As docker shows it where it can be chosen.
        host.oom_kill_disable.get_or_insert(false);
    }
    if host.blkio_weight != 0 && !supported.weight {
        lacks("Block I/O weight", &unmounted("Weight"));
        host.blkio_weight = 0;
    }
    if !host.blkio_weight_device.is_empty() && !supported.weight_device {
        lacks("Block I/O weight_device", &unmounted("Weight-device"));
        host.blkio_weight_device.clear();
    }
    for (rules, what, discarded) in [
        (
            &mut host.blkio_device_read_bps,
            "BPS Block I/O read limit",
            "Block I/O BPS read limit",
        ),
        (
            &mut host.blkio_device_write_bps,
            "BPS Block I/O write limit",
            "Block I/O BPS write limit",
        ),
        (
            &mut host.blkio_device_read_iops,
            "IOPS Block read limit",
            "Block I/O IOPS read limit",
        ),
        (
            &mut host.blkio_device_write_iops,
            "IOPS Block write limit",
            "Block I/O IOPS write limit",
        ),
    ] {
        if !rules.is_empty() && !supported.rates {
            lacks(what, &unmounted(discarded));
            rules.clear();
        }
    }
    if host.oom_kill_disable == Some(true) && host.memory == 0 {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can \
             result in the system running out of resources."
                .to_owned(),
        );
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ThrottleDevice;

    fn asked() -> HostConfig {
        HostConfig {
            memory_swappiness: Some(5),
            oom_kill_disable: Some(true),
            blkio_weight: 300,
            blkio_device_read_bps: vec![ThrottleDevice {
                path: "/dev/null".to_owned(),
                rate: 7,
            }],
            ..HostConfig::default()
        }
    }

    #[test]
    fn what_the_machine_lacks_is_taken_back() {
        let mut host = asked();
        let warnings = discard(&mut host, &Supported::default());
        assert_eq!(host, HostConfig::default());
        assert_eq!(
            warnings,
            [
                "Your kernel does not support memory swappiness capabilities or the cgroup is not \
                 mounted. Memory swappiness discarded.",
                "Your kernel does not support OomKillDisable. OomKillDisable discarded.",
                "Your kernel does not support Block I/O weight or the cgroup is not mounted. \
                 Weight discarded.",
                "Your kernel does not support BPS Block I/O read limit or the cgroup is not \
                 mounted. Block I/O BPS read limit discarded.",
            ]
        );
    }

    #[test]
    fn what_it_has_is_kept() {
        let all = Supported {
            memory_swappiness: true,
            oom_kill_disable: true,
            weight: true,
            rates: true,
            ..Supported::default()
        };
        let mut host = asked();
        let warnings = discard(&mut host, &all);
        assert_eq!(host, asked());
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let limits = limits(&host).unwrap();
        let (major, minor) = (1, 3);
        assert_eq!(limits.rates[0].device, Device { major, minor });
        assert_eq!((limits.weight, limits.rates[0].most), (Some(300), 7));
    }
}
