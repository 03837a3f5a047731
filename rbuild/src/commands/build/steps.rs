//! What the flags say about RUN steps, to what a step is run with.

use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use builder::engine::devices;
use builder::engine::run::{Filter, HostAddress, RunSettings, Volume};
use builder::plan::BuildArgs;
use dockerfile::instruction::Device;
use oci::Digest;
use runtime::{CgroupParent, Dns, Limits, Pids, SeccompProfile, Ulimit};

use super::flags::{LimitArgs, StepArgs};
use crate::usage::wrong_value;

/// What all RUN steps share; `usual` are the name servers and their kin that this machine's
/// configuration has for builds.
///
/// # Errors
/// Says which flag has which wrong value.
pub fn settings(
    steps: &StepArgs,
    limits: &LimitArgs,
    build_args: &BuildArgs,
    usual: Dns,
) -> Result<RunSettings, String> {
    let shm_size = limits.shm_size.as_deref();
    let shm_size = shm_size.map(|text| bytes("--shm-size", text)).transpose()?;
    let limits = self::limits(limits, steps.cgroup_parent.as_deref())?;
    runtime::check_sets(&limits)?;
    let hostname = build_args.get(HOSTNAME).filter(|name| !name.is_empty());
    if let Some(name) = hostname.filter(|name| name.len() > MAX_HOSTNAME) {
        return Err(format!(
            "{HOSTNAME}: {name:?} is longer than {MAX_HOSTNAME} bytes"
        ));
    }
    let mut settings = RunSettings {
        hostname: hostname.map(str::to_owned),
        limits,
        shm_size,
        extra_hosts: hosts(&steps.add_hosts)?,
        dns: dns(steps, usual)?,
        volumes: Vec::new(),
        devices: Vec::new(),
        filter: Filter::Usual,
        no_new_privileges: false,
    };
    for volume in &steps.volumes {
        settings.volumes.push(self::volume(volume)?);
    }
    for device in &steps.devices {
        settings.devices.push(self::device(device)?);
    }
    for option in &steps.security_opts {
        secure(option, &mut settings)?;
    }
    Ok(settings)
}

/// The build argument that names RUN steps' host, as with BuildKit.
const HOSTNAME: &str = "BUILDKIT_SANDBOX_HOSTNAME";
/// sethostname(2)
const MAX_HOSTNAME: usize = 64;
/// What `--add-host` calls this machine.
const GATEWAY: &str = "host-gateway";

/// `--add-host NAME:IP`, `NAME=IP`, the address in brackets or not.
fn hosts(texts: &[String]) -> Result<Vec<(String, HostAddress)>, String> {
    let mut hosts = Vec::new();
    for text in texts {
        let address = |text: &str| match text {
            GATEWAY => Some(HostAddress::Gateway),
            text => unbracketed(text).parse().ok().map(HostAddress::Ip),
        };
        let parts = text.split_once('=').or_else(|| text.split_once(':'));
        let found = parts.and_then(|(name, ip)| Some((name, address(ip)?)));
        match found.filter(|(name, _)| !name.is_empty() && !name.contains(char::is_whitespace)) {
            Some((name, address)) => hosts.push((name.to_owned(), address)),
            None => {
                let why = format!(
                    "bad format for add-host: {text:?}; write NAME:IP, or NAME:{GATEWAY} for this \
                     machine"
                );
                return Err(wrong_value("--add-host", text, &why));
            }
        }
    }
    Ok(hosts)
}

fn unbracketed(text: &str) -> &str {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    inner.unwrap_or(text)
}

/// `--dns`, `--dns-search` and `--dns-option`: each in place of what is usual.
fn dns(steps: &StepArgs, usual: Dns) -> Result<Dns, String> {
    for server in &steps.dns {
        // An interface may follow, as in fe80::1%eth0.
        let address = server.split('%').next().unwrap_or(server);
        if address.parse::<IpAddr>().is_err() {
            return Err(format!(
                "invalid value {server:?} for --dns: it is not an IP address"
            ));
        }
    }
    for (flag, values) in [
        ("--dns-search", &steps.dns_search),
        ("--dns-option", &steps.dns_options),
    ] {
        let wrong = |text: &&String| text.is_empty() || text.contains(char::is_whitespace);
        if let Some(wrong) = values.iter().find(wrong) {
            return Err(format!(
                "invalid value {wrong:?} for {flag}: write one word"
            ));
        }
    }
    let pick = |own: &[String], usual: Vec<String>| match own {
        [] => usual,
        own => own.to_vec(),
    };
    Ok(Dns {
        servers: pick(&steps.dns, usual.servers),
        search: pick(&steps.dns_search, usual.search),
        options: pick(&steps.dns_options, usual.options),
    })
}

