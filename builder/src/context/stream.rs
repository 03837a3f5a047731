//! A context that comes as a stream: a Dockerfile alone, or a tar archive.

use std::io::{self, Read};
use std::path::Path;

use oci::layer::compression::{self, Encoding};
use rustix::fs::{Mode, OFlags};

use super::error::ContextError;
use super::read::read_capped;

/// What a stream turned out to be.
#[derive(Debug)]
pub enum Input {
    /// A Dockerfile, without any context.
    Dockerfile(Vec<u8>),
    /// An archive, unpacked into the directory given.
    Unpacked,
}

/// Reads a stream to its end; an archive (compressed or not) is unpacked into `dir`.
pub fn read(mut reader: impl Read + Send, dir: &Path) -> Result<Input, ContextError> {
    let io = |what| {
        move |cause| ContextError::Io {
            what,
            path: "-".into(),
            cause,
        }
    };
    // One tar header: long enough for every magic number that tells an archive.
    let mut head = Vec::new();
    reader
        .by_ref()
        .take(512)
        .read_to_end(&mut head)
        .map_err(io("read"))?;
    let compressed = Encoding::detect(&head) != Encoding::None;
    let is_tar = head.get(257..262) == Some(b"ustar");
    let mut whole = head.as_slice().chain(reader);
    if !compressed && !is_tar {
        let bytes = read_capped(&mut whole, Path::new("-"), "Dockerfile")?;
        return Ok(Input::Dockerfile(bytes));
    }
    let archive = |e: &dyn std::fmt::Display| ContextError::Archive(e.to_string());
    let (_, plain) = compression::decompress(io::BufReader::new(whole)).map_err(|e| archive(&e))?;
    let target = rustix::fs::open(
        dir,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|e| io("open")(e.into()))?;
    let options = oci::layer::unpack::UnpackOptions {
        ownership: oci::layer::unpack::Ownership::Current,
        ..Default::default()
    };
    oci::layer::unpack::archive(plain, &target, &options).map_err(|e| archive(&e))?;
    Ok(Input::Unpacked)
}
