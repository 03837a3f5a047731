//! From a specification to the ordered list of operations the init applies. Pure.

mod cgroups;
mod entry;
mod op;
mod user;

pub(crate) use entry::entry;
pub(crate) use op::{CHANGE_DIR, Op, Plan};

use crate::cgroup::Shown;
use crate::mount::{BindOptions, Mount, MountKind};
use crate::node::Node;
use crate::source;
use crate::spec::{NetworkMode, Spec};
use crate::sys::{Attrs, FsType};
use crate::users::Identity;
use user::{Become, environment};

/// What the host's kernel has, as far as the plan depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HostCapabilities {
    /// POSIX message queues are compiled in.
    pub(crate) mqueue: bool,
    /// Directories that count how often each processor was too hot.
    pub(crate) thermal: Vec<String>,
    /// The hierarchies of control groups.
    pub(crate) cgroups: Vec<Shown>,
}

/// Everything the plan is made of.
pub(crate) struct Inputs<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) identity: &'a Identity,
    pub(crate) host: &'a HostCapabilities,
    /// Contents and resolved paths of the files that are made for the container.
    pub(crate) files: Vec<File>,
    /// Resolved target of each of the specification's mounts.
    pub(crate) targets: Vec<Target>,
    /// Something else than the mounts keeps the container from devices that it must not open.
    pub(crate) open_devices: bool,
}

/// Where a mount goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) path: String,
    pub(crate) dir: bool,
    /// Made by the init: the place is in the container's own /dev, or in another mount.
    pub(crate) inside: bool,
    /// Permission bits of what the image has there.
    pub(crate) mode: Option<u32>,
}

/// A file that only this container sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) name: &'static str,
    pub(crate) target: String,
    pub(crate) text: String,
}

/// Descriptor the root file system is handed over as; the network namespace (if any) and the
/// bind mounts follow in this order.
const ROOT_SLOT: usize = 0;

/// Hidden from the container: they tell of the host or reach into it. Docker 28's list, to which
/// [`HostCapabilities::thermal`] belongs.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Shown, but not writable even for root.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// What is hidden, and what is read-only.
pub(crate) fn hidden(host: &HostCapabilities) -> (Vec<String>, Vec<String>) {
    let thermal = host.thermal.iter().cloned();
    let masked = MASKED.map(str::to_owned).into_iter().chain(thermal);
    (masked.collect(), READ_ONLY.map(str::to_owned).to_vec())
}

/// Where the scratch file system is attached while it is drawn on.
const SCRATCH: &str = "/dev/shm";

/// What the scratch file system holds beside texts: each file takes a page more.
const SCRATCH_ROOM: usize = 256 << 10;

const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const DEV_LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
    ("core", "/proc/kcore"),
];

/// Makes the plan.
pub(crate) fn build(inputs: &Inputs<'_>) -> Plan {
    let spec = inputs.spec;
    let mut ops = vec![
        Op::DieWithParent,
        Op::NewSession,
        Op::ResetSignals,
        Op::NewKeyring,
    ];
    // As long as /proc is the host's: the container's own is not there yet.
    ops.extend(
        spec.limits
            .oom_score_adj
            .map(|score| Op::OomScore { score }),
    );
    let mut slot = ROOT_SLOT + 1;
    match &spec.network {
        NetworkMode::Host => {}
        NetworkMode::None => ops.push(Op::RaiseLoopback),
        NetworkMode::Sandbox(_) | NetworkMode::Joined(_) => {
            ops.push(Op::JoinNetwork { slot });
            slot += 1;
        }
    }
    let terminal_slot = spec.terminal.map(|size| {
        slot += 1;
        (slot - 1, size)
    });
    if !spec.shared.cgroup {
        ops.push(Op::UnshareCgroup);
    }
    if !spec.shared.uts {
        ops.push(Op::SetHostname {
            name: spec.hostname.clone(),
        });
        if !spec.domain.is_empty() {
            ops.push(Op::SetDomain {
                name: spec.domain.clone(),
            });
        }
    }
    ops.push(Op::Umask { mask: 0 });
    ops.push(Op::PrivateMounts);
    ops.push(Op::EnterRoot { slot: ROOT_SLOT });
    standard_mounts(inputs, &mut ops);
    ops.extend(terminal_slot.map(|(slot, size)| Op::Terminal {
        slot,
        size,
        console: true,
    }));
    own_mounts(inputs, slot, &mut ops);
    if spec.readonly {
        ops.push(Op::ReadOnlyRoot);
    }
    Become::of(spec, inputs.identity).append(&mut ops);
    // Changing the user has cleared it.
    ops.push(Op::DieWithParent);
    Plan {
        ops,
        argv: spec.argv.clone(),
        env: environment(&spec.env, inputs.identity),
        reaper: spec.reaper,
    }
}

