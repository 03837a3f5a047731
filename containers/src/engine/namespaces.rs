//! Namespaces that a container shares, and how it sees its control groups.

use runtime::{CgroupView, Inhabitant, IpcSpace, Mount, PidSpace, Shared, Spec};

use super::container::Container;
use super::handle::Containers;
use super::security;
use crate::error::{Error, Result};
use crate::record::{Config, HostConfig};

/// What is memory where systemd is the first process, as podman has it.
const MEMORY: [(&str, &str); 4] = [
    ("/run", "755"),
    ("/run/lock", "755"),
    ("/tmp", "1777"),
    ("/var/log/journal", "755"),
];
const GROUPS: &str = "/sys/fs/cgroup";
const SHARED_MEMORY: &str = "/dev/shm";

/// The container that a mode names, `container:NAME`.
fn other(mode: &str) -> Option<&str> {
    mode.strip_prefix("container:")
}

/// Whether the modes are some, in docker's words.
///
/// # Errors
/// What is none.
pub(super) fn check(config: &Config, host: &HostConfig) -> Result<()> {
    let invalid = |text: String| Err(Error::Invalid(text));
    let mode = host.ipc_mode.as_str();
    if other(mode) == Some("") {
        let text = "failed to join IPC namespace: invalid name or ID supplied: \"\"";
        return invalid(text.to_owned());
    }
    if !matches!(mode, "" | "private" | "shareable" | "none" | "host") && other(mode).is_none() {
        return invalid(format!("invalid IPC mode: {mode}"));
    }
    let mode = host.pid_mode.as_str();
    if !matches!(mode, "" | "host") && other(mode).is_none_or(str::is_empty) {
        return invalid(format!("invalid PID mode: {mode}"));
    }
    if host.uts_mode == "host" && !config.hostname.is_empty() {
        return invalid("conflicting options: hostname and the UTS mode".to_owned());
    }
    Ok(())
}

impl Containers {
    /// Whether the containers are there that another is to share with.
    pub(super) async fn check_others(&self, host: &HostConfig) -> Result<()> {
        for name in [&host.pid_mode, &host.ipc_mode]
            .into_iter()
            .filter_map(|mode| other(mode))
        {
            self.find(name).await?;
        }
        Ok(())
    }

    /// The first processes of the containers with which it shares.
    pub(super) async fn beside(&self, container: &Container) -> Result<Beside> {
        let host = &container.record.host;
        Ok(Beside {
            pid: self.one_beside("PID", &host.pid_mode).await?,
            ipc: self.one_beside("IPC", &host.ipc_mode).await?,
        })
    }

    async fn one_beside(&self, kind: &str, mode: &str) -> Result<Option<Inhabitant>> {
        let Some(name) = other(mode) else {
            return Ok(None);
        };
        let found = self.find(name).await?;
        let id = &found.id;
        let why = match found.state.status.has_processes() {
            false => "is not running",
            true if kind == "IPC" && found.record.host.ipc_mode != "shareable" => {
                return Err(Error::Invalid(format!(
                    "failed to join IPC namespace: container {id}: non-shareable IPC (hint: use \
                     IpcMode:shareable for the donor container)"
                )));
            }
            true => return Ok(Some(found.inhabitant())),
        };
        Err(Error::Invalid(format!(
            "failed to join {kind} namespace: container {id} {why}"
        )))
    }
}

/// Containers with which another shares.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beside {
    /// Whose processes it sees.
    pub(super) pid: Option<Inhabitant>,
    /// Whose memory it has.
    pub(super) ipc: Option<Inhabitant>,
}

/// Puts into `spec` what the container shares.
pub(super) fn share(spec: Spec, (config, host): (&Config, &HostConfig), beside: Beside) -> Spec {
    let shared = Shared {
        pid: match (beside.pid, host.pid_mode.as_str()) {
            (Some(other), _) => PidSpace::Of(other),
            (None, "host") => PidSpace::Host,
            (None, _) => PidSpace::Own,
        },
        ipc: match (beside.ipc, host.ipc_mode.as_str()) {
            (Some(other), _) => IpcSpace::Of(other),
            (None, "host") => IpcSpace::Host,
            (None, _) => IpcSpace::Own,
        },
        uts: host.uts_mode == "host",
        cgroup: host.cgroupns_mode == "host",
    };
    let view = match (host.privileged, config.systemd_mode) {
        (true, _) => CgroupView::Writable,
        // It would see those of others, and what belongs to this machine alone.
        (false, _) if shared.cgroup => CgroupView::Hidden,
        (false, _) if security::writes_to_groups(host) => CgroupView::Writable,
        (false, true) => CgroupView::Systemd,
        (false, false) => CgroupView::ReadOnly,
    };
    let mut spec = spec.shared(shared).cgroups(view);
    if host.privileged && !shared.cgroup {
        // Who gives systemd all control groups means its own. It could not write to these: what is
        // bound read-only is so with all that is mounted below.
        spec = spec.without_bind(GROUPS);
    }
    match host.ipc_mode.as_str() {
        "none" => spec.shm_size(0),
        // Its monitor mounts what the other has.
        mode if other(mode).is_some() => spec.shm_size(0),
        "host" => spec
            .shm_size(0)
            .first_mounts([Mount::bind(SHARED_MEMORY, SHARED_MEMORY, false)]),
        _ => spec,
    }
}

/// Takes a volume of the image away that would hide the control groups from systemd.
pub(super) fn uncover(config: &mut Config) {
    if let Some(volumes) = config.volumes.as_mut().filter(|_| config.systemd_mode) {
        volumes.remove(GROUPS);
    }
}

/// What systemd finds as memory; other mounts of the same places go before.
pub(super) fn memory(config: &Config) -> Vec<Mount> {
    let all = MEMORY.iter().filter(|_| config.systemd_mode);
    all.map(|(target, mode)| {
        let mut mount = Mount::tmpfs(*target, None);
        if let runtime::MountKind::Tmpfs { options, .. } = &mut mount.kind {
            options.push(("mode".to_owned(), (*mode).to_owned()));
        }
        mount
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_checked_in_dockers_words() {
        let config = Config::default();
        let host = |ipc: &str, pid: &str| HostConfig {
            ipc_mode: ipc.to_owned(),
            pid_mode: pid.to_owned(),
            ..HostConfig::default()
        };
        for (ipc, pid) in [
            ("", ""),
            ("private", "host"),
            ("none", "container:web"),
            ("host", ""),
            ("shareable", ""),
            ("container:web", ""),
        ] {
            check(&config, &host(ipc, pid)).unwrap();
        }
        for (ipc, pid, why) in [
            ("x", "", "invalid IPC mode: x"),
            (
                "container:",
                "",
                "failed to join IPC namespace: invalid name or ID supplied: \"\"",
            ),
            ("", "x", "invalid PID mode: x"),
            ("", "container:", "invalid PID mode: container:"),
        ] {
            let error = check(&config, &host(ipc, pid)).unwrap_err();
            assert_eq!(error.to_string(), why);
        }
        let named = Config {
            hostname: "x".to_owned(),
            ..Config::default()
        };
        let uts = HostConfig {
            uts_mode: "host".to_owned(),
            ..HostConfig::default()
        };
        let error = check(&named, &uts).unwrap_err().to_string();
        assert_eq!(error, "conflicting options: hostname and the UTS mode");
    }
}
