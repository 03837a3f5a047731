//! Finds, and where needed makes, the mount points in a root file system, before the container
//! runs; and removes those it made from the upper directory afterwards.
//!
//! Paths are resolved one component at a time with `RESOLVE_NO_SYMLINKS`, symbolic links being
//! read and followed here, inside the root: no image can direct a mount to the host.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, fstat, openat2, readlinkat, unlinkat,
};
use rustix::io::Errno;

use crate::error::{Error, Result};

const MAX_LINKS: usize = 40;
/// The container has its own, in which nothing is made here.
const OWN: [&str; 2] = ["dev", "sys"];
/// What is here tells programs what they run on: nothing may stand in for it.
const PROC: &str = "proc";

/// What is mounted on a mount point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A directory.
    Dir,
    /// Anything else; a final symbolic link is followed.
    File,
    /// Anything else, covering a final symbolic link itself.
    FileOverLink,
}

/// Mount points that were made and do not belong to the image.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// In the order they were made; relative to the root.
    paths: Vec<(PathBuf, bool)>,
}

/// Where something can be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Without symbolic links, absolute.
    pub(crate) path: String,
    /// It lies in another mount of the container, where what is missing is not made yet.
    pub(crate) inside: bool,
    /// Permission bits of what the image has there.
    pub(crate) mode: Option<u32>,
}

/// Resolves mount points in one root file system.
pub(crate) struct MountPoints<'a> {
    root: BorrowedFd<'a>,
    /// The overlay's upper directory, or the root itself when it is a plain directory.
    written: Option<BorrowedFd<'a>>,
    made: Made,
    /// What mounts will cover, relative to the root.
    covered: Vec<PathBuf>,
}

fn open_below(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    openat2(root, path, flags, Mode::empty(), resolve)
}

impl<'a> MountPoints<'a> {
    pub(crate) fn new(root: BorrowedFd<'a>, written: Option<BorrowedFd<'a>>) -> Self {
        Self {
            root,
            written,
            made: Made::default(),
            covered: OWN.map(PathBuf::from).to_vec(),
        }
    }

    /// Something will be mounted on what was found: what the image has below does not matter.
    pub(crate) fn cover(&mut self, found: &Found) {
        let path = found.path.trim_start_matches('/');
        self.covered.push(PathBuf::from(path));
    }

    /// As [`resolve`](Self::resolve), for what the container's user asks for.
    pub(crate) fn resolve_own(&mut self, target: &str, kind: Kind) -> Result<Found> {
        let found = self.resolve(target, kind)?;
        match Path::new(&found.path)
            .strip_prefix("/")
            .map(|path| path.starts_with(PROC))
        {
            Ok(false) => Ok(found),
            _ => Err(Error::MountPoint {
                target: target.to_owned(),
                reason: "nothing can be mounted in /proc".to_owned(),
            }),
        }
    }

    /// As [`resolve_own`](Self::resolve_own), where no mount is still to come: what is missing is
    /// made wherever it is to be.
    pub(crate) fn resolve_in_mounts(&mut self, target: &str, kind: Kind) -> Result<String> {
        self.covered.clear();
        Ok(self.resolve_own(target, kind)?.path)
    }

    /// What has been made so far.
    pub(crate) fn finish(self) -> Made {
        self.made
    }

    /// Where `target` is; made when it does not exist. What the image has in /dev, in /sys and
    /// below other mounts does not matter, and nothing is made there.
    pub(crate) fn resolve(&mut self, target: &str, kind: Kind) -> Result<Found> {
        let refuse = |reason: &str| Error::MountPoint {
            target: target.to_owned(),
            reason: reason.to_owned(),
        };
        if !target.starts_with('/') {
            return Err(refuse("the path is not absolute"));
        }
        let mut rest: Vec<String> = split(target);
        let mut real = PathBuf::new();
        let mut links = 0;
        let mut mode = None;
        while let Some(name) = rest.pop() {
            if name == ".." {
                real.pop();
                continue;
            }
            let here = real.join(&name);
            let last = rest.is_empty();
            mode = None;
            // Not what is there now, but what will be: the init makes the rest.
            if self.is_inside(&real) {
                real = here;
                continue;
            }
            let fd = match open_below(self.root, &here) {
                Ok(fd) => fd,
                Err(Errno::NOENT) => {
                    self.make(&here, !last || kind == Kind::Dir)
                        .map_err(|errno| refuse(&errno.to_string()))?;
                    real = here;
                    continue;
                }
                Err(errno) => return Err(refuse(&errno.to_string())),
            };
            let stat = fstat(&fd).map_err(|errno| refuse(&errno.to_string()))?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink if !(last && kind == Kind::FileOverLink) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(refuse("too many levels of symbolic links"));
                    }
                    let link = readlinkat(&fd, "", Vec::new())
                        .map_err(|errno| refuse(&errno.to_string()))?;
                    let link = link
                        .into_string()
                        .map_err(|_| refuse("a symbolic link on the way is not UTF-8"))?;
                    if link.starts_with('/') {
                        real = PathBuf::new();
                    }
                    rest.extend(split(&link));
                    continue;
                }
                FileType::Directory if last && kind != Kind::Dir => {
                    return Err(refuse("the image has a directory there"));
                }
                FileType::Directory => {}
                _ if !last => return Err(refuse("a part of the path is not a directory")),
                _ if kind == Kind::Dir => {
                    return Err(refuse(
                        "the image has something there that is not a directory",
                    ));
                }
                _ => {}
            }
            mode = Some(stat.st_mode & 0o7777);
            real = here;
        }
        match real.to_str() {
            Some("") => Err(refuse("the root itself cannot be mounted over")),
            Some(path) => Ok(Found {
                path: format!("/{path}"),
                inside: real.parent().is_some_and(|parent| self.is_inside(parent)),
                mode,
            }),
            None => Err(refuse("the path is not UTF-8")),
        }
    }

    fn is_inside(&self, path: &Path) -> bool {
        self.covered.iter().any(|covered| path.starts_with(covered))
    }

    fn make(&mut self, path: &Path, dir: bool) -> Result<(), Errno> {
        if let Some(written) = self.written {
            // Making an entry copies its parents up: those are not the image's doing either.
            let mut parents: Vec<&Path> = path.ancestors().skip(1).collect();
            parents.reverse();
            for parent in parents {
                let known = self.made.paths.iter().any(|(made, _)| made == parent);
                if !known && !parent.as_os_str().is_empty() && open_below(written, parent).is_err()
                {
                    self.made.paths.push((parent.to_owned(), true));
                }
            }
        }
        let parent = open_below(self.root, path.parent().unwrap_or(Path::new("")))?;
        let name = path.file_name().ok_or(Errno::INVAL)?;
        if dir {
            rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
        } else {
            rustix::fs::mknodat(
                &parent,
                name,
                FileType::RegularFile,
                Mode::from_raw_mode(0o644),
                0,
            )?;
        }
        self.made.paths.push((path.to_owned(), dir));
        Ok(())
    }
}

