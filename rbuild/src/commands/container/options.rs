//! From the flags of `run` and `create` to what a container is made with. The words of what is
//! refused are docker's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use containers::engine::Asked;
use containers::record::{Config, DeviceMapping, HostConfig, LogConfig, RestartRule, UlimitRule};
use golang::size::{not_a_size, parse_size};
use runtime::Ulimit;

use super::flags::{LimitFlags, MakeFlags};
use super::{devices, health, mount_flags, namespaces, networking, rare_flags};
use crate::usage::wrong_value;

/// What the flags come to: image, configuration, and what this machine does.
#[derive(Debug)]
pub struct Made {
    /// The image as it was typed.
    pub image: String,
    /// What an image of the container would keep.
    pub config: Config,
    /// What this machine does for it.
    pub host: HostConfig,
    /// Its networks.
    pub networks: Asked,
}

/// Reads the flags.
///
/// # Errors
/// Says which flag has which wrong value.
pub fn read(flags: &MakeFlags) -> Result<Made, String> {
    let (image, command) = flags.words.split_first().ok_or("no image")?;
    let mut config = config(flags, image, command)?;
    let mut host = host(flags)?;
    namespaces::share(&flags.namespaces, (&mut config, &mut host))?;
    let volumes = mount_flags::volumes(&flags.volumes, &here())?;
    host.binds = (!volumes.binds.is_empty()).then_some(volumes.binds);
    let paths = volumes.paths.into_iter();
    let paths: BTreeMap<_, _> = paths.map(|path| (path, Default::default())).collect();
    config.volumes = (!paths.is_empty()).then_some(paths);
    let networks = networking::read(&flags.networks, &mut config, &mut host)?;
    Ok(Made {
        image: image.clone(),
        config,
        host,
        networks,
    })
}

/// Where paths of this machine begin that are not absolute.
fn here() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"))
}

fn config(flags: &MakeFlags, image: &str, command: &[String]) -> Result<Config, String> {
    let env = variables(&flags.env_file, &flags.env)?;
    let mut labels = BTreeMap::new();
    for file in &flags.label_files {
        // As docker: what has no value is none.
        let lines = lines(file)?;
        let valued = lines.iter().filter(|line| line.contains('='));
        labels.extend(valued.map(|line| label(line)));
    }
    for text in &flags.labels {
        let (key, value) = label(text);
        if key.is_empty() {
            let why = format!("invalid label '{text}': empty name");
            return Err(wrong_value("-l, --label", text, &why));
        }
        labels.insert(key, value);
    }
    if let Some(dir) = flags
        .workdir
        .as_deref()
        .filter(|dir| !dir.is_empty() && !dir.starts_with('/'))
    {
        return Err(format!(
            "the working directory '{dir}' is invalid, it needs to be an absolute path"
        ));
    }
    if !matches!(flags.pull.as_str(), "" | "always" | "missing" | "never") {
        return Err(format!(
            "invalid pull option: '{}': must be one of \"always\", \"missing\" or \"never\"",
            flags.pull
        ));
    }
    if let Some(signal) = &flags.stop_signal {
        containers::engine::signal(signal).map_err(|error| error.to_string())?;
    }
    Ok(Config {
        hostname: flags.hostname.clone().unwrap_or_default(),
        domainname: flags.domainname.clone().unwrap_or_default(),
        user: flags.user.clone().unwrap_or_default(),
        tty: flags.tty,
        open_stdin: flags.interactive,
        env,
        cmd: (!command.is_empty()).then(|| command.to_vec()),
        image: image.to_owned(),
        working_dir: flags.workdir.clone().unwrap_or_default(),
        entrypoint: flags.entrypoint.clone().map(|word| vec![word]),
        labels,
        stop_signal: flags.stop_signal.clone(),
        stop_timeout: flags.stop_timeout,
        healthcheck: health::read(&flags.health)?,
        ..Config::default()
    })
}

