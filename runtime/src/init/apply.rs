//! Applies the operations of a plan.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::failure::Failure;
use crate::hidden::Hidden;
use crate::mount::Propagation;
use crate::node::Node;
use crate::plan::Op;
use crate::seccomp;
use crate::sys::{Attrs, FsType, Syscall};
use crate::window::WindowSize;

/// The directory of the scratch file system that others are hidden behind.
const EMPTY: &str = "empty";
/// The node of the scratch file system that is made first.
const NULL: &str = "node-0";
/// Where a tree is attached for as long as a part is taken out of it.
const ASIDE: &str = "/proc";

/// Detached mounts that later operations draw on.
#[derive(Default)]
struct State {
    slots: Vec<Option<OwnedFd>>,
    /// Holds the device nodes and files that are bound into the container.
    scratch: Option<OwnedFd>,
    /// /dev.
    dev: Option<OwnedFd>,
    /// Files of the scratch file system that are to be mounted once it has no path any more.
    stash: Vec<Option<OwnedFd>>,
    /// How many nodes the scratch file system holds.
    nodes: usize,
}

/// Applies `ops` in order, stopping at the first failure.
pub(super) fn apply(sys: &dyn Syscall, ops: &[Op], slots: Vec<OwnedFd>) -> Result<(), Failure> {
    let slots = slots.into_iter().map(Some).collect();
    let mut state = State {
        slots,
        ..State::default()
    };
    for op in ops {
        state.one(sys, op).map_err(|stop| match stop {
            Stop::Io(error) => Failure::step(op, &error),
            Stop::Cwd(cwd) => Failure::Cwd { cwd },
        })?;
    }
    Ok(())
}

const SHOWN_ONLY: Attrs = Attrs {
    readonly: true,
    nosuid: true,
    nodev: true,
    noexec: true,
};

enum Stop {
    Io(io::Error),
    Cwd(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What makes the process the user's.
fn confine(sys: &dyn Syscall, op: &Op) -> Result<(), Stop> {
    match op {
        Op::Ulimit { limit } => sys.set_ulimit(limit)?,
        Op::ChangeDir { path } => {
            let cwd = sys.change_dir(path)?;
            // The kernel says "(unreachable)…" for a directory outside of the root.
            if !cwd.starts_with('/') {
                return Err(Stop::Cwd(path.clone()));
            }
        }
        Op::BoundingSet { keep } => sys.limit_bounding_set(*keep)?,
        Op::NoNewPrivileges => sys.forbid_new_privileges()?,
        Op::Filter {
            program,
            capabilities,
        } => match program {
            Some(program) => sys.install_filter(program)?,
            None => sys.install_filter(&seccomp::filter(*capabilities))?,
        },
        Op::OwnPipes { uid } => sys.own_pipes(*uid)?,
        Op::Identity { uid, gid, groups } => sys.set_identity(*uid, *gid, groups)?,
        Op::Capabilities { mask } => sys.set_capabilities(*mask)?,
        _ => {}
    }
    Ok(())
}

fn missing(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("plan has no {what}"))
}

impl State {
    fn one(&mut self, sys: &dyn Syscall, op: &Op) -> Result<(), Stop> {
        match op {
            Op::DieWithParent => sys.die_with_parent()?,
            Op::NewSession => sys.setsid()?,
            Op::ResetSignals => sys.reset_signals()?,
            // Without key support in the kernel there is nothing to protect.
            Op::NewKeyring => match sys.new_keyring() {
                Err(error) if error.raw_os_error() != Some(nix::libc::ENOSYS) => {
                    return Err(error.into());
                }
                _ => {}
            },
            Op::JoinNetwork { slot } => sys.join_network(self.take(*slot)?.as_fd())?,
            Op::RaiseLoopback => sys.raise_loopback()?,
            Op::UnshareCgroup => sys.unshare_cgroup()?,
            Op::OomScore { score } => sys.set_oom_score(*score)?,
            Op::Hide => sys.hide()?,
            Op::JoinContainer { slot } => sys.join_namespaces(self.take(*slot)?.as_fd())?,
            Op::Terminal {
                slot,
                size,
                console,
            } => self.terminal(sys, *slot, *size, *console)?,
            Op::MakeDirs { path } => sys.make_dirs(path)?,
            Op::SetHostname { name } => sys.set_hostname(name)?,
            Op::SetDomain { name } => sys.set_domain(name)?,
            Op::Sysctl { path, value } => sys.write_setting(path, value)?,
            Op::Umask { mask } => sys.set_umask(*mask),
            Op::PrivateMounts => sys.private_mounts()?,
            Op::EnterRoot { slot } => sys.enter_root(self.take(*slot)?.as_fd())?,
            Op::Mount { fs, attrs, target } => self.mount(sys, fs, *attrs, target)?,
            Op::MakeScratch { target, size } => self.make_scratch(sys, target, *size)?,
            Op::DropScratch { target } => {
                self.scratch = None;
                sys.detach(target)?;
            }
            Op::Device { node } => self.device(sys, node)?,
            Op::DevLink { name, target } => sys.make_link(self.dev()?.as_fd(), name, target)?,
            Op::Link { dir, name, target } => {
                sys.make_link(sys.open_path(dir)?.as_fd(), name, target)?;
            }
            Op::DevDir { name } => sys.make_dir(self.dev()?.as_fd(), name)?,
            Op::BindFile { name, text, target } => {
                let scratch = self.scratch()?;
                sys.make_file(scratch.as_fd(), name, text.as_bytes())?;
                let file = sys.clone_tree(scratch.as_fd(), name)?;
                sys.set_attrs(file.as_fd(), SHOWN_ONLY, false)?;
                sys.attach(file.as_fd(), sys.open_path(target)?.as_fd())?;
            }
            Op::StashFile {
                content,
                uid,
                gid,
                mode,
            } => self.stash(sys, content, (*uid, *gid), *mode)?,
            Op::MountFile { index, target } => self.mount_file(sys, *index, target)?,
            Op::MakePoint { path, dir } => make_point(sys, path, *dir)?,
            Op::MountTree { .. } => self.mount_tree(sys, op)?,
            Op::ReadOnly { path } => {
                if let Some(target) = optional(sys.open_path(path))? {
                    let tree = sys.clone_tree(target.as_fd(), "")?;
                    sys.set_attrs(tree.as_fd(), SHOWN_ONLY, true)?;
                    sys.attach(tree.as_fd(), target.as_fd())?;
                }
            }
            Op::Mask { path } => self.mask(sys, path)?,
            Op::ReadOnlyRoot => {
                let attrs = Attrs {
                    readonly: true,
                    ..Attrs::default()
                };
                sys.set_attrs(sys.open_path("/")?.as_fd(), attrs, false)?;
            }
            Op::Ulimit { .. }
            | Op::ChangeDir { .. }
            | Op::BoundingSet { .. }
            | Op::NoNewPrivileges
            | Op::Filter { .. }
            | Op::OwnPipes { .. }
            | Op::Identity { .. }
            | Op::Capabilities { .. } => confine(sys, op)?,
        }
        Ok(())
    }

