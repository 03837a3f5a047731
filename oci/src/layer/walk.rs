//! Walks a directory tree and writes its tar.
//!
//! Everything is opened relative to its directory's descriptor and never through a symbolic
//! link, names are read in bulk, and nothing is allocated a file, so that tens of thousands of
//! small files cost little more than their system calls.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, Stat, fgetxattr, flistxattr, fstat, major, minor,
    openat, readlinkat, statat,
};
use rustix::io::Errno;

use super::header::{Header, Kind, padding};
use super::holes::{is_sparse, run_at};
use super::names::{MAX_DEPTH, MAX_PATH, OPAQUE_WHITEOUT, WHITEOUT_PREFIX};
use super::sink::{Drain, FillError, Sink};
use super::xattr;

mod named;

pub(super) use named::{walk_as, walk_entry};

/// Why no tar can be made of a tree.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// Something in the tree cannot be read.
    #[error("{what} {}: {cause}", path.display())]
    Read {
        /// What was being done.
        what: &'static str,
        /// Where, relative to the tree's root.
        path: PathBuf,
        /// Why it failed.
        cause: io::Error,
    },
    /// The tar cannot be written to where it was to go.
    #[error("writing the tar: {0}")]
    Write(io::Error),
    /// A file changed while it was read: something still runs in there.
    #[error("{} changed while it was read", .0.display())]
    Changed(PathBuf),
    /// A name that readers of the layer would take for a removal.
    #[error(
        "{} cannot be put in a layer: names that begin with `.wh.` mark removed files there; rename or remove it",
        .0.display()
    )]
    ReservedName(PathBuf),
    /// Deeper or longer than anything could unpack.
    #[error(
        "{} is too deep: a layer's paths have at most {MAX_DEPTH} parts and {MAX_PATH} bytes",
        .0.display()
    )]
    TooDeep(PathBuf),
    /// Overlay keeps part of the file in a lower layer.
    #[error(
        "{} is kept in a lower layer: mount the overlay with redirect_dir=off,metacopy=off",
        .0.display()
    )]
    Indirect(PathBuf),
}

/// How a tar is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TarOptions {
    /// No modification time later than this, in seconds since the epoch (`SOURCE_DATE_EPOCH`).
    pub clamp_mtime: Option<i64>,
}

/// Opens a directory to be handed to this module's functions.
///
/// # Errors
/// [`TarError::Read`].
pub fn open_dir(path: &Path) -> Result<OwnedFd, TarError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).map_err(|e| TarError::Read {
        what: "opening directory",
        path: PathBuf::from(path),
        cause: io::Error::from(e),
    })
}

/// Asked before every entry and every few hundred KiB: an error ends the work with it.
pub type GoOn<'a> = &'a dyn Fn() -> io::Result<()>;

/// What the tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// An overlay upper directory.
    Overlay,
    /// Just files.
    Plain,
}

const OPEN: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);
const LISTING_BUFFER: usize = 64 << 10;
/// The kernel's limit on both the list of names and one value.
const XATTR_BUFFER: usize = 64 << 10;

/// Writes the tar of `root` to `sink`, with its two closing blocks.
pub(super) fn walk<D: Drain>(
    root: BorrowedFd<'_>,
    options: &TarOptions,
    form: Form,
    sink: Sink<D>,
    go_on: GoOn<'_>,
) -> Result<Sink<D>, TarError> {
    let mut walk = Walk {
        sink,
        form,
        go_on,
        earliest: i64::MIN,
        clamp: options.clamp_mtime.unwrap_or(i64::MAX),
        path: Vec::with_capacity(256),
        links: HashMap::new(),
        listing: Box::new([MaybeUninit::uninit(); LISTING_BUFFER]),
        header: Vec::with_capacity(2048),
        attributes: Attributes::new(),
    };
    walk.run(root)?;
    walk.sink.put(&[0; 1024]).map_err(TarError::Write)?;
    Ok(walk.sink)
}

fn plain<D>(sink: Sink<D>) -> Walk<'static, D> {
    Walk {
        sink,
        form: Form::Plain,
        go_on: &|| Ok(()),
        earliest: i64::MIN,
        clamp: i64::MAX,
        path: Vec::with_capacity(256),
        links: HashMap::new(),
        listing: Box::new([MaybeUninit::uninit(); LISTING_BUFFER]),
        header: Vec::with_capacity(2048),
        attributes: Attributes::new(),
    }
}

