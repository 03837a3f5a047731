//! A database that may be damaged, and what can still be read from it; and copies for such days.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::TryStreamExt;
use oci::{Digest, MediaType};
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;

use super::damage::is_damage;
use super::database::{Home, Meta};
use super::error::MetaError;
use super::file::read_only;
use crate::name::{RepositoryName, Tag};

/// The state of a database file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// There is none, or nothing in it.
    Missing,
    /// SQLite finds nothing wrong with it.
    Sound,
    /// SQLite finds this wrong with it.
    Damaged(String),
}

/// A manifest as a database had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedManifest {
    /// The repository.
    pub repository: RepositoryName,
    /// The manifest.
    pub digest: Digest,
    /// What it was pushed as.
    pub media_type: MediaType,
    /// Its tags.
    pub tags: Vec<Tag>,
}

/// Looks at a database without changing it.
///
/// # Errors
/// [`MetaError`], when it cannot be looked at for other reasons than damage.
pub async fn health(path: &Path) -> Result<Health, MetaError> {
    let size = tokio::fs::metadata(path).await.map_or(0, |m| m.len());
    if size == 0 {
        return Ok(Health::Missing);
    }
    match examine(path).await {
        Ok(found) if found == ["ok"] => Ok(Health::Sound),
        Ok(found) => Ok(Health::Damaged(found.join("; "))),
        Err(e) if is_damage(&e) => Ok(Health::Damaged(e.to_string())),
        Err(e) => Err(e.into()),
    }
}

async fn examine(path: &Path) -> Result<Vec<String>, sqlx::Error> {
    let mut connection = read_only(path).await?;
    let mut found: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check(10)")
        .fetch_all(&mut connection)
        .await?;
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = 'manifests'")
            .fetch_one(&mut connection)
            .await?;
    if tables == 0 {
        found = vec!["it has no table of manifests".to_owned()];
    }
    connection.close().await?;
    Ok(found)
}

/// Reads the names of manifests as far as they can be read; none when nothing can.
pub async fn salvage(path: &Path) -> Vec<NamedManifest> {
    let mut found = Vec::new();
    if tokio::fs::try_exists(path).await.unwrap_or(false)
        && let Ok(mut connection) = read_only(path).await
    {
        read_names(&mut connection, &mut found).await;
        let _ = connection.close().await;
    }
    found
}

async fn read_names(c: &mut SqliteConnection, found: &mut Vec<NamedManifest>) {
    type Row = (String, String, String, Option<String>);
    let mut rows = sqlx::query_as::<_, Row>(
        "SELECT r.name, m.digest, m.media_type, t.name FROM repositories r
         JOIN manifests m ON m.repository_id = r.id
         LEFT JOIN tags t ON t.manifest_id = m.id
         ORDER BY m.id",
    )
    .fetch(c);
    // The first error ends it: behind it SQLite would begin anew.
    while let Ok(Some((repository, digest, media_type, tag))) = rows.try_next().await {
        // A damaged database may hold anything.
        let (Ok(repository), Ok(digest)) = (repository.parse(), digest.parse()) else {
            continue;
        };
        let tag: Option<Tag> = tag.and_then(|tag| tag.parse().ok());
        match found.last_mut() {
            Some(last) if last.digest == digest && last.repository == repository => {
                last.tags.extend(tag);
            }
            _ => found.push(NamedManifest {
                repository,
                digest,
                media_type: MediaType::new(media_type),
                tags: tag.into_iter().collect(),
            }),
        }
    }
}

impl Meta {
    /// Writes a copy of the database to a file that must not exist. Nobody has to wait for it.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn copy_to(&self, file: &Path) -> Result<(), MetaError> {
        let copied = self.copy(file).await;
        self.noted(copied)
    }

    async fn copy(&self, file: &Path) -> Result<(), MetaError> {
        let path = match &self.home {
            Home::File(file) => &file.path,
            Home::Server(server) => {
                return server.copy_to(file).await;
            }
        };
        let mut connection = read_only(path).await?;
        sqlx::query("VACUUM INTO ?")
            .bind(file.to_string_lossy().into_owned())
            .execute(&mut connection)
            .await?;
        Ok(connection.close().await?)
    }

    /// How many transactions were committed by this process.
    pub fn commits(&self) -> u64 {
        self.commits.load(Relaxed)
    }
}
