//! The directories that a copy fills: through an overlay where something may lie below, and in
//! its upper directory where nothing does.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::earlier::{self, Earlier, Record};
use super::rootfs::{Owner, Rootfs, make_dir};
use super::transfer::{restore, times_of};

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// The upper directory of the overlay that is written to. A directory of which the overlay knows
/// nothing yet looks the same in both, and is filled much faster here.
///
/// The overlay may have looked for a name before it was made here, and goes on without it: it is
/// of no use for what was copied, and has to be mounted anew.
#[derive(Clone, Copy, Debug)]
pub struct Upper<'a> {
    /// The directory; also the destination itself, when that is no overlay.
    pub tree: &'a Rootfs,
    /// A layer whose files can be linked to.
    pub earlier: Option<&'a Earlier>,
    /// Gets to know the files that are made.
    pub made: &'a RefCell<Record>,
}

/// A directory that entries go into.
pub(super) struct Dest {
    /// Where new ones are written.
    pub to: OwnedFd,
    /// Where those show that were there before, unless `to` has them all.
    merged: Option<OwnedFd>,
    /// The same directory of an earlier layer.
    pub earlier: Option<OwnedFd>,
}

impl Dest {
    /// A directory that is written to as it is.
    pub(super) fn plain(to: OwnedFd) -> Self {
        Self {
            to,
            merged: None,
            earlier: None,
        }
    }

    /// The directory at `path`, which is open.
    pub(super) fn top(open: OwnedFd, path: &Path, upper: Option<Upper<'_>>) -> io::Result<Self> {
        let Some(upper) = upper else {
            return Ok(Self::plain(open));
        };
        let earlier = upper.earlier.and_then(|earlier| earlier.dir(path));
        Self::beside(
            open,
            || upper.tree.open_real(path).ok_or(Errno::NOENT),
            earlier,
        )
    }

    /// A directory that was there before, and its place in the upper directory.
    fn beside(
        merged: OwnedFd,
        open: impl FnOnce() -> Result<OwnedFd, Errno>,
        earlier: Option<OwnedFd>,
    ) -> io::Result<Self> {
        // It is in the layer whatever is written into it. This puts it there.
        restore(merged.as_fd(), times_of(merged.as_fd()));
        Ok(Self {
            to: open()?,
            merged: Some(merged),
            earlier,
        })
    }

    /// Makes or opens the directory `name` in this one; says whether it was there.
    pub(super) fn enter(&self, name: &OsStr) -> io::Result<(Self, bool)> {
        let earlier = earlier::below(self.earlier.as_ref(), name);
        let open = |dir| fs::openat(dir, name, DIRECTORY, Mode::empty());
        let (opened, existed) = match make_dir(self.whole(), name, 0o700, Owner::default()) {
            Ok(made) => (made, false),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => (open(self.whole())?, true),
            Err(e) => return Err(e),
        };
        let dest = match (&self.merged, existed) {
            (None, _) => Self::plain(opened),
            (Some(_), true) => Self::beside(opened, || open(self.to.as_fd()), None)?,
            (Some(_), false) => Self::plain(open(self.to.as_fd())?),
        };
        Ok((Self { earlier, ..dest }, existed))
    }

    /// The directory as everybody sees it.
    pub(super) fn whole(&self) -> BorrowedFd<'_> {
        self.merged.as_ref().unwrap_or(&self.to).as_fd()
    }

    /// Where `name` is to be written: directly unless something is there already.
    pub(super) fn place_of(&self, name: &OsStr) -> BorrowedFd<'_> {
        match &self.merged {
            Some(merged)
                if !matches!(
                    fs::statat(merged, name, AtFlags::SYMLINK_NOFOLLOW),
                    Err(Errno::NOENT)
                ) =>
            {
                merged.as_fd()
            }
            _ => self.to.as_fd(),
        }
    }
}
