//! A directory tree that is somebody else's: paths are resolved inside it and never leave it.
//!
//! Everything goes through `openat2(RESOLVE_IN_ROOT)` on the tree's own descriptor: absolute
//! links and `..` stop at its root even when another process swaps links while we look.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid};
use rustix::io::Errno;

/// Links followed before a path counts as a loop, as in the kernel.
const MAX_LINKS: usize = 40;

/// A tree, held by a descriptor of its root directory.
#[derive(Debug)]
pub struct Rootfs {
    root: OwnedFd,
}

/// Who owns a file that is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// Numeric user.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
}

impl Rootfs {
    /// The tree below an open directory.
    pub fn new(root: OwnedFd) -> Self {
        Self { root }
    }

    /// The tree below the directory `path`.
    ///
    /// # Errors
    /// When `path` cannot be opened as a directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self::new(fs::open(path, flags, Mode::empty())?))
    }

    /// The descriptor of its root.
    pub fn into_fd(self) -> OwnedFd {
        self.root
    }

    /// Opens `path` in the tree.
    ///
    /// # Errors
    /// The kernel's; `ELOOP` for too many links.
    pub fn openat(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let path = relative(path);
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            // EAGAIN: a rename raced with the look-up; the kernel asks to try again.
            match fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, mode, resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    /// The status of `path`, its last component not followed; `None` when it does not exist.
    ///
    /// # Errors
    /// The kernel's, other than "not found".
    pub fn lstat(&self, path: &Path) -> io::Result<Option<Stat>> {
        match self.openat(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(fd) => Ok(Some(fs::fstat(fd)?)),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Opens a directory of the tree for reading, links followed.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open_dir(&self, path: &Path) -> io::Result<OwnedFd> {
        self.openat(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
    }

    /// The status of `path` when it is a directory with no link on the way to it.
    pub fn real_dir(&self, path: &Path) -> Option<Stat> {
        fs::fstat(self.open_real(path)?).ok()
    }

    /// Opens `path` to work below it, when it is a directory with no link on the way to it.
    pub fn open_real(&self, path: &Path) -> Option<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        fs::openat2(&self.root, relative(path), flags, Mode::empty(), resolve).ok()
    }

    /// Where `path` leads with every link followed, without the leading slash; components that
    /// do not exist are taken as they are written.
    ///
    /// # Errors
    /// The kernel's; `ELOOP` for too many links.
    pub fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        let mut done = PathBuf::new();
        let mut todo: Vec<OsString> = components(path);
        todo.reverse();
        let mut links = 0;
        while let Some(next) = todo.pop() {
            if next == ".." {
                done.pop();
                continue;
            }
            let candidate = done.join(&next);
            let flags = OFlags::PATH | OFlags::NOFOLLOW;
            let fd = match self.openat(&candidate, flags, Mode::empty()) {
                Ok(fd) => fd,
                Err(e) if is_absent(&e) => {
                    done = candidate;
                    continue;
                }
                Err(e) => return Err(e),
            };
            if file_type(&fs::fstat(&fd)?) != FileType::Symlink {
                done = candidate;
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::LOOP.into());
            }
            let target = fs::readlinkat(&fd, c"", Vec::new())?.into_bytes();
            let target = PathBuf::from(OsString::from_vec(target));
            if target.is_absolute() {
                done = PathBuf::new();
            }
            todo.extend(components(&target).into_iter().rev());
        }
        Ok(done)
    }

    /// Makes `path` and its parents, as `mkdir -p` with a mode and owner for those that are new,
    /// and opens it. Links on the way are followed inside the tree.
    ///
    /// # Errors
    /// `ENOTDIR` when something on the way is no directory, and the kernel's others.
    pub fn make_dirs(&self, path: &Path, mode: u32, owner: Owner) -> io::Result<OwnedFd> {
        let path = self.canonical(path)?;
        let mut done = PathBuf::new();
        let mut parent = self.open_dir(Path::new("."))?;
        for name in path.components() {
            done.push(name);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            parent = match self.openat(&done, flags, Mode::empty()) {
                Ok(fd) => fd,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    make_dir(parent.as_fd(), name.as_os_str(), mode, owner)?
                }
                Err(e) => return Err(e),
            };
        }
        Ok(parent)
    }
}

