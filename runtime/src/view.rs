//! A container's files from outside, with what is mounted among them, for as long as a piece of work
//! lasts.
//!
//! The work is done on a thread in a mount namespace of its own: the mounts are where no other
//! process sees them, and gone with the thread, however it ends. Whoever works there opens
//! everything inside the root that it is given (openat2(2), `RESOLVE_IN_ROOT`): what a hostile
//! container swaps meanwhile cannot lead out of it.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags};
use rustix::thread::ThreadNameSpaceType;

use crate::error::{Error, Result};
use crate::inhabitant::Inhabitant;
use crate::mount::{Mount, MountKind};
use crate::mountpoints::{Kind, MountPoints};
use crate::source::{is_dir, tree_of};
use crate::spec::Overlay;
use crate::{overlay, source, sys};

/// Whose files.
#[derive(Debug, Clone)]
pub enum View {
    /// Those of a container that does not run.
    Still(Overlay),
    /// Those of one that runs, by its first process. Its root file system is used as it is there:
    /// a second overlay of the same directories would not agree with it.
    Running(Inhabitant),
}

/// Does `work` with the root directory of a view, in which `mounts` are mounted in this order.
///
/// # Errors
/// [`Error::Setup`] when a mount cannot be made, and whatever `work` gives.
pub fn with<T: Send, E: From<Error> + Send>(
    view: &View,
    mounts: &[Mount],
    work: impl FnOnce(BorrowedFd<'_>) -> Result<T, E> + Send,
) -> Result<T, E> {
    let aside = || {
        let root = set_up(view, mounts)?;
        work(root.as_fd())
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("container-view".to_owned());
        let ended = thread.spawn_scoped(scope, aside);
        let ended = ended.map_err(|error| Error::setup("start a thread", error))?;
        ended.join().unwrap_or_else(|_| {
            let cause: io::Error = io::ErrorKind::Other.into();
            Err(Error::setup("look into the container", cause).into())
        })
    })
}

fn failed<E: Into<io::Error>>(what: &str) -> impl FnOnce(E) -> Error {
    let what = what.to_owned();
    move |error| Error::setup(what, error.into())
}

/// Makes the namespace and the mounts; the thread is in it from then on.
fn set_up(view: &View, mounts: &[Mount]) -> Result<OwnedFd> {
    // What is bound is found where this process is.
    let trees: Vec<(Mount, OwnedFd)> = mounts
        .iter()
        .filter(|mount| !matches!(mount.kind, MountKind::Tmpfs { .. } | MountKind::File { .. }))
        .map(|mount| Ok((mount.clone(), tree_of(&mount.kind)?)))
        .collect::<Result<_>>()?;
    unshare(CloneFlags::CLONE_FS).map_err(failed("leave the other threads"))?;
    let tree = match view {
        View::Still(dirs) => {
            let lowers: Vec<_> = dirs.lowers.iter().chain(&dirs.stub).collect();
            overlay::mount_lasting(&lowers, (&dirs.upper, &dirs.work))?
        }
        View::Running(inhabitant) => root_of(*inhabitant)?,
    };
    unshare(CloneFlags::CLONE_NEWNS).map_err(failed("make a mount namespace"))?;
    let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    rustix::mount::mount_change("/", private).map_err(failed("make mounts private"))?;
    // What is mounted on the root hides nothing from those who have the root already.
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(&tree, "", CWD, "/", flags)
        .map_err(failed("mount the container's files"))?;
    let mut points = MountPoints::new(tree.as_fd(), None);
    for (mount, part) in trees {
        let kind = match is_dir(&mount.kind)? {
            true => Kind::Dir,
            false => Kind::File,
        };
        let path = points.resolve_in_mounts(&mount.target, kind)?;
        attach(&tree, &path, &mount, &part)?;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(&tree, ".", flags, Mode::empty())
        .map_err(failed("open the container's root"))
}

fn attach(root: &OwnedFd, path: &str, mount: &Mount, part: &OwnedFd) -> Result<()> {
    let what = format!("mount on {}", mount.target);
    let place = sys::open_in(root.as_fd(), path).map_err(failed(&what))?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(part, "", &place, "", flags).map_err(failed(&what))?;
    let below = source::below(&mount.kind);
    if below.is_empty() {
        return Ok(());
    }
    // The part that is shown comes on top of the whole.
    let shown = sys::open_in(part.as_fd(), below).map_err(failed(&what))?;
    let clone = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let shown = rustix::mount::open_tree(&shown, "", clone).map_err(failed(&what))?;
    rustix::mount::move_mount(&shown, "", part, "", flags).map_err(failed(&what))
}

/// The root file system of a container that runs, without what is mounted in it.
fn root_of(inhabitant: Inhabitant) -> Result<OwnedFd> {
    let own = rustix::fs::open(
        "/proc/thread-self/ns/mnt",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(failed("open the mount namespace"))?;
    let pidfd = inhabitant.handle()?;
    rustix::thread::move_into_thread_name_spaces(pidfd.as_fd(), ThreadNameSpaceType::MOUNT)
        .map_err(failed("join the container's mounts"))?;
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, "/", clone);
    rustix::thread::move_into_link_name_space(
        own.as_fd(),
        Some(rustix::thread::LinkNameSpaceType::Mount),
    )
    .map_err(failed("leave the container's mounts"))?;
    tree.map_err(failed("clone the container's root"))
}
