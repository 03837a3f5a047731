//! Space put aside, so that a full disk can be emptied.
//!
//! Removing writes first: SQLite's log and shared memory, and on some file systems metadata. On a
//! disk without a free block `rmi` and `prune` would fail for want of the space that they are to
//! make, or be killed: the shared memory is a mapped file, and a page of it that finds no room is
//! a SIGBUS. So a file of some MiB lies in the store's root. Whoever removes gives it up when
//! space is short, whoever only reads gives up a part, and each makes it again at its end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::time::Duration;

use oci::mapped::{Held, hold_shared_memory};
use rustix::fs::{FallocateFlags, fallocate, statfs};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::root::Layout;

/// How much is put aside, in bytes.
const SIZE: u64 = 4 << 20;
/// On small file systems no more than this part of them.
const PART: u64 = 16;
/// Without this much free space, in bytes, no database is opened.
const NEEDED: u64 = 256 << 10;
/// What reading gives up, in bytes.
const FOR_READING: u64 = 512 << 10;

/// What a store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Anything.
    Write,
    /// Only to look; also where nothing can be written.
    Read,
    /// To make room.
    Remove,
}

/// Bytes of the file system.
#[derive(Clone, Copy)]
struct Space {
    /// For anybody. ext4 leaves out what it keeps for its own metadata, which nobody gets.
    available: u64,
    /// What this process may get beside that: some are for root alone.
    free: u64,
    all: u64,
}

/// ext2, ext3 and ext4 (statfs(2)).
const EXT: u64 = 0xEF53;
/// ext4 keeps this part of its blocks for its own metadata, and no more blocks than that.
const EXT_PART: u64 = 50;
const EXT_MOST: u64 = 4096;

/// `None` where the file system has no such numbers.
fn space(layout: &Layout) -> Option<Space> {
    let stat = statfs(&layout.root).ok()?;
    let number = |n: i128| u64::try_from(n).unwrap_or(0);
    let unit = number(i128::from(stat.f_bsize)).max(1);
    let bytes = |blocks: u64| blocks.saturating_mul(unit);
    let free = match rustix::process::geteuid().is_root() {
        // Not even root gets what ext4 keeps, though it counts as free.
        true if number(i128::from(stat.f_type)) == EXT => {
            let kept = (stat.f_blocks / EXT_PART).min(EXT_MOST);
            stat.f_bfree.saturating_sub(kept)
        }
        true => stat.f_bfree,
        false => stat.f_bavail,
    };
    (stat.f_blocks > 0).then(|| Space {
        available: bytes(stat.f_bavail),
        free: bytes(free),
        all: bytes(stat.f_blocks),
    })
}

fn wanted(all: u64) -> u64 {
    SIZE.min(all / PART)
}

/// Whether room may have to be made, for any purpose.
pub(crate) fn is_short(layout: &Layout) -> bool {
    space(layout).is_some_and(|space| space.available < SIZE)
}

/// Sees to it that a database can be opened.
///
/// # Errors
/// [`Error::DiskFull`].
pub(crate) fn make_room(layout: &Layout, purpose: Purpose) -> Result<()> {
    let scarce = |below: u64| space(layout).is_some_and(|space| space.available < below);
    let short = |below: u64| space(layout).is_some_and(|space| space.free < below);
    let result = match purpose {
        Purpose::Remove if scarce(SIZE) => shrink(layout, SIZE),
        Purpose::Read if scarce(NEEDED) => shrink(layout, FOR_READING),
        _ => Ok(false),
    };
    let gave = result.unwrap_or_else(|e| {
        tracing::debug!(error = %e, "the space put aside cannot be given up");
        false
    });
    // ext4 counts what was given up as free a moment after it has said that it is on disk.
    let mut patience = 100;
    while gave && patience > 0 && scarce(NEEDED / 2) {
        std::thread::sleep(Duration::from_millis(10));
        patience -= 1;
    }
    // Two pages of shared memory and a page of the log take no more.
    if short(NEEDED / 2) {
        return Err(Error::DiskFull {
            what: format!("opening {}", layout.database.display()),
        });
    }
    Ok(())
}

/// Holds the space of a database's shared memory from before it is opened, as a full disk could not
/// give it later, until it has been read.
///
/// # Errors
/// [`Error::DiskFull`].
pub(crate) fn hold(layout: &Layout) -> Result<Option<Held>> {
    match hold_shared_memory(&layout.database) {
        Err(e) if e.kind() == io::ErrorKind::StorageFull => Err(Error::DiskFull {
            what: format!("opening {}", layout.database.display()),
        }),
        Err(e) => {
            tracing::debug!(error = %e, "the database's shared memory is as SQLite makes it");
            Ok(None)
        }
        Ok(held) => Ok(Some(held)),
    }
}

/// Takes bytes off the end of the file; whether it had any.
fn shrink(layout: &Layout, by: u64) -> io::Result<bool> {
    let file = match OpenOptions::new().write(true).open(&layout.reserve) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    let size = file.metadata()?.len();
    file.set_len(size.saturating_sub(by))?;
    // A journal gives blocks back only when what freed them is on disk.
    file.sync_all()?;
    Ok(size > 0)
}

/// Puts space aside where that is not done and there is enough of it. No failure is one: the
/// store works without.
pub(crate) fn keep(layout: &Layout) {
    let Some(Space { available, all, .. }) = space(layout) else {
        return;
    };
    let wanted = wanted(all);
    // What is allocated is what counts, but a file system may keep its own accounts.
    let there = fs::metadata(&layout.reserve).map_or(0, |m| m.len().min(m.blocks() * 512));
    if there >= wanted || available < wanted - there {
        return;
    }
    let made = allocate(layout, wanted);
    if let Err(e) = made {
        tracing::debug!(error = %e, "no space can be put aside");
        let _ = fs::remove_file(&layout.reserve);
    }
}

fn allocate(layout: &Layout, size: u64) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&layout.reserve)?;
    match fallocate(&file, FallocateFlags::empty(), 0, size) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => fill(&mut file, size),
        other => Ok(other?),
    }
}

/// Where space cannot be allocated it is written.
fn fill(file: &mut File, size: u64) -> io::Result<()> {
    let block = vec![0; 64 << 10];
    let mut left = size;
    while left > 0 {
        let part = usize::try_from(left).map_or(block.len(), |left| left.min(block.len()));
        file.write_all(block.get(..part).unwrap_or_default())?;
        left -= part as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_given_up_in_parts_and_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(&dir.path().join("store")).unwrap();
        layout.create().unwrap();
        let size = || fs::metadata(&layout.reserve).map_or(0, |m| m.len());
        keep(&layout);
        assert_eq!(size(), SIZE);
        shrink(&layout, FOR_READING).unwrap();
        assert_eq!(size(), SIZE - FOR_READING);
        shrink(&layout, SIZE).unwrap();
        assert_eq!(size(), 0);
        keep(&layout);
        assert_eq!(size(), SIZE);
        assert!(fs::metadata(&layout.reserve).unwrap().blocks() * 512 >= SIZE);
        let mut file = File::create(&layout.reserve).unwrap();
        fill(&mut file, SIZE).unwrap();
        assert_eq!(size(), SIZE);
        assert_eq!(wanted(32 << 20), 2 << 20);
    }
}
