//! Everything that can be done before the container's process exists: the root file system, the
//! user, the mount points, and from them the plan.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::OnceLock;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::OpenTreeFlags;

use crate::error::{Error, Result};
use crate::mountpoints::{Found, Kind, Made, MountPoints};
use crate::plan::{self, File, HostCapabilities, Inputs, Plan, Target};
use crate::source::is_dir;
use crate::spec::{NetworkMode, Rootfs, Spec};
use crate::{cgroup, dns, overlay, sys, users};

/// What [`prepare`] made.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) plan: Plan,
    /// The mounted root file system, until it is handed over.
    pub(crate) root: Option<OwnedFd>,
    /// Where changes to the root file system go.
    written: Option<OwnedFd>,
    made: Made,
}

impl Prepared {
    /// Removes the mount points that were made for the container.
    pub(crate) fn clean_up(&mut self) {
        if let Some(written) = self.written.take()
            && !self.made.is_empty()
        {
            self.made.remove(written.as_fd());
        }
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        self.root = None;
        self.clean_up();
    }
}

/// Prepares a container. `open_devices` says that something else than mounts keeps it from the
/// devices that it must not open.
pub(crate) fn prepare(spec: &Spec, open_devices: bool) -> Result<Prepared> {
    check(spec)?;
    let lasts = spec.lasting.is_some();
    let (root, written) = open_root(&spec.rootfs, lasts)?;
    if open_devices {
        sys::allow_devices(root.as_fd())
            .map_err(|error| Error::setup("allow devices in the root file system", error))?;
    }
    let mut identity = users::lookup(root.as_fd(), &spec.user)?;
    let named = users::group_ids(root.as_fd(), &spec.named_groups)?;
    identity.groups.extend(named);
    let mut points = MountPoints::new(root.as_fd(), written.as_ref().map(AsFd::as_fd));
    let resolved = resolve_all(spec, &mut points);
    let made = points.finish();
    let mut prepared = Prepared {
        plan: Plan {
            ops: Vec::new(),
            argv: Vec::new(),
            env: Vec::new(),
            reaper: false,
        },
        root: Some(root),
        written: written.filter(|_| !lasts),
        made,
    };
    let (files, targets) = resolved?;
    let host = host_capabilities();
    prepared.plan = plan::build(&Inputs {
        spec,
        identity: &identity,
        host,
        files,
        targets,
        open_devices,
    });
    Ok(prepared)
}

fn check(spec: &Spec) -> Result<()> {
    let invalid = |what: String| Err(Error::InvalidSpec(what));
    if spec.argv.is_empty() {
        return invalid("no command".to_owned());
    }
    if !spec.cwd.starts_with('/') {
        return invalid(format!("working directory {:?} is not absolute", spec.cwd));
    }
    if let Some(bad) = spec
        .env
        .iter()
        .find(|entry| !entry.contains('=') || entry.starts_with('='))
    {
        return invalid(format!("environment entry {bad:?} is not NAME=value"));
    }
    let strings =
        spec.argv
            .iter()
            .chain(&spec.env)
            .chain([&spec.cwd, &spec.hostname, &spec.domain]);
    if let Some(bad) = strings.into_iter().find(|text| text.contains('\0')) {
        return invalid(format!("{bad:?} contains a NUL character"));
    }
    let breaks = |text: &String| text.contains(['\n', '\r']);
    if spec
        .extra_hosts
        .iter()
        .any(|(name, address)| breaks(name) || breaks(address))
        || [&spec.dns.servers, &spec.dns.search, &spec.dns.options]
            .into_iter()
            .any(|list| list.iter().any(breaks))
    {
        return invalid("a host or DNS entry contains a line break".to_owned());
    }
    for (what, name) in [("host", &spec.hostname), ("domain", &spec.domain)] {
        if name.len() > 64 {
            return invalid(format!("{what} name {name:?} is longer than 64 bytes"));
        }
    }
    Ok(())
}

