//! Paths in a container, looked up without leaving it: by openat2(2) in its root, whatever its
//! processes make of the path meanwhile.

use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{FileType, OFlags, Stat, fstat, readlinkat};
use rustix::io::Errno;

use super::paths;
pub(super) use crate::engine::within::open;

/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;

/// What is at a path, a final link itself.
pub(super) fn look(root: BorrowedFd<'_>, path: &str) -> Result<Stat, Errno> {
    let fd = open(root, path, OFlags::PATH | OFlags::NOFOLLOW)?;
    fstat(&fd)
}

/// Whether it is a directory.
pub(super) fn is_dir(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Whether it is a symbolic link.
pub(super) fn is_link(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
}

/// A path without links, as far as there is something at it.
pub(super) fn follow(root: BorrowedFd<'_>, path: &str) -> Result<String, Errno> {
    let parts = |text: &str| -> Vec<String> {
        let parts = text
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".");
        parts.rev().map(str::to_owned).collect()
    };
    let mut rest = parts(path);
    let mut real: Vec<String> = Vec::new();
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part == ".." {
            real.pop();
            continue;
        }
        real.push(part);
        let here = format!("/{}", real.join("/"));
        let Ok(fd) = open(root, &here, OFlags::PATH | OFlags::NOFOLLOW) else {
            // There is nothing to be followed from here on.
            continue;
        };
        if !is_link(&fstat(&fd)?) {
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(Errno::LOOP);
        }
        let link = readlinkat(fd.as_fd(), "", Vec::new())?;
        let link = link.into_string().map_err(|_| Errno::ILSEQ)?;
        match link.starts_with('/') {
            true => real.clear(),
            false => {
                real.pop();
            }
        }
        rest.extend(parts(&link));
    }
    Ok(paths::keep_end(format!("/{}", real.join("/")), path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_leads_out_of_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(dir.path().join("secret"), "x").unwrap();
        fs::write(root.join("secret"), "own").unwrap();
        symlink("../../../secret", root.join("a/up")).unwrap();
        symlink("/a/b", root.join("abs")).unwrap();
        symlink("/proc/self/root/etc", root.join("magic")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("nowhere/x", root.join("broken")).unwrap();
        let fd = File::open(&root).unwrap();
        let follow = |path: &str| follow(fd.as_fd(), path);
        assert_eq!(follow("/a/up").unwrap(), "/secret");
        assert_eq!(follow("/abs/../b/").unwrap(), "/a/b/");
        assert_eq!(follow("/broken").unwrap(), "/nowhere/x");
        assert_eq!(follow("/magic").unwrap(), "/proc/self/root/etc");
        assert_eq!(follow("/loop").unwrap_err(), Errno::LOOP);
        let file = open(fd.as_fd(), "/a/up", OFlags::RDONLY).unwrap();
        let text = std::io::read_to_string(File::from(file)).unwrap();
        assert_eq!(text, "own");
    }
}
