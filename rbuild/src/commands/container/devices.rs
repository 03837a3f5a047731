//! Limits on block devices, and how a container's memory is treated.

use clap::Args;
use containers::record::{HostConfig, ThrottleDevice, WeightDevice};
use golang::size::parse_size;

/// Limits that cannot be changed later.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Limits")]
pub struct DeviceFlags {
    /// Let processes that want more memory than there is wait, and kill none
    #[arg(long)]
    pub oom_kill_disable: bool,

    /// How likely its processes are killed when this machine has no memory left: -1000 to 1000
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub oom_score_adj: Option<i64>,

    /// How readily memory is moved to swap: 0 to 100
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub memory_swappiness: Option<i64>,

    /// Its share of a block device beside others, 10 to 1000; may be repeated
    #[arg(long, value_name = "DEVICE:WEIGHT")]
    pub blkio_weight_device: Vec<String>,

    /// Bytes that it may read of a device in a second; may be repeated
    #[arg(long, value_name = "DEVICE:SIZE")]
    pub device_read_bps: Vec<String>,

    /// Bytes that it may write to a device in a second; may be repeated
    #[arg(long, value_name = "DEVICE:SIZE")]
    pub device_write_bps: Vec<String>,

    /// Reads of a device in a second; may be repeated
    #[arg(long, value_name = "DEVICE:NUMBER")]
    pub device_read_iops: Vec<String>,

    /// Writes to a device in a second; may be repeated
    #[arg(long, value_name = "DEVICE:NUMBER")]
    pub device_write_iops: Vec<String>,
}

/// Writes the flags into `host`.
///
/// # Errors
/// In docker's words.
pub fn limit(flags: &DeviceFlags, host: &mut HostConfig) -> Result<(), String> {
    host.oom_kill_disable = flags.oom_kill_disable.then_some(true);
    host.oom_score_adj = flags.oom_score_adj.unwrap_or(0);
    host.memory_swappiness = match flags.memory_swappiness {
        None | Some(-1) => None,
        Some(number @ 0..=100) => Some(number),
        Some(number) => {
            return Err(format!(
                "invalid value: {number}. Valid memory swappiness range is 0-100"
            ));
        }
    };
    for text in &flags.blkio_weight_device {
        host.blkio_weight_device.push(weight(text)?);
    }
    for (flag, texts, rules) in [
        (
            "--device-read-bps",
            &flags.device_read_bps,
            &mut host.blkio_device_read_bps,
        ),
        (
            "--device-write-bps",
            &flags.device_write_bps,
            &mut host.blkio_device_write_bps,
        ),
        (
            "--device-read-iops",
            &flags.device_read_iops,
            &mut host.blkio_device_read_iops,
        ),
        (
            "--device-write-iops",
            &flags.device_write_iops,
            &mut host.blkio_device_write_iops,
        ),
    ] {
        for text in texts {
            rules.push(rate(flag, text)?);
        }
    }
    Ok(())
}

/// `DEVICE:WEIGHT`
fn weight(text: &str) -> Result<WeightDevice, String> {
    let wrong = |why: &str| {
        format!("invalid argument \"{text}\" for \"--blkio-weight-device\" flag: {why}: {text}")
    };
    let (path, weight) = text.split_once(':').ok_or_else(|| wrong("bad format"))?;
    if !path.starts_with("/dev/") {
        return Err(wrong("bad format for device path"));
    }
    let weight = weight.parse().ok();
    let weight = weight.filter(|weight| *weight == 0 || (10..=1000).contains(weight));
    Ok(WeightDevice {
        path: path.to_owned(),
        weight: weight.ok_or_else(|| wrong("invalid weight for device"))?,
    })
}

/// `DEVICE:RATE`
fn rate(flag: &str, text: &str) -> Result<ThrottleDevice, String> {
    let wrong = |why: String| format!("invalid argument \"{text}\" for \"{flag}\" flag: {why}");
    let parts = text.split_once(':').filter(|(path, _)| !path.is_empty());
    let (path, rate) = parts.ok_or_else(|| wrong(format!("bad format: {text}")))?;
    if !path.starts_with("/dev/") {
        return Err(wrong(format!("bad format for device path: {text}")));
    }
    let (read, form) = match flag.ends_with("bps") {
        true => (
            parse_size(rate),
            "<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, \
             mb, or gb",
        ),
        false => (
            rate.parse().ok(),
            "<number>. Number must be a positive integer",
        ),
    };
    let invalid = || {
        wrong(format!(
            "invalid rate for device: {text}. The correct format is <device-path>:{form}"
        ))
    };
    Ok(ThrottleDevice {
        path: path.to_owned(),
        rate: read.ok_or_else(invalid)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_weights_are_dockers() {
        let read = |text| rate("--device-read-bps", text);
        assert_eq!(read("/dev/vda:1mb").unwrap().rate, 1 << 20);
        assert_eq!(weight("/dev/vda:300").unwrap().weight, 300);
        for (text, why) in [
            ("vda:1mb", "bad format for device path: vda:1mb"),
            (
                "/dev/vda:x",
                "invalid rate for device: /dev/vda:x. The correct format is \
                 <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is \
                 optional and can be kb, mb, or gb",
            ),
        ] {
            let want = format!("invalid argument \"{text}\" for \"--device-read-bps\" flag: {why}");
            assert_eq!(read(text).unwrap_err(), want);
        }
        for (text, why) in [
            ("/dev/vda:3000", "invalid weight for device: /dev/vda:3000"),
            ("vda", "bad format: vda"),
        ] {
            let flag = "--blkio-weight-device";
            let want = format!("invalid argument \"{text}\" for \"{flag}\" flag: {why}");
            assert_eq!(weight(text).unwrap_err(), want);
        }
        let mut host = HostConfig::default();
        let flags = DeviceFlags {
            memory_swappiness: Some(101),
            ..DeviceFlags::default()
        };
        assert_eq!(
            limit(&flags, &mut host).unwrap_err(),
            "invalid value: 101. Valid memory swappiness range is 0-100"
        );
    }
}
