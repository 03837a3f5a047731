//! What a container may ask of which there is one kind here, or which only a namespace of its own
//! can have. The sentences are docker's.

use runtime::{Access, DeviceRule};

use crate::error::{Error, Result};
use crate::record::HostConfig;

/// Names of the runtime that is there: docker's for its own say the same.
const RUNTIMES: [&str; 4] = ["", "rbuild", "runc", "io.containerd.runc.v2"];

/// Whether all of it can be had.
///
/// # Errors
/// What cannot.
pub(super) fn check(host: &HostConfig) -> Result<()> {
    let refuse = |text: String| Err(Error::Invalid(text));
    if !matches!(host.isolation.as_str(), "" | "default") {
        return refuse(format!(
            "invalid isolation ({}): linux only supports 'default'",
            host.isolation
        ));
    }
    if !RUNTIMES.contains(&host.runtime.as_str()) {
        return refuse(format!("unknown or invalid runtime name: {}", host.runtime));
    }
    if host.storage_opt.as_ref().is_some_and(|all| !all.is_empty()) {
        return refuse(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"
                .to_owned(),
        );
    }
    if let Some(request) = host.device_requests.iter().flatten().next() {
        let sets: Vec<String> = request
            .capabilities
            .iter()
            .map(|set| format!("[{}]", set.join(" ")))
            .collect();
        return refuse(format!(
            "could not select device driver {:?} with capabilities: [{}]",
            request.driver,
            sets.join(" ")
        ));
    }
    for text in host.device_cgroup_rules.iter().flatten() {
        if device_rule(text).is_none() {
            return refuse(format!("invalid device cgroup rule format: '{text}'"));
        }
    }
    for name in host.sysctls.keys() {
        if host.network_mode == "host" && name.starts_with("net.") {
            return refuse(format!(
                "sysctl {name:?} not allowed in host network namespace"
            ));
        }
        if host.ipc_mode == "host" && !name.starts_with("net.") {
            return refuse(format!(
                "sysctl {name:?} is not allowed in the hosts ipc namespace"
            ));
        }
    }
    Ok(())
}

/// Reads a rule about devices, as `c 10:200 rwm`; nothing where it is none.
pub fn device_rule(text: &str) -> Option<DeviceRule> {
    let mut parts = text.split(' ');
    let (kind, numbers, access) = (parts.next()?, parts.next()?, parts.next()?);
    let (major, minor) = numbers.split_once(':')?;
    let number = |text: &str| match text {
        "*" => Some(None),
        text if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok().map(Some),
        _ => None,
    };
    let is_access = (1..=3).contains(&access.len()) && access.chars().all(|c| "rwm".contains(c));
    if parts.next().is_some() || !matches!(kind, "a" | "b" | "c") || !is_access {
        return None;
    }
    Some(DeviceRule {
        block: kind != "c",
        character: kind != "b",
        major: number(major)?,
        minor: number(minor)?,
        access: access_of(access),
    })
}

/// What letters of `rwm` let a container do with a device.
pub(super) fn access_of(letters: &str) -> Access {
    Access {
        read: letters.contains('r'),
        write: letters.contains('w'),
        make: letters.contains('m'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::DeviceRequest;

    #[test]
    fn rules_are_read_as_docker_reads_them() {
        let rule = device_rule("a *:* rwm").unwrap();
        assert!(rule.block && rule.character && rule.major.is_none());
        let rule = device_rule("c 10:200 rw").unwrap();
        assert_eq!((rule.major, rule.minor), (Some(10), Some(200)));
        assert!(!rule.block && !rule.access.make && rule.access.write);
        for text in [
            "", "c 1:3", "x 1:3 r", "c 1 r", "c 1:3 x", "c 1:3 r ", "c +1:3 r",
        ] {
            assert!(device_rule(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn what_there_is_none_of_is_refused_by_name() {
        let told = |set: &dyn Fn(&mut HostConfig)| {
            let mut host = HostConfig::default();
            set(&mut host);
            check(&host).map_err(|error| error.to_string())
        };
        let text = |text: &str| text.to_owned();
        assert_eq!(told(&|_| {}), Ok(()));
        assert_eq!(told(&|host| host.runtime = text("runc")), Ok(()));
        assert_eq!(
            told(&|host| host.runtime = text("frob")),
            Err(text("unknown or invalid runtime name: frob"))
        );
        assert_eq!(
            told(&|host| host.isolation = text("hyperv")),
            Err(text(
                "invalid isolation (hyperv): linux only supports 'default'"
            ))
        );
        let request = DeviceRequest {
            capabilities: vec![vec![text("gpu")]],
            ..DeviceRequest::default()
        };
        assert_eq!(
            told(&|host| host.device_requests = Some(vec![request.clone()])),
            Err(text(
                "could not select device driver \"\" with capabilities: [[gpu]]"
            ))
        );
        assert_eq!(
            told(&|host| {
                host.network_mode = text("host");
                host.sysctls.insert(text("net.ipv4.ip_forward"), text("1"));
            }),
            Err(text(
                "sysctl \"net.ipv4.ip_forward\" not allowed in host network namespace"
            ))
        );
    }
}