/// Components in reverse, ready to be popped.
fn split(path: &str) -> Vec<String> {
    path.split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .rev()
        .map(str::to_owned)
        .collect()
}

impl Made {
    pub(crate) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Removes what is still as it was made: empty files and empty directories.
    pub(crate) fn remove(&self, written: BorrowedFd<'_>) {
        for (path, dir) in self.paths.iter().rev() {
            let _ = remove_one(written, path, *dir);
        }
    }
}

fn remove_one(written: BorrowedFd<'_>, path: &Path, dir: bool) -> Result<(), Errno> {
    let parent = open_below(written, path.parent().unwrap_or(Path::new("")))?;
    let name = path.file_name().ok_or(Errno::INVAL)?;
    if dir {
        return unlinkat(&parent, name, AtFlags::REMOVEDIR);
    }
    let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size == 0 {
        unlinkat(parent.as_fd(), name, AtFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    struct Root(tempfile::TempDir);

    impl Root {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("etc")).unwrap();
            Self(dir)
        }

        fn resolve(&self, target: &str, kind: Kind) -> (Result<String, String>, Made) {
            let root = fs::File::open(self.0.path()).unwrap();
            let mut points = MountPoints::new(root.as_fd(), Some(root.as_fd()));
            let path = points
                .resolve(target, kind)
                .map(|found| found.path)
                .map_err(|error| error.to_string());
            (path, points.finish())
        }
    }

    #[test]
    fn links_stay_inside_and_the_final_one_may_be_covered() {
        let root = Root::new();
        symlink("../../../run/stub", root.0.path().join("etc/resolv.conf")).unwrap();
        symlink("/etc", root.0.path().join("cfg")).unwrap();
        let (path, made) = root.resolve("/cfg/resolv.conf", Kind::FileOverLink);
        assert_eq!(path.unwrap(), "/etc/resolv.conf");
        assert!(made.is_empty());
        let (path, made) = root.resolve("/etc/resolv.conf", Kind::File);
        assert_eq!(path.unwrap(), "/run/stub");
        assert!(root.0.path().join("run/stub").exists());
        made.remove(fs::File::open(root.0.path()).unwrap().as_fd());
        assert!(!root.0.path().join("run").exists());
    }

    #[test]
    fn the_images_dev_does_not_matter() {
        let root = Root::new();
        fs::create_dir(root.0.path().join("dev")).unwrap();
        symlink("/etc", root.0.path().join("dev/pipes")).unwrap();
        symlink("dev", root.0.path().join("devices")).unwrap();
        for (target, want) in [
            ("/dev/pipes/EOF", "/dev/pipes/EOF"),
            ("/devices/a/../b", "/dev/b"),
            ("/dev/a/../../etc", "/etc"),
        ] {
            let (path, made) = root.resolve(target, Kind::Dir);
            assert_eq!(path.unwrap(), want);
            assert!(made.is_empty(), "{target}");
        }
    }

    #[test]
    fn what_was_filled_meanwhile_is_kept() {
        let root = Root::new();
        let (path, made) = root.resolve("/var/cache/apt", Kind::Dir);
        assert_eq!(path.unwrap(), "/var/cache/apt");
        fs::write(root.0.path().join("var/kept"), "x").unwrap();
        made.remove(fs::File::open(root.0.path()).unwrap().as_fd());
        assert!(root.0.path().join("var/kept").exists());
        assert!(!root.0.path().join("var/cache").exists());
    }

    #[test]
    fn refusals_name_the_target() {
        let root = Root::new();
        fs::write(root.0.path().join("proc"), "").unwrap();
        symlink("loop", root.0.path().join("loop")).unwrap();
        for (target, kind, reason) in [
            (
                "/proc",
                Kind::Dir,
                "the image has something there that is not a directory",
            ),
            (
                "/proc/x",
                Kind::Dir,
                "a part of the path is not a directory",
            ),
            ("/etc", Kind::File, "the image has a directory there"),
            ("/loop", Kind::Dir, "too many levels of symbolic links"),
            ("etc", Kind::Dir, "the path is not absolute"),
            (
                "/etc/..",
                Kind::Dir,
                "the root itself cannot be mounted over",
            ),
        ] {
            let want = format!("cannot mount on {target} in the container: {reason}");
            assert_eq!(root.resolve(target, kind).0.unwrap_err(), want);
        }
    }
}
