//! Metadata moved from one database into another.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::backup::Copy;
use crate::meta::{Company, Meta, Place, Snapshot};
use crate::service::error::ServiceError;
use crate::service::state::{Registry, lock};
use crate::storage::{Context, create, sync_dir};
use crate::sync::blocking;

/// What was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// Repositories that have manifests.
    pub repositories: u64,
    /// Their manifests.
    pub manifests: u64,
    /// Their tags.
    pub tags: u64,
}

impl Registry {
    /// Copies all metadata of the registry in `data_dir`, which nobody may serve, into a database
    /// that has none. Blobs stay where they are, and so does what was copied.
    ///
    /// # Errors
    /// [`ServiceError::NoDatabase`], [`ServiceError::NotEmpty`]; [`ServiceError::Storage`],
    /// [`ServiceError::Meta`]. There is nothing in the new database then.
    pub async fn migrate(
        data_dir: &Path,
        from: &Place,
        to: &Place,
    ) -> Result<Migrated, ServiceError> {
        if Meta::is_missing(from).await? {
            return Err(ServiceError::NoDatabase(from.to_string()));
        }
        let dir = data_dir.to_owned();
        let _lock = blocking(move || lock(&dir)).await?;
        if !Meta::is_empty(to).await? {
            return Err(ServiceError::NotEmpty(to.to_string()));
        }
        let copy = Copy(data_dir.join("registry.migrating.db"));
        let unready = copy.0.clone();
        blocking(move || {
            match fs::remove_file(&unready) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).context("remove", &unready),
                // It is for its owner only, and may be there while it is empty.
                _ => create(&unready).context("create", &unready).map(drop),
            }
        })
        .await?;
        let meta = Meta::open(from, Company::Alone, None).await?;
        let copied = meta.copy_to(&copy.0).await;
        meta.close().await;
        copied?;
        let migrated = counted(&copy.0).await?;
        match to {
            Place::Server(server) => server.fill(&copy.0).await?,
            Place::File(file) => {
                let (dir, file) = (data_dir.to_owned(), file.clone());
                blocking(move || {
                    let ready = File::open(&copy.0).context("open", &copy.0)?;
                    ready.sync_all().context("sync", &copy.0)?;
                    fs::rename(&copy.0, &file).context("rename to", &file)?;
                    sync_dir(&dir)
                })
                .await?;
            }
        }
        Ok(migrated)
    }
}

async fn counted(copy: &Path) -> Result<Migrated, ServiceError> {
    let mut snapshot = Snapshot::open(copy).await?;
    let mut migrated = Migrated::default();
    for name in snapshot.repositories().await? {
        let manifests = snapshot.manifests_of(&name).await?;
        migrated.repositories += 1;
        migrated.manifests += manifests.len() as u64;
        let tags = manifests.iter().map(|(_, tags)| tags.len() as u64);
        migrated.tags += tags.sum::<u64>();
    }
    snapshot.close().await?;
    Ok::<_, ServiceError>(migrated)
}
