//! The files of an image as one flat tar.

use std::io::{self, Write};
use std::os::fd::OwnedFd;

use oci::layer::{TarOptions, open_dir, tree};
use rustix::fs::{Mode, OFlags, openat};
use store::Image;

use crate::error::ImageError;
use crate::progress::Untold;
use crate::service::Images;

/// A view of an image's files, mounted nowhere.
#[derive(Debug)]
pub struct Files(OwnedFd);

fn failed(error: impl std::fmt::Display) -> ImageError {
    ImageError::Files(error.to_string())
}

/// Stacks an image's layers. Needs root.
///
/// # Errors
/// [`ImageError`].
pub async fn open(images: &Images, image: &Image) -> Result<Files, ImageError> {
    if !rustix::process::geteuid().is_root() {
        return Err(ImageError::NeedsRoot("exporting the files of an image"));
    }
    let config = images.read_config(&image.id).await?;
    images.ensure_unpacked(&config, &Untold).await?;
    let lowers: Vec<_> = match image.chain_id() {
        Some(chain_id) => images.store.directories(&chain_id).await?,
        None => Vec::new(),
    };
    if lowers.is_empty() {
        let empty = tempfile::tempdir().map_err(failed)?;
        return Ok(Files(open_dir(empty.path()).map_err(failed)?));
    }
    let mount = runtime::overlay::mount_detached(&lowers, None).map_err(failed)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(&mount, ".", flags, Mode::empty()).map_err(io::Error::from);
    Ok(Files(root.map_err(failed)?))
}

/// Writes the files as tar; returns its size in bytes.
///
/// # Errors
/// [`ImageError::Files`]; what was written is of no use then.
pub fn write_tar(files: &Files, out: &mut dyn Write) -> Result<u64, ImageError> {
    let mut out = io::BufWriter::with_capacity(1 << 20, out);
    let size = tree::write_tar(&files.0, &TarOptions::default(), &mut out).map_err(failed)?;
    out.flush().map_err(failed)?;
    Ok(size)
}
