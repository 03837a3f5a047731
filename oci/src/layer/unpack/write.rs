//! Makes the files that an archive's entries describe.

use std::ffi::CString;
use std::io::{self, Read};
use std::rc::Rc;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chmodat,
    chownat, fchmod, fchown, fsetxattr, fstat, ftruncate, futimens, linkat, makedev, mkdirat,
    mknodat, openat, symlinkat, utimensat,
};
use rustix::io::{Errno, pwrite};

use super::error::{Problem, UnpackError, shown};
use super::options::{Ownership, UnpackOptions, Unpacked};
use super::place::{self, Place, c_string, is_directory, is_whiteout, look, split};
use crate::layer::reader::{Entry, EntryKind, Reader, Segment};
use crate::layer::{OPAQUE_WHITEOUT, WHITEOUT_PREFIX, xattr};

/// How names that begin with `.wh.` are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whiteouts {
    /// As removals in lower layers (OCI image-spec, layer.md, "Whiteouts").
    Interpret,
    /// As names like any other.
    Plain,
}

/// How many bytes of directory paths are kept until the end.
const MAX_DEFERRED: usize = 256 << 20;
/// Names of AUFS's own files, which some old layers contain.
const AUFS_PREFIX: &[u8] = b".wh..wh.";

/// A directory whose times, and mode where that would shut us out, are set at the end.
struct Deferred {
    path: Vec<u8>,
    id: (u64, u64),
    mode: Option<u32>,
    mtime: (i64, u32),
}

pub(super) struct Unpacker<'o> {
    place: Place<'o>,
    options: &'o UnpackOptions,
    whiteouts: Whiteouts,
    deferred: Vec<Deferred>,
    deferred_bytes: usize,
    done: Unpacked,
}