    /// Mounts what was handed over.
    fn mount_tree(&mut self, sys: &dyn Syscall, op: &Op) -> Result<(), Stop> {
        let Op::MountTree {
            slot,
            below,
            attrs,
            target,
            writable_below,
            propagation,
            propagates_below,
        } = op
        else {
            return Ok(());
        };
        let tree = self.tree(sys, *slot, below)?;
        // What is mounted below it is as little to hold devices as it is.
        let all = Attrs {
            readonly: attrs.readonly && !writable_below,
            ..*attrs
        };
        if *propagation == Propagation::Private && *propagates_below {
            sys.set_attrs(tree.as_fd(), all, true)?;
        } else {
            sys.set_flags(tree.as_fd(), all, true)?;
            sys.set_propagation(tree.as_fd(), *propagation, *propagates_below)?;
        }
        if *writable_below && attrs.readonly {
            sys.set_flags(tree.as_fd(), *attrs, false)?;
        }
        sys.attach(tree.as_fd(), sys.open_path(target)?.as_fd())?;
        Ok(())
    }

    /// Makes the scratch file system.
    fn make_scratch(&mut self, sys: &dyn Syscall, target: &str, size: usize) -> io::Result<()> {
        let attrs = Attrs {
            nosuid: true,
            noexec: true,
            ..Attrs::default()
        };
        let fs = FsType {
            name: "tmpfs".to_owned(),
            options: [("mode", "755".to_owned()), ("size", size.to_string())]
                .map(|(key, value)| (key.to_owned(), value))
                .to_vec(),
        };
        let tree = sys.make_mount(&fs, attrs)?;
        sys.attach(tree.as_fd(), sys.open_path(target)?.as_fd())?;
        sys.make_dir(tree.as_fd(), EMPTY)?;
        self.scratch = Some(tree);
        Ok(())
    }

    /// Makes a terminal, the process's and the parent's.
    fn terminal(
        &mut self,
        sys: &dyn Syscall,
        slot: usize,
        size: WindowSize,
        console: bool,
    ) -> Result<(), Stop> {
        const CONSOLE: &str = "/dev/console";
        let socket = self.take(slot)?;
        let (master, slave) = sys.open_terminal(size)?;
        if console {
            make_point(sys, CONSOLE, false)?;
            let copy = sys.clone_tree(slave.as_fd(), "")?;
            sys.attach(copy.as_fd(), sys.open_path(CONSOLE)?.as_fd())?;
        }
        sys.send(socket.as_fd(), master.as_fd())?;
        sys.take_terminal(slave.as_fd())?;
        Ok(())
    }

