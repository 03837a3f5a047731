//! A whole root filesystem as one tar, as `docker export` writes it.
//!
//! Nothing has a special meaning here: no whiteouts, no opaque directories.

use std::ffi::CStr;
use std::io::Write;

use rustix::fd::{AsFd, BorrowedFd};

use super::sink::{HashDrain, Sink, WriteDrain};
use super::walk::{Form, TarError, TarOptions, walk, walk_all, walk_as, walk_entry};
use crate::DiffId;

/// Writes the tree under `root` as tar; returns its size in bytes.
///
/// # Errors
/// [`TarError`]: what could not be read.
pub fn write_tar<W: Write + ?Sized>(
    root: impl AsFd,
    options: &TarOptions,
    out: &mut W,
) -> Result<u64, TarError> {
    let sink = walk(
        root.as_fd(),
        options,
        Form::Plain,
        Sink::new(WriteDrain(out)),
        &|| Ok(()),
    )?;
    let (_, size) = sink.finish().map_err(TarError::Write)?;
    Ok(size)
}

/// Writes several trees as one tar, each below a folder, which is empty for the archive's root.
/// With an `epoch` every entry is dated to it, in seconds.
///
/// # Errors
/// As [`write_tar`].
pub fn write_trees<W: Write + ?Sized>(
    trees: &[(&str, BorrowedFd<'_>)],
    epoch: Option<i64>,
    out: &mut W,
) -> Result<u64, TarError> {
    let sink = walk_all(trees, epoch, Sink::new(WriteDrain(out)))?;
    let (_, size) = sink.finish().map_err(TarError::Write)?;
    Ok(size)
}

/// What [`write_as`] writes.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A directory, with all that is in it.
    Directory(BorrowedFd<'a>),
    /// Anything else, by its name in a directory.
    Entry(BorrowedFd<'a>, &'a CStr),
}

/// Writes something under a name of the caller's, below which come those that it holds; `/` and `.`
/// are names too.
///
/// # Errors
/// As [`write_tar`].
pub fn write_as<W: Write + ?Sized>(
    source: Source<'_>,
    name: &[u8],
    out: &mut W,
) -> Result<u64, TarError> {
    let sink = Sink::new(WriteDrain(out));
    let sink = match source {
        Source::Directory(root) => walk_as(root, name, sink)?,
        Source::Entry(parent, own) => walk_entry((parent, own), name, sink)?,
    };
    let (_, size) = sink.finish().map_err(TarError::Write)?;
    Ok(size)
}

/// The digest and the size of what [`write_tar`] would write: the diff ID of the image's one
/// layer, when it is flattened.
///
/// # Errors
/// As [`write_tar`].
pub fn diff_id(root: impl AsFd, options: &TarOptions) -> Result<(DiffId, u64), TarError> {
    let sink = walk(
        root.as_fd(),
        options,
        Form::Plain,
        Sink::new(HashDrain::new()),
        &|| Ok(()),
    )?;
    let (drain, size) = sink.finish().map_err(TarError::Write)?;
    Ok((drain.finish().map_err(TarError::Write)?.into(), size))
}