/// `--volume SOURCE:TARGET[:OPTIONS]`
fn volume(text: &str) -> Result<Volume, String> {
    let wrong = |what: &str| Err(format!("--volume {text}: {what}"));
    let mut parts = text.split(':');
    let (Some(source), Some(target)) = (parts.next(), parts.next()) else {
        return wrong("write SOURCE:TARGET; there are no volumes without a place on this machine");
    };
    let options = parts.next().unwrap_or_default();
    if parts.next().is_some() {
        return wrong("it has more parts than SOURCE:TARGET:OPTIONS");
    }
    if !source.starts_with('/') {
        return wrong("the source is no absolute path; volumes with names do not exist here");
    }
    if !target.starts_with('/') || target.trim_matches('/').is_empty() {
        return wrong("the target is no absolute path below the root");
    }
    if let Err(e) = std::fs::metadata(source) {
        return wrong(&format!("cannot use {source}: {e}"));
    }
    let mut readonly = false;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => readonly = true,
            "rw" => readonly = false,
            // Labels are for SELinux, which containers here have none of; nothing that is mounted
            // in a step is seen outside of it, or the other way round.
            "z" | "Z" | "private" | "rprivate" | "rbind" => {}
            "U" | "O" => {
                return wrong(&format!(
                    "option {option} is not supported; RUN --mount=type=bind,rw shows files that \
                     a step can change without changing their source"
                ));
            }
            other => {
                return wrong(&format!(
                    "option {other:?} is not supported; there are ro, rw, z and Z"
                ));
            }
        }
    }
    Ok(Volume {
        source: PathBuf::from(source),
        target: target.to_owned(),
        readonly,
    })
}

/// `--security-opt`
fn secure(text: &str, settings: &mut RunSettings) -> Result<(), String> {
    let (name, value) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .unwrap_or((text, ""));
    let instead = match (name, value) {
        ("no-new-privileges", "") => {
            settings.no_new_privileges = true;
            return Ok(());
        }
        ("no-new-privileges", value) => {
            settings.no_new_privileges = crate::flags::boolean(value)
                .map_err(|e| format!("invalid --security-opt {text:?}: {e}"))?;
            return Ok(());
        }
        ("seccomp", "unconfined") => {
            settings.filter = Filter::None;
            return Ok(());
        }
        ("seccomp", "builtin" | "") => {
            settings.filter = Filter::Usual;
            return Ok(());
        }
        ("seccomp", path) => {
            settings.filter = profile(path)?;
            return Ok(());
        }
        // What is asked for is what there is: no step has a profile.
        ("apparmor", "unconfined") | ("systempaths", "confined") => return Ok(()),
        ("label", option) => return label(text, option, Path::new(SELINUX).exists()),
        ("apparmor", profile) if !Path::new(APPARMOR).exists() => {
            return Err(format!(
                "profile {profile:?} specified but AppArmor is disabled on this machine; leave \
                 --security-opt {text} out"
            ));
        }
        ("apparmor", _) => "RUN steps have no AppArmor profile: only apparmor=unconfined is known",
        ("systempaths", _) => {
            "/proc and /sys are shown whole to RUN --security=insecure, with --allow \
             security.insecure"
        }
        _ => "there are seccomp=unconfined, seccomp=FILE and no-new-privileges",
    };
    Err(format!(
        "--security-opt {text} is not supported here; {instead}"
    ))
}

/// Where a kernel with SELinux, and one with AppArmor, tells of it.
const SELINUX: &str = "/sys/fs/selinux/enforce";
const APPARMOR: &str = "/sys/kernel/security/apparmor";

/// `--security-opt label=…`: without SELinux labels are nothing, which docker says nothing of.
fn label(text: &str, option: &str, selinux: bool) -> Result<(), String> {
    let (name, value) = option.split_once(':').unwrap_or((option, ""));
    match (name, value) {
        ("disable", "") => Ok(()),
        ("user" | "role" | "type" | "level" | "filetype" | "nested", _) if !selinux => Ok(()),
        ("user" | "role" | "type" | "level" | "filetype" | "nested", _) => Err(format!(
            "--security-opt {text} is not supported here; RUN steps have no SELinux label: only \
             label=disable is known"
        )),
        _ => Err(format!(
            "invalid --security-opt {text:?}: a label is disable, or user:, role:, type: or level: \
             with a value"
        )),
    }
}

