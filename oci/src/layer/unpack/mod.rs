//! Tar to directory tree.
//!
//! [`layer`] makes a snapshot of one layer in overlay form; [`archive`] extracts into a root
//! filesystem that is there already, as `ADD` does with local archives. Both trust nothing in
//! the archive: every path is resolved by the kernel inside the root (`RESOLVE_IN_ROOT`), and
//! metadata is set through descriptors of what was just made.

mod error;
mod options;
mod place;
mod write;

use std::io::Read;

use rustix::fd::AsFd;

use super::reader::Reader;
use place::{Climbing, Place};
use write::{Unpacker, Whiteouts};

pub use error::{Problem, UnpackError};
pub use options::{Limits, Ownership, UnpackOptions, Unpacked};
pub(crate) use place::clean;

/// Unpacks a layer into `dir`, which should be empty, in overlay form. The parents of `dir`
/// should be closed to others: setuid programs and device nodes are unpacked as they are.
///
/// Parents that the archive does not list are made with mode 0755; `dir` itself keeps its
/// metadata unless the archive has an entry for it. Nothing is synced.
///
/// # Errors
/// [`UnpackError`]; what was unpacked so far stays.
pub fn layer(
    tar: impl Read,
    dir: impl AsFd,
    options: &UnpackOptions,
) -> Result<Unpacked, UnpackError> {
    let place = Place::new(dir.as_fd(), Climbing::Refused);
    run(tar, Unpacker::new(place, options, Whiteouts::Interpret))
}

/// Extracts an archive into the directory `dest`, which is all that it sees: `..` ends there, and
/// symbolic links among the parents of an entry are followed as if it were the root.
///
/// Directories that are there are kept and take on the archive's metadata; anything else in the
/// way is replaced. Whiteouts are files like any other, and an entry without a name is none.
///
/// # Errors
/// [`UnpackError`]; what was extracted so far stays.
pub fn archive(
    tar: impl Read,
    dest: impl AsFd,
    options: &UnpackOptions,
) -> Result<Unpacked, UnpackError> {
    let place = Place::new(dest.as_fd(), Climbing::Ends);
    run(tar, Unpacker::new(place, options, Whiteouts::Plain))
}

fn run(tar: impl Read, mut unpacker: Unpacker<'_>) -> Result<Unpacked, UnpackError> {
    let mut reader = Reader::new(tar);
    while let Some(entry) = reader.next_entry()? {
        unpacker.entry(entry, &mut reader)?;
    }
    unpacker.finish()
}

#[cfg(test)]
mod copying;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
