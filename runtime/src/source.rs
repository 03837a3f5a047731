//! What mounts are made from: detached mounts, which no path leads to.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};

use crate::error::{Error, Result};
use crate::mount::{MountFlags, MountKind};
use crate::{overlay, sys};

/// A detached mount of what is to be mounted.
pub(crate) fn tree_of(kind: &MountKind) -> Result<OwnedFd> {
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let flags = clone | OpenTreeFlags::AT_RECURSIVE;
    match kind {
        MountKind::Bind {
            source,
            below,
            options,
        } => {
            let flags = match options.alone {
                true => clone,
                false => flags,
            };
            let failed =
                |errno: io::Error| Error::setup(format!("bind {}", source.display()), errno);
            if below.is_empty() {
                return rustix::mount::open_tree(CWD, source, flags)
                    .map_err(|errno| failed(errno.into()));
            }
            let part = part_of(source, below).map_err(failed)?;
            rustix::mount::open_tree(&part, "", flags | OpenTreeFlags::AT_EMPTY_PATH)
                .map_err(|errno| failed(errno.into()))
        }
        MountKind::Tree { tree, .. } => {
            let flags = flags | OpenTreeFlags::AT_EMPTY_PATH;
            match rustix::mount::open_tree(tree, "", flags) {
                // Before Linux 6.15 a detached mount cannot be cloned, only used up.
                Err(rustix::io::Errno::INVAL) => tree.try_clone(),
                other => other.map_err(io::Error::from),
            }
            .map_err(|error| Error::setup("bind an open file", error))
        }
        MountKind::Made {
            fs,
            source,
            options,
            flags,
            ..
        } => made((fs, source), options, *flags)
            .map_err(|error| Error::setup(format!("mount {source} as {fs}"), error)),
        MountKind::Layers { lowers, .. } => overlay::mount_detached(lowers, None),
        MountKind::Tmpfs { .. } | MountKind::File { .. } => Err(Error::InvalidSpec(
            "what is in memory has no source".to_owned(),
        )),
    }
}

/// What of a mount's tree is shown, where the init takes it out.
pub(crate) fn below(kind: &MountKind) -> &str {
    match kind {
        MountKind::Tree { below, .. }
        | MountKind::Made { below, .. }
        | MountKind::Layers { below, .. } => below,
        // Bound from the part itself.
        MountKind::Bind { .. } | MountKind::Tmpfs { .. } | MountKind::File { .. } => "",
    }
}

fn part_of(source: &Path, below: &str) -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let source = rustix::fs::open(source, flags, Mode::empty())?;
    sys::open_in(source.as_fd(), below)
}

/// A new file system, as mount(2) would mount it.
fn made(
    (fs, source): (&str, &str),
    options: &[(String, Option<String>)],
    flags: MountFlags,
) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(fs, FsOpenFlags::FSOPEN_CLOEXEC)?;
    let context = context.as_fd();
    rustix::mount::fsconfig_set_string(context, "source", source)?;
    for (key, value) in options {
        match value {
            Some(value) => {
                rustix::mount::fsconfig_set_string(context, key.as_str(), value.as_str())?;
            }
            None => rustix::mount::fsconfig_set_flag(context, key.as_str())?,
        }
    }
    if flags.readonly {
        // Of the file system itself: a device may be one that cannot be written to.
        rustix::mount::fsconfig_set_flag(context, "ro")?;
    }
    rustix::mount::fsconfig_create(context)?;
    let mut attrs = MountAttrFlags::empty();
    attrs.set(MountAttrFlags::MOUNT_ATTR_RDONLY, flags.readonly);
    attrs.set(MountAttrFlags::MOUNT_ATTR_NOSUID, flags.nosuid);
    attrs.set(MountAttrFlags::MOUNT_ATTR_NODEV, flags.nodev);
    attrs.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, flags.noexec);
    Ok(rustix::mount::fsmount(
        context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        attrs,
    )?)
}

/// Whether a directory is mounted.
pub(crate) fn is_dir(kind: &MountKind) -> Result<bool> {
    let failed = |what: String| move |error: io::Error| Error::setup(what, error);
    let stat = match kind {
        MountKind::Tmpfs { .. } => return Ok(true),
        MountKind::File { .. } => return Ok(false),
        MountKind::Bind { source, below, .. } if below.is_empty() => rustix::fs::stat(source)
            .map_err(|errno| failed(format!("bind {}", source.display()))(errno.into()))?,
        MountKind::Bind { source, below, .. } => {
            let stat = part_of(source, below).and_then(|fd| Ok(rustix::fs::fstat(fd)?));
            stat.map_err(failed(format!("bind {}/{below}", source.display())))?
        }
        MountKind::Made { below, .. } | MountKind::Layers { below, .. } if below.is_empty() => {
            return Ok(true);
        }
        MountKind::Tree { tree, below, .. } if below.is_empty() => {
            rustix::fs::fstat(tree).map_err(|errno| Error::setup("look at an open file", errno))?
        }
        MountKind::Tree { tree, below, .. } => stat_in(tree, below)?,
        MountKind::Made { below, .. } | MountKind::Layers { below, .. } => {
            stat_in(&tree_of(kind)?, below)?
        }
    };
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

fn stat_in(tree: &OwnedFd, below: &str) -> Result<rustix::fs::Stat> {
    let opened = sys::open_in(tree.as_fd(), below);
    let stat = opened.and_then(|fd| Ok(rustix::fs::fstat(fd)?));
    stat.map_err(|error| Error::setup(format!("look at {below}"), error))
}
