//! Large files put on disk piece by piece.
//!
//! Whoever waits for the disk in syncfs(2) or fsync(2) is kept by the kernel until all of it is
//! written, and no signal ends that. What was written piece by piece before is no longer waited
//! for there, and between two pieces a process can end.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags};

use crate::sys::sync_file_range;

const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const DIRECTORY: OFlags = FILE.union(OFlags::DIRECTORY);
/// Files from this size on, in bytes, are looked for: a disk writes less in no time.
const LARGE: u64 = 4 << 20;
/// How much is waited for at a time: some 10 ms on most disks.
const PIECE: u64 = 8 << 20;

/// Writes the large files below the directory `path` to the disk. It is no replacement for
/// syncfs(2), which has less to do afterwards.
///
/// # Errors
/// The file system's; whatever has gone meanwhile is none.
pub fn flush(path: &Path) -> io::Result<()> {
    let mut levels = vec![flush_files(fs::open(path, DIRECTORY, Mode::empty())?)?];
    while let Some((dir, inner)) = levels.last_mut() {
        let Some(name) = inner.pop() else {
            levels.pop();
            continue;
        };
        if let Some(below) = absent(fs::openat(&*dir, &name, DIRECTORY, Mode::empty()))? {
            levels.push(flush_files(below)?);
        }
    }
    Ok(())
}

/// Writes the large files in a directory; what directories there are in it.
fn flush_files(dir: OwnedFd) -> io::Result<(OwnedFd, Vec<CString>)> {
    let mut inner = Vec::new();
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        let name = entry.file_name();
        match entry.file_type() {
            FileType::Directory if !matches!(name.to_bytes(), b"." | b"..") => {
                inner.push(name.to_owned());
            }
            FileType::RegularFile => {
                let stat = absent(fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW))?;
                let size = stat.map_or(0, |stat| stat.st_size.unsigned_abs());
                if size < LARGE {
                    continue;
                }
                if let Some(file) = absent(fs::openat(&dir, name, FILE, Mode::empty()))? {
                    flush_file(&file, size)?;
                }
            }
            _ => {}
        }
    }
    Ok((dir, inner))
}

fn flush_file(file: &OwnedFd, size: u64) -> io::Result<()> {
    (0..size)
        .step_by(PIECE as usize)
        .try_for_each(|at| sync_file_range(file.as_fd(), at, PIECE))
}

/// Nothing for what is not there.
fn absent<T>(result: rustix::io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that this thread has taken away before they were written to a disk.
    fn never_written(path: &Path) -> u64 {
        let count = || -> u64 {
            let io = std::fs::read_to_string("/proc/thread-self/io").unwrap();
            let line = io
                .lines()
                .find_map(|l| l.strip_prefix("cancelled_write_bytes: "));
            line.unwrap().parse().unwrap()
        };
        let before = count();
        std::fs::remove_file(path).unwrap();
        count() - before
    }

    #[test]
    fn large_files_at_any_depth_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        let (large, small) = (deep.join("large"), deep.join("small"));
        let write = || std::fs::write(&large, vec![7; 9 << 20]).unwrap();
        write();
        if never_written(&large) == 0 {
            println!("skipped: nothing is written to this file system later");
            return;
        }
        write();
        std::fs::write(&small, "x").unwrap();
        // What is no file is not opened: these would wait for ever.
        std::os::unix::fs::symlink("/proc/kmsg", deep.join("link")).unwrap();
        fs::mknodat(fs::CWD, deep.join("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        flush(dir.path()).unwrap();
        assert_eq!(never_written(&large), 0);
        assert!(flush(&dir.path().join("none")).is_err());
    }
}
