//! The files of an image into a directory, as buildx's local exporter writes them: over what is
//! there, owned by whoever exports.
//!
//! The image is not trusted, and neither is what earlier images have left in the directory: every
//! name is opened relative to its directory's descriptor and never through a symbolic link, and a
//! link where a directory is to be gives way to one.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Stat, Timespec,
    Timestamps, Uid, chownat, fchmod, fsetxattr, futimens, linkat, mkdirat, mknodat, openat,
    openat2, readlinkat, renameat, renameat_with, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use crate::error::ImageError;
use crate::export::Files;

/// Deeper trees are no image's.
const MAX_DEPTH: usize = 1000;
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);

/// Writes the files into a directory, which is made if it is not there. With an `epoch` everything
/// is dated to it. `go_on` is asked before every entry: an error ends the work with it.
///
/// # Errors
/// [`ImageError::Files`]; what was written until then stays.
pub fn write_directory(
    files: &Files,
    dir: &Path,
    epoch: Option<i64>,
    go_on: &dyn Fn() -> io::Result<()>,
) -> Result<(), ImageError> {
    let shown = |e: io::Error| ImageError::Files(format!("write {}: {e}", dir.display()));
    std::fs::create_dir_all(dir).map_err(shown)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, dir, flags, Mode::empty()).map_err(|e| shown(e.into()))?;
    let mut export = Export {
        root: root.as_fd(),
        epoch,
        go_on,
        links: HashMap::new(),
        path: PathBuf::new(),
        next: 0,
    };
    export
        .directory(files.root(), root.as_fd(), 0)
        .map_err(|(path, e)| {
            let path = dir.join(path);
            ImageError::Files(format!("write {}: {e}", path.display()))
        })
}

/// What went wrong, and with which path below the directory.
type Failed = (PathBuf, io::Error);

struct Export<'e> {
    root: BorrowedFd<'e>,
    epoch: Option<i64>,
    go_on: &'e dyn Fn() -> io::Result<()>,
    /// Where a file with several links was first written, by device and inode.
    links: HashMap<(u64, u64), PathBuf>,
    /// Of the entry at hand.
    path: PathBuf,
    /// Counts temporary names.
    next: u64,
}