/// The root as a detached mount, and the directory its changes go to.
fn open_root(rootfs: &Rootfs, lasts: bool) -> Result<(OwnedFd, Option<OwnedFd>)> {
    let open = |path: &PathBuf| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty())
            .map_err(|errno| Error::setup(format!("open {}", path.display()), errno))
    };
    match rootfs {
        Rootfs::Overlay(dirs) => {
            let lowers: Vec<&PathBuf> = dirs.lowers.iter().chain(&dirs.stub).collect();
            let upper_work = (dirs.upper.as_path(), dirs.work.as_path());
            let tree = match lasts {
                true => overlay::mount_lasting(&lowers, upper_work)?,
                false => overlay::mount_detached(&lowers, Some(upper_work))?,
            };
            Ok((tree, Some(open(&dirs.upper)?)))
        }
        Rootfs::Directory(path) => {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            let tree = rustix::mount::open_tree(CWD, path, flags)
                .map_err(|errno| Error::setup(format!("clone {}", path.display()), errno))?;
            let attrs = sys::Attrs {
                nodev: true,
                ..Default::default()
            };
            sys::mount_setattr(tree.as_fd(), attrs, false)
                .map_err(|error| Error::setup("forbid devices in the root file system", error))?;
            Ok((tree, Some(open(path)?)))
        }
    }
}

/// The files every container gets, and the targets of the specification's own mounts.
fn resolve_all(spec: &Spec, points: &mut MountPoints<'_>) -> Result<(Vec<File>, Vec<Target>)> {
    for dir in ["/proc", "/sys", "/dev"] {
        let real = points.resolve(dir, Kind::Dir)?.path;
        if real != dir {
            return Err(Error::MountPoint {
                target: dir.to_owned(),
                reason: format!("the image has a symbolic link to {real} there"),
            });
        }
    }
    let own_address = match &spec.network {
        NetworkMode::Sandbox(sandbox) => Some(sandbox.address().into()),
        NetworkMode::Host | NetworkMode::None | NetworkMode::Joined(_) => None,
    };
    let own_network = !matches!(spec.network, NetworkMode::Host);
    let texts = [
        (
            "/etc/resolv.conf",
            "resolv.conf",
            dns::resolv_conf(&spec.dns, own_network),
        ),
        (
            "/etc/hosts",
            "hosts",
            dns::hosts(&spec.hostname, own_address, &spec.extra_hosts),
        ),
    ];
    let mut files = Vec::new();
    // Who keeps the container keeps its files, and mounts them.
    let texts = texts.into_iter().filter(|_| spec.lasting.is_none());
    for (target, name, text) in texts {
        let target = points.resolve(target, Kind::FileOverLink)?.path;
        files.push(File { name, target, text });
    }
    let mut targets = Vec::new();
    for mount in &spec.mounts {
        let dir = is_dir(&mount.kind)?;
        let kind = if dir { Kind::Dir } else { Kind::File };
        let found = points.resolve_own(&mount.target, kind)?;
        points.cover(&found);
        let Found { path, inside, mode } = found;
        targets.push(Target {
            path,
            dir,
            inside,
            mode,
        });
    }
    Ok((files, targets))
}

/// What a container that is shown little of /proc and /sys does not see, and what it cannot write
/// to.
pub fn hidden_paths() -> (Vec<String>, Vec<String>) {
    plan::hidden(host_capabilities())
}

fn host_capabilities() -> &'static HostCapabilities {
    static HOST: OnceLock<HostCapabilities> = OnceLock::new();
    HOST.get_or_init(|| {
        let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        let cpus = std::fs::read_dir("/sys/devices/system/cpu").into_iter();
        let thermal = cpus
            .flatten()
            .flatten()
            .map(|cpu| cpu.path().join("thermal_throttle"))
            .filter(|dir| dir.is_dir())
            .filter_map(|dir| dir.to_str().map(str::to_owned));
        HostCapabilities {
            mqueue: known.lines().any(|line| line.ends_with("\tmqueue")),
            thermal: thermal.collect(),
            cgroups: cgroup::shown().to_vec(),
        }
    })
}