fn host(flags: &MakeFlags) -> Result<HostConfig, String> {
    let list = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
    let mut host = HostConfig {
        volume_driver: flags.volume_driver.clone().unwrap_or_default(),
        volumes_from: list(&flags.volumes_from),
        container_id_file: flags
            .cidfile
            .as_ref()
            .map(|path| path.display().to_string())
            .unwrap_or_default(),
        log_config: log(flags)?,
        restart_policy: restart(&flags.restart)?,
        auto_remove: flags.rm,
        cap_add: list(&flags.cap_add),
        cap_drop: list(&flags.cap_drop),
        group_add: list(&flags.group_add),
        privileged: flags.privileged,
        readonly_rootfs: flags.read_only,
        security_opt: list(&secured(&flags.security_opt)?),
        runtime: "rbuild".to_owned(),
        init: flags.init.then_some(true),
        ..HostConfig::default()
    };
    for text in &flags.tmpfs {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        host.tmpfs.insert(target.to_owned(), options.to_owned());
    }
    for text in &flags.mounts {
        host.mounts.push(mount_flags::mount(text, &here())?);
    }
    for text in &flags.devices {
        host.devices.push(device(text)?);
    }
    rare_flags::read(&flags.rare, &mut host)?;
    limit(&flags.limits, &mut host)?;
    devices::limit(&flags.device_limits, &mut host)?;
    if host.auto_remove && host.restart_policy.name != "no" {
        return Err("conflicting options: cannot specify both --restart and --rm".to_owned());
    }
    Ok(host)
}

/// `--security-opt`, with profiles in place of the names of their files.
fn secured(options: &[String]) -> Result<Vec<String>, String> {
    let read = |option: &String| match option.strip_prefix("seccomp=") {
        None if !option.contains(['=', ':']) && option != "no-new-privileges" => {
            Err(format!("Invalid --security-opt: {option:?}"))
        }
        None | Some("unconfined" | "builtin") => Ok(option.clone()),
        Some(path) => {
            let profile = fs::read_to_string(path);
            let profile = profile.map_err(|error| {
                let why = golang::errno::said(&error);
                format!("opening seccomp profile ({path}) failed: open {path}: {why}")
            })?;
            Ok(format!("seccomp={profile}"))
        }
    };
    options.iter().map(read).collect()
}

/// Writes the flags about limits into `host`; those that are not told stay as they are.
///
/// # Errors
/// Says which flag has which wrong value.
pub fn limit(flags: &LimitFlags, host: &mut HostConfig) -> Result<(), String> {
    let size = |flag: &str, text: &str| {
        parse_size(text).ok_or_else(|| wrong_value(flag, text, &not_a_size(text)))
    };
    if let Some(text) = &flags.memory {
        host.memory = size("-m, --memory", text)?;
    }
    if let Some(text) = &flags.memory_swap {
        host.memory_swap = match text.as_str() {
            "-1" => -1,
            text => i64::try_from(size("--memory-swap", text)?).unwrap_or(i64::MAX),
        };
    }
    if let Some(text) = &flags.memory_reservation {
        host.memory_reservation = size("--memory-reservation", text)?;
    }
    if let Some(text) = &flags.kernel_memory {
        size("--kernel-memory", text)?;
    }
    if let Some(text) = &flags.shm_size {
        host.shm_size = size("--shm-size", text)?;
    }
    if let Some(text) = &flags.cpus {
        host.nano_cpus = cpus(text)?;
    }
    let set = |to: &mut u64, from: Option<u64>| *to = from.unwrap_or(*to);
    let whole = |number: Option<i64>, wrong: &dyn Fn(i64) -> String| match number {
        Some(number) => u64::try_from(number).map(Some).map_err(|_| wrong(number)),
        None => Ok(None),
    };
    set(
        &mut host.cpu_shares,
        whole(flags.cpu_shares, &|number| {
            format!("invalid CPU shares ({number}): value must be a positive integer")
        })?,
    );
    set(
        &mut host.cpu_period,
        whole(flags.cpu_period, &|_| {
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
                .to_owned()
        })?,
    );
    set(&mut host.cpu_realtime_period, flags.cpu_rt_period);
    host.cpu_realtime_runtime = flags.cpu_rt_runtime.unwrap_or(host.cpu_realtime_runtime);
    host.blkio_weight = flags.blkio_weight.unwrap_or(host.blkio_weight);
    host.cpu_quota = flags.cpu_quota.unwrap_or(host.cpu_quota);
    let text = |to: &mut String, from: &Option<String>| {
        if let Some(from) = from {
            to.clone_from(from);
        }
    };
    text(&mut host.cpuset_cpus, &flags.cpuset_cpus);
    text(&mut host.cpuset_mems, &flags.cpuset_mems);
    text(&mut host.cgroup_parent, &flags.cgroup_parent);
    host.pids_limit = flags.pids_limit.or(host.pids_limit);
    for text in &flags.ulimit {
        let parsed = Ulimit::parse(text).map_err(|why| wrong_value("--ulimit", text, &why))?;
        let name = text.split('=').next().unwrap_or_default().to_owned();
        let value = |number: u64| i64::try_from(number).unwrap_or(-1);
        host.ulimits.retain(|rule| rule.name != name);
        host.ulimits.push(UlimitRule {
            name,
            hard: value(parsed.hard),
            soft: value(parsed.soft),
        });
    }
    Ok(())
}

