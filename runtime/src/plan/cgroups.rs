//! The mounts below /sys/fs/cgroup. Pure.

use super::op::Op;
use crate::cgroup::Shown;
use crate::share::CgroupView;
use crate::spec::Spec;
use crate::sys::{Attrs, FsType};

const ROOT: &str = "/sys/fs/cgroup";

/// Mounts the hierarchies of this host, as far as the container is to see them, with attributes
/// like `sealed`.
pub(super) fn append(spec: &Spec, all: &[Shown], sealed: Attrs, ops: &mut Vec<Op>) {
    let covered = spec.mounts.iter().any(|mount| mount.target == ROOT);
    if spec.cgroups == CgroupView::Hidden || covered {
        return;
    }
    if all.iter().any(|shown| shown.name.is_some()) {
        let mode = ("mode".to_owned(), "755".to_owned());
        ops.push(mount("tmpfs", vec![mode], sealed, ROOT.to_owned()));
    }
    for shown in all {
        let options = shown.options.iter().map(|option| {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            (key.to_owned(), value.to_owned())
        });
        let attrs = Attrs {
            readonly: !is_writable(spec.cgroups, shown),
            ..sealed
        };
        let target = match &shown.name {
            None => ROOT.to_owned(),
            Some(name) => format!("{ROOT}/{name}"),
        };
        if shown.name.is_some() {
            ops.push(Op::MakePoint {
                path: target.clone(),
                dir: true,
            });
        }
        ops.push(mount(shown.fs, options.collect(), attrs, target));
        ops.extend(links(shown));
    }
}

fn is_writable(view: CgroupView, shown: &Shown) -> bool {
    match view {
        CgroupView::Hidden | CgroupView::ReadOnly => false,
        CgroupView::Systemd => shown.is_systemds(),
        CgroupView::Writable => true,
    }
}

/// A hierarchy of several controllers is found by the name of each.
fn links(shown: &Shown) -> Vec<Op> {
    let Some(name) = shown.name.as_ref().filter(|name| name.contains(',')) else {
        return Vec::new();
    };
    let each = name.split(',').map(|controller| Op::Link {
        dir: ROOT.to_owned(),
        name: controller.to_owned(),
        target: name.clone(),
    });
    each.collect()
}

fn mount(name: &str, options: Vec<(String, String)>, attrs: Attrs, target: String) -> Op {
    let fs = FsType {
        name: name.to_owned(),
        options,
    };
    Op::Mount { fs, attrs, target }
}
