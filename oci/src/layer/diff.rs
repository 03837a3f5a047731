//! Overlay upper directory to layer tar (OCI image-spec, layer.md, "Creating").
//!
//! Lower layers are never looked at: what changed is what is there. The same directory always
//! gives the same bytes, so that a layer can be hashed now and written when it is pushed.

use std::io::Write;

use rustix::fd::AsFd;

use super::sink::{HashDrain, Sink, TeeDrain, WriteDrain};
use super::walk::{Form, GoOn, TarError, TarOptions, walk};
use crate::{DiffId, Digest};

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
        &|| Ok(()),
    )?;
    let (_, size) = sink.finish().map_err(TarError::Write)?;
    Ok(size)
}

/// Writes what [`write_tar`] writes, for as long as `go_on` allows, and hashes it in a thread of
/// its own meanwhile. Returns digest and size in bytes.
///
/// # Errors
/// As [`write_tar`], and what `go_on` says.
pub fn write_hashed<W: Write + ?Sized>(
    upper: impl AsFd,
    options: &TarOptions,
    out: &mut W,
    go_on: GoOn<'_>,
) -> Result<(Digest, u64), TarError> {
    let sink = Sink::new(TeeDrain::new(out));
    let sink = walk(upper.as_fd(), options, Form::Overlay, sink, go_on)?;
    let (drain, size) = sink.finish().map_err(TarError::Write)?;
    Ok((drain.finish().map_err(TarError::Write)?, size))
}

/// What is known of a layer without its tar having been written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// Bytes of its tar.
    pub size_tar: u64,
    /// Bytes of its files, each hard-linked one counted once.
    pub size_files: u64,
}

/// Measures what [`write_tar`] would write, for as long as `go_on` allows.
///
/// # Errors
/// As [`write_tar`], and what `go_on` says.
pub fn measure(
    upper: impl AsFd,
    options: &TarOptions,
    go_on: GoOn<'_>,
) -> Result<Measured, TarError> {
    let sink = walk(
        upper.as_fd(),
        options,
        Form::Overlay,
        Sink::new(HashDrain::new()),
        go_on,
    )?;
    let size_files = sink.content();
    let (drain, size_tar) = sink.finish().map_err(TarError::Write)?;
    Ok(Measured {
        diff_id: drain.finish().map_err(TarError::Write)?.into(),
        size_tar,
        size_files,
    })
}

/// The diff ID and the size of what [`write_tar`] would write.
///
/// # Errors
/// As [`write_tar`].
pub fn diff_id(upper: impl AsFd, options: &TarOptions) -> Result<(DiffId, u64), TarError> {
    let measured = measure(upper, options, &|| Ok(()))?;
    Ok((measured.diff_id, measured.size_tar))
}
