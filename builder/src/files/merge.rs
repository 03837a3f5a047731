//! Several layers made one (`--squash`): what they come to upon a base, as an overlay's upper
//! directory.
//!
//! Files are hard links to those of the layers, which never change; an image has either the layers
//! or what they were merged to, so that no container sees a file twice. Directories that come to
//! what the base has are left out, as docker leaves them out.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat, XattrFlags};
use rustix::io::Errno;

use super::FilesError;
use super::make::Files;
use super::rootfs::{Owner, file_type, list, make_dir};
use super::transfer::{finish, mtime, xattrs_of};
use crate::stop::Stop;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// How overlay marks a directory that hides what lies below it, and its value.
const OPAQUE: (&str, &[u8]) = ("trusted.overlay.opaque", b"y");

/// Merges `layers`, upper directories with the topmost first, into the empty directory `to`.
/// `base` is the tree on which the result is to lie, as it is seen.
///
/// # Errors
/// [`FilesError::Io`], also once `stop` says so.
pub fn merge(
    layers: &[&Path],
    base: Option<BorrowedFd<'_>>,
    to: &Path,
    stop: &Stop,
) -> Result<(), FilesError> {
    let open = |path: &Path| {
        let opened = fs::open(path, DIRECTORY, Mode::empty());
        opened.map_err(|e| FilesError::io("open", path)(e.into()))
    };
    let mut merge = Merge {
        files: Files {
            owner: None,
            chmod: None,
            parents: false,
            xattrs: true,
            earlier: None,
            stop,
        },
        buffer: Vec::new(),
    };
    let mut dirs = Vec::new();
    let mut hides = false;
    for path in layers {
        dirs.push(open(path)?);
        if is_opaque(dirs.last()).map_err(FilesError::io("read", path))? {
            hides = true;
            break;
        }
    }
    let base = match base {
        Some(base) => {
            let opened = fs::openat(base, c".", DIRECTORY, Mode::empty());
            Some(opened.map_err(|e| FilesError::io("open", "/")(e.into()))?)
        }
        None => None,
    };
    let level = Level {
        path: PathBuf::new(),
        below: base.as_ref().filter(|_| !hides).map(AsFd::as_fd),
        to: open(to)?,
    };
    merge.fill(&dirs, &level)?;
    // Without layers the root is the base's.
    let look = dirs.first().map(AsFd::as_fd);
    match look.or(base.as_ref().map(AsFd::as_fd)) {
        Some(look) => dress(&level.to, look, hides && base.is_some())
            .map_err(FilesError::io("set the mode of", "/")),
        None => Ok(()),
    }
}

struct Merge<'s> {
    files: Files<'s>,
    buffer: Vec<u8>,
}

/// A directory of the result.
struct Level<'b> {
    path: PathBuf,
    /// The same directory of the base, as far as it shows.
    below: Option<BorrowedFd<'b>>,
    to: OwnedFd,
}

/// What the layers have under one name.
enum Found {
    Nothing,
    /// It is removed.
    Whiteout,
    /// Something that is no directory, of this layer.
    Other(usize, Stat),
    /// Directories, topmost first, and whether they hide those of the base.
    Directories(Vec<OwnedFd>, bool),
}