/// The specification's own mounts; what they are bound from is in the slots from `slot` on.
fn own_mounts(inputs: &Inputs<'_>, mut slot: usize, ops: &mut Vec<Op>) {
    let nodev = !inputs.open_devices;
    let mut files = 0;
    for (mount, place) in inputs.spec.mounts.iter().zip(&inputs.targets) {
        let target = place.path.clone();
        if place.inside {
            ops.push(Op::MakePoint {
                path: target.clone(),
                dir: place.dir,
            });
        }
        match &mount.kind {
            kind @ (MountKind::Bind { .. }
            | MountKind::Tree { .. }
            | MountKind::Made { .. }
            | MountKind::Layers { .. }) => {
                let (attrs, options) = bound(kind, nodev);
                ops.push(Op::MountTree {
                    slot,
                    below: source::below(kind).to_owned(),
                    attrs,
                    target,
                    writable_below: options.writable_below,
                    propagation: options.propagation,
                    propagates_below: options.propagates_below,
                });
                slot += 1;
            }
            MountKind::File { .. } => {
                ops.push(Op::MountFile {
                    index: files,
                    target,
                });
                files += 1;
            }
            MountKind::Tmpfs {
                size,
                options: given,
                flags,
            } => {
                let mode = place.mode.unwrap_or(0o1777);
                let mut options = given.clone();
                if !options.iter().any(|(key, _)| key == "mode") {
                    options.push(("mode".to_owned(), format!("{mode:o}")));
                }
                options.extend(size.map(|size| ("size".to_owned(), size.to_string())));
                let fs = FsType {
                    name: "tmpfs".to_owned(),
                    options,
                };
                let attrs = Attrs {
                    readonly: flags.readonly,
                    nosuid: flags.nosuid,
                    // A device that is held back otherwise may be let through.
                    nodev: nodev || flags.nodev,
                    noexec: flags.noexec,
                };
                ops.push(Op::Mount { fs, attrs, target });
            }
        }
    }
}

/// How a tree that is handed over is mounted.
fn bound(kind: &MountKind, nodev: bool) -> (Attrs, BindOptions) {
    let options = match kind {
        MountKind::Bind { options, .. } => *options,
        MountKind::Tree { readonly, .. } => BindOptions {
            readonly: *readonly,
            propagates_below: true,
            ..BindOptions::default()
        },
        _ => BindOptions {
            propagates_below: true,
            ..BindOptions::default()
        },
    };
    let mut attrs = Attrs {
        readonly: options.readonly,
        // Devices stay out of reach: the default capabilities hold MKNOD.
        nodev,
        ..Attrs::default()
    };
    if let MountKind::Made { flags, .. } = kind {
        attrs = Attrs {
            readonly: flags.readonly,
            nosuid: flags.nosuid,
            nodev: nodev || flags.nodev,
            noexec: flags.noexec,
        };
    }
    (attrs, options)
}

const GUARDED: Attrs = Attrs {
    readonly: false,
    nosuid: true,
    nodev: true,
    noexec: false,
};
const SEALED: Attrs = Attrs {
    readonly: false,
    nosuid: true,
    nodev: true,
    noexec: true,
};