/// CPUs in billionths, exactly as they are written.
fn cpus(text: &str) -> Result<u64, String> {
    let invalid = || {
        format!(
            "invalid argument \"{text}\" for \"--cpus\" flag: failed to parse {text} as a rational number"
        )
    };
    if let Some(rest) = text.strip_prefix('-')
        && cpus(rest).is_ok_and(|number| number > 0)
    {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        return Err(format!(
            "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        ));
    }
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 9 {
        return Err(format!(
            "invalid argument \"{text}\" for \"--cpus\" flag: value is too precise"
        ));
    }
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !digits(whole) || !digits(part) {
        return Err(invalid());
    }
    let number = format!("{whole}{part:0<9}").parse::<u64>();
    number.map_err(|_| invalid())
}

/// The variables of files and flags.
///
/// # Errors
/// Files that cannot be read, and what is no variable.
pub fn variables(files: &[PathBuf], flags: &[String]) -> Result<Vec<String>, String> {
    let mut env = Vec::new();
    for file in files {
        env.extend(lines(file)?.into_iter().filter_map(variable));
    }
    for entry in flags {
        if entry.is_empty() || entry.starts_with('=') {
            let why = format!("invalid environment variable: {entry}");
            return Err(wrong_value("-e, --env", entry, &why));
        }
        // One that is not set here is taken away there.
        env.push(variable(entry.clone()).unwrap_or_else(|| entry.clone()));
    }
    Ok(env)
}

/// A variable without a value is taken from here, or left out.
fn variable(entry: String) -> Option<String> {
    if entry.contains('=') {
        return Some(entry);
    }
    let value = std::env::var(&entry).ok()?;
    Some(format!("{entry}={value}"))
}

fn label(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}

/// The lines of a file of variables or labels that say something.
fn lines(path: &Path) -> Result<Vec<String>, String> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    let bytes = fs::read(path).map_err(|error| {
        let why = golang::errno::said(&error);
        format!("open {}: {why}", path.display())
    })?;
    let bytes = bytes.strip_prefix(MARK).unwrap_or(&bytes);
    let mut lines = Vec::new();
    for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Ok(line) = std::str::from_utf8(line) else {
            let shown: Vec<String> = line.iter().map(u8::to_string).collect();
            return Err(format!(
                "invalid env file ({}): invalid utf8 bytes at line {}: [{}]",
                path.display(),
                at + 1,
                shown.join(" ")
            ));
        };
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or_default();
        if name.is_empty() {
            return Err(format!(
                "invalid env file ({}): no variable name on line '{line}'",
                path.display()
            ));
        }
        if name.contains(char::is_whitespace) {
            return Err(format!(
                "invalid env file ({}): variable '{name}' contains whitespaces",
                path.display()
            ));
        }
        lines.push(line.to_owned());
    }
    Ok(lines)
}

