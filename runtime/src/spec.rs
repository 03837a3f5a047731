//! What to run: the specification of one container.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::caps::{Capability, DEFAULT};
use crate::network::Sandbox;

/// One process to run in a container. Build it with [`Spec::new`] and the `with_`-less setters;
/// all fields are public so that they can be filled in directly as well.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The root file system.
    pub rootfs: Rootfs,
    /// The command; `argv[0]` is looked up in the container's `PATH` when it has no slash.
    pub argv: Vec<String>,
    /// Environment as `NAME=value`. `HOME` is added from the image's passwd when missing.
    pub env: Vec<String>,
    /// Working directory, absolute in the container; it must exist.
    pub cwd: String,
    /// Docker's USER syntax: `user`, `uid`, `user:group`, `uid:gid`; empty is root.
    pub user: String,
    /// Host name in the container.
    pub hostname: String,
    /// The network the process sees.
    pub network: NetworkMode,
    /// Further mounts, made in this order after the standard ones.
    pub mounts: Vec<Mount>,
    /// Resource limits; control groups are only made when one needs them.
    pub limits: Limits,
    /// `NAME:IP` entries for /etc/hosts, as (name, address).
    pub extra_hosts: Vec<(String, String)>,
    /// Name servers, search domains and options; empty lists mean the host's.
    pub dns: Dns,
    /// Capabilities of the process; inheritable and ambient are always empty.
    pub capabilities: Vec<Capability>,
    /// Mounts the root file system read-only.
    pub readonly: bool,
    /// Applies the default system call filter.
    pub seccomp: bool,
    /// Size of /dev/shm in bytes.
    pub shm_size: u64,
    /// Extra supplementary group IDs.
    pub groups: Vec<u32>,
}

impl Spec {
    /// Runs `argv` in `rootfs` as root in `/`, without network, with Docker's default
    /// capabilities and system call filter.
    pub fn new<S: Into<String>>(rootfs: Rootfs, argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            rootfs,
            argv: argv.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            cwd: "/".to_owned(),
            user: String::new(),
            hostname: "buildkitsandbox".to_owned(),
            network: NetworkMode::None,
            mounts: Vec::new(),
            limits: Limits::default(),
            extra_hosts: Vec::new(),
            dns: Dns::default(),
            capabilities: DEFAULT.to_vec(),
            readonly: false,
            seccomp: true,
            shm_size: 64 << 20,
            groups: Vec::new(),
        }
    }

    /// Sets the environment, as `NAME=value`.
    pub fn env<S: Into<String>>(mut self, env: impl IntoIterator<Item = S>) -> Self {
        self.env = env.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the working directory.
    pub fn cwd(mut self, cwd: impl Into<String>) -> Self {
        self.cwd = cwd.into();
        self
    }

    /// Sets the user, in Docker's USER syntax.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = user.into();
        self
    }

    /// Sets the host name.
    pub fn hostname(mut self, hostname: impl Into<String>) -> Self {
        self.hostname = hostname.into();
        self
    }

    /// Sets the network.
    pub fn network(mut self, network: NetworkMode) -> Self {
        self.network = network;
        self
    }

    /// Adds a mount.
    pub fn mount(mut self, mount: Mount) -> Self {
        self.mounts.push(mount);
        self
    }

    /// Sets the resource limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Adds a line to /etc/hosts.
    pub fn extra_host(mut self, name: impl Into<String>, address: impl Into<String>) -> Self {
        self.extra_hosts.push((name.into(), address.into()));
        self
    }

    /// Sets name servers, search domains and resolver options.
    pub fn dns(mut self, dns: Dns) -> Self {
        self.dns = dns;
        self
    }

    /// Sets the capabilities.
    pub fn capabilities(mut self, capabilities: impl IntoIterator<Item = Capability>) -> Self {
        self.capabilities = capabilities.into_iter().collect();
        self
    }

    /// Makes the root file system read-only.
    pub fn readonly(mut self, readonly: bool) -> Self {
        self.readonly = readonly;
        self
    }

    /// Sets the size of /dev/shm in bytes.
    pub fn shm_size(mut self, bytes: u64) -> Self {
        self.shm_size = bytes;
        self
    }
}

/// The root file system of a container.
#[derive(Debug, Clone)]
pub enum Rootfs {
    /// An overlay of layers, mounted for this container only.
    Overlay(Overlay),
    /// A plain directory, used in place.
    Directory(PathBuf),
}

/// Directories of an overlay.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    /// Lower directories, topmost first.
    pub lowers: Vec<PathBuf>,
    /// Directory of mount points made with [`crate::overlay::prepare_stub_dir`]; it lies below
    /// all others, so that /proc, /sys, /dev exist in the view without being made in `upper`.
    pub stub: Option<PathBuf>,
    /// Takes the changes.
    pub upper: PathBuf,
    /// Overlay's work directory, on the same file system as `upper`; empty.
    pub work: PathBuf,
}

/// The network of a container.
#[derive(Debug, Clone, Default)]
pub enum NetworkMode {
    /// The host's own network.
    Host,
    /// A new network namespace with nothing but `lo`.
    #[default]
    None,
    /// A network made once and shared by the steps of a build.
    Sandbox(Arc<Sandbox>),
}

/// One mount besides the standard ones.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Absolute path in the container, resolved inside its root; made when missing and removed
    /// again afterwards.
    pub target: String,
    /// What is mounted there.
    pub kind: MountKind,
}