impl Export<'_> {
    fn failed(&self, cause: impl Into<io::Error>) -> Failed {
        (self.path.clone(), cause.into())
    }

    /// Writes what is in a directory into another.
    fn directory(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        depth: usize,
    ) -> Result<(), Failed> {
        if depth > MAX_DEPTH {
            return Err(self.failed(Errno::NAMETOOLONG));
        }
        let listed = openat(from, c".", READ | OFlags::DIRECTORY, Mode::empty());
        let listed = listed.map_err(|e| self.failed(e))?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&listed).map_err(|e| self.failed(e))? {
            let entry = entry.map_err(|e| self.failed(e))?;
            let name = entry.file_name().to_owned();
            if !matches!(name.to_bytes(), b"." | b"..") {
                names.push(name);
            }
        }
        names.sort();
        for name in names {
            self.path.push(os(&name));
            self.entry(from, to, &name, depth)?;
            self.path.pop();
        }
        Ok(())
    }

    fn entry(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
        depth: usize,
    ) -> Result<(), Failed> {
        (self.go_on)().map_err(|e| self.failed(e))?;
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| self.failed(e))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let source = openat(from, name, READ | OFlags::DIRECTORY, Mode::empty())
                    .map_err(|e| self.failed(e))?;
                let target = self.enter(to, name).map_err(|e| self.failed(e))?;
                self.directory(source.as_fd(), target.as_fd(), depth + 1)?;
                // Last: what is written into it changes its time.
                self.dress(&source, &target, &stat)
                    .map_err(|e| self.failed(e))
            }
            // It lives as long as its listener.
            FileType::Socket => Ok(()),
            kind => {
                let done = self.leaf(from, to, name, &stat, kind);
                done.map_err(|e| self.failed(e))
            }
        }
    }

    /// A directory of this name, in the place of whatever else has it.
    fn enter(&self, to: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
        let flags = READ | OFlags::DIRECTORY;
        match openat(to, name, flags, Mode::empty()) {
            Ok(there) => return Ok(there),
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR | Errno::LOOP) => unlinkat(to, name, AtFlags::empty())?,
            Err(e) => return Err(e.into()),
        }
        mkdirat(to, name, Mode::RWXU)?;
        Ok(openat(to, name, flags, Mode::empty())?)
    }

    /// Anything but a directory: made under a name of its own, then put in its place.
    fn leaf(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
        kind: FileType,
    ) -> io::Result<()> {
        let shared = (kind == FileType::RegularFile && stat.st_nlink > 1)
            .then_some((stat.st_dev, stat.st_ino));
        let first = shared.and_then(|id| self.links.get(&id).cloned());
        let made = self.temporary(to, |temporary| match &first {
            Some(first) => self.link(first, to, temporary),
            None => self.make(from, to, name, temporary, stat, kind),
        })?;
        if let Err(e) = put(to, &made, name) {
            let _ = unlinkat(to, &made, AtFlags::empty());
            return Err(e);
        }
        self.next += 1;
        if let (Some(id), None) = (shared, first) {
            self.links.insert(id, self.path.clone());
        }
        Ok(())
    }

    /// Makes something under a name that nothing has.
    fn temporary(
        &self,
        to: BorrowedFd<'_>,
        make: impl Fn(&CStr) -> io::Result<()>,
    ) -> io::Result<CString> {
        let process = rustix::process::getpid().as_raw_nonzero();
        for n in 0..64 {
            let name = CString::new(format!(".rbuild-{process}-{}-{n}", self.next))?;
            match make(&name) {
                Ok(()) => return Ok(name),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => {
                    let _ = unlinkat(to, &name, AtFlags::empty());
                    return Err(e);
                }
            }
        }
        Err(Errno::EXIST.into())
    }

    /// Another name of a file that was written before.
    fn link(&self, first: &Path, to: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        let parent = match first.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = READ | OFlags::DIRECTORY;
        let dir = openat2(self.root, parent, flags, Mode::empty(), resolve)?;
        let own = first.file_name().ok_or(Errno::INVAL)?;
        Ok(linkat(dir, own, to, name, AtFlags::empty())?)
    }

    fn make(
        &self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
        made: &CStr,
        stat: &Stat,
        kind: FileType,
    ) -> io::Result<()> {
        match kind {
            FileType::RegularFile => {
                let source = openat(from, name, READ, Mode::empty())?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let target = openat(to, made, flags, Mode::RUSR | Mode::WUSR)?;
                let (mut source, mut target) = (File::from(source), File::from(target));
                // Shared blocks where the file system has them, else within the kernel.
                if rustix::fs::ioctl_ficlone(&target, &source).is_err() {
                    io::copy(&mut source, &mut target)?;
                }
                self.dress(&source, &target, stat)
            }
            FileType::Symlink => {
                let leads = readlinkat(from, name, Vec::new())?;
                symlinkat(leads, to, made)?;
                let times = self.times(stat);
                Ok(utimensat(to, made, &times, AtFlags::SYMLINK_NOFOLLOW)?)
            }
            kind => {
                let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
                mknodat(to, made, kind, mode, stat.st_rdev)?;
                let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
                own(to, made, uid, gid)?;
                let times = self.times(stat);
                Ok(utimensat(to, made, &times, AtFlags::SYMLINK_NOFOLLOW)?)
            }
        }
    }

    /// Gives mode, attributes and times, in the order in which none of them undoes another.
    fn dress(&self, source: impl AsFd, target: impl AsFd, stat: &Stat) -> io::Result<()> {
        // The owner stays whoever exports; capabilities and the like are the file's.
        for (name, value) in attributes(&source)? {
            match fsetxattr(
                &target,
                name.as_c_str(),
                &value,
                rustix::fs::XattrFlags::empty(),
            ) {
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
                Err(e) => return Err(e.into()),
            }
        }
        fchmod(&target, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        futimens(&target, &self.times(stat))?;
        Ok(())
    }

    fn times(&self, stat: &Stat) -> Timestamps {
        let modified = match self.epoch {
            Some(epoch) => Timespec {
                tv_sec: epoch,
                tv_nsec: 0,
            },
            None => Timespec {
                tv_sec: stat.st_mtime,
                tv_nsec: stat.st_mtime_nsec as _,
            },
        };
        Timestamps {
            last_access: modified,
            last_modification: modified,
        }
    }
}