    /// Mounts a file that was made in memory.
    fn mount_file(&mut self, sys: &dyn Syscall, index: usize, target: &str) -> Result<(), Stop> {
        let file = self.stash.get_mut(index).and_then(Option::take);
        let file = file.ok_or_else(|| missing("such file"))?;
        sys.attach(file.as_fd(), sys.open_path(target)?.as_fd())?;
        Ok(())
    }

    /// Makes a file in memory, to be mounted later.
    fn stash(
        &mut self,
        sys: &dyn Syscall,
        content: &Hidden,
        owner: (u32, u32),
        mode: u32,
    ) -> io::Result<()> {
        let scratch = self.scratch()?;
        let name = format!("file-{}", self.stash.len());
        sys.make_file(scratch.as_fd(), &name, &content.0)?;
        sys.hand_over(scratch.as_fd(), &name, owner, mode)?;
        let file = sys.clone_tree(scratch.as_fd(), &name)?;
        sys.set_attrs(file.as_fd(), SHOWN_ONLY, false)?;
        self.stash.push(Some(file));
        Ok(())
    }

    /// What was handed over, or what lies below in it.
    fn tree(&mut self, sys: &dyn Syscall, slot: usize, below: &str) -> io::Result<OwnedFd> {
        let tree = self.take(slot)?;
        match below.is_empty() {
            true => Ok(tree),
            false => part_of(sys, &tree, below),
        }
    }

    fn take(&mut self, slot: usize) -> io::Result<OwnedFd> {
        self.slots
            .get_mut(slot)
            .and_then(Option::take)
            .ok_or_else(|| missing("such descriptor"))
    }

    fn scratch(&self) -> io::Result<&OwnedFd> {
        self.scratch
            .as_ref()
            .ok_or_else(|| missing("scratch file system"))
    }

    fn dev(&self) -> io::Result<&OwnedFd> {
        self.dev.as_ref().ok_or_else(|| missing("/dev"))
    }

    fn mount(
        &mut self,
        sys: &dyn Syscall,
        fs: &FsType,
        attrs: Attrs,
        target: &str,
    ) -> io::Result<()> {
        let tree = sys.make_mount(fs, attrs)?;
        sys.attach(tree.as_fd(), sys.open_path(target)?.as_fd())?;
        if target == "/dev" {
            self.dev = Some(tree);
        }
        Ok(())
    }

    fn device(&mut self, sys: &dyn Syscall, node: &Node) -> io::Result<()> {
        let scratch = self.scratch()?;
        let name = format!("node-{}", self.nodes);
        sys.make_device(scratch.as_fd(), &name, node)?;
        let copy = sys.clone_tree(scratch.as_fd(), &name)?;
        make_point(sys, &node.path, false)?;
        sys.attach(copy.as_fd(), sys.open_path(&node.path)?.as_fd())?;
        self.nodes += 1;
        Ok(())
    }

    /// Hides a directory behind an empty one, anything else behind /dev/null.
    fn mask(&self, sys: &dyn Syscall, path: &str) -> io::Result<()> {
        let Some(target) = optional(sys.open_path(path))? else {
            return Ok(());
        };
        let cover = if sys.is_dir(target.as_fd())? {
            let empty = sys.clone_tree(self.scratch()?.as_fd(), EMPTY)?;
            sys.set_attrs(empty.as_fd(), SHOWN_ONLY, false)?;
            empty
        } else {
            sys.clone_tree(self.scratch()?.as_fd(), NULL)?
        };
        sys.attach(cover.as_fd(), target.as_fd())
    }
}

/// A mount of what lies `below` in a tree. Kernels before 6.15 clone only what is attached.
fn part_of(sys: &dyn Syscall, tree: &OwnedFd, below: &str) -> io::Result<OwnedFd> {
    sys.attach(tree.as_fd(), sys.open_path(ASIDE)?.as_fd())?;
    let part = sys.open_in(tree.as_fd(), below);
    let part = part.and_then(|part| sys.clone_tree(part.as_fd(), ""));
    sys.detach(ASIDE)?;
    part
}

/// Makes what is missing of a path, whose last part is a directory or an empty file.
fn make_point(sys: &dyn Syscall, path: &str, dir: bool) -> io::Result<()> {
    let kept = |made: io::Result<()>| match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    };
    let mut above = String::new();
    let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
    while let Some(name) = names.next() {
        if !above.is_empty() {
            let parent = sys.open_path(&above)?;
            kept(match dir || names.peek().is_some() {
                true => sys.make_dir(parent.as_fd(), name),
                false => sys.make_file(parent.as_fd(), name, b""),
            })?;
        }
        above = format!("{above}/{name}");
    }
    Ok(())
}

/// Kernels differ in what /proc and /sys hold.
fn optional(opened: io::Result<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    match opened {
        Ok(fd) => Ok(Some(fd)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