impl AsFd for Rootfs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// Makes one directory with exactly this mode and owner, and opens it.
///
/// # Errors
/// The kernel's.
pub fn make_dir(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    mode: u32,
    owner: Owner,
) -> io::Result<OwnedFd> {
    fs::mkdirat(parent, name, Mode::from_raw_mode(0o700))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = fs::openat(parent, name, flags, Mode::empty())?;
    if owner != Owner::default() {
        fs::fchown(
            &fd,
            Some(Uid::from_raw(owner.uid)),
            Some(Gid::from_raw(owner.gid)),
        )?;
    }
    fs::fchmod(&fd, Mode::from_raw_mode(mode))?;
    Ok(fd)
}

/// Removes whatever `name` is, with all that is below it.
///
/// # Errors
/// The kernel's; that it does not exist is fine.
pub fn remove_all(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(e) => return Err(e.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = fs::openat(parent, name, flags, Mode::empty())?;
    for child in list(dir.as_fd())? {
        remove_all(dir.as_fd(), &child)?;
    }
    fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?;
    Ok(())
}

/// The names in an open directory, sorted bytewise.
///
/// # Errors
/// The kernel's.
pub fn list(dir: BorrowedFd<'_>) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The type of file a status tells.
pub fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Whether an error says that a path does not exist (or runs through a file).
pub fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// The components of a path, without root and `.`; `..` stays.
fn components(path: &Path) -> Vec<OsString> {
    path.components()
        .filter_map(|c| match c {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

/// `path` without leading slashes, `.` when nothing is left.
fn relative(path: &Path) -> &Path {
    let bytes = path.as_os_str().as_bytes();
    let skip = bytes.iter().take_while(|b| **b == b'/').count();
    if skip == bytes.len() {
        Path::new(".")
    } else {
        Path::new(OsStr::from_bytes(&bytes[skip..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn tree() -> (tempfile::TempDir, Rootfs) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("usr/lib")).unwrap();
        symlink("/usr/lib", dir.path().join("lib")).unwrap();
        symlink("../../../../etc", dir.path().join("usr/up")).unwrap();
        symlink("loop", dir.path().join("loop")).unwrap();
        symlink("/nowhere/at/all", dir.path().join("dangling")).unwrap();
        let rootfs = Rootfs::open(dir.path()).unwrap();
        (dir, rootfs)
    }

    #[test]
    fn links_are_followed_inside_the_tree_only() {
        let (_dir, rootfs) = tree();
        for (path, leads_to) in [
            ("/lib/x", "usr/lib/x"),
            ("lib/../bin", "usr/bin"),
            ("/usr/up/passwd", "etc/passwd"),
            ("/../../x", "x"),
            ("/dangling/y", "nowhere/at/all/y"),
            ("/", ""),
        ] {
            let found = rootfs.canonical(Path::new(path)).unwrap();
            assert_eq!(found, Path::new(leads_to), "{path}");
        }
        assert!(rootfs.canonical(Path::new("/loop/x")).is_err());
        assert!(rootfs.lstat(Path::new("/usr/up/passwd")).unwrap().is_none());
    }

    #[test]
    fn directories_are_made_through_links_and_removed_whole() {
        let (dir, rootfs) = tree();
        rootfs
            .make_dirs(Path::new("/lib/a/b"), 0o755, Owner::default())
            .unwrap();
        assert!(dir.path().join("usr/lib/a/b").is_dir());
        remove_all(rootfs.as_fd(), OsStr::new("usr")).unwrap();
        assert!(!dir.path().join("usr").exists());
        remove_all(rootfs.as_fd(), OsStr::new("usr")).unwrap();
    }
}
