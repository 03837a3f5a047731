//! The files of an image as one flat tar.

use std::io::{self, Write};
use std::os::fd::OwnedFd;

use oci::layer::{TarOptions, open_dir, tree};
use rustix::fs::{Mode, OFlags, openat};
use store::Image;

use super::{Local, LocalError};

/// A view of an image's files, mounted nowhere.
#[derive(Debug)]
pub struct Files(OwnedFd);

fn failed(error: impl std::fmt::Display) -> LocalError {
    LocalError::Files(error.to_string())
}

/// Stacks an image's layers. Needs root.
///
/// # Errors
/// [`LocalError`].
pub async fn open(local: &Local, image: &Image) -> Result<Files, LocalError> {
    let config = local.read_config(&image.id).await?;
    local.ensure_unpacked(&config).await?;
    let lowers: Vec<_> = match image.chain_id() {
        Some(chain_id) => local
            .store
            .chain(&chain_id)
            .await?
            .into_iter()
            .map(|snapshot| snapshot.fs_path)
            .collect(),
        None => Vec::new(),
    };
    if lowers.is_empty() {
        let empty = local.empty_dir().map_err(failed)?;
        return Ok(Files(open_dir(&empty).map_err(failed)?));
    }
    let mount = runtime::overlay::mount_detached(&lowers, None).map_err(failed)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(&mount, ".", flags, Mode::empty()).map_err(io::Error::from);
    Ok(Files(root.map_err(failed)?))
}

/// Writes the files as tar; returns its size in bytes.
///
/// # Errors
/// [`LocalError::Files`]; what was written is of no use then.
pub fn write_tar(files: &Files, out: &mut dyn Write) -> Result<u64, LocalError> {
    let mut out = io::BufWriter::with_capacity(1 << 20, out);
    let size = tree::write_tar(&files.0, &TarOptions::default(), &mut out).map_err(failed)?;
    out.flush().map_err(failed)?;
    Ok(size)
}
