//! From what a container was made with to what its monitor runs.

use std::net::IpAddr;
use std::path::PathBuf;

use runtime::{Dns, Node, Overlay, Rootfs, Spec, WindowSize};

use super::container::Container;
use super::exec::Exec;
use super::mounts::{self, Places};
use super::namespaces::Beside;
use super::networks::Planned;
use super::{choices, limits, namespaces, security};
use crate::error::{Error, Result};
use crate::events::Actor;
use crate::health::Probe;
use crate::launch::{Etc, HostAddress, Launch, RestartPolicy, Streams};
use crate::log::LogSettings;
use crate::record::{DeviceMapping, HostConfig, LogConfig, MountPoint, MountSource, RestartRule};

/// What a container without PATH has.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Container {
    /// What its monitor is told. `lowers` are its image's layers, the topmost first;
    /// `beside` is whose processes it sees, too.
    pub(super) fn launch(
        &self,
        root: PathBuf,
        (lowers, stub): (Vec<PathBuf>, PathBuf),
        (places, planned): (&Places, Planned),
        (attach, beside): (Streams, Beside),
    ) -> Result<Launch> {
        let (config, host) = (&self.record.config, &self.record.host);
        let overlay = Overlay {
            lowers,
            stub: Some(stub),
            upper: self.stored.upper(),
            work: self.stored.work(),
        };
        Ok(Launch {
            id: self.id.clone(),
            actor: self.actor(),
            name: self.name.clone(),
            folder: self.folder.path().to_owned(),
            root,
            spec: namespaces::share(self.spec(overlay, places)?, (config, host), beside)
                .env(self.env(planned.env)),
            network: planned.network,
            other_network: planned.other,
            volumes: self.volume_actors(),
            told: mounts::told(&self.record.mounts, places),
            memory_of: beside.ipc,
            etc: Etc {
                links: planned.links,
                ..etc(&self.hostname(), &config.domainname, host)?
            },
            log: log(&host.log_config)?,
            tty: config.tty,
            open_stdin: config.open_stdin,
            stdin_once: config.stdin_once,
            restart: restart(&host.restart_policy)?,
            stop: self.stopping()?,
            health: self.probe()?,
            auto_remove: host.auto_remove,
            attach,
            restart_count: 0,
        })
    }

    /// How events tell of its volumes.
    fn volume_actors(&self) -> Vec<Actor> {
        let mounts = self.record.mounts.iter();
        let actor = |mount: &MountPoint| {
            let MountSource::Volume { name, .. } = &mount.source else {
                return None;
            };
            let mut actor = Actor::volume(name);
            for (key, value) in [
                ("container", self.id.clone()),
                ("destination", mount.target.clone()),
                ("propagation", String::new()),
                ("read/write", (!mount.readonly).to_string()),
            ] {
                actor.attributes.insert(key.to_owned(), value);
            }
            Some(actor)
        };
        mounts.filter_map(actor).collect()
    }

    /// How its monitor finds out whether it is well.
    fn probe(&self) -> Result<Option<Probe>> {
        let config = &self.record.config;
        let entry = |argv| {
            let exec = Exec {
                argv,
                ..Exec::default()
            };
            self.entry(&exec, Vec::new())
        };
        Probe::of(config.healthcheck.as_ref(), config.shell.as_deref(), entry)
    }

    fn hostname(&self) -> String {
        self.record.config.hostname.clone()
    }

    fn spec(&self, overlay: Overlay, places: &Places) -> Result<Spec> {
        let (config, host) = (&self.record.config, &self.record.host);
        let confinement = security::confinement(host)?;
        let mut spec = Spec::new(Rootfs::Overlay(overlay), config.argv())
            .lasting(self.id.as_str())
            .user(config.user.as_str())
            .hostname(self.hostname())
            .domain(config.domainname.as_str())
            .make_cwd()
            .limits(limits::limits(host)?)
            .readonly(host.readonly_rootfs)
            .usual_devices()
            .seccomp(confinement.seccomp)
            .no_new_privileges(confinement.no_new_privileges);
        if !config.working_dir.is_empty() {
            spec = spec.cwd(config.working_dir.as_str());
        }
        if host.privileged {
            spec = spec.privileged();
        }
        spec = spec
            .capabilities(confinement.capabilities)
            .seccomp(confinement.seccomp);
        if let Some(profile) = confinement.profile {
            spec = spec.seccomp_profile(profile);
        }
        if security::shows_system_paths(host) {
            spec = spec.unmasked();
        }
        if host.shm_size != 0 {
            spec = spec.shm_size(host.shm_size);
        }
        if config.tty {
            let [rows, columns] = host.console_size;
            spec = spec.terminal(WindowSize { rows, columns });
        }
        if host.init == Some(true) {
            spec = spec.reaper();
        }
        spec = spec.named_groups(host.group_add.iter().flatten());
        for (name, value) in sysctls(host) {
            spec = spec.sysctl(name, value);
        }
        let rules = host.device_cgroup_rules.iter().flatten();
        for rule in rules.filter_map(|text| choices::device_rule(text)) {
            spec = spec.device_rule(rule);
        }
        for device in &host.devices {
            for node in nodes(device)? {
                spec = spec.node(node);
            }
        }
        for point in &self.record.mounts {
            spec = spec.mount(mounts::mount(point, places)?);
        }
        Ok(spec.first_mounts(namespaces::memory(config)))
    }

    /// The environment of its processes: docker adds a few to what it was made with, and `linked`,
    /// which are of others.
    pub(super) fn env(&self, linked: Vec<String>) -> Vec<String> {
        let config = &self.record.config;
        let mut env = Vec::new();
        let has = |name: &str| config.env.iter().any(|entry| entry.starts_with(name));
        if !has("PATH=") {
            env.push(PATH.to_owned());
        }
        if !has("HOSTNAME=") {
            env.push(format!("HOSTNAME={}", self.hostname()));
        }
        if config.tty && !has("TERM=") {
            env.push("TERM=xterm".to_owned());
        }
        if config.systemd_mode && !has("container=") {
            // How systemd finds out where it is.
            env.push("container=oci".to_owned());
        }
        let own = |entry: &str| {
            let name = entry.split('=').next().unwrap_or(entry);
            let mut said = config.env.iter();
            said.any(|said| said.split('=').next() == Some(name))
        };
        env.extend(linked.into_iter().filter(|entry| !own(entry)));
        // A name without a value takes a variable away.
        let set = config.env.iter().filter(|entry| entry.contains('='));
        for entry in set {
            let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
            // The last one of a name counts, where the first one stands.
            match env.iter_mut().find(|other| name(other) == name(entry)) {
                Some(before) => before.clone_from(entry),
                None => env.push(entry.clone()),
            }
        }
        env
    }
}

