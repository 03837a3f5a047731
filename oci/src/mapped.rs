//! Files that a library maps into memory, such as a database's index of its log.
//!
//! A page of such a file that finds no room on a full disk kills the process (SIGBUS). SQLite
//! writes a byte into each page before it maps it, which is enough where a page is a block. Where
//! blocks are smaller, the rest of the page is a hole still.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use crate::sync::lock;

/// Bytes of a page that a database takes for granted.
const PAGE: u64 = 4096;

/// Closing a file drops all locks that this process has on it, whoever took them: these stay open.
static OPEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Gives a file all blocks of its pages, so that none is missing later. Nothing happens where a
/// block is a page or more, or there is no such file.
///
/// # Errors
/// When the disk is full; [`io::Error`] when the file cannot be opened.
pub fn fill_holes(path: &Path) -> io::Result<()> {
    match statvfs(path) {
        Ok(stat) if stat.f_frsize < PAGE => {}
        _ => return Ok(()),
    }
    let file = File::options().write(true).open(path)?;
    let size = file.metadata().map_or(0, |found| found.len());
    let filled = match size {
        0 => Ok(()),
        _ => fallocate(&file, FallocateFlags::empty(), 0, size),
    };
    lock(&OPEN).push(file);
    match filled {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        other => Ok(other?),
    }
}
