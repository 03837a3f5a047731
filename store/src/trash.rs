//! Removing directory trees, whatever a build has left in them.
//!
//! Removal is a rename into `trash/` first, which is atomic and quick, and deletion afterwards.
//! What a killed process has left in the trash the next one deletes.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::lock::{try_lock, unique_name};
use crate::root::Layout;

/// Directories deeper than this are moved up, so that neither stack nor descriptors run out.
const MAX_DEPTH: usize = 64;

/// What begins the name of a tree that never was a snapshot: nobody else links to its files.
const OWN: &[u8] = b"own-";
/// So much of a file is taken away at a time, in bytes. Whoever removes what is still on its way to
/// the disk waits for it, and no signal ends that.
const PIECE: u64 = 32 << 20;

/// What `st_blocks` counts in, in bytes.
const BLOCK: u64 = 512;

/// Moves `path` into the trash; false when it is not there.
pub(crate) fn discard(layout: &Layout, path: &Path) -> Result<bool> {
    match fs::rename(path, layout.trash.join(unique_name())) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io("moving to the trash", path)(e)),
    }
}

/// Moves what was staged, and is to become nothing, into the trash.
pub(crate) fn discard_staged(layout: &Layout, path: &Path) -> Result<()> {
    let name = [OWN, unique_name().as_bytes()].concat();
    match fs::rename(path, layout.trash.join(OsStr::from_bytes(&name))) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("moving to the trash", path)(e))
        }
        _ => Ok(()),
    }
}

/// Deletes what is in the trash. Several processes may do so at once. What cannot be deleted
/// (an immutable file, a mount point) does not keep the rest from going.
pub(crate) fn empty(layout: &Layout) -> Result<()> {
    let failed = || Error::io("emptying", &layout.trash);
    let trash = File::open(&layout.trash).map_err(failed())?;
    let mut stuck: HashMap<CString, Errno> = HashMap::new();
    loop {
        let mut names = Vec::new();
        for entry in Dir::read_from(&trash).map_err(|e| failed()(e.into()))? {
            let entry = entry.map_err(|e| failed()(e.into()))?;
            let name = entry.file_name();
            if !is_dot(name) && !stuck.contains_key(name) {
                names.push(name.to_owned());
            }
        }
        if names.is_empty() {
            break;
        }
        for name in names {
            if let Err(e) = remove(trash.as_fd(), &name) {
                stuck.insert(name, e);
            }
        }
    }
    match stuck.into_values().next() {
        None => Ok(()),
        Some(e) => Err(failed()(e.into())),
    }
}

/// Moves the staging directories of processes that are gone into the trash.
pub(crate) fn collect_staging(layout: &Layout) -> Result<()> {
    for left in abandoned(layout)? {
        discard_staged(layout, &left.path)?;
    }
    Ok(())
}

/// A staging directory of a process that is gone.
#[derive(Debug)]
pub(crate) struct Abandoned {
    /// Where it is.
    pub path: PathBuf,
    /// Held until it is moved away: whoever has just made a directory, and not locked it yet,
    /// finds it gone then, and makes another.
    #[allow(dead_code, reason = "held for its lock")]
    lock: File,
}

/// The staging directories of processes that are gone.
pub(crate) fn abandoned(layout: &Layout) -> Result<Vec<Abandoned>> {
    let mut found = Vec::new();
    for path in list(&layout.staging)? {
        // Whatever cannot be opened was just removed or committed.
        let Ok(lock) = File::open(&path) else {
            continue;
        };
        if try_lock(&lock).map_err(Error::io("locking", &path))? {
            found.push(Abandoned { path, lock });
        }
    }
    Ok(found)
}

/// What waits in the trash to be deleted.
pub(crate) fn entries(layout: &Layout) -> Result<Vec<PathBuf>> {
    list(&layout.trash)
}

fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let failed = || Error::io("reading", dir);
    fs::read_dir(dir)
        .map_err(failed())?
        .map(|entry| Ok(entry.map_err(failed())?.path()))
        .collect()
}