/// The nodes of a device, or of all devices in a folder.
fn nodes(device: &DeviceMapping) -> Result<Vec<Node>> {
    let access = choices::access_of(&device.permissions);
    let failed = |cause: std::io::Error| {
        let cause = golang::errno::said(&cause);
        Error::Invalid(format!(
            "error gathering device information while adding custom device {:?}: {cause}",
            device.path_on_host
        ))
    };
    let found = Node::all_below(&device.path_on_host, &device.path_in_container);
    let mut nodes = found.map_err(failed)?;
    for node in &mut nodes {
        node.access = access;
    }
    Ok(nodes)
}

/// Kernel parameters: those that were asked for, and docker's own two for namespaces that are the
/// container's, where every port is for everybody and anybody may ping.
fn sysctls(host: &HostConfig) -> Vec<(String, String)> {
    const USUAL: [(&str, &str); 2] = [
        ("net.ipv4.ip_unprivileged_port_start", "0"),
        ("net.ipv4.ping_group_range", "0 2147483647"),
    ];
    let is_own = host.network_mode != "host" && !host.network_mode.starts_with("container:");
    let usual = USUAL.iter().filter(|(name, _)| {
        is_own && !host.sysctls.contains_key(*name) && {
            let file = format!("/proc/sys/{}", name.replace('.', "/"));
            std::path::Path::new(&file).exists()
        }
    });
    let usual = usual.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let asked = host.sysctls.iter();
    usual
        .chain(asked.map(|(name, value)| (name.clone(), value.clone())))
        .collect()
}