/// `--security-opt seccomp=FILE`; the words are those of docker's client.
fn profile(path: &str) -> Result<Filter, String> {
    let read = || -> std::io::Result<String> {
        let mut text = String::new();
        File::open(path)?
            .take(MAX_PROFILE)
            .read_to_string(&mut text)?;
        Ok(text)
    };
    let text = read().map_err(|e| format!("opening seccomp profile ({path}) failed: {e}"))?;
    let kernel = rustix::system::uname();
    let profile = SeccompProfile::parse(&text, &kernel.release().to_string_lossy());
    Ok(Filter::Profile {
        profile: profile.map_err(|e| format!("seccomp profile ({path}): {e}"))?,
        digest: Digest::sha256(text.as_bytes()),
    })
}

/// Docker's has 20 KiB.
const MAX_PROFILE: u64 = 1 << 20;

/// `--device PATH[:TARGET][:PERMISSIONS]`, or a name of the Container Device Interface.
fn device(text: &str) -> Result<Device, String> {
    match text.starts_with('/') {
        true => drop(devices::split_path(text).map_err(|e| format!("--device {text}: {e}"))?),
        false if text.contains('=') => {}
        false => {
            return Err(format!(
                "--device {text}: write a path, as in /dev/fuse, or a name, as in \
                 vendor.com/class=name"
            ));
        }
    }
    Ok(Device {
        name: text.to_owned(),
        required: true,
    })
}

fn limits(args: &LimitArgs, parent: Option<&str>) -> Result<Limits, String> {
    let memory_swap = match args.memory_swap.as_deref() {
        Some("-1") => Some(-1),
        Some(text) => {
            let size = bytes("--memory-swap", text)?;
            Some(i64::try_from(size).map_err(|e| e.to_string())?)
        }
        None => None,
    };
    let ulimits = args
        .ulimits
        .iter()
        .map(|u| Ulimit::parse(u).map_err(|e| wrong_value("--ulimit", u, &e)))
        .collect::<Result<_, _>>()?;
    let parent = parent.filter(|text| !text.is_empty());
    Ok(Limits {
        parent: parent.map(CgroupParent::parse).transpose()?,
        memory: args.memory.as_deref().map(memory).transpose()?,
        memory_swap,
        cpu_quota: args.cpu_quota,
        cpu_period: args.cpu_period,
        cpu_shares: args.cpu_shares,
        cpuset_cpus: args.cpuset_cpus.clone(),
        cpuset_mems: args.cpuset_mems.clone(),
        pids: match args.pids_limit {
            None => Pids::Precaution(DEFAULT_PIDS),
            Some(number) => u64::try_from(number)
                .ok()
                .filter(|number| *number > 0)
                .map_or(Pids::Unlimited, Pids::AtMost),
        },
        ulimits,
        ..Limits::default()
    })
}

/// Enough for any build that we know of, and far from what a kernel can number.
const DEFAULT_PIDS: u64 = 8192;

/// What a process needs to start at all, as docker has it.
const MIN_MEMORY: u64 = 6 << 20;

fn memory(text: &str) -> Result<u64, String> {
    let size = bytes("-m, --memory", text)?;
    if size < MIN_MEMORY {
        return Err(format!(
            "invalid memory limit {text:?}: the minimum allowed is 6MB"
        ));
    }
    Ok(size)
}

