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
const DEV: &str = "dev";

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

/// Resolves mount points in one root file system.
pub(crate) struct MountPoints<'a> {
    root: BorrowedFd<'a>,
    /// The overlay's upper directory, or the root itself when it is a plain directory.
    written: Option<BorrowedFd<'a>>,
    made: Made,
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
        }
    }

    /// What has been made so far.
    pub(crate) fn finish(self) -> Made {
        self.made
    }

    /// The path of `target` without symbolic links; made when it does not exist. What the image
    /// has in /dev does not matter, and nothing is made there.
    pub(crate) fn resolve(&mut self, target: &str, kind: Kind) -> Result<String> {
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
        while let Some(name) = rest.pop() {
            if name == ".." {
                real.pop();
                continue;
            }
            let here = real.join(&name);
            let last = rest.is_empty();
            // The container has a /dev of its own, where the init makes the rest.
            if real.starts_with(DEV) {
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
            real = here;
        }
        match real.to_str() {
            Some("") => Err(refuse("the root itself cannot be mounted over")),
            Some(path) => Ok(format!("/{path}")),
            None => Err(refuse("the path is not UTF-8")),
        }
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
