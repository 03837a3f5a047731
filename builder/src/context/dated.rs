//! When what is fetched is of: what `SOURCE_DATE_EPOCH` may ask for by name.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use oci::Digest;

use super::error::ContextError;
use super::read::temporary;
use super::stream::{self, Input};
use crate::auth::Auth;
use crate::download::fetch;
use crate::git;
use crate::plan::CopySource;

/// When something that an ADD names is of, seconds since the epoch: a commit's time; of a file
/// what the server tells, or the newest file in it if it is an archive.
///
/// # Errors
/// [`ContextError::Undated`] when it cannot be fetched.
pub async fn added_time(
    source: &CopySource,
    checksum: Option<&Digest>,
    auth: &Auth,
) -> Result<Option<i64>, ContextError> {
    let dir = std::env::temp_dir();
    match source {
        CopySource::Url(url) => {
            let download = fetch(url, checksum, &dir, auth).await;
            let download = download.map_err(|e| ContextError::Undated {
                url: e.url,
                message: e.message,
            })?;
            if download.modified.is_some() {
                return Ok(download.modified);
            }
            let newest = tokio::task::spawn_blocking(move || {
                let dir = temporary().ok()?;
                match stream::read(download.open().ok()?, dir.path()) {
                    Ok(Input::Unpacked) => newest_file(dir.path()),
                    // Anything else has no date.
                    Ok(Input::Dockerfile(_)) | Err(_) => None,
                }
            });
            Ok(newest.await.ok().flatten())
        }
        CopySource::Git(added) => {
            let checkout = git::checkout(&added.source, false, &dir, auth).await;
            let checkout = checkout.map_err(|e| ContextError::Undated {
                url: e.url,
                message: e.message,
            })?;
            Ok(Some(checkout.committed))
        }
        CopySource::Path(_) | CopySource::Inline { .. } => Ok(None),
    }
}

/// The latest modification time of the files in a folder.
pub(super) fn newest_file(dir: &Path) -> Option<i64> {
    let entries = fs::read_dir(dir).ok()?.flatten();
    let times = entries.filter_map(|entry| match entry.file_type().ok()? {
        kind if kind.is_dir() => newest_file(&entry.path()),
        kind if kind.is_file() => Some(entry.metadata().ok()?.mtime()),
        _ => None,
    });
    times.max()
}
