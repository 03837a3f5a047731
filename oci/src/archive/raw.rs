//! An OCI image layout as it stands: an index, and blobs of any kind. For those who keep artifacts
//! and indexes as they came, such as registries.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::{ArchiveError, failed};
use super::files::{ContentReader, Files};
use super::index::{
    MAX_INDEX, OCI_LAYOUT_CONTENT, existing_index, index, merge, parse_index, to_json,
};
use super::layout::{DirLayout, Layout, TarLayout};
use super::names::{INDEX, MANIFEST, OCI_LAYOUT, blob_path};
use super::read::{ReadOptions, open_files};
use super::share;
use crate::manifest::MAX_MANIFEST_SIZE;
use crate::{Descriptor, Digest, Index};

/// Reads a layout: a directory, or a tar, compressed or not.
#[derive(Clone, Debug)]
pub struct LayoutReader {
    files: Files,
    dir: Option<PathBuf>,
}

impl LayoutReader {
    /// Opens a layout.
    ///
    /// # Errors
    /// [`ArchiveError::NotALayout`] when there is none; [`ArchiveError`].
    pub fn open(path: &Path, options: &ReadOptions<'_>) -> Result<Self, ArchiveError> {
        let files = open_files(path, options)?;
        if files.find(OCI_LAYOUT)?.is_none() || files.find(INDEX)?.is_none() {
            let docker = files.find(MANIFEST)?.is_some();
            return Err(ArchiveError::NotALayout { docker });
        }
        let dir = path.is_dir().then(|| path.to_owned());
        Ok(Self { files, dir })
    }

    /// What it holds, by name.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn index(&self) -> Result<Index, ArchiveError> {
        parse_index(&self.files.read(INDEX, MAX_INDEX)?)
    }

    /// A small blob, verified; `None` when there is none.
    ///
    /// # Errors
    /// [`ArchiveError::TooLarge`] for more than a manifest may have,
    /// [`ArchiveError::DigestMismatch`]; [`ArchiveError`].
    pub fn document(&self, digest: &Digest) -> Result<Option<Vec<u8>>, ArchiveError> {
        let name = blob_path(digest);
        if self.files.find(&name)?.is_none() {
            return Ok(None);
        }
        let bytes = self.files.read(&name, MAX_MANIFEST_SIZE)?;
        let actual = digest.algorithm().digest(&bytes);
        if actual != *digest {
            return Err(ArchiveError::DigestMismatch {
                name,
                expected: digest.clone(),
                actual,
            });
        }
        Ok(Some(bytes))
    }

    /// A blob's bytes, not verified; `None` when there is none.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn blob(&self, digest: &Digest) -> Result<Option<ContentReader>, ArchiveError> {
        let name = blob_path(digest);
        match self.files.find(&name)? {
            None => Ok(None),
            Some(content) => content
                .open()
                .map(Some)
                .map_err(failed(format!("opening {name}"))),
        }
    }

    /// Where a blob would be, in a layout that is a directory. Whatever is there is for the caller
    /// to distrust.
    pub fn path(&self, digest: &Digest) -> Option<PathBuf> {
        Some(self.dir.as_ref()?.join(blob_path(digest)))
    }
}

/// Writes a layout. The same blobs in the same order make the same tar.
#[derive(Debug)]
pub struct LayoutWriter {
    to: To,
}

#[derive(Debug)]
enum To {
    Dir {
        layout: DirLayout,
        kept: Vec<Descriptor>,
        link: bool,
    },
    Tar {
        layout: TarLayout<io::BufWriter<tempfile::NamedTempFile>>,
        path: PathBuf,
    },
}

impl LayoutWriter {
    /// Writes into a directory. What a layout there holds already stays.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn directory(root: &Path) -> Result<Self, ArchiveError> {
        let mut layout = DirLayout::new(root)?;
        let kept = existing_index(root)?;
        let mut entries =
            fs::read_dir(root).map_err(failed(format!("listing {}", root.display())))?;
        if entries.next().is_some() && !root.join(OCI_LAYOUT).exists() {
            return Err(ArchiveError::Occupied(root.to_owned()));
        }
        // First, so that one that is interrupted can be gone on with.
        layout.file(OCI_LAYOUT, OCI_LAYOUT_CONTENT)?;
        Ok(Self {
            to: To::Dir {
                layout,
                kept,
                link: false,
            },
        })
    }

    /// Writes a tar, which appears under its name when it is complete.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn tar(path: &Path) -> Result<Self, ArchiveError> {
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let file = tempfile::Builder::new()
            .prefix(".write-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(dir)
            .map_err(failed(format!("creating a file in {}", dir.display())))?;
        Ok(Self {
            to: To::Tar {
                layout: TarLayout::new(io::BufWriter::with_capacity(1 << 20, file)),
                path: path.to_owned(),
            },
        })
    }

    /// Blobs may be second names of the store's files (hard links): they take no space, and whoever
    /// writes into the one changes the other. Elsewhere than in a directory nothing changes.
    #[must_use]
    pub fn linked(mut self) -> Self {
        if let To::Dir { link, .. } = &mut self.to {
            *link = true;
        }
        self
    }

    /// Adds the blob in a file of a store, verified. One that is there already is read as well, and
    /// replaced when it is not what its digest says.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`] when the store's file is; [`ArchiveError`].
    pub fn blob(&mut self, digest: &Digest, size: u64, source: &Path) -> Result<(), ArchiveError> {
        share::check_size(source, digest, size)?;
        match &mut self.to {
            To::Dir { layout, link, .. } => share::take(layout, digest, size, source, *link),
            To::Tar { layout, .. } => layout
                .blob(digest, size, &mut |out| share::copy(source, digest, out))
                .map_err(share::damaged(digest, source)),
        }
    }

    /// Says what it holds, and makes it complete.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn finish(self, entries: Vec<Descriptor>) -> Result<(), ArchiveError> {
        match self.to {
            To::Dir {
                mut layout, kept, ..
            } => {
                // Last: until now the directory is what it was.
                layout.file(INDEX, &to_json(INDEX, &index(merge(kept, entries)))?)
            }
            To::Tar { mut layout, path } => {
                layout.file(INDEX, &to_json(INDEX, &index(entries))?)?;
                layout.file(OCI_LAYOUT, OCI_LAYOUT_CONTENT)?;
                let writing = || failed(format!("writing {}", path.display()));
                let file = layout
                    .finish()?
                    .into_inner()
                    .map_err(|e| writing()(e.into_error()))?;
                file.as_file().sync_all().map_err(writing())?;
                file.persist(&path).map_err(|e| writing()(e.error))?;
                Ok(())
            }
        }
    }
}
