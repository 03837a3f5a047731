//! Where entries go: paths made clean, parents found or made inside the root, and what is in
//! the way removed.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::rc::Rc;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, chmodat, mkdirat, openat, openat2,
    statat, unlinkat,
};
use rustix::io::Errno;

use super::error::{Problem, UnpackError, shown};
use crate::layer::{MAX_DEPTH, MAX_PATH};

/// A path inside the root, split: the parent's path, and the name in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Split<'p> {
    pub parent: &'p [u8],
    pub name: &'p [u8],
}

/// What becomes of a `..` that leads out of the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Climbing {
    /// The archive is refused: no layer has such a path.
    Refused,
    /// It stays at the root, as for a process whose root it is.
    Ends,
}

/// Makes a path relative to the root: no empty parts, no `.`, and `..` taken back by its name
/// alone, as Go's `filepath.Clean` does it. The root itself becomes the empty path.
pub(crate) fn clean(path: &[u8]) -> Result<Vec<u8>, Problem> {
    clean_path(path, Climbing::Refused)
}

fn clean_path(path: &[u8], climbing: Climbing) -> Result<Vec<u8>, Problem> {
    if path.contains(&0) {
        return Err(Problem::Nul);
    }
    if path.len() > MAX_PATH {
        return Err(Problem::TooDeep);
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                if parts.pop().is_none() && climbing == Climbing::Refused {
                    return Err(Problem::Outside);
                }
            }
            part => parts.push(part),
        }
    }
    // One part less than a tar that is made of the tree may have.
    if parts.len() >= MAX_DEPTH {
        return Err(Problem::TooDeep);
    }
    Ok(parts.join(&b'/'))
}

/// Splits a path that is not empty.
pub(super) fn split(path: &[u8]) -> Split<'_> {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => Split {
            parent: &path[..slash],
            name: &path[slash + 1..],
        },
        None => Split {
            parent: b"",
            name: path,
        },
    }
}

/// The root that the archive goes to.
pub(super) struct Place<'r> {
    root: BorrowedFd<'r>,
    climbing: Climbing,
    /// The directory used last: most entries have the same parent as the one before.
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
}

/// A directory that had to be made, because the archive goes on below it.
pub(super) struct Made {
    pub path: Vec<u8>,
    pub parent: Rc<OwnedFd>,
    pub name: CString,
}

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

impl<'r> Place<'r> {
    pub(super) fn new(root: BorrowedFd<'r>, climbing: Climbing) -> Self {
        Self {
            root,
            climbing,
            last: None,
        }
    }

    /// A path in the archive as a path from the root; empty for the root itself.
    pub(super) fn locate(&self, path: &[u8]) -> Result<Vec<u8>, Problem> {
        clean_path(path, self.climbing)
    }

    /// Opens inside the root, following symbolic links there.
    pub(super) fn open(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let path: &[u8] = if path.is_empty() { b"." } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let mut tries = 0;
        loop {
            match openat2(
                self.root,
                path,
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                resolve,
            ) {
                // Something was renamed somewhere while `..` was resolved.
                Err(Errno::AGAIN) if tries < 100 => tries += 1,
                other => return other,
            }
        }
    }