fn standard_mounts(inputs: &Inputs<'_>, ops: &mut Vec<Op>) {
    let mut mount = |name, options: &[_], attrs, target| {
        ops.push(mount_op(name, options, attrs, target));
    };
    mount("proc", &[], SEALED, "/proc");
    mount(
        "sysfs",
        &[],
        Attrs {
            readonly: !inputs.spec.unmasked,
            ..SEALED
        },
        "/sys",
    );
    // As long as it can be written to.
    ops.extend(inputs.spec.sysctls.iter().map(|(name, value)| Op::Sysctl {
        path: setting(name),
        value: value.clone(),
    }));
    cgroups::append(inputs.spec, &inputs.host.cgroups, SEALED, ops);
    let mut mount = |name, options: &[_], attrs, target| {
        ops.push(mount_op(name, options, attrs, target));
    };
    // Without a device cgroup no device node works on this file system; the few of a container are
    // bound from another that has no path in it. So CAP_MKNOD opens no host device.
    let mode = ("mode", "755".to_owned());
    let guarded = Attrs {
        nodev: !inputs.open_devices,
        ..GUARDED
    };
    mount(
        "tmpfs",
        &[mode, ("size", "65536k".to_owned())],
        guarded,
        "/dev",
    );
    for name in ["pts", "shm", "mqueue"] {
        ops.push(Op::DevDir {
            name: name.to_owned(),
        });
    }
    scratch(inputs, ops);
    for (name, target) in DEV_LINKS {
        ops.push(Op::DevLink {
            name: name.to_owned(),
            target: target.to_owned(),
        });
    }
    let mut mount = |name, options: &[_], attrs, target| {
        ops.push(mount_op(name, options, attrs, target));
    };
    let pts = [("ptmxmode", "666"), ("mode", "620"), ("gid", "5")].map(|(k, v)| (k, v.to_owned()));
    mount(
        "devpts",
        &pts,
        Attrs {
            nodev: false,
            ..SEALED
        },
        "/dev/pts",
    );
    if inputs.host.mqueue {
        mount("mqueue", &[], SEALED, "/dev/mqueue");
    }
    for file in &inputs.files {
        ops.push(Op::BindFile {
            name: file.name.to_owned(),
            text: file.text.clone(),
            target: file.target.clone(),
        });
    }
    if !inputs.spec.unmasked {
        let (masked, read_only) = hidden(inputs.host);
        ops.extend(read_only.into_iter().map(|path| Op::ReadOnly { path }));
        ops.extend(masked.into_iter().map(|path| Op::Mask { path }));
    }
    // Its place is the one of /dev/shm, which comes last.
    ops.push(Op::DropScratch {
        target: SCRATCH.to_owned(),
    });
    if inputs.spec.shm_size == 0 {
        return;
    }
    let shm = [
        ("source", "shm".to_owned()),
        ("mode", "1777".to_owned()),
        ("size", inputs.spec.shm_size.to_string()),
    ];
    ops.push(mount_op("tmpfs", &shm, SEALED, SCRATCH));
}

/// Where a kernel parameter is. By the rule of sysctl(8), dots in a name become slashes and slashes
/// dots, so that an interface whose name has a dot can be written; a name with a slash as its first
/// separator is a path already.
fn setting(name: &str) -> String {
    let first = name.find(['.', '/']).and_then(|at| name.get(at..=at));
    let path: String = match first {
        Some("/") => name.to_owned(),
        _ => {
            let swapped = name.chars().map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            });
            swapped.collect()
        }
    };
    format!("/proc/sys/{path}")
}

/// The scratch file system, and what it holds: device nodes and files, which are bound from it.
fn scratch(inputs: &Inputs<'_>, ops: &mut Vec<Op>) {
    let secrets = || {
        let mounts = inputs.spec.mounts.iter();
        mounts.filter_map(|mount: &Mount| match &mount.kind {
            MountKind::File {
                content,
                uid,
                gid,
                mode,
            } => Some((content, *uid, *gid, *mode)),
            _ => None,
        })
    };
    let texts = inputs.files.iter().map(|file| file.text.len());
    let hidden = secrets().map(|(content, ..)| content.0.len());
    ops.push(Op::MakeScratch {
        target: SCRATCH.to_owned(),
        size: texts.chain(hidden).sum::<usize>() + SCRATCH_ROOM,
    });
    let standard = DEVICES.into_iter().map(|(name, major, minor)| {
        let path = format!("/dev/{name}");
        Node::character(path, major, minor)
    });
    for node in standard.chain(inputs.spec.nodes.iter().cloned()) {
        ops.push(Op::Device { node });
    }
    for (content, uid, gid, mode) in secrets() {
        ops.push(Op::StashFile {
            content: content.clone(),
            uid,
            gid,
            mode,
        });
    }
}

fn mount_op(name: &str, options: &[(&str, String)], attrs: Attrs, target: &str) -> Op {
    let options = options
        .iter()
        .map(|(k, v)| ((*k).to_owned(), v.clone()))
        .collect();
    let fs = FsType {
        name: name.to_owned(),
        options,
    };
    Op::Mount {
        fs,
        attrs,
        target: target.to_owned(),
    }
}

/// Indices of the mounts that are handed over as descriptors, in slot order.
pub(crate) fn handed_over(spec: &Spec) -> impl Iterator<Item = &MountKind> {
    spec.mounts
        .iter()
        .map(|mount| &mount.kind)
        .filter(|kind| !matches!(kind, MountKind::Tmpfs { .. } | MountKind::File { .. }))
}

#[cfg(test)]
mod tests;