impl Merge<'_> {
    /// Fills a directory with what `dirs`, topmost first, come to; says whether anything is in it.
    fn fill(&mut self, dirs: &[OwnedFd], level: &Level<'_>) -> Result<bool, FilesError> {
        let failed = |what| FilesError::io(what, &level.path);
        let mut names: Vec<OsString> = Vec::new();
        for dir in dirs {
            names.extend(list(dir.as_fd()).map_err(failed("list"))?);
        }
        names.sort_unstable();
        names.dedup();
        let mut any = false;
        for name in names {
            self.files.stop.check().map_err(failed("merge"))?;
            any |= self.entry(dirs, &name, level)?;
        }
        Ok(any)
    }

    /// Makes one entry; says whether the directory has got one.
    fn entry(
        &mut self,
        dirs: &[OwnedFd],
        name: &OsStr,
        level: &Level<'_>,
    ) -> Result<bool, FilesError> {
        let path = level.path.join(name);
        let failed = |what| FilesError::io(what, &path);
        let below = status(level.below, name).map_err(failed("stat"))?;
        match look(dirs, name).map_err(failed("read"))? {
            Found::Nothing => Ok(false),
            Found::Whiteout if below.is_none() => Ok(false),
            Found::Whiteout => {
                let kind = FileType::CharacterDevice;
                let made = fs::mknodat(&level.to, name, kind, Mode::empty(), 0);
                made.map_err(|e| failed("remove")(e.into()))?;
                Ok(true)
            }
            Found::Other(layer, stat) => {
                let from = dirs.get(layer).map_or(level.to.as_fd(), AsFd::as_fd);
                self.other((from, name), &stat, &level.to, &path)?;
                Ok(true)
            }
            Found::Directories(dirs, hides) => {
                let below = below.filter(|stat| file_type(stat) == FileType::Directory);
                let below = match below {
                    Some(_) => {
                        let opened = level
                            .below
                            .map(|dir| fs::openat(dir, name, DIRECTORY, Mode::empty()));
                        opened.transpose().map_err(|e| failed("open")(e.into()))?
                    }
                    None => None,
                };
                self.directory(dirs, hides, below, (level, name), path)
            }
        }
    }

    fn directory(
        &mut self,
        dirs: Vec<OwnedFd>,
        hides: bool,
        below: Option<OwnedFd>,
        (parent, name): (&Level<'_>, &OsStr),
        path: PathBuf,
    ) -> Result<bool, FilesError> {
        let failed = |what| FilesError::io(what, &path);
        let made = make_dir(parent.to.as_fd(), name, 0o700, Owner::default());
        let to = made.map_err(failed("create"))?;
        let opaque = hides && below.is_some();
        let level = Level {
            path: path.clone(),
            below: below.as_ref().filter(|_| !hides).map(AsFd::as_fd),
            to,
        };
        let any = self.fill(&dirs, &level)?;
        let Some(top) = dirs.first() else {
            return Ok(any);
        };
        if let (false, false, Some(below)) = (any, opaque, &below)
            && alike(top, below).map_err(failed("read"))?
        {
            let removed = fs::unlinkat(&parent.to, name, AtFlags::REMOVEDIR);
            removed.map_err(|e| failed("remove")(e.into()))?;
            return Ok(false);
        }
        dress(&level.to, top.as_fd(), opaque).map_err(failed("set the mode of"))?;
        Ok(true)
    }

    /// A file, link, device or pipe: the layer's own, unless it has as many names as it can have.
    fn other(
        &mut self,
        (from, name): (BorrowedFd<'_>, &OsStr),
        stat: &Stat,
        to: &OwnedFd,
        path: &Path,
    ) -> Result<(), FilesError> {
        match fs::linkat(from, name, to, name, AtFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::MLINK) if file_type(stat) == FileType::RegularFile => {
                let to = (to.as_fd(), name);
                let copied = self
                    .files
                    .file((from, name), stat, to, path, &mut self.buffer);
                copied.map(drop)
            }
            Err(e) => Err(FilesError::io("link", path)(e.into())),
        }
    }
}

/// What layers, topmost first, come to under a name.
fn look(dirs: &[OwnedFd], name: &OsStr) -> io::Result<Found> {
    let mut found = Vec::new();
    for (layer, dir) in dirs.iter().enumerate() {
        let Some(stat) = status(Some(dir.as_fd()), name)? else {
            continue;
        };
        let is_whiteout = file_type(&stat) == FileType::CharacterDevice && stat.st_rdev == 0;
        match (file_type(&stat), found.is_empty()) {
            (FileType::Directory, _) => {
                found.push(fs::openat(dir, name, DIRECTORY, Mode::empty())?);
                if is_opaque(found.last())? {
                    return Ok(Found::Directories(found, true));
                }
            }
            (_, true) if is_whiteout => return Ok(Found::Whiteout),
            (_, true) => return Ok(Found::Other(layer, stat)),
            (_, false) => return Ok(Found::Directories(found, true)),
        }
    }
    match found.is_empty() {
        true => Ok(Found::Nothing),
        false => Ok(Found::Directories(found, false)),
    }
}

fn status(dir: Option<BorrowedFd<'_>>, name: &OsStr) -> io::Result<Option<Stat>> {
    let Some(dir) = dir else {
        return Ok(None);
    };
    match fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn is_opaque(dir: Option<&OwnedFd>) -> io::Result<bool> {
    let Some(dir) = dir else {
        return Ok(false);
    };
    let mut value = [0; 8];
    match fs::fgetxattr(dir, OPAQUE.0, &mut value[..]) {
        Ok(len) => Ok(value.get(..len) == Some(OPAQUE.1)),
        Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Whether nobody can tell two directories apart but by their times.
fn alike(one: &OwnedFd, other: &OwnedFd) -> io::Result<bool> {
    let (a, b) = (fs::fstat(one)?, fs::fstat(other)?);
    let looks = |s: &Stat| (s.st_mode, s.st_uid, s.st_gid);
    Ok(looks(&a) == looks(&b) && xattrs_of(one.as_fd())? == xattrs_of(other.as_fd())?)
}

/// Gives a directory what `like` has.
fn dress(dir: &OwnedFd, like: BorrowedFd<'_>, opaque: bool) -> io::Result<()> {
    let stat = fs::fstat(like)?;
    let owner = Owner {
        uid: stat.st_uid,
        gid: stat.st_gid,
    };
    if opaque {
        fs::fsetxattr(dir, OPAQUE.0, OPAQUE.1, XattrFlags::empty())?;
    }
    let mode = stat.st_mode & 0o7777;
    finish(dir.as_fd(), owner, mode, Some(like), mtime(&stat))
}
