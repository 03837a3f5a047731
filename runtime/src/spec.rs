//! What to run: the specification of one container.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::caps::{Capability, DEFAULT};
use crate::limits::{CgroupParent, Limits};
use crate::mount::{Mount, MountKind};
use crate::network::Sandbox;
use crate::node::{DeviceRule, Devices, Node};
use crate::seccomp::SeccompProfile;
use crate::share::{CgroupView, Shared};
use crate::window::WindowSize;

/// One process to run in a container: [`Spec::new`] gives the least that runs, the setters the
/// rest. It can be stored as long as it has nothing that only this process holds: no
/// [`NetworkMode::Sandbox`], no [`MountKind::Tree`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// The root file system.
    pub(crate) rootfs: Rootfs,
    /// The command; `argv[0]` is looked up in the `PATH` of `env` when it has no slash.
    pub(crate) argv: Vec<String>,
    /// Environment as `NAME=value`. `HOME` is added from the image's passwd when missing.
    pub(crate) env: Vec<String>,
    /// Working directory, absolute in the container; it must exist.
    pub(crate) cwd: String,
    /// Docker's USER syntax: `user`, `uid`, `user:group`, `uid:gid`; empty is root.
    pub(crate) user: String,
    /// Host name in the container.
    pub(crate) hostname: String,
    /// The domain name of its UTS namespace; empty for none.
    pub(crate) domain: String,
    /// The network the process sees.
    pub(crate) network: NetworkMode,
    /// Further mounts, made in this order after the standard ones.
    pub(crate) mounts: Vec<Mount>,
    /// Resource limits; control groups are only made when one needs them.
    pub(crate) limits: Limits,
    /// `NAME:IP` entries for /etc/hosts, as (name, address).
    pub(crate) extra_hosts: Vec<(String, String)>,
    /// Name servers, search domains and options; empty lists mean the host's.
    pub(crate) dns: Dns,
    /// Capabilities of the process; inheritable and ambient are always empty.
    pub(crate) capabilities: Vec<Capability>,
    /// Mounts the root file system read-only.
    pub(crate) readonly: bool,
    /// The system call filter.
    pub(crate) filter: Filter,
    /// Executing a file gives no privileges.
    pub(crate) no_new_privileges: bool,
    /// Size of /dev/shm in bytes.
    pub(crate) shm_size: u64,
    /// Extra supplementary group IDs.
    pub(crate) groups: Vec<u32>,
    /// The same, by number or by name in the image's /etc/group.
    pub(crate) named_groups: Vec<String>,
    /// Settings below /proc/sys, as (dotted name, value).
    pub(crate) sysctls: Vec<(String, String)>,
    /// Devices that it may use beside those that have nodes.
    pub(crate) device_rules: Vec<DeviceRule>,
    /// Which devices work.
    pub(crate) devices: Devices,
    /// Device nodes in /dev beside the standard ones.
    pub(crate) nodes: Vec<Node>,
    /// Nothing of /proc and /sys is hidden or read-only.
    pub(crate) unmasked: bool,
    /// Which namespaces are not its own.
    pub(crate) shared: Shared,
    /// How it sees its control groups.
    pub(crate) cgroups: CgroupView,
    /// The process has a terminal of its own, of this size at first.
    pub(crate) terminal: Option<WindowSize>,
    /// Makes the working directory where it is missing.
    pub(crate) make_cwd: bool,
    /// The first process passes signals on and reaps orphans, the command is its child.
    pub(crate) reaper: bool,
    /// What is made for the container has this name and outlives this process.
    pub(crate) lasting: Option<String>,
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
            hostname: "localhost".to_owned(),
            domain: String::new(),
            network: NetworkMode::None,
            mounts: Vec::new(),
            limits: Limits::default(),
            extra_hosts: Vec::new(),
            dns: Dns::default(),
            capabilities: DEFAULT.to_vec(),
            readonly: false,
            filter: Filter::Default,
            no_new_privileges: false,
            shm_size: 64 << 20,
            groups: Vec::new(),
            named_groups: Vec::new(),
            sysctls: Vec::new(),
            device_rules: Vec::new(),
            devices: Devices::Closed,
            nodes: Vec::new(),
            unmasked: false,
            shared: Shared::default(),
            cgroups: CgroupView::Hidden,
            terminal: None,
            make_cwd: false,
            reaper: false,
            lasting: None,
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

    /// Sets the domain name (setdomainname(2)).
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = domain.into();
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

    /// Puts mounts before the others, but those whose place is another's already.
    pub fn first_mounts(mut self, mounts: impl IntoIterator<Item = Mount>) -> Self {
        let taken = |mount: &Mount| self.mounts.iter().any(|own| own.target == mount.target);
        let mut first: Vec<Mount> = mounts.into_iter().filter(|mount| !taken(mount)).collect();
        first.append(&mut self.mounts);
        self.mounts = first;
        self
    }

    /// Leaves a path of this machine out that was bound in the same place.
    pub fn without_bind(mut self, path: &str) -> Self {
        let is_it = |mount: &Mount| match &mount.kind {
            MountKind::Bind { source, .. } => mount.target == path && source.as_os_str() == path,
            _ => false,
        };
        self.mounts.retain(|mount| !is_it(mount));
        self
    }

    /// The control group that holds those of the container, if one was asked for.
    pub fn cgroup_parent(&self) -> Option<&CgroupParent> {
        self.limits.parent.as_ref()
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

    /// Applies the default system call filter or none; without this it is applied.
    pub fn seccomp(mut self, seccomp: bool) -> Self {
        self.filter = match seccomp {
            true => Filter::Default,
            false => Filter::None,
        };
        self
    }

    /// Applies the filter of a profile in place of the default one.
    pub fn seccomp_profile(mut self, profile: SeccompProfile) -> Self {
        self.filter = Filter::Profile(profile);
        self
    }

    /// Keeps the process, and all that it starts, from getting privileges by executing a file
    /// with a set-user-ID bit or with capabilities.
    pub fn no_new_privileges(mut self, wanted: bool) -> Self {
        self.no_new_privileges = wanted;
        self
    }

    /// Sets supplementary group IDs beside those of the image's group file.
    pub fn groups(mut self, groups: impl IntoIterator<Item = u32>) -> Self {
        self.groups = groups.into_iter().collect();
        self
    }

    /// Adds supplementary groups, each a number or a name of the image's /etc/group.
    pub fn named_groups<S: Into<String>>(mut self, groups: impl IntoIterator<Item = S>) -> Self {
        self.named_groups = groups.into_iter().map(Into::into).collect();
        self
    }

    /// Sets a kernel parameter by its dotted name, as `net.ipv4.ip_forward`. Only what belongs to
    /// a namespace of the container's own may be set: that is for the caller to see to.
    pub fn sysctl(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.sysctls.push((name.into(), value.into()));
        self
    }

    /// Lets it use devices without making nodes of them (docker's `--device-cgroup-rule`).
    pub fn device_rule(mut self, rule: DeviceRule) -> Self {
        self.device_rules.push(rule);
        self
    }

    /// Lets the device nodes work that Docker lets, wherever the container makes them, where a
    /// device control group can keep it from all others. Where there is none, no node works but
    /// those of /dev.
    pub fn usual_devices(mut self) -> Self {
        self.devices = Devices::Usual;
        self
    }

    /// Adds a device node to /dev, and lets the container use that device.
    pub fn node(mut self, node: Node) -> Self {
        self.nodes.push(node);
        self
    }

    /// Shows /proc and /sys as they are, nothing hidden or read-only.
    pub fn unmasked(mut self) -> Self {
        self.unmasked = true;
        self
    }

    /// Confines the process as little as possible: every capability that this process holds, all
    /// devices, all system calls, /proc and /sys as they are. It can do to this machine whatever
    /// root can.
    pub fn privileged(mut self) -> Self {
        self.capabilities = crate::caps::held();
        self.filter = Filter::None;
        self.devices = Devices::All;
        self.unmasked = true;
        self.nodes.extend(Node::privileged());
        self
    }

    /// Shares namespaces with this machine or another container.
    pub fn shared(mut self, shared: Shared) -> Self {
        self.shared = shared;
        self
    }

    /// Shows the container its control groups; a mount of its own at /sys/fs/cgroup goes before.
    pub fn cgroups(mut self, view: CgroupView) -> Self {
        self.cgroups = view;
        self
    }

    /// Gives the process a terminal, whose other end [`crate::Running::terminal`] is.
    pub fn terminal(mut self, size: WindowSize) -> Self {
        self.terminal = Some(size);
        self
    }

    /// Makes the working directory where the image has none, as docker does for containers.
    pub fn make_cwd(mut self) -> Self {
        self.make_cwd = true;
        self
    }

    /// Runs the command as the child of a process that passes signals on to it and reaps whatever
    /// lost its parent (docker's `--init`).
    pub fn reaper(mut self) -> Self {
        self.reaper = true;
        self
    }

    /// For a container that is kept: it has control groups of this name in every hierarchy, which
    /// [`crate::Group`] finds, whoever asks; mount points that were made stay, and so do changes on
    /// a power cut where the process has synced them. No guard watches it, for whoever kept it
    /// finds out what a killed process has left. /etc/hosts and /etc/resolv.conf are mounts like
    /// any other, of the caller's.
    pub fn lasting(mut self, name: impl Into<String>) -> Self {
        self.lasting = Some(name.into());
        self
    }

    /// Sets the size of /dev/shm in bytes; none is mounted with 0.
    pub fn shm_size(mut self, bytes: u64) -> Self {
        self.shm_size = bytes;
        self
    }
}

/// Which system calls a container may make.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Filter {
    /// Docker's.
    Default,
    /// Those of a profile.
    Profile(SeccompProfile),
    /// All.
    None,
}

/// The root file system of a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Rootfs {
    /// An overlay of layers, mounted for this container only.
    Overlay(Overlay),
    /// A plain directory, used in place.
    Directory(PathBuf),
}

/// Directories of an overlay.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub enum NetworkMode {
    /// The host's own network.
    Host,
    /// A new network namespace with nothing but `lo`.
    #[default]
    None,
    /// One made beforehand, which no other container has at the same time.
    #[serde(skip)]
    Sandbox(Arc<Sandbox>),
    /// A network namespace that others may be in, too.
    #[serde(skip)]
    Joined(Arc<OwnedFd>),
}

/// Resolver settings, as Docker's `--dns`, `--dns-search`, `--dns-option`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Name servers.
    pub servers: Vec<String>,
    /// Search domains.
    pub search: Vec<String>,
    /// Options such as `ndots:1`.
    pub options: Vec<String>,
}