fn etc(hostname: &str, domain: &str, host: &HostConfig) -> Result<Etc> {
    let hosts = host.extra_hosts.iter().flatten().map(|entry| {
        let wrong = || Error::Invalid(format!("bad format for add-host: {entry:?}"));
        let (name, address) = entry.split_once(':').ok_or_else(wrong)?;
        let address = match address {
            "host-gateway" => HostAddress::Gateway,
            text => {
                let text = text.trim_start_matches('[').trim_end_matches(']');
                HostAddress::Ip(text.parse::<IpAddr>().map_err(|_| {
                    Error::Invalid(format!("invalid IP address in add-host: {text:?}"))
                })?)
            }
        };
        Ok((name.to_owned(), address))
    });
    Ok(Etc {
        hostname: hostname.to_owned(),
        domain: domain.to_owned(),
        hosts: hosts.collect::<Result<_>>()?,
        links: Vec::new(),
        dns: Dns {
            servers: host.dns.clone(),
            search: host.dns_search.clone(),
            options: host.dns_options.clone(),
        },
    })
}

/// Reads `--log-driver` and `--log-opt`.
pub(super) fn log(config: &LogConfig) -> Result<LogSettings> {
    let mut settings = LogSettings::default();
    match config.kind.as_str() {
        "" | "json-file" | "local" => {}
        "none" => settings.kept = false,
        other => {
            return Err(Error::Invalid(format!(
                "error looking up logging plugin {other}: plugin {other:?} not found"
            )));
        }
    }
    for (key, value) in &config.config {
        match key.as_str() {
            "max-size" if value == "-1" => settings.max_size = None,
            "max-size" => {
                let bytes = golang::size::parse_size(value).filter(|bytes| *bytes > 0);
                settings.max_size =
                    Some(bytes.ok_or_else(|| Error::Invalid(format!("invalid size: '{value}'")))?);
            }
            "max-file" => {
                let files = value.parse().ok().filter(|files| *files > 0);
                settings.max_file = files.ok_or_else(|| {
                    Error::Invalid(match value.parse::<i64>() {
                        Ok(_) => "max-file cannot be less than 1".to_owned(),
                        Err(_) => format!("strconv.Atoi: parsing {value:?}: invalid syntax"),
                    })
                })?;
            }
            "compress" => {
                settings.compress = golang::boolean::parse_bool(value).ok_or_else(|| {
                    Error::Invalid(format!(
                        "strconv.ParseBool: parsing {value:?}: invalid syntax"
                    ))
                })?;
            }
            // What they choose is of use to none but docker's own tools.
            "labels" | "labels-regex" | "env" | "env-regex" | "tag" | "mode"
            | "max-buffer-size" => {}
            other => {
                return Err(Error::Invalid(format!(
                    "unknown log opt '{other}' for json-file log driver"
                )));
            }
        }
    }
    if settings.compress && (settings.max_size.is_none() || settings.max_file < 2) {
        return Err(Error::Invalid(
            "compress cannot be true when max-file is less than 2 or max-size is not set"
                .to_owned(),
        ));
    }
    Ok(settings)
}

/// Reads `--restart`.
pub(super) fn restart(rule: &RestartRule) -> Result<RestartPolicy> {
    let counted = rule.maximum_retry_count != 0;
    match rule.name.as_str() {
        "on-failure" => Ok(RestartPolicy::OnFailure(rule.maximum_retry_count)),
        "" | "no" | "always" | "unless-stopped" if counted => Err(Error::Invalid(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'"
                .to_owned(),
        )),
        "" | "no" => Ok(RestartPolicy::No),
        "always" => Ok(RestartPolicy::Always),
        "unless-stopped" => Ok(RestartPolicy::UnlessStopped),
        other => Err(Error::Invalid(format!(
            "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', \
             'on-failure', or 'unless-stopped'"
        ))),
    }
}