/// Writes plain trees, each below a folder (its name, empty for the root), as one tar with its two
/// closing blocks; everything dated to `epoch` if there is one.
pub(super) fn walk_all<D: Drain>(
    trees: &[(&str, BorrowedFd<'_>)],
    epoch: Option<i64>,
    sink: Sink<D>,
) -> Result<Sink<D>, TarError> {
    let mut walk = plain(sink);
    walk.earliest = epoch.unwrap_or(i64::MIN);
    walk.clamp = epoch.unwrap_or(i64::MAX);
    for (folder, root) in trees {
        walk.path.clear();
        walk.links.clear();
        if !folder.is_empty() {
            walk.path.extend_from_slice(folder.as_bytes());
            walk.path.push(b'/');
            let stat = fstat(root).map_err(|e| walk.failed("reading metadata of", e))?;
            walk.entry(&stat, Kind::Directory, b"", 0, false)?;
        }
        walk.run(*root)?;
    }
    walk.sink.put(&[0; 1024]).map_err(TarError::Write)?;
    Ok(walk.sink)
}

struct Walk<'g, D> {
    sink: Sink<D>,
    form: Form,
    go_on: GoOn<'g>,
    /// Nothing is dated earlier or later than these.
    earliest: i64,
    clamp: i64,
    /// Of the entry at hand, relative to the root.
    path: Vec<u8>,
    /// Where a file with several links was first met, by device and inode.
    links: HashMap<(u64, u64), Vec<u8>>,
    listing: Box<[MaybeUninit<u8>; LISTING_BUFFER]>,
    header: Vec<u8>,
    attributes: Attributes,
}

/// A directory being walked.
struct Frame {
    fd: OwnedFd,
    names: Vec<u8>,
    items: Vec<Item>,
    next: usize,
    /// How much of the path is the directory's, with its slash.
    path_len: usize,
}

/// One name in a directory.
struct Item {
    start: usize,
    /// Just after the NUL.
    end: usize,
    kind: FileType,
    whiteout: bool,
}

impl Item {
    fn name<'n>(&self, names: &'n [u8]) -> &'n [u8] {
        &names[self.start..self.end - 1]
    }
}

