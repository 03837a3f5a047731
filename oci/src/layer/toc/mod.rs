//! Layers that can be read file by file: a table of contents says where in the blob each file is.
//!
//! Both formats are what their names say to whoever knows no tables: gzip of several members, and
//! Zstandard of several frames. Whoever knows them fetches the files that it lacks.
//!
//! | module | what it does |
//! |---|---|
//! | `estargz` | eStargz: gzip, the table is one more file behind the archive's end |
//! | `zstd_chunked` | zstd:chunked: Zstandard, the table is in a frame that readers skip |
//! | `parts` | compressing pieces on their own, several at a time, and where each comes to lie |
//! | `archive` | the entries of the tar that comes, with the very bytes that make their headers |
//! | `contents` | what becomes of a layer by its table |
//! | `entry` | one entry of a table, in JSON |
//! | `tar_split` | all of a tar but the content of its files |
//! | `rollsum` | where large files are cut, so that equal pieces are found again |

mod archive;
mod contents;
mod entry;
mod estargz;
mod parts;
mod rollsum;
mod tar_split;
mod zstd_chunked;

use std::io::{self, Write};
use std::num::NonZeroUsize;

use super::compression::{Compression, Kind, WriteBehind};

pub use contents::Contents;

/// Compresses the tar of a layer that is written to it, and adds a table of contents.
///
/// The bytes depend on tar, kind and level alone.
#[derive(Debug)]
pub struct TocCompressor<W> {
    packing: WriteBehind<(W, Contents)>,
}

impl<W: Write + Send + 'static> TocCompressor<W> {
    /// One that writes to `out`.
    ///
    /// # Errors
    /// When the compression has no table of contents, or its thread cannot be started.
    pub fn new(compression: Compression, out: W) -> io::Result<Self> {
        let level = compression.level();
        let packing = match compression.kind() {
            Kind::Estargz => WriteBehind::reading("estargz", move |tar| {
                let mut packer = estargz::Packer::new(out, level, threads())?;
                archive::pack(tar, &mut packer)?;
                packer.finish()
            }),
            Kind::ZstdChunked => WriteBehind::reading("zstd-chunked", move |tar| {
                let mut packer = zstd_chunked::Packer::new(out, level, threads())?;
                archive::pack(tar, &mut packer)?;
                packer.finish()
            }),
            kind @ (Kind::Uncompressed | Kind::Gzip | Kind::Zstd) => {
                let text = format!("{kind} has no table of contents");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        };
        Ok(Self { packing: packing? })
    }

    /// Writes what is left, and the table. Without it the output is incomplete.
    ///
    /// # Errors
    /// When the tar is malformed or has what no table can tell, or when writing fails.
    pub fn finish(self) -> io::Result<(W, Contents)> {
        self.packing.finish()
    }
}

impl<W: Send + 'static> Write for TocCompressor<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.packing.write(buf)
    }

    /// Does nothing: where a flush comes would show in the output.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The output does not depend on it.
fn threads() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests;