/// Bytes that the files of a tree take on the disk; what cannot be read counts for nothing, nor
/// does what lies very deep.
pub(crate) fn measure(path: &Path) -> u64 {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()).and_then(Dir::new) {
        Ok(dir) => measure_dir(dir, MAX_DEPTH),
        Err(_) => fs::symlink_metadata(path).map_or(0, |m| m.blocks() * BLOCK),
    }
}

fn measure_dir(mut dir: Dir, depth: usize) -> u64 {
    let mut sum = 0;
    while let Some(Ok(entry)) = dir.read() {
        let name = entry.file_name();
        if is_dot(name) {
            continue;
        }
        let Ok(fd) = dir.fd() else { break };
        let wanted = StatxFlags::TYPE | StatxFlags::NLINK | StatxFlags::BLOCKS;
        let Ok(stat) = rustix::fs::statx(fd, name, AtFlags::SYMLINK_NOFOLLOW, wanted) else {
            continue;
        };
        if FileType::from_raw_mode(stat.stx_mode.into()) != FileType::Directory {
            // A file of several names is freed by its last one.
            sum += stat.stx_blocks * BLOCK / u64::from(stat.stx_nlink.max(1));
        } else if depth > 0 {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let below = rustix::fs::openat(fd, name, flags, Mode::empty()).and_then(Dir::new);
            sum += below.map_or(0, |below| measure_dir(below, depth - 1));
        }
    }
    sum
}

fn is_dot(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

struct Frame {
    dir: Dir,
    name: CString,
}

/// Removes `name` in `top`, never following a symbolic link.
fn remove(top: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(top, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(e) => return Err(e),
    }
    let Some(dir) = open_dir(top, name)? else {
        return Ok(());
    };
    let own = name.to_bytes().starts_with(OWN);
    let mut stack = vec![Frame {
        dir,
        name: name.to_owned(),
    }];
    loop {
        let depth = stack.len();
        let Some(frame) = stack.last_mut() else {
            return Ok(());
        };
        let entry = match frame.dir.read() {
            Some(entry) => entry?,
            None => {
                let Some(done) = stack.pop() else {
                    return Ok(());
                };
                let parent = match stack.last() {
                    Some(parent) => parent.dir.fd()?,
                    None => top,
                };
                match rustix::fs::unlinkat(parent, &done.name, AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    // Something appeared while we read: begin this directory again.
                    Err(Errno::NOTEMPTY) => {
                        if let Some(dir) = open_dir(parent, &done.name)? {
                            stack.push(Frame {
                                dir,
                                name: done.name,
                            });
                        }
                    }
                    Err(e) => return Err(e),
                }
                continue;
            }
        };
        let child = entry.file_name();
        if is_dot(child) {
            continue;
        }
        let fd = frame.dir.fd()?;
        let is_dir = match entry.file_type() {
            FileType::Directory => true,
            FileType::Unknown => {
                let stat = rustix::fs::statat(fd, child, AtFlags::SYMLINK_NOFOLLOW);
                stat.is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory)
            }
            _ => false,
        };
        if !is_dir {
            if own {
                shrink(fd, child);
            }
            unlink(fd, child, AtFlags::empty())?;
        } else if unlink(fd, child, AtFlags::REMOVEDIR).is_err() {
            let child = child.to_owned();
            if let Some(dir) = open_dir(fd, &child)? {
                if depth < MAX_DEPTH {
                    stack.push(Frame { dir, name: child });
                } else {
                    // `top` is the trash, whose caller looks again until it is empty.
                    match rustix::fs::renameat(fd, &child, top, unique_name()) {
                        Ok(()) | Err(Errno::NOENT) => {}
                        Err(e) => return Err(e),
                    }
                }
            }
        }
    }
}

