//! Overlay upper directory to layer tar (OCI image-spec, layer.md, "Creating").
//!
//! Lower layers are never looked at: what changed is what is there. The same directory always
//! gives the same bytes, so that a layer can be hashed now and written when it is pushed.

use std::io::Write;

use rustix::fd::AsFd;

use super::TarOptions;
use super::sink::{HashDrain, Sink, WriteDrain};
use super::walk::{Form, TarError, walk};
use crate::DiffId;

/// The diff ID of the layer without any entry: two zero blocks.
pub const EMPTY_DIFF_ID: &str =
    "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
/// The size of the tar without any entry.
pub const EMPTY_SIZE: u64 = 1024;

/// Writes the layer of the upper directory `upper` as tar; returns its size in bytes.
///
/// # Errors
/// [`TarError`]: what could not be read, or has no place in a layer.
pub fn write_tar<W: Write + ?Sized>(
    upper: impl AsFd,
    options: &TarOptions,
    out: &mut W,
) -> Result<u64, TarError> {
    let sink = walk(
        upper.as_fd(),
        options,
        Form::Overlay,
        Sink::new(WriteDrain(out)),
    )?;
    let (_, size) = sink.finish().map_err(TarError::Write)?;
    Ok(size)
}

/// The diff ID and the size of what [`write_tar`] would write.
///
/// # Errors
/// As [`write_tar`].
pub fn diff_id(upper: impl AsFd, options: &TarOptions) -> Result<(DiffId, u64), TarError> {
    let sink = walk(
        upper.as_fd(),
        options,
        Form::Overlay,
        Sink::new(HashDrain::new()),
    )?;
    let (drain, size) = sink.finish().map_err(TarError::Write)?;
    Ok((drain.finish().map_err(TarError::Write)?.into(), size))
}