    /// The directory `path`, which must exist.
    pub(super) fn existing(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, Errno> {
        if let Some((last, fd)) = &self.last
            && last == path
        {
            return Ok(Rc::clone(fd));
        }
        let fd = Rc::new(self.open(path, OFlags::PATH | DIRECTORY)?);
        self.last = Some((path.to_vec(), Rc::clone(&fd)));
        Ok(fd)
    }

    /// Something was removed: the directory used last may be gone.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// Makes the directories of `path` that are missing, and returns them. Where something is
    /// in the way, `clear` may remove it and say so.
    pub(super) fn make_parents(
        &mut self,
        path: &[u8],
        mut clear: impl FnMut(BorrowedFd<'_>, &CString) -> Result<bool, Errno>,
    ) -> Result<Vec<Made>, UnpackError> {
        let failed = |prefix: &[u8], e: Errno| UnpackError::Io {
            what: "making directory",
            path: shown(prefix),
            cause: io::Error::from(e),
        };
        self.forget();
        let mut made = Vec::new();
        let mut parent = Rc::new(
            self.open(b"", OFlags::PATH | DIRECTORY)
                .map_err(|e| failed(b"", e))?,
        );
        let ends = path
            .iter()
            .enumerate()
            .filter(|&(_, &b)| b == b'/')
            .map(|(at, _)| at)
            .chain([path.len()]);
        for end in ends {
            let prefix = &path[..end];
            let name = c_string(split(prefix).name);
            let opened = match self.open(prefix, OFlags::PATH | DIRECTORY) {
                Err(Errno::NOTDIR)
                    if clear(parent.as_fd(), &name).map_err(|e| failed(prefix, e))? =>
                {
                    Err(Errno::NOENT)
                }
                other => other,
            };
            let fd = match opened {
                Ok(fd) => fd,
                Err(Errno::NOENT) => {
                    match mkdirat(&parent, &name, Mode::from_raw_mode(0o755)) {
                        Ok(()) => {}
                        // A symbolic link to nowhere.
                        Err(Errno::EXIST) => return Err(refuse_parent(path, prefix)),
                        Err(e) => return Err(failed(prefix, e)),
                    }
                    // Whatever the umask is.
                    chmodat(&parent, &name, Mode::from_raw_mode(0o755), AtFlags::empty())
                        .map_err(|e| failed(prefix, e))?;
                    made.push(Made {
                        path: prefix.to_vec(),
                        parent: Rc::clone(&parent),
                        name: name.clone(),
                    });
                    self.open(prefix, OFlags::PATH | DIRECTORY)
                        .map_err(|e| failed(prefix, e))?
                }
                Err(Errno::NOTDIR | Errno::LOOP) => return Err(refuse_parent(path, prefix)),
                Err(e) => return Err(failed(prefix, e)),
            };
            parent = Rc::new(fd);
        }
        self.last = Some((path.to_vec(), parent));
        Ok(made)
    }
}

fn refuse_parent(path: &[u8], prefix: &[u8]) -> UnpackError {
    UnpackError::Refused {
        path: shown(path),
        problem: Problem::ParentNotDirectory(shown(prefix)),
    }
}

/// A name without NUL: [`clean`] has seen to that.
pub(super) fn c_string(name: &[u8]) -> CString {
    CString::new(name).unwrap_or_default()
}

/// Removes a name, and the whole tree where it is a directory.
pub(super) fn remove(parent: BorrowedFd<'_>, name: &CString) -> Result<(), Errno> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        other => return other,
    }
    // Directories being emptied, each with the name that its parent has for it.
    let open = |parent: BorrowedFd<'_>, name: &CString| {
        openat(
            parent,
            name,
            OFlags::RDONLY | OFlags::NOFOLLOW | DIRECTORY,
            Mode::empty(),
        )
    };
    let mut stack = vec![(open(parent, name)?, name.clone())];
    let mut buffer = [MaybeUninit::uninit(); 16 << 10];
    while let Some((dir, _)) = stack.last() {
        let mut directory = None;
        // Positions are not kept across removals, so that each pass lists from the start.
        rustix::fs::seek(dir, rustix::fs::SeekFrom::Start(0))?;
        let mut listing = RawDir::new(dir, &mut buffer);
        while let Some(entry) = listing.next() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match unlinkat(dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR | Errno::PERM) => {
                    directory = Some(name.to_owned());
                    break;
                }
                Err(e) => return Err(e),
            }
        }
        match directory {
            Some(name) => {
                let fd = open(dir.as_fd(), &name)?;
                stack.push((fd, name));
            }
            None => {
                let name = stack.pop().map(|(_, name)| name).unwrap_or_default();
                let above = stack.last().map_or(parent, |(dir, _)| dir.as_fd());
                unlinkat(above, &name, AtFlags::REMOVEDIR)?;
            }
        }
    }
    Ok(())
}

/// The type and device of a name, or `None` when it is not there.
pub(super) fn look(
    parent: BorrowedFd<'_>,
    name: &CString,
) -> Result<Option<rustix::fs::Stat>, Errno> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Whether this is overlay's mark of a removed file.
pub(super) fn is_whiteout(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Whether this is a directory.
pub(super) fn is_directory(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_relative_or_are_refused() {
        for (path, cleaned) in [
            (&b"a/b"[..], Ok(&b"a/b"[..])),
            (b"./a//b/", Ok(b"a/b")),
            (b"/abs", Ok(b"abs")),
            (b"a/../x", Ok(b"x")),
            (b"...", Ok(b"...")),
            (b"", Ok(b"")),
            (b".", Ok(b"")),
            (b"./", Ok(b"")),
            (b"/", Ok(b"")),
            (b"..", Err(Problem::Outside)),
            (b"../x", Err(Problem::Outside)),
            (b"/../x", Err(Problem::Outside)),
            (b"a/../../x", Err(Problem::Outside)),
            (b"a\0b", Err(Problem::Nul)),
        ] {
            assert_eq!(
                clean(path),
                cleaned.map(<[u8]>::to_vec),
                "{}",
                path.escape_ascii()
            );
        }
        // An archive that is extracted does not see beyond its root.
        for (path, inside) in [
            (&b"../x"[..], &b"x"[..]),
            (b"a/../../../b/x", b"b/x"),
            (b"..", b""),
        ] {
            let cleaned = clean_path(path, Climbing::Ends);
            assert_eq!(cleaned, Ok(inside.to_vec()), "{}", path.escape_ascii());
        }
        assert_eq!(clean(&b"a/".repeat(MAX_DEPTH)), Err(Problem::TooDeep));
        assert_eq!(clean(&vec![b'a'; MAX_PATH + 1]), Err(Problem::TooDeep));
    }
}