/// What a [`Mount`] shows.
#[derive(Debug, Clone)]
pub enum MountKind {
    /// A file or directory of the host, with the mounts below it.
    Bind {
        /// The host's path; a final symbolic link is followed.
        source: PathBuf,
        /// Forbids writing.
        readonly: bool,
    },
    /// A file or directory the caller has open (with `O_PATH` at least) or a detached mount:
    /// nothing can be swapped below it.
    Tree {
        /// The open file, directory or detached mount.
        tree: Arc<OwnedFd>,
        /// Forbids writing.
        readonly: bool,
    },
    /// An empty memory file system.
    Tmpfs {
        /// Size limit in bytes.
        size: Option<u64>,
        /// Permission bits of its root.
        mode: u32,
    },
}

impl Mount {
    /// Binds a path of the host.
    pub fn bind(source: impl Into<PathBuf>, target: impl Into<String>, readonly: bool) -> Self {
        Self {
            target: target.into(),
            kind: MountKind::Bind {
                source: source.into(),
                readonly,
            },
        }
    }

    /// Binds what the caller has open.
    pub fn tree(tree: Arc<OwnedFd>, target: impl Into<String>, readonly: bool) -> Self {
        Self {
            target: target.into(),
            kind: MountKind::Tree { tree, readonly },
        }
    }

    /// Mounts a memory file system.
    pub fn tmpfs(target: impl Into<String>, size: Option<u64>) -> Self {
        Self {
            target: target.into(),
            kind: MountKind::Tmpfs { size, mode: 0o1777 },
        }
    }
}

/// Resolver settings, as Docker's `--dns`, `--dns-search`, `--dns-option`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dns {
    /// Name servers.
    pub servers: Vec<String>,
    /// Search domains.
    pub search: Vec<String>,
    /// Options such as `ndots:1`.
    pub options: Vec<String>,
}

/// Resource limits, as Docker's build flags of the same names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of memory and swap together; -1 is unlimited swap.
    pub memory_swap: Option<i64>,
    /// Microseconds of CPU time in each period.
    pub cpu_quota: Option<i64>,
    /// Length of a period in microseconds.
    pub cpu_period: Option<u64>,
    /// Relative weight, 2 to 262144; 1024 is the default.
    pub cpu_shares: Option<u64>,
    /// CPUs that may be used, such as `0-1`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes that may be used.
    pub cpuset_mems: Option<String>,
    /// Number of processes and threads.
    pub pids: Option<u64>,
    /// Per-process limits.
    pub ulimits: Vec<Ulimit>,
}

impl Limits {
    /// Whether a control group is needed.
    pub fn need_cgroup(&self) -> bool {
        self.memory.is_some()
            || self.memory_swap.is_some()
            || self.cpu_quota.is_some()
            || self.cpu_period.is_some()
            || self.cpu_shares.is_some()
            || self.cpuset_cpus.is_some()
            || self.cpuset_mems.is_some()
            || self.pids.is_some()
    }
}

/// One `ulimit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Which resource.
    pub resource: Resource,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// A resource with a limit, by the name `docker --ulimit` gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(
    missing_docs,
    reason = "setrlimit(2) documents them under the same names"
)]
pub enum Resource {
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

impl Ulimit {
    /// Reads Docker's `NAME=SOFT[:HARD]`; -1 is unlimited.
    ///
    /// # Errors
    /// Says which part is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, values) = text
            .split_once('=')
            .ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
        let resource: Resource = serde_json::from_value(serde_json::Value::String(name.to_owned()))
            .map_err(|_| format!("invalid ulimit type: {name}"))?;
        let number = |text: &str| match text {
            "-1" => Ok(u64::MAX),
            _ => text
                .parse::<u64>()
                .map_err(|_| format!("invalid ulimit value: {text}")),
        };
        let (soft, hard) = match values.split_once(':') {
            Some((soft, hard)) => (number(soft)?, number(hard)?),
            None => (number(values)?, number(values)?),
        };
        if soft > hard {
            return Err(format!(
                "ulimit soft limit must be less than or equal to hard limit: {text}"
            ));
        }
        Ok(Self {
            resource,
            soft,
            hard,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulimits_as_docker_writes_them() {
        let parsed = Ulimit::parse("nofile=1024:2048").unwrap();
        assert_eq!(
            parsed,
            Ulimit {
                resource: Resource::Nofile,
                soft: 1024,
                hard: 2048
            }
        );
        assert_eq!(Ulimit::parse("core=-1").unwrap().hard, u64::MAX);
        for (bad, why) in [
            ("nofile", "invalid ulimit argument: nofile"),
            ("files=1", "invalid ulimit type: files"),
            ("nofile=x", "invalid ulimit value: x"),
        ] {
            assert_eq!(Ulimit::parse(bad).unwrap_err(), why);
        }
        assert!(Ulimit::parse("nofile=2:1").is_err());
    }

    #[test]
    fn only_real_limits_need_a_cgroup() {
        assert!(!Limits::default().need_cgroup());
        let ulimit = Ulimit::parse("nofile=10").unwrap();
        assert!(
            !Limits {
                ulimits: vec![ulimit],
                ..Limits::default()
            }
            .need_cgroup()
        );
        assert!(
            Limits {
                pids: Some(5),
                ..Limits::default()
            }
            .need_cgroup()
        );
    }
}