/// `no`, `always`, `unless-stopped`, `on-failure[:TIMES]`
pub fn restart(text: &str) -> Result<RestartRule, String> {
    let (name, times) = match text.split_once(':') {
        Some((name, times)) => (name, Some(times)),
        None => (text, None),
    };
    let maximum_retry_count = match times {
        None => 0,
        Some(times) => match times.parse::<i64>() {
            Ok(times) => u32::try_from(times)
                .map_err(|_| "invalid restart policy: maximum retry count cannot be negative")?,
            Err(_) => {
                let why = "maximum retry count must be an integer";
                return Err(format!("invalid restart policy format: {why}"));
            }
        },
    };
    Ok(RestartRule {
        name: match name {
            "" => "no".to_owned(),
            name => name.to_owned(),
        },
        maximum_retry_count,
    })
}

fn log(flags: &MakeFlags) -> Result<LogConfig, String> {
    let mut config = LogConfig::default();
    if let Some(driver) = &flags.log_driver {
        config.kind.clone_from(driver);
    }
    for option in &flags.log_opt {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        config.config.insert(key.to_owned(), value.to_owned());
    }
    if config.kind == "none" && !config.config.is_empty() {
        return Err("invalid logging opts for driver none".to_owned());
    }
    Ok(config)
}

/// `HOST[:CONTAINER[:PERMISSIONS]]`
fn device(text: &str) -> Result<DeviceMapping, String> {
    if !text.starts_with('/')
        && let Some((kind, name)) = text.split_once('=')
        && kind.contains('/')
        && !name.is_empty()
    {
        // A name that only a registry of devices (CDI) would know.
        return Err(format!(
            "CDI device injection failed: unresolvable CDI devices {text}"
        ));
    }
    let parts: Vec<&str> = text.split(':').collect();
    let allowed = |text: &str| {
        let once = |letter: char| text.matches(letter).count() <= 1;
        !text.is_empty() && text.chars().all(|c| "rwm".contains(c) && once(c))
    };
    let (host, inside, permissions) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, permissions] if allowed(permissions) => (*host, *host, *permissions),
        [host, inside] => (*host, *inside, "rwm"),
        [host, inside, permissions] if allowed(permissions) => (*host, *inside, *permissions),
        [_, _, mode] => return Err(format!("bad mode specified: {mode}")),
        _ => return Err(format!("bad format for path: {text}")),
    };
    if host.is_empty() {
        return Err(format!("bad format for path: {text}"));
    }
    if !inside.starts_with('/') {
        return Err(format!("{inside} is not an absolute path"));
    }
    Ok(DeviceMapping {
        path_on_host: host.to_owned(),
        path_in_container: inside.to_owned(),
        permissions: permissions.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_docker_reads_them() {
        assert_eq!(cpus("1.5").unwrap(), 1_500_000_000);
        assert_eq!(cpus(".01").unwrap(), 10_000_000);
        assert!(
            cpus("1.0000000001")
                .unwrap_err()
                .ends_with("value is too precise")
        );
        assert!(cpus("many").is_err());
        let rule = restart("on-failure:3").unwrap();
        assert_eq!(
            (rule.name.as_str(), rule.maximum_retry_count),
            ("on-failure", 3)
        );
        for (text, why) in [
            (
                "on-failure:x",
                "invalid restart policy format: maximum retry count must be an integer",
            ),
            (
                "on-failure:-1",
                "invalid restart policy: maximum retry count cannot be negative",
            ),
        ] {
            assert_eq!(restart(text).unwrap_err(), why);
        }
        let device = device("/dev/fuse:r").unwrap();
        assert_eq!(device.permissions, "r");
        for (text, why) in [
            ("fuse", "fuse is not an absolute path"),
            ("/dev/fuse:fuse", "fuse is not an absolute path"),
            ("/dev/fuse:/dev/x:q", "bad mode specified: q"),
            ("/dev/fuse:/dev/x:rr", "bad mode specified: rr"),
            ("/a:/b:r:w", "bad format for path: /a:/b:r:w"),
            (
                "vendor.com/class=dev",
                "CDI device injection failed: unresolvable CDI devices vendor.com/class=dev",
            ),
        ] {
            assert_eq!(super::device(text).unwrap_err(), why);
        }
    }
}
