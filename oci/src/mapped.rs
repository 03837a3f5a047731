//! The shared memory of a database, which is a mapped file.
//!
//! A page of such a file that finds no room on a full disk kills the process (SIGBUS). SQLite
//! writes a byte into each page before it maps it, which is not enough: where blocks are smaller
//! than pages the rest of a page is a hole, and a byte that was written may wait for its block.
//! So the file gets its blocks before SQLite sees it, by SQLite's own rule for who may empty it.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, fallocate, fcntl};
use nix::libc;

use crate::sync::lock;

/// Bytes of shared memory that are there from the beginning: an index of 16,000 pages of log.
const SIZE: i64 = 128 << 10;
/// The byte that whoever uses the file holds shared, and alone while the file is emptied
/// (`UNIX_SHM_DMS` of SQLite).
const USED: i64 = 128;
/// How often is looked whether another is done with emptying, 10 ms each.
const PATIENCE: u32 = 500;

/// Closing a file drops all locks that this process has on it, whoever took them: these stay open.
static OPEN: Mutex<Vec<Arc<File>>> = Mutex::new(Vec::new());

/// Shared memory that nobody empties as long as this lives. SQLite counts it as another process's,
/// for which it would leave its log behind: it goes once SQLite has read from the database, and
/// holds the file itself.
#[derive(Debug)]
pub struct Held(Option<Arc<File>>);

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            // It cannot fail: there is nothing to wait for.
            let _ = locked(file, libc::F_UNLCK);
        }
    }
}

/// Gives the shared memory of a database all the blocks that it will need, and keeps it so. To be
/// called before the database is opened; nothing happens where there is no database yet, or the
/// file system has no such promise to give.
///
/// # Errors
/// [`io::ErrorKind::StorageFull`] when the disk is full; [`io::Error`] when the file cannot be
/// made or opened, or another process keeps it to itself.
pub fn hold_shared_memory(database: &Path) -> io::Result<Held> {
    let owner = match database.metadata() {
        Ok(found) if found.len() > 0 => found,
        _ => return Ok(Held(None)),
    };
    let mut path = database.as_os_str().to_owned();
    path.push("-shm");
    let path = Path::new(&path);
    let mut held = Held(None);
    // Whoever closes a database last removes the file, which may be the one just opened.
    for _ in 0..PATIENCE {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(owner.permissions().mode() & 0o777)
            .open(path)?;
        let mine = file.metadata()?;
        if (mine.uid(), mine.gid()) != (owner.uid(), owner.gid()) {
            // As SQLite does: root's own file would shut the owner out.
            fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
        }
        let file = Arc::new(file);
        // Also on failure: SQLite may have locks on it already.
        lock(&OPEN).push(Arc::clone(&file));
        held = Held(Some(Arc::clone(&file)));
        fill(&file)?;
        let there = path.metadata();
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (mine.dev(), mine.ino())) {
            break;
        }
    }
    Ok(held)
}

/// Empties the file if nobody uses it, gives it its blocks, and counts among its users from then
/// on.
fn fill(file: &File) -> io::Result<()> {
    match locked(file, libc::F_WRLCK) {
        // What an earlier process left may be damaged by a power cut.
        Ok(()) => file.set_len(0)?,
        Err(_) => {
            let mut patience = PATIENCE;
            while let Err(e) = locked(file, libc::F_RDLCK) {
                if patience == 0 {
                    return Err(e.into());
                }
                patience -= 1;
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
    let filled = fallocate(file, FallocateFlags::empty(), 0, SIZE);
    locked(file, libc::F_RDLCK)?;
    match filled {
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
        other => Ok(other?),
    }
}

/// A lock of the open file, not of the process, whose locks are SQLite's.
fn locked(file: &File, kind: libc::c_int) -> Result<(), Errno> {
    let range = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: USED,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_SETLK(&range)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file of a database, and that of its shared memory.
    fn database() -> (tempfile::TempDir, std::path::PathBuf, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("db");
        let shared = dir.path().join("db-shm");
        (dir, database, shared)
    }

    #[test]
    fn all_blocks_are_there_and_what_others_use_is_not_emptied() {
        let (_dir, database, shared) = database();
        drop(hold_shared_memory(&database).unwrap());
        assert!(!shared.exists(), "a database that is not there has none");
        std::fs::write(&database, "not empty").unwrap();
        std::fs::write(&shared, "left by a crash").unwrap();
        let first = hold_shared_memory(&database).unwrap();
        let held = shared.metadata().unwrap();
        assert_eq!(held.len(), 128 << 10);
        assert!(held.blocks() * 512 >= 128 << 10);
        assert_eq!(std::fs::read(&shared).unwrap(), vec![0; 128 << 10]);
        // In use now, by the first, as another process would.
        std::fs::write(&shared, "an index").unwrap();
        let found = || std::fs::read(&shared).unwrap();
        drop(hold_shared_memory(&database).unwrap());
        assert!(found().starts_with(b"an index\0"));
        assert_eq!(found().len(), 128 << 10);
        // And nobody's, once it has let go.
        drop(first);
        drop(hold_shared_memory(&database).unwrap());
        assert_eq!(found(), vec![0; 128 << 10]);
    }

    #[test]
    fn a_file_that_went_meanwhile_is_made_again() {
        let (_dir, database, shared) = database();
        std::fs::write(&database, "not empty").unwrap();
        let _first = hold_shared_memory(&database).unwrap();
        std::fs::remove_file(&shared).unwrap();
        let _second = hold_shared_memory(&database).unwrap();
        assert_eq!(shared.metadata().unwrap().len(), 128 << 10);
    }
}
