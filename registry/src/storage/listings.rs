//! What layers hold, as it was once found out: `listings/<algorithm>/<first two hex digits>/<hex>`,
//! a file for each layer that somebody looked into. All of it can be made again.

use std::fs;
use std::io::{ErrorKind, Write};

use oci::Digest;

use super::blobs::{BlobFiles, place};
use super::error::{Context, StorageError};
use super::files::{create_new, make_dir, sync_dir};
use crate::name::UploadId;

impl BlobFiles {
    /// Keeps a listing durably.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn write_listing(&self, digest: &Digest, bytes: &[u8]) -> Result<(), StorageError> {
        let path = place(&self.listings, digest);
        let staged = self.staging.join(UploadId::random().to_string());
        let done = create_new(&staged)
            .and_then(|mut file| {
                file.write_all(bytes)?;
                file.sync_all()
            })
            .context("write", &staged)
            .and_then(|()| {
                let Some(dir) = path.parent() else {
                    return Ok(());
                };
                make_dir(dir)?;
                fs::rename(&staged, &path).context("rename to", &path)?;
                sync_dir(dir)
            });
        if done.is_err() {
            let _ = fs::remove_file(&staged);
        }
        done
    }

    /// The listing of a blob; `None` when there is none.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn read_listing(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StorageError> {
        let path = place(&self.listings, digest);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).context("read", &path),
        }
    }

    /// Removes the listing of a blob; none is fine.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub(super) fn remove_listing(&self, digest: &Digest) -> Result<(), StorageError> {
        let path = place(&self.listings, digest);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e).context("remove", &path),
            _ => Ok(()),
        }
    }
}
