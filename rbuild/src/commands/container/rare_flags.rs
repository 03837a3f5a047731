//! Flags of docker's that few type: kernel parameters, rules of devices, annotations, and those
//! that choose what there is only one of here.

use clap::{ArgAction, Args};
use containers::record::{DeviceRequest, HostConfig};

use crate::flags::boolean;
use crate::usage::wrong_value;

/// Flags that few type.
#[derive(Clone, Debug, Default, Args)]
pub struct RareFlags {
    /// Set a kernel parameter of its own namespaces, as net.ipv4.ip_forward=1; may be repeated
    #[arg(long = "sysctl", value_name = "NAME=VALUE")]
    pub sysctls: Vec<String>,

    /// Let it use devices that it makes nodes of, as 'c 10:200 rwm'; may be repeated
    #[arg(long = "device-cgroup-rule", value_name = "RULE")]
    pub device_rules: Vec<String>,

    /// Keep a note with it, which `inspect` shows; may be repeated
    #[arg(long = "annotation", value_name = "KEY[=VALUE]")]
    pub annotations: Vec<String>,

    /// The runtime: there is one
    #[arg(long, value_name = "NAME", hide = true)]
    pub runtime: Option<String>,

    /// How it is isolated: there is one way
    #[arg(long, value_name = "NAME", hide = true)]
    pub isolation: Option<String>,

    /// Options of the storage driver: there are none
    #[arg(long = "storage-opt", value_name = "KEY=VALUE", hide = true)]
    pub storage_opts: Vec<String>,

    /// Graphics processors: refused, as docker does where it has no driver for them
    #[arg(long, value_name = "WHICH", hide = true)]
    pub gpus: Option<String>,

    /// Accepted for docker's sake: signatures are checked by cosign
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true, value_parser = boolean, action = ArgAction::Set, hide = true)]
    pub disable_content_trust: bool,
}

/// Kernel parameters that belong to the IPC namespace.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Writes the flags into `host`.
///
/// # Errors
/// In docker's words.
pub fn read(flags: &RareFlags, host: &mut HostConfig) -> Result<(), String> {
    for text in &flags.sysctls {
        let (name, value) = sysctl(text)?;
        host.sysctls.insert(name.to_owned(), value.to_owned());
    }
    for text in &flags.device_rules {
        if containers::engine::device_rule(text).is_none() {
            let why = format!("invalid device cgroup format '{text}'");
            return Err(wrong_value("--device-cgroup-rule", text, &why));
        }
        let rules = host.device_cgroup_rules.get_or_insert_default();
        rules.push(text.clone());
    }
    for text in &flags.annotations {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        host.annotations.insert(key.to_owned(), value.to_owned());
    }
    for text in &flags.storage_opts {
        let (key, value) = text.split_once('=').ok_or("invalid storage option")?;
        let options = host.storage_opt.get_or_insert_default();
        options.insert(key.to_owned(), value.to_owned());
    }
    if let Some(text) = &flags.gpus {
        host.device_requests = Some(vec![graphics(text)?]);
    }
    if let Some(name) = flags.runtime.as_ref().filter(|name| !name.is_empty()) {
        host.runtime.clone_from(name);
    }
    host.isolation = flags.isolation.clone().unwrap_or_default();
    match flags.disable_content_trust {
        true => Ok(()),
        false => Err(
            "--disable-content-trust=false is docker's, and is not supported here; cosign checks \
             the signatures of images"
                .to_owned(),
        ),
    }
}

/// `NAME=VALUE` of what a container may have of its own.
fn sysctl(text: &str) -> Result<(&str, &str), String> {
    let known = text.split_once('=').filter(|(name, _)| {
        IPC.contains(name) || name.starts_with("net.") || name.starts_with("fs.mqueue.")
    });
    let wrong = || wrong_value("--sysctl", text, &format!("sysctl '{text}' is not allowed"));
    known.ok_or_else(wrong)
}

/// `all`, a number, or `KEY=VALUE,…` with docker's keys.
fn graphics(text: &str) -> Result<DeviceRequest, String> {
    let wrong = |why: String| wrong_value("--gpus", text, &why);
    let mut request = DeviceRequest {
        count: -1,
        capabilities: vec![vec!["gpu".to_owned()]],
        ..DeviceRequest::default()
    };
    let count = |text: &str| match text {
        "all" => Ok(-1),
        text => text.parse::<i64>().map_err(|_| {
            wrong(format!(
                "invalid count ({text}): value must be either \"all\" or an integer"
            ))
        }),
    };
    for field in text.split(',') {
        match field.split_once('=') {
            None => request.count = count(field)?,
            Some(("count", value)) => request.count = count(value)?,
            Some(("driver", value)) => value.clone_into(&mut request.driver),
            Some(("device", value)) => {
                request.device_ids = Some(vec![value.to_owned()]);
                request.count = 0;
            }
            Some(("capabilities", value)) => request.capabilities = vec![vec![value.to_owned()]],
            Some(("options", _)) => {}
            Some((key, _)) => {
                return Err(wrong(format!("unexpected key '{key}' in '{field}'")));
            }
        }
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(set: impl FnOnce(&mut RareFlags)) -> RareFlags {
        let mut flags = RareFlags {
            disable_content_trust: true,
            ..RareFlags::default()
        };
        set(&mut flags);
        flags
    }

    fn refused(set: impl FnOnce(&mut RareFlags)) -> String {
        read(&flags(set), &mut HostConfig::default()).unwrap_err()
    }

    #[test]
    fn what_is_read_stands_in_the_configuration() {
        let mut host = HostConfig::default();
        let given = flags(|flags| {
            flags.sysctls = vec!["net.ipv4.ip_forward=1".to_owned()];
            flags.device_rules = vec!["c 10:* rw".to_owned()];
            flags.annotations = vec!["a=b=c".to_owned(), "d".to_owned()];
            flags.gpus = Some("2".to_owned());
        });
        read(&given, &mut host).unwrap();
        assert_eq!(host.sysctls["net.ipv4.ip_forward"], "1");
        assert_eq!(host.device_cgroup_rules.unwrap(), ["c 10:* rw"]);
        assert_eq!(host.annotations["a"], "b=c");
        assert_eq!(host.annotations["d"], "");
        assert_eq!(host.device_requests.unwrap()[0].count, 2);
    }

    /// The words are those of docker 28's client.
    #[test]
    fn what_is_none_is_refused() {
        for text in ["frob", "kernel.hostname=x", "vm.swappiness=1"] {
            let want = format!(
                "invalid argument \"{text}\" for \"--sysctl\" flag: sysctl '{text}' is not allowed"
            );
            assert_eq!(refused(|flags| flags.sysctls = vec![text.to_owned()]), want);
        }
        for text in ["x", "c 1:3", "q 1:3 r", "c 1:3 rwmx", "c 1:x r"] {
            let want = format!(
                "invalid argument \"{text}\" for \"--device-cgroup-rule\" flag: invalid device \
                 cgroup format '{text}'"
            );
            let told = refused(|flags| flags.device_rules = vec![text.to_owned()]);
            assert_eq!(told, want);
        }
        assert_eq!(
            refused(|flags| flags.gpus = Some("x=y".to_owned())),
            "invalid argument \"x=y\" for \"--gpus\" flag: unexpected key 'x' in 'x=y'"
        );
        assert_eq!(
            refused(|flags| flags.storage_opts = vec!["x".to_owned()]),
            "invalid storage option"
        );
        let told = refused(|flags| flags.disable_content_trust = false);
        assert!(told.starts_with("--disable-content-trust=false is docker's"));
    }
}
