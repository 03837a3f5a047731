//! Everything that is known, for comparing it with what is on disk.

use std::collections::HashSet;
use std::path::Path;

use oci::Digest;
use sqlx::Connection as _;

use super::database::{Home, Meta};
use super::engine::{Connection, query, query_as, query_scalar};
use super::error::MetaError;
use super::file::read_only;
use super::sql::from_sql;

/// A blob that should have a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownBlob {
    /// Its row.
    pub id: i64,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl Meta {
    /// What SQLite itself finds wrong with a database in a file; nothing, usually.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn integrity(&self) -> Result<Vec<String>, MetaError> {
        let found = match &self.home {
            Home::File(file) => self.examine(&file.path).await,
            // The server's own checks are the server's.
            Home::Server(_) => Ok(Vec::new()),
        };
        self.noted(found)
    }

    async fn examine(&self, path: &Path) -> Result<Vec<String>, MetaError> {
        // A connection of its own: in one that has searched before, SQLite checks the index of
        // words by what that connection remembers of it, and finds wrong what changed since.
        let mut connection = read_only(path).await?;
        #[cfg(test)]
        super::database::count_steps(&mut connection, &self.steps).await?;
        let mut found: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check")
            .fetch_all(&mut connection)
            .await?;
        found.retain(|line| line != "ok");
        let dangling: Vec<String> =
            sqlx::query_scalar("SELECT \"table\" FROM pragma_foreign_key_check")
                .fetch_all(&mut connection)
                .await?;
        connection.close().await?;
        found.extend(
            dangling
                .into_iter()
                .map(|table| format!("a row of {table} points to none")),
        );
        Ok(found)
    }

    /// Up to `n` blobs that should have files, after row `after`.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn known_blobs(&self, after: i64, n: u32) -> Result<Vec<KnownBlob>, MetaError> {
        let rows: Vec<(i64, String, i64)> = query_as(
            "SELECT id, digest, size FROM blobs WHERE stored = 1 AND id > ? ORDER BY id LIMIT ?",
        )
        .bind(after)
        .bind(n)
        .fetch_all(&self.readers)
        .await?;
        rows.into_iter()
            .map(|(id, digest, size)| {
                Ok(KnownBlob {
                    id,
                    digest: digest
                        .parse()
                        .map_err(|e| MetaError::Corrupt(format!("blob {digest:?}: {e}")))?,
                    size: from_sql(size),
                })
            })
            .collect()
    }

    /// Whether a blob should have a file.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn is_stored(&self, digest: &Digest) -> Result<bool, MetaError> {
        let id: Option<i64> = query_scalar("SELECT id FROM blobs WHERE digest = ? AND stored = 1")
            .bind(digest.to_string())
            .fetch_optional(&self.readers)
            .await?;
        Ok(id.is_some())
    }

    /// When the newest of the blobs that are known came, in seconds since 1970.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn newest_blob(&self) -> Result<Option<i64>, MetaError> {
        Ok(
            query_scalar("SELECT created_at FROM blobs ORDER BY id DESC LIMIT 1")
                .fetch_optional(&self.readers)
                .await?,
        )
    }

    /// Those of `digests` that should have no file.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn not_stored(&self, digests: &[&Digest]) -> Result<HashSet<Digest>, MetaError> {
        let list = serde_json::to_string(digests).map_err(|e| MetaError::Corrupt(e.to_string()))?;
        let unknown: Vec<String> = query_scalar(
            "SELECT j.value FROM json_each(?) j WHERE NOT EXISTS (
                 SELECT 1 FROM blobs WHERE digest = j.value AND stored = 1)",
        )
        .bind(list)
        .fetch_all(&self.readers)
        .await?;
        // All of them came from digests.
        Ok(unknown.iter().filter_map(|d| d.parse().ok()).collect())
    }

    /// The manifests, as `repository@digest`, that are this blob or need it.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn manifests_with(&self, blob: i64) -> Result<Vec<String>, MetaError> {
        Ok(query_scalar(
            "SELECT r.name || '@' || m.digest FROM manifests m
             JOIN repositories r ON r.id = m.repository_id
             WHERE m.blob_id = ?1
                OR m.id IN (SELECT manifest_id FROM manifest_blobs WHERE blob_id = ?1)
             ORDER BY 1",
        )
        .bind(blob)
        .fetch_all(&self.readers)
        .await?)
    }

    /// Shows a blob nowhere any more, neither as a blob nor as a manifest: its content is lost.
    /// Clients that push it again bring it back.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn lose_blob(&self, id: i64) -> Result<(), MetaError> {
        self.writer
            .run(move |c| Box::pin(lose(c, id)), |()| {})
            .await
    }
}

async fn lose(c: &mut Connection, id: i64) -> Result<(), MetaError> {
    for sql in [
        "DELETE FROM repository_blobs WHERE blob_id = ?",
        "DELETE FROM manifests WHERE blob_id = ?",
        "UPDATE blobs SET stored = 0 WHERE id = ?",
    ] {
        query(sql).bind(id).execute(&mut *c).await?;
    }
    Ok(())
}
