//! A copy of the database beside it, for the day on which it is lost.
//!
//! Blobs say everything but where they belong. The copy says that, as of when it was made.

use std::fs;
use std::path::{Path, PathBuf};

use crate::service::error::ServiceError;
use crate::service::state::Registry;
use crate::storage::{Context, create, sync_dir};
use crate::sync::blocking;

/// Where the copy of a registry's database is.
pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("registry.backup.db")
}

impl Registry {
    /// Copies the database, unless nothing changed since it was last copied; whether it did.
    ///
    /// # Errors
    /// [`ServiceError`]; the copy that was there before is still there then.
    pub async fn back_up(&self) -> Result<bool, ServiceError> {
        let mut backed_up = self.backed_up.lock().await;
        let target = path(&self.data_dir);
        let commits = self.meta.commits();
        let unready = self.blobs.staging().join("registry.backup.db");
        let (last, new) = (target.clone(), unready.clone());
        let unchanged = *backed_up == Some(commits);
        let done = blocking(move || {
            if unchanged && last.exists() {
                return Ok(true);
            }
            match fs::remove_file(&new) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    Err(e).context("remove", &new)
                }
                // Made here, for its owner only; it may be there while it is empty.
                _ => create(&new).context("create", &new).map(|_| false),
            }
        })
        .await?;
        if done {
            return Ok(false);
        }
        self.meta.copy_to(&unready).await?;
        let dir = self.data_dir.clone();
        blocking(move || {
            let file = fs::File::open(&unready).context("open", &unready)?;
            file.sync_all().context("sync", &unready)?;
            fs::rename(&unready, &target).context("rename to", &target)?;
            sync_dir(&dir)
        })
        .await?;
        *backed_up = Some(commits);
        Ok(true)
    }
}