impl<D: Drain> Walk<'_, D> {
    fn run(&mut self, root: BorrowedFd<'_>) -> Result<(), TarError> {
        // Opened anew, so that the caller's descriptor keeps its position in the directory, and
        // may be one that only names it (`O_PATH`).
        let fd = openat(root, c".", OPEN | OFlags::DIRECTORY, Mode::empty())
            .map_err(|e| self.failed("opening", e))?;
        self.attributes
            .read(fd.as_fd())
            .map_err(|e| self.failed("reading extended attributes of", e))?;
        let opaque = self.attributes.opaque;
        let mut stack = vec![self.enter(fd)?];
        if opaque {
            self.mark(OPAQUE_WHITEOUT)?;
        }
        while let Some(frame) = stack.last_mut() {
            self.path.truncate(frame.path_len);
            let Some(item) = frame.items.get(frame.next) else {
                stack.pop();
                continue;
            };
            frame.next += 1;
            (self.go_on)().map_err(|e| self.failed("reading", e))?;
            let raw = &frame.names[item.start..item.end];
            let name = CStr::from_bytes_with_nul(raw)
                .map_err(|_| self.failed("reading directory", Errno::INVAL))?;
            let (kind, whiteout) = (item.kind, item.whiteout);
            if whiteout {
                let marker = [WHITEOUT_PREFIX, name.to_bytes()].concat();
                self.mark(&marker)?;
                continue;
            }
            self.path.extend_from_slice(name.to_bytes());
            if self.form == Form::Overlay && name.to_bytes().starts_with(WHITEOUT_PREFIX) {
                return Err(TarError::ReservedName(self.shown()));
            }
            let frame_fd = frame.fd.as_fd();
            match kind {
                FileType::Directory => {
                    let (fd, opaque) = self.directory(frame_fd, name)?;
                    if stack.len() >= MAX_DEPTH {
                        return Err(TarError::TooDeep(self.shown()));
                    }
                    let frame = self.enter(fd)?;
                    stack.push(frame);
                    if opaque {
                        self.mark(OPAQUE_WHITEOUT)?;
                    }
                }
                FileType::RegularFile => self.file(frame_fd, name)?,
                // Nothing to put in an archive: a socket lives as long as its listener.
                FileType::Socket => {}
                _ => self.special(frame_fd, name)?,
            }
        }
        Ok(())
    }

    fn shown(&self) -> PathBuf {
        let path: &[u8] = if self.path.is_empty() {
            b"."
        } else {
            &self.path
        };
        PathBuf::from(OsStr::from_bytes(path))
    }

    fn failed(&self, what: &'static str, cause: impl Into<io::Error>) -> TarError {
        TarError::Read {
            what,
            path: self.shown(),
            cause: cause.into(),
        }
    }

    /// Lists a directory whose path, with its slash, is the current one: whiteouts first, as the
    /// specification wishes, then the rest, both by their bytes.
    fn enter(&mut self, fd: OwnedFd) -> Result<Frame, TarError> {
        let mut names = Vec::new();
        let mut items = Vec::new();
        let mut listing = RawDir::new(&fd, &mut self.listing[..]);
        let failed = |path: &[u8], e: Errno| TarError::Read {
            what: "listing",
            path: PathBuf::from(OsStr::from_bytes(path)),
            cause: e.into(),
        };
        while let Some(entry) = listing.next() {
            let entry = entry.map_err(|e| failed(&self.path, e))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let start = names.len();
            names.extend_from_slice(name.to_bytes_with_nul());
            let (mut kind, mut whiteout) = (entry.file_type(), false);
            if matches!(kind, FileType::CharacterDevice | FileType::Unknown) {
                let stat = statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|e| failed(&self.path, e))?;
                kind = FileType::from_raw_mode(stat.st_mode);
                whiteout = self.form == Form::Overlay
                    && kind == FileType::CharacterDevice
                    && stat.st_rdev == 0;
            }
            items.push(Item {
                start,
                end: names.len(),
                kind,
                whiteout,
            });
        }
        items.sort_unstable_by(|a, b| {
            (!a.whiteout, a.name(&names)).cmp(&(!b.whiteout, b.name(&names)))
        });
        Ok(Frame {
            fd,
            names,
            items,
            next: 0,
            path_len: self.path.len(),
        })
    }

    /// Writes a whiteout entry into the directory at hand.
    fn mark(&mut self, marker: &[u8]) -> Result<(), TarError> {
        let len = self.path.len();
        self.path.extend_from_slice(marker);
        let header = Header {
            path: &self.path,
            kind: Kind::File,
            link: b"",
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: 0,
            size: 0,
            device: (0, 0),
            xattrs: &[],
        };
        self.header.clear();
        header.encode(&mut self.header);
        self.path.truncate(len);
        self.sink.put(&self.header).map_err(TarError::Write)
    }

    /// Writes the header of the entry at the current path.
    fn entry(
        &mut self,
        stat: &Stat,
        kind: Kind,
        link: &[u8],
        size: u64,
        with_xattrs: bool,
    ) -> Result<(), TarError> {
        if self.path.len() > MAX_PATH {
            return Err(TarError::TooDeep(self.shown()));
        }
        let device = match kind {
            Kind::Char | Kind::Block => (major(stat.st_rdev), minor(stat.st_rdev)),
            _ => (0, 0),
        };
        let header = Header {
            path: &self.path,
            kind,
            link,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: stat.st_mtime.max(self.earliest).min(self.clamp),
            size,
            device,
            xattrs: if with_xattrs {
                &self.attributes.portable
            } else {
                &[]
            },
        };
        self.header.clear();
        header.encode(&mut self.header);
        self.sink.put(&self.header).map_err(TarError::Write)
    }

    fn open(
        &self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        flags: OFlags,
    ) -> Result<OwnedFd, TarError> {
        match openat(parent, name, OPEN | flags, Mode::empty()) {
            Ok(fd) => Ok(fd),
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => {
                Err(TarError::Changed(self.shown()))
            }
            Err(e) => Err(self.failed("opening", e)),
        }
    }

    fn read_attributes(&mut self, fd: BorrowedFd<'_>) -> Result<(), TarError> {
        self.attributes
            .read(fd)
            .map_err(|e| self.failed("reading extended attributes of", e))?;
        if self.form == Form::Overlay && self.attributes.indirect {
            return Err(TarError::Indirect(self.shown()));
        }
        Ok(())
    }

    /// Writes a directory's entry; returns it opened, and whether it is opaque. The path gets
    /// its slash.
    fn directory(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
    ) -> Result<(OwnedFd, bool), TarError> {
        let fd = self.open(parent, name, OFlags::DIRECTORY)?;
        let stat = fstat(&fd).map_err(|e| self.failed("reading metadata of", e))?;
        self.read_attributes(fd.as_fd())?;
        self.path.push(b'/');
        self.entry(&stat, Kind::Directory, b"", 0, true)?;
        Ok((fd, self.form == Form::Overlay && self.attributes.opaque))
    }

    fn file(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> Result<(), TarError> {
        let fd = self.open(parent, name, OFlags::empty())?;
        let stat = fstat(&fd).map_err(|e| self.failed("reading metadata of", e))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(TarError::Changed(self.shown()));
        }
        if self.write_as_link(&stat)? {
            return Ok(());
        }
        self.read_attributes(fd.as_fd())?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.entry(&stat, Kind::File, b"", size, true)?;
        let filled = match is_sparse(&stat) {
            true => self.sparse(&fd, size),
            false => self.data(&fd, 0, size),
        };
        match filled {
            Ok(()) => {}
            Err(FillError::Short) => return Err(TarError::Changed(self.shown())),
            Err(FillError::Read(e)) => return Err(self.failed("reading", e)),
            Err(FillError::Drain(e)) => return Err(TarError::Write(e)),
        }
        self.sink.pad(padding(size)).map_err(TarError::Write)
    }

    /// Writes the bytes of a file from `at` to `end`.
    fn data(&mut self, fd: &OwnedFd, mut at: u64, end: u64) -> Result<(), FillError> {
        let go_on = self.go_on;
        self.sink.fill(end - at, |room| {
            go_on()?;
            loop {
                match rustix::io::pread(fd, &mut *room, at) {
                    Err(Errno::INTR) => {}
                    Ok(n) => {
                        at += n as u64;
                        return Ok(n);
                    }
                    Err(e) => return Err(e.into()),
                }
            }
        })
    }

    /// Writes a whole file without reading its holes.
    fn sparse(&mut self, fd: &OwnedFd, size: u64) -> Result<(), FillError> {
        let mut at = 0;
        while at < size {
            let run = run_at(fd, at, size).map_err(FillError::Read)?;
            match run.hole {
                true => self.sink.zeros(run.end - at, self.go_on)?,
                false => self.data(fd, at, run.end)?,
            }
            at = run.end;
        }
        // A hole at the end looks like an end that came too early.
        match fstat(fd) {
            Ok(now) if now.st_size.unsigned_abs() >= size => Ok(()),
            Ok(_) => Err(FillError::Short),
            Err(e) => Err(FillError::Read(e.into())),
        }
    }

    fn special(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> Result<(), TarError> {
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| self.failed("reading metadata of", e))?;
        let (kind, link) = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                let link = readlinkat(parent, name, Vec::new())
                    .map_err(|e| self.failed("reading symbolic link", e))?;
                (Kind::Symlink, link.into_bytes())
            }
            FileType::CharacterDevice => (Kind::Char, Vec::new()),
            FileType::BlockDevice => (Kind::Block, Vec::new()),
            FileType::Fifo => (Kind::Fifo, Vec::new()),
            FileType::Socket => return Ok(()),
            _ => return Err(TarError::Changed(self.shown())),
        };
        if self.write_as_link(&stat)? {
            return Ok(());
        }
        self.entry(&stat, kind, &link, 0, false)
    }

    /// When a file with several links was met before, writes a hard link to the first name.
    fn write_as_link(&mut self, stat: &Stat) -> Result<bool, TarError> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let id = (stat.st_dev, stat.st_ino);
        let Some(first) = self.links.get(&id).cloned() else {
            self.links.insert(id, self.path.clone());
            return Ok(false);
        };
        self.entry(stat, Kind::HardLink, &first, 0, false)?;
        Ok(true)
    }
}