fn bytes(flag: &str, text: &str) -> Result<u64, String> {
    let size = golang::size::parse_size(text);
    size.ok_or_else(|| wrong_value(flag, text, &format!("invalid size: '{text}'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(steps: StepArgs) -> Result<RunSettings, String> {
        let usual = Dns {
            servers: vec!["192.0.2.1".to_owned()],
            search: vec!["corp.example".to_owned()],
            options: Vec::new(),
        };
        settings(
            &steps,
            &LimitArgs::default(),
            &BuildArgs::new(Vec::new()),
            usual,
        )
    }

    fn texts(all: &[&str]) -> Vec<String> {
        all.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn hosts_have_addresses_in_all_of_dockers_forms() {
        let ip = |text: &str| HostAddress::Ip(text.parse().unwrap());
        for (text, name, address) in [
            ("a:1.2.3.4", "a", ip("1.2.3.4")),
            ("a=1.2.3.4", "a", ip("1.2.3.4")),
            ("a:::1", "a", ip("::1")),
            ("a=::1", "a", ip("::1")),
            ("a:[2001:db8::1]", "a", ip("2001:db8::1")),
            ("a=[2001:db8::1]", "a", ip("2001:db8::1")),
            ("a:host-gateway", "a", HostAddress::Gateway),
            ("a=host-gateway", "a", HostAddress::Gateway),
        ] {
            let add_hosts = texts(&[text]);
            let found = of(StepArgs {
                add_hosts,
                ..StepArgs::default()
            });
            let want = (name.to_owned(), address);
            assert_eq!(found.unwrap().extra_hosts, [want], "{text}");
        }
        for text in ["", "x", "a:", ":1.2.3.4", "a:gateway", "a:[::1", "a b:::1"] {
            let add_hosts = texts(&[text]);
            let found = of(StepArgs {
                add_hosts,
                ..StepArgs::default()
            });
            let told = found.unwrap_err();
            assert!(told.contains("bad format for add-host:"), "{told}");
        }
    }

    #[test]
    fn what_is_typed_of_dns_stands_in_place_of_the_usual() {
        let found = of(StepArgs {
            dns: texts(&["9.9.9.9", "fe80::1%eth0"]),
            dns_options: texts(&["ndots:2"]),
            ..StepArgs::default()
        });
        let dns = found.unwrap().dns;
        assert_eq!(dns.servers, ["9.9.9.9", "fe80::1%eth0"]);
        assert_eq!(
            (dns.search, dns.options),
            (texts(&["corp.example"]), texts(&["ndots:2"]))
        );
        for wrong in ["none", "dns.example", ""] {
            let dns = texts(&[wrong]);
            let told = of(StepArgs {
                dns,
                ..StepArgs::default()
            });
            assert!(
                told.unwrap_err().contains("is not an IP address"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn volumes_are_places_of_this_machine() {
        let read = volume("/etc:/e:ro,z").unwrap();
        assert_eq!((read.target.as_str(), read.readonly), ("/e", true));
        assert!(!volume("/etc:/e").unwrap().readonly);
        for (text, told) in [
            ("/e", "write SOURCE:TARGET"),
            ("name:/e", "no absolute path"),
            ("/etc:e", "the target is no absolute path"),
            ("/etc:/", "below the root"),
            ("/etc:/e:ro:x", "more parts"),
            ("/etc:/e:O", "RUN --mount=type=bind,rw"),
            ("/etc:/e:shared", "option \"shared\" is not supported"),
            ("/nonexistent:/e", "No such file"),
        ] {
            let error = volume(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
            assert!(error.starts_with(&format!("--volume {text}: ")), "{error}");
        }
    }

    #[test]
    fn security_options_work_or_are_refused_by_name() {
        let with = |option: &str| {
            let found = of(StepArgs {
                security_opts: texts(&[option]),
                ..StepArgs::default()
            })?;
            let none = matches!(found.filter, Filter::None);
            Ok::<_, String>((none, found.no_new_privileges))
        };
        for (option, want) in [
            ("seccomp=unconfined", (true, false)),
            ("seccomp:unconfined", (true, false)),
            ("seccomp=builtin", (false, false)),
            ("no-new-privileges", (false, true)),
            ("no-new-privileges:true", (false, true)),
            ("no-new-privileges=false", (false, false)),
            ("apparmor=unconfined", (false, false)),
            ("label=disable", (false, false)),
            // As docker on a machine without SELinux: there is nothing to label.
            ("label=type:t", (false, false)),
        ] {
            assert_eq!(with(option).unwrap(), want, "{option}");
        }
        for option in ["systempaths=unconfined", "x"] {
            let told = with(option).unwrap_err();
            let start = format!("--security-opt {option} is not supported here; ");
            assert!(told.starts_with(&start), "{told}");
        }
        for (option, start) in [
            (
                "seccomp=/p.json",
                "opening seccomp profile (/p.json) failed: ",
            ),
            ("seccomp=/etc/passwd", "seccomp profile (/etc/passwd): "),
            ("label", "invalid --security-opt \"label\": "),
            (
                "apparmor=docker-default",
                "profile \"docker-default\" specified but AppArmor",
            ),
        ] {
            let told = with(option).unwrap_err();
            assert!(told.starts_with(start), "{told}");
        }
        assert!(label("label=type:t", "type:t", true).is_err());
        assert!(with("no-new-privileges=maybe").is_err());
    }
}