/// Attaches what was being done, and where.
fn failed(what: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> UnpackError {
    let path = shown(path);
    move |e| UnpackError::Io {
        what,
        path,
        cause: io::Error::from(e),
    }
}

fn refused(path: &[u8], problem: Problem) -> UnpackError {
    UnpackError::Refused {
        path: shown(path),
        problem,
    }
}

fn times((seconds, nanos): (i64, u32)) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanos.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

impl<'o> Unpacker<'o> {
    pub(super) fn new(place: Place<'o>, options: &'o UnpackOptions, whiteouts: Whiteouts) -> Self {
        Self {
            place,
            options,
            whiteouts,
            deferred: Vec::new(),
            deferred_bytes: 0,
            done: Unpacked::default(),
        }
    }

    /// Unpacks one entry, whose content `reader` is about to give.
    pub(super) fn entry<R: Read>(
        &mut self,
        entry: Entry,
        reader: &mut Reader<R>,
    ) -> Result<(), UnpackError> {
        let limits = self.options.limits;
        self.done.entries += 1;
        if self.done.entries > limits.max_entries {
            return Err(UnpackError::TooManyEntries(limits.max_entries));
        }
        self.done.bytes = self.done.bytes.saturating_add(entry.size);
        if self.done.bytes > limits.max_bytes {
            return Err(UnpackError::TooManyBytes(limits.max_bytes));
        }
        let path = self
            .place
            .locate(&entry.path)
            .map_err(|problem| refused(&entry.path, problem))?;
        if path.is_empty() {
            return self.root(&path, &entry);
        }
        if self.whiteouts == Whiteouts::Interpret && self.whiteout(&path)? {
            return Ok(());
        }
        let parent = self.parent(split(&path).parent)?;
        let name = c_string(split(&path).name);
        let parent = parent.as_fd();
        match &entry.kind {
            EntryKind::Directory => self.directory(&path, parent, &name, &entry),
            EntryKind::File => self.file(&path, parent, &name, &entry, reader),
            EntryKind::HardLink(target) => self.hard_link(&path, parent, &name, target),
            EntryKind::Symlink(target) => self.symlink(&path, parent, &name, target, &entry),
            EntryKind::Fifo => self.node(&path, parent, &name, &entry, FileType::Fifo, 0),
            EntryKind::Char(major, minor) => {
                let device = makedev(*major, *minor);
                self.node(
                    &path,
                    parent,
                    &name,
                    &entry,
                    FileType::CharacterDevice,
                    device,
                )
            }
            EntryKind::Block(major, minor) => {
                let device = makedev(*major, *minor);
                self.node(&path, parent, &name, &entry, FileType::BlockDevice, device)
            }
        }
    }

    /// Sets what had to wait, and tells what was done.
    pub(super) fn finish(self) -> Result<Unpacked, UnpackError> {
        for dir in &self.deferred {
            let path = &dir.path;
            // What is no longer there, or no longer the same, was replaced by a later entry.
            let Ok(fd) = self.place.open(path, OFlags::RDONLY | OFlags::DIRECTORY) else {
                continue;
            };
            let stat = fstat(&fd).map_err(failed("reading metadata of", path))?;
            if (stat.st_dev, stat.st_ino) != dir.id {
                continue;
            }
            futimens(&fd, &times(dir.mtime)).map_err(failed("setting times of", path))?;
            if let Some(mode) = dir.mode {
                fchmod(&fd, Mode::from_raw_mode(mode)).map_err(failed("setting mode of", path))?;
            }
        }
        Ok(self.done)
    }

    fn owner(&self, uid: u32, gid: u32) -> Option<(Uid, Gid)> {
        match self.options.ownership {
            Ownership::Archive => Some((Uid::from_raw(uid), Gid::from_raw(gid))),
            Ownership::Fixed { uid, gid } => Some((Uid::from_raw(uid), Gid::from_raw(gid))),
            Ownership::Current => None,
        }
    }

    /// The entry of the root itself. A layer's root takes on its metadata; a directory that an
    /// archive is extracted into keeps its own, and what has no name besides is left out.
    fn root(&mut self, path: &[u8], entry: &Entry) -> Result<(), UnpackError> {
        if self.whiteouts == Whiteouts::Plain {
            return Ok(());
        }
        if entry.kind != EntryKind::Directory {
            return Err(refused(&entry.path, Problem::NoName));
        }
        let fd = self
            .place
            .open(path, OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(failed("opening", path))?;
        self.finish_directory(path, fd.as_fd(), entry)
    }

    /// The directory that an entry goes into; made where the archive left it out.
    fn parent(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, UnpackError> {
        match self.place.existing(path) {
            Ok(fd) => return Ok(fd),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(e) => return Err(failed("opening directory", path)(e)),
        }
        let interpret = self.whiteouts == Whiteouts::Interpret;
        let mut was_whiteout = Vec::new();
        let made = self.place.make_parents(path, |parent, name| {
            // The layer removes what lies below and then puts a directory in its place.
            let whiteout = interpret && look(parent, name)?.is_some_and(|s| is_whiteout(&s));
            if whiteout {
                place::remove(parent, name)?;
                was_whiteout.push(name.clone());
            }
            Ok(whiteout)
        })?;
        for dir in made {
            let owner = self.owner(0, 0);
            if let Some((uid, gid)) = owner {
                chownat(
                    &dir.parent,
                    &dir.name,
                    Some(uid),
                    Some(gid),
                    AtFlags::SYMLINK_NOFOLLOW,
                )
                .map_err(failed("setting owner of", &dir.path))?;
            }
            if interpret {
                let fd = self.open_directory(&dir.path, dir.parent.as_fd(), &dir.name)?;
                if was_whiteout.contains(&dir.name) {
                    self.make_opaque(&dir.path, fd.as_fd())?;
                }
                // Not the time of unpacking, which would differ from one machine to the next.
                self.defer(&dir.path, fd.as_fd(), None, (0, 0))?;
            }
        }
        self.place
            .existing(path)
            .map_err(failed("opening directory", path))
    }

    /// Handles an entry whose name marks a removal; returns whether it did.
    fn whiteout(&mut self, path: &[u8]) -> Result<bool, UnpackError> {
        let split = split(path);
        let reserved = |name: &[u8]| name.starts_with(WHITEOUT_PREFIX);
        let mut parents = split
            .parent
            .split(|&b| b == b'/')
            .filter(|name| reserved(name));
        if let Some(parent) = parents.next() {
            if parent.starts_with(AUFS_PREFIX) {
                return Ok(true);
            }
            return Err(refused(path, Problem::BelowWhiteout));
        }
        if !reserved(split.name) {
            return Ok(false);
        }
        if split.name == OPAQUE_WHITEOUT {
            if split.parent.is_empty() {
                self.done.opaque_root = true;
            }
            // The descriptor at hand may only name the directory (`O_PATH`).
            self.parent(split.parent)?;
            let fd = self
                .place
                .open(split.parent, OFlags::RDONLY | OFlags::DIRECTORY)
                .map_err(failed("opening directory", split.parent))?;
            self.make_opaque(split.parent, fd.as_fd())?;
            return Ok(true);
        }
        if split.name.starts_with(AUFS_PREFIX) {
            return Ok(true);
        }
        let hidden = &split.name[WHITEOUT_PREFIX.len()..];
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(refused(path, Problem::BadWhiteout));
        }
        let parent = self.parent(split.parent)?;
        let name = c_string(hidden);
        match look(parent.as_fd(), &name).map_err(failed("looking at", path))? {
            // It removes what lies below, not what this same layer puts there.
            Some(stat) if is_directory(&stat) => {
                let fd = self.open_directory(path, parent.as_fd(), &name)?;
                self.make_opaque(path, fd.as_fd())?;
            }
            Some(_) => {}
            None => {
                let mode = Mode::empty();
                mknodat(
                    &parent,
                    &name,
                    FileType::CharacterDevice,
                    mode,
                    makedev(0, 0),
                )
                .map_err(failed("making whiteout", path))?;
            }
        }
        Ok(true)
    }

    fn make_opaque(&self, path: &[u8], dir: BorrowedFd<'_>) -> Result<(), UnpackError> {
        let name = if self.options.user_xattrs {
            c"user.overlay.opaque"
        } else {
            c"trusted.overlay.opaque"
        };
        fsetxattr(dir, name, b"y", XattrFlags::empty()).map_err(failed("marking as opaque", path))
    }

    fn open_directory(
        &self,
        path: &[u8],
        parent: BorrowedFd<'_>,
        name: &CString,
    ) -> Result<OwnedFd, UnpackError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(parent, name, flags, Mode::empty()).map_err(failed("opening directory", path))
    }

    /// Makes something; where the name is taken, removes what is there and tries again.
    /// Returns what was there.
    fn replace<T>(
        &mut self,
        path: &[u8],
        parent: BorrowedFd<'_>,
        name: &CString,
        make: impl Fn() -> Result<T, Errno>,
    ) -> Result<(T, Option<Stat>), UnpackError> {
        match make() {
            Err(Errno::EXIST) => {}
            other => return Ok((other.map_err(failed("making", path))?, None)),
        }
        let old = look(parent, name).map_err(failed("looking at", path))?;
        if self.options.keep_kinds && old.as_ref().is_some_and(is_directory) {
            return Err(refused(path, Problem::IsDirectory));
        }
        self.place.forget();
        place::remove(parent, name).map_err(failed("replacing", path))?;
        Ok((make().map_err(failed("making", path))?, old))
    }

    fn directory(
        &mut self,
        path: &[u8],
        parent: BorrowedFd<'_>,
        name: &CString,
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        let make = || mkdirat(parent, name, Mode::from_raw_mode(0o700));
        let mut removes_lower = false;
        match make() {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let old = look(parent, name).map_err(failed("looking at", path))?;
                if !old.as_ref().is_some_and(is_directory) {
                    if self.options.keep_kinds {
                        return Err(refused(path, Problem::IsNoDirectory));
                    }
                    removes_lower = self.whiteouts == Whiteouts::Interpret
                        && old.as_ref().is_some_and(is_whiteout);
                    self.replace(path, parent, name, make)?;
                }
            }
            Err(e) => return Err(failed("making directory", path)(e)),
        }
        let fd = self.open_directory(path, parent, name)?;
        if removes_lower {
            self.make_opaque(path, fd.as_fd())?;
        }
        self.finish_directory(path, fd.as_fd(), entry)
    }

    fn finish_directory(
        &mut self,
        path: &[u8],
        fd: BorrowedFd<'_>,
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        self.set_owner(path, fd, entry)?;
        // Open to ourselves until the end, for those who are not root.
        fchmod(fd, Mode::from_raw_mode(entry.mode | 0o700))
            .map_err(failed("setting mode of", path))?;
        self.set_xattrs(path, fd, entry)?;
        let mode = (entry.mode & 0o700 != 0o700).then_some(entry.mode);
        self.defer(path, fd, mode, entry.mtime)
    }

    fn defer(
        &mut self,
        path: &[u8],
        fd: BorrowedFd<'_>,
        mode: Option<u32>,
        mtime: (i64, u32),
    ) -> Result<(), UnpackError> {
        let stat = fstat(fd).map_err(failed("reading metadata of", path))?;
        self.deferred_bytes += path.len() + size_of::<Deferred>();
        if self.deferred_bytes > MAX_DEFERRED {
            return Err(UnpackError::TooManyDirectories(MAX_DEFERRED));
        }
        self.deferred.push(Deferred {
            path: path.to_vec(),
            id: (stat.st_dev, stat.st_ino),
            mode,
            mtime,
        });
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        path: &[u8],
        parent: BorrowedFd<'_>,
        name: &CString,
        entry: &Entry,
        reader: &mut Reader<R>,
    ) -> Result<(), UnpackError> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (fd, _) = self.replace(path, parent, name, || {
            openat(parent, name, flags, Mode::from_raw_mode(0o600))
        })?;
        let whole = [Segment {
            offset: 0,
            len: entry.size,
        }];
        for segment in entry.segments.as_deref().unwrap_or(&whole) {
            write_segment(path, fd.as_fd(), *segment, reader)?;
        }
        if entry.segments.is_some() {
            ftruncate(&fd, entry.size).map_err(failed("setting the size of", path))?;
        }
        // Changing the owner clears setuid and capabilities, so that it comes first.
        self.set_owner(path, fd.as_fd(), entry)?;
        fchmod(&fd, Mode::from_raw_mode(entry.mode)).map_err(failed("setting mode of", path))?;
        self.set_xattrs(path, fd.as_fd(), entry)?;
        futimens(&fd, &times(entry.mtime)).map_err(failed("setting times of", path))
    }

    fn hard_link(
        &mut self,
        path: &[u8],
        parent: BorrowedFd<'_>,
        name: &CString,
        target: &[u8],
    ) -> Result<(), UnpackError> {
        let missing = || refused(path, Problem::LinkTargetMissing(shown(target)));
        let located = self
            .place
            .locate(target)
            .map_err(|problem| refused(path, problem))?;
        if located.is_empty() {
            return Err(missing());
        }
        let target = split(&located);
        let target_name = c_string(target.name);
        let target_parent = match self
            .place
            .open(target.parent, OFlags::PATH | OFlags::DIRECTORY)
        {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(missing()),
            Err(e) => return Err(failed("opening directory", target.parent)(e)),
        };
        let id = |stat: Stat| (stat.st_dev, stat.st_ino);
        let from = look(target_parent.as_fd(), &target_name)
            .map_err(failed("looking at", &located))?
            .map(id)
            .ok_or_else(missing)?;
        // A link to itself must not remove itself first.
        let old = look(parent, name).map_err(failed("looking at", path))?;
        if old.map(id) == Some(from) {
            return Ok(());
        }
        self.replace(path, parent, name, || {
            linkat(&target_parent, &target_name, parent, name, AtFlags::empty())
        })?;
        Ok(())
    }

    fn symlink(
        &mut self,
        path: &[u8],
        parent: BorrowedFd<'_>,
        name: &CString,
        target: &[u8],
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        if target.is_empty() {
            return Err(refused(path, Problem::EmptySymlink));
        }
        if target.contains(&0) {
            return Err(refused(path, Problem::Nul));
        }
        self.replace(path, parent, name, || symlinkat(target, parent, name))?;
        self.set_owner_at(path, parent, name, entry)?;
        utimensat(parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed("setting times of", path))
    }

    fn node(
        &mut self,
        path: &[u8],
        parent: BorrowedFd<'_>,
        name: &CString,
        entry: &Entry,
        kind: FileType,
        device: u64,
    ) -> Result<(), UnpackError> {
        let mode = Mode::from_raw_mode(entry.mode);
        self.replace(path, parent, name, || {
            mknodat(parent, name, kind, Mode::from_raw_mode(0o600), device)
        })?;
        self.set_owner_at(path, parent, name, entry)?;
        // Just made, and no symbolic link: nothing can be followed here.
        chmodat(parent, name, mode, AtFlags::empty()).map_err(failed("setting mode of", path))?;
        utimensat(parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed("setting times of", path))
    }

    fn set_owner(&self, path: &[u8], fd: BorrowedFd<'_>, entry: &Entry) -> Result<(), UnpackError> {
        match self.owner(entry.uid, entry.gid) {
            Some((uid, gid)) => {
                fchown(fd, Some(uid), Some(gid)).map_err(failed("setting owner of", path))
            }
            None => Ok(()),
        }
    }

    fn set_owner_at(
        &self,
        path: &[u8],
        parent: BorrowedFd<'_>,
        name: &CString,
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        match self.owner(entry.uid, entry.gid) {
            Some((uid, gid)) => chownat(
                parent,
                name,
                Some(uid),
                Some(gid),
                AtFlags::SYMLINK_NOFOLLOW,
            )
            .map_err(failed("setting owner of", path)),
            None => Ok(()),
        }
    }

    fn set_xattrs(
        &self,
        path: &[u8],
        fd: BorrowedFd<'_>,
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        for (name, value) in &entry.xattrs {
            if !xattr::is_portable(name) || name.contains(&0) {
                continue;
            }
            match fsetxattr(fd, name.as_slice(), value, XattrFlags::empty()) {
                Ok(()) => {}
                // The file system does not keep them; nothing that runs depends on it, unlike
                // on capabilities.
                Err(Errno::NOTSUP) if name != b"security.capability" => {}
                Err(e) => return Err(failed("setting extended attributes of", path)(e)),
            }
        }
        Ok(())
    }
}

fn write_segment<R: Read>(
    path: &[u8],
    fd: BorrowedFd<'_>,
    segment: Segment,
    reader: &mut Reader<R>,
) -> Result<(), UnpackError> {
    let (mut offset, mut left) = (segment.offset, segment.len);
    while left > 0 {
        let piece = reader.content().map_err(|e| UnpackError::Read(e.into()))?;
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        match pwrite(fd, &piece[..len], offset) {
            // Nothing more to come, or nothing more to be taken.
            Ok(0) => return Err(failed("writing", path)(Errno::IO)),
            Ok(n) => {
                reader.consume(n);
                offset += n as u64;
                left -= n as u64;
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(failed("writing", path)(e)),
        }
    }
    Ok(())
}