fn own(to: BorrowedFd<'_>, name: &CStr, uid: Uid, gid: Gid) -> io::Result<()> {
    Ok(chownat(
        to,
        name,
        Some(uid),
        Some(gid),
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

/// Puts what was made in its place; a directory that is there gives way, with all that is in it.
fn put(to: BorrowedFd<'_>, made: &CStr, name: &CStr) -> io::Result<()> {
    match renameat(to, made, to, name) {
        Ok(()) => {
            // Two names of one file: the kernel leaves both.
            match unlinkat(to, made, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(e) => Err(e.into()),
            }
        }
        Err(Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY) => {
            renameat_with(to, made, to, name, RenameFlags::EXCHANGE)?;
            remove_all(to, made, 0)
        }
        Err(e) => Err(e.into()),
    }
}

/// Removes a directory with all that is in it, through no link.
fn remove_all(at: BorrowedFd<'_>, name: &CStr, depth: usize) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(Errno::NAMETOOLONG.into());
    }
    let dir = openat(at, name, READ | OFlags::DIRECTORY, Mode::empty())?;
    let entries: Vec<_> = Dir::read_from(&dir)?.collect::<Result<_, _>>()?;
    for entry in entries {
        let inner = entry.file_name();
        if matches!(inner.to_bytes(), b"." | b"..") {
            continue;
        }
        match unlinkat(&dir, inner, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::ISDIR) => remove_all(dir.as_fd(), inner, depth + 1)?,
            Err(e) => return Err(e.into()),
        }
    }
    Ok(unlinkat(at, name, AtFlags::REMOVEDIR)?)
}

/// The attributes that belong to the file and not to the file system below it.
fn attributes(source: &impl AsFd) -> io::Result<Vec<(CString, Vec<u8>)>> {
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(source, &mut names) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(e) => return Err(e.into()),
    };
    let listed = names.get(..length).unwrap_or_default();
    let mut found = Vec::new();
    let kept = |name: &&[u8]| name.starts_with(b"user.") || *name == b"security.capability";
    for name in listed.split(|b| *b == 0).filter(kept) {
        let name = CString::new(name)?;
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::fgetxattr(source, name.as_c_str(), &mut value)?;
        value.truncate(length);
        found.push((name, value));
    }
    Ok(found)
}

fn os(name: &CStr) -> &std::ffi::OsStr {
    use std::os::unix::ffi::OsStrExt as _;
    std::ffi::OsStr::from_bytes(name.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    fn files(dir: &Path) -> Files {
        Files::of(oci::layer::open_dir(dir).unwrap())
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("etc/deep")).unwrap();
        fs::write(root.join("etc/a"), "a").unwrap();
        fs::set_permissions(root.join("etc/a"), fs::Permissions::from_mode(0o4711)).unwrap();
        fs::hard_link(root.join("etc/a"), root.join("etc/deep/b")).unwrap();
        symlink("/nowhere", root.join("etc/link")).unwrap();
        fs::set_permissions(root.join("etc"), fs::Permissions::from_mode(0o555)).unwrap();
        dir
    }

    #[test]
    fn a_tree_comes_as_it_is_and_again_over_itself() {
        let source = tree();
        let out = tempfile::tempdir().unwrap();
        let target = out.path().join("new/dir");
        for _ in 0..2 {
            write_directory(&files(source.path()), &target, Some(100_000), &|| Ok(())).unwrap();
            let a = fs::metadata(target.join("etc/a")).unwrap();
            assert_eq!(
                (a.mode() & 0o7777, a.nlink(), a.mtime()),
                (0o4711, 2, 100_000)
            );
            let b = fs::metadata(target.join("etc/deep/b")).unwrap();
            assert_eq!(a.ino(), b.ino());
            let etc = fs::metadata(target.join("etc")).unwrap();
            assert_eq!((etc.mode() & 0o7777, etc.mtime()), (0o555, 100_000));
            assert_eq!(
                fs::read_link(target.join("etc/link")).unwrap(),
                Path::new("/nowhere")
            );
            let names = fs::read_dir(target.join("etc")).unwrap().count();
            assert_eq!(names, 3, "nothing temporary is left");
        }
    }

    #[test]
    fn links_in_the_directory_lead_nowhere() {
        let source = tree();
        let out = tempfile::tempdir().unwrap();
        let (target, outside) = (out.path().join("t"), out.path().join("outside"));
        fs::create_dir_all(outside.join("deep")).unwrap();
        fs::write(outside.join("a"), "untouched").unwrap();
        fs::create_dir(&target).unwrap();
        symlink(&outside, target.join("etc")).unwrap();
        write_directory(&files(source.path()), &target, None, &|| Ok(())).unwrap();
        assert!(target.join("etc").symlink_metadata().unwrap().is_dir());
        assert_eq!(fs::read_to_string(outside.join("a")).unwrap(), "untouched");
        assert_eq!(fs::read_dir(outside.join("deep")).unwrap().count(), 0);
        // A link in a file's place, and a full directory there.
        let target = out.path().join("u");
        fs::create_dir_all(target.join("etc/link/full")).unwrap();
        symlink(outside.join("a"), target.join("etc/a")).unwrap();
        symlink(&outside, target.join("etc/link/full/out")).unwrap();
        write_directory(&files(source.path()), &target, None, &|| Ok(())).unwrap();
        assert_eq!(fs::read_to_string(target.join("etc/a")).unwrap(), "a");
        assert!(target.join("etc/link").is_symlink());
        assert_eq!(fs::read_to_string(outside.join("a")).unwrap(), "untouched");
        assert!(outside.join("deep").is_dir());
    }
}