/// Takes away all but the first piece of a large file that has no other name. Whatever speaks
/// against it is met again when the file is removed.
fn shrink(dir: BorrowedFd<'_>, name: &CStr) {
    let Ok(stat) = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else {
        return;
    };
    let mut size = stat.st_size.unsigned_abs();
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !is_file || stat.st_nlink != 1 || size <= PIECE {
        return;
    }
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(dir, name, flags, Mode::empty()) else {
        return;
    };
    while size > PIECE {
        size -= PIECE;
        if rustix::fs::ftruncate(&file, size).is_err() {
            return;
        }
    }
}

/// `unlinkat`, making the directory writable if that is what it takes.
fn unlink(dir: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> rustix::io::Result<()> {
    let result = match rustix::fs::unlinkat(dir, name, flags) {
        Err(Errno::ACCESS) => {
            rustix::fs::fchmod(dir, Mode::RWXU)?;
            rustix::fs::unlinkat(dir, name, flags)
        }
        other => other,
    };
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Opens a directory for reading, giving its owner the right to it if need be; `None` when it is
/// gone.
fn open_dir(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Option<Dir>> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |flags| rustix::fs::openat(parent, name, flags, Mode::empty());
    let opened: rustix::io::Result<OwnedFd> = match open(flags | OFlags::RDONLY) {
        Err(Errno::ACCESS) => {
            // Through the descriptor, so that no link is followed.
            let path = open(flags | OFlags::PATH)?;
            let path = format!("/proc/self/fd/{}", path.as_fd().as_raw_fd());
            rustix::fs::chmodat(CWD, path, Mode::RWXU, AtFlags::empty())?;
            open(flags | OFlags::RDONLY)
        }
        other => other,
    };
    match opened {
        Ok(fd) => Ok(Some(Dir::new(fd)?)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn removes_deep_trees_odd_modes_and_links_but_not_their_targets() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(&dir.path().join("store")).unwrap();
        layout.create().unwrap();
        let victim = dir.path().join("victim");
        fs::create_dir(&victim).unwrap();
        fs::write(victim.join("keep"), b"x").unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        symlink(&victim, tree.join("link")).unwrap();
        fs::create_dir(tree.join("locked")).unwrap();
        fs::write(tree.join("locked/file"), b"x").unwrap();
        fs::set_permissions(tree.join("locked"), fs::Permissions::from_mode(0o000)).unwrap();
        // Deeper than PATH_MAX allows in one path, so by descriptor.
        let mut at: OwnedFd = File::open(&tree).unwrap().into();
        let long = "d".repeat(200);
        for _ in 0..3 * MAX_DEPTH {
            rustix::fs::mkdirat(&at, &long, Mode::RWXU).unwrap();
            rustix::fs::mkdirat(&at, "sibling", Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, &long, OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        assert!(discard(&layout, &tree).unwrap());
        assert!(!discard(&layout, &tree).unwrap());
        empty(&layout).unwrap();
        assert_eq!(fs::read_dir(&layout.trash).unwrap().count(), 0);
        assert!(victim.join("keep").exists());
    }

    #[test]
    fn large_files_go_in_pieces_unless_others_have_them_too() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(&dir.path().join("store")).unwrap();
        layout.create().unwrap();
        let (tree, kept) = (dir.path().join("tree"), dir.path().join("kept"));
        fs::create_dir(&tree).unwrap();
        let size = 3 * PIECE + 5;
        for name in ["alone", "linked"] {
            let file = File::create(tree.join(name)).unwrap();
            file.set_len(size).unwrap();
        }
        fs::hard_link(tree.join("linked"), &kept).unwrap();
        let open = File::open(&tree).unwrap();
        shrink(open.as_fd(), c"alone");
        shrink(open.as_fd(), c"linked");
        let left = |path: &Path| fs::metadata(path).unwrap().len();
        assert_eq!(left(&tree.join("alone")), 5);
        assert_eq!(left(&kept), size);
        discard_staged(&layout, &tree).unwrap();
        empty(&layout).unwrap();
        assert_eq!(left(&kept), size);
        assert_eq!(fs::read_dir(&layout.trash).unwrap().count(), 0);
    }
}
