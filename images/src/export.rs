//! The files of an image as one flat tar.

use std::io::{self, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use oci::ImageConfig;
use oci::layer::{TarOptions, open_dir, tree};
use rustix::fs::{Mode, OFlags, openat};
use store::Image;

use crate::error::ImageError;
use crate::progress::Untold;
use crate::service::Images;

/// A view of an image's files, mounted nowhere.
#[derive(Debug)]
pub struct Files {
    root: OwnedFd,
    /// What an image without layers is shown as: a folder that is gone cannot be listed.
    _empty: Option<tempfile::TempDir>,
}

impl Files {
    /// The directory that they are in.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    pub(crate) fn of(root: OwnedFd) -> Self {
        Self { root, _empty: None }
    }
}

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
    let config: ImageConfig = images.read_config(&image.id).await?;
    images.ensure_unpacked(&config, &Untold).await?;
    let lowers: Vec<_> = match image.chain_id() {
        Some(chain_id) => images.store.directories(&chain_id).await?,
        None => Vec::new(),
    };
    if lowers.is_empty() {
        let empty = tempfile::tempdir().map_err(failed)?;
        let root = open_dir(empty.path()).map_err(failed)?;
        let _empty = Some(empty);
        return Ok(Files { root, _empty });
    }
    let mount = runtime::overlay::mount_detached(&lowers, None).map_err(failed)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(&mount, ".", flags, Mode::empty()).map_err(io::Error::from);
    Ok(Files::of(root.map_err(failed)?))
}

/// Files for one tar: the folder that they get, none for its root, and they.
pub type Placed = (Option<String>, Files);

/// Writes the files of several images as one tar, each in a folder of its own. With an `epoch`
/// everything is dated to it.
///
/// # Errors
/// [`ImageError::Files`]; what was written is of no use then.
pub fn write_trees(
    trees: &[Placed],
    epoch: Option<i64>,
    out: &mut dyn Write,
) -> Result<(), ImageError> {
    let mut out = io::BufWriter::with_capacity(1 << 20, out);
    let placed: Vec<_> = trees
        .iter()
        .map(|(folder, files)| (folder.as_deref().unwrap_or_default(), files.root()))
        .collect();
    tree::write_trees(&placed, epoch, &mut out).map_err(failed)?;
    out.flush().map_err(failed)
}

/// Writes the files as tar; returns its size in bytes.
///
/// # Errors
/// [`ImageError::Files`]; what was written is of no use then.
pub fn write_tar(files: &Files, out: &mut dyn Write) -> Result<u64, ImageError> {
    let mut out = io::BufWriter::with_capacity(1 << 20, out);
    let size = tree::write_tar(&files.root, &TarOptions::default(), &mut out).map_err(failed)?;
    out.flush().map_err(failed)?;
    Ok(size)
}