/// The extended attributes of the entry at hand.
struct Attributes {
    portable: Vec<(Vec<u8>, Vec<u8>)>,
    opaque: bool,
    indirect: bool,
    names: Vec<u8>,
    value: Vec<u8>,
}

impl Attributes {
    fn new() -> Self {
        Self {
            portable: Vec::new(),
            opaque: false,
            indirect: false,
            names: vec![0; XATTR_BUFFER],
            value: vec![0; XATTR_BUFFER],
        }
    }

    fn read(&mut self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        self.portable.clear();
        self.opaque = false;
        self.indirect = false;
        let len = match flistxattr(fd, &mut self.names[..]) {
            Ok(len) => len,
            Err(Errno::NOTSUP) => 0,
            Err(e) => return Err(e),
        };
        for name in self.names[..len].split(|&b| b == 0) {
            let opaque = xattr::is_overlay_opaque(name);
            self.indirect |= xattr::is_overlay_indirection(name);
            if !opaque && !xattr::is_portable(name) {
                continue;
            }
            let value = match fgetxattr(fd, name, &mut self.value[..]) {
                Ok(len) => &self.value[..len],
                Err(Errno::NODATA) => continue,
                Err(e) => return Err(e),
            };
            if opaque {
                self.opaque |= value == b"y";
            } else {
                self.portable.push((name.to_vec(), value.to_vec()));
            }
        }
        self.portable.sort_unstable();
        Ok(())
    }
}
