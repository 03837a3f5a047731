//! One thing, and what is in it, under a name of the caller's.

use std::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, statat};

use super::{OPEN, TarError, plain};
use crate::layer::header::Kind;
use crate::layer::sink::{Drain, Sink};

/// Writes a directory and what is in it under a name, with the two closing blocks.
pub(in crate::layer) fn walk_as<D: Drain>(
    root: BorrowedFd<'_>,
    name: &[u8],
    sink: Sink<D>,
) -> Result<Sink<D>, TarError> {
    let mut walk = plain(sink);
    walk.path.extend_from_slice(name);
    if name != b"/" {
        walk.path.push(b'/');
    }
    let fd = openat(root, c".", OPEN | OFlags::DIRECTORY, Mode::empty())
        .map_err(|e| walk.failed("opening", e))?;
    let stat = fstat(&fd).map_err(|e| walk.failed("reading metadata of", e))?;
    walk.read_attributes(fd.as_fd())?;
    walk.entry(&stat, Kind::Directory, b"", 0, true)?;
    walk.run(fd.as_fd())?;
    walk.sink.put(&[0; 1024]).map_err(TarError::Write)?;
    Ok(walk.sink)
}

/// Writes what is no directory under a name, with the two closing blocks.
pub(in crate::layer) fn walk_entry<D: Drain>(
    (parent, own): (BorrowedFd<'_>, &CStr),
    name: &[u8],
    sink: Sink<D>,
) -> Result<Sink<D>, TarError> {
    let mut walk = plain(sink);
    walk.path.extend_from_slice(name);
    let stat = statat(parent, own, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|e| walk.failed("reading metadata of", e))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => walk.file(parent, own)?,
        _ => walk.special(parent, own)?,
    }
    walk.sink.put(&[0; 1024]).map_err(TarError::Write)?;
    Ok(walk.sink)
}
