//! A copy of a database, read as it was when it was made, also by an older version of this program.

use std::path::Path;

use oci::Digest;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;

use super::error::MetaError;
use super::file::read_only;
use crate::name::{RepositoryName, Tag};

/// How many rows one look takes.
const PAGE: u32 = 1000;

/// A copy of a database. Only tables that the first version had are read.
#[derive(Debug)]
pub struct Snapshot(SqliteConnection);

/// A blob whose file a registry has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlob {
    /// Its row: where to go on.
    pub id: i64,
    /// What it is.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

impl Snapshot {
    /// Opens a copy, which stays as it is.
    ///
    /// # Errors
    /// [`MetaError`], also when it is no database.
    pub async fn open(path: &Path) -> Result<Self, MetaError> {
        Ok(Self(read_only(path).await?))
    }

    /// The next of the blobs whose files the registry had, after the row `after`; none at the end.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn stored_blobs(&mut self, after: i64) -> Result<Vec<StoredBlob>, MetaError> {
        let rows: Vec<(i64, String, i64)> = sqlx::query_as(
            "SELECT id, digest, size FROM blobs WHERE id > ? AND stored = 1 ORDER BY id LIMIT ?",
        )
        .bind(after)
        .bind(PAGE)
        .fetch_all(&mut self.0)
        .await?;
        rows.into_iter()
            .map(|(id, digest, size)| {
                Ok(StoredBlob {
                    id,
                    size: u64::try_from(size).unwrap_or(0),
                    digest: parsed(&digest)?,
                })
            })
            .collect()
    }

    /// The names of the repositories that have manifests.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn repositories(&mut self) -> Result<Vec<RepositoryName>, MetaError> {
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT name FROM repositories r
             WHERE EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = r.id) ORDER BY name",
        )
        .fetch_all(&mut self.0)
        .await?;
        names.iter().map(|name| parsed(name)).collect()
    }

    /// The blobs that the manifests of a repository need, without manifests.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn blobs_of(&mut self, name: &RepositoryName) -> Result<Vec<Digest>, MetaError> {
        let digests: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT b.digest FROM repositories r
             JOIN manifests m ON m.repository_id = r.id
             JOIN manifest_blobs n ON n.manifest_id = m.id
             JOIN blobs b ON b.id = n.blob_id
             WHERE r.name = ? AND b.stored = 1",
        )
        .bind(name.as_str())
        .fetch_all(&mut self.0)
        .await?;
        digests.iter().map(|digest| parsed(digest)).collect()
    }

    /// The manifests of a repository with what they were pushed as and with their tags.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn manifests_of(
        &mut self,
        name: &RepositoryName,
    ) -> Result<Vec<(Digest, Vec<Tag>)>, MetaError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT m.digest,
                    (SELECT json_group_array(t.name) FROM tags t WHERE t.manifest_id = m.id)
             FROM repositories r JOIN manifests m ON m.repository_id = r.id
             WHERE r.name = ?",
        )
        .bind(name.as_str())
        .fetch_all(&mut self.0)
        .await?;
        rows.into_iter()
            .map(|(digest, tags)| {
                let tags: Vec<String> = serde_json::from_str(&tags)
                    .map_err(|_| MetaError::Corrupt(format!("the tags of {digest}")))?;
                let tags = tags
                    .iter()
                    .map(|tag| parsed(tag))
                    .collect::<Result<_, _>>()?;
                Ok((parsed(&digest)?, tags))
            })
            .collect()
    }

    /// Closes it.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn close(self) -> Result<(), MetaError> {
        Ok(self.0.close().await?)
    }
}

fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, MetaError> {
    text.parse()
        .map_err(|_| MetaError::Corrupt(format!("{text:?} in a copy of the database")))
}
