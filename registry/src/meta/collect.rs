//! What nothing needs any more, and taking it away.
//!
//! Everything is found by a reader and checked again in the transaction that deletes it.

use oci::Digest;

use super::database::Meta;
use super::error::MetaError;
use super::sql::from_sql;

/// A blob that a repository shows although none of its manifests needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleLink {
    /// The repository's row.
    pub repository_id: i64,
    /// The repository's name.
    pub repository: String,
    /// The blob's row.
    pub blob_id: i64,
    /// The blob's digest.
    pub digest: String,
    /// The blob's size in bytes.
    pub size: u64,
}

/// A blob that no repository shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusedBlob {
    /// Its row.
    pub id: i64,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl Meta {
    /// Up to `n` links made before `cutoff` that no manifest of their repository needs, after
    /// `(repository, blob)`.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn stale_links(
        &self,
        cutoff: i64,
        after: (i64, i64),
        n: u32,
    ) -> Result<Vec<StaleLink>, MetaError> {
        let rows: Vec<(i64, String, i64, String, i64)> = sqlx::query_as(
            "SELECT r.id, r.name, b.id, b.digest, b.size
             FROM repository_blobs rb
             JOIN repositories r ON r.id = rb.repository_id
             JOIN blobs b ON b.id = rb.blob_id
             WHERE (rb.repository_id, rb.blob_id) > (?2, ?3) AND rb.linked_at < ?1
               AND NOT EXISTS (
                   SELECT 1 FROM manifest_blobs mb JOIN manifests m ON m.id = mb.manifest_id
                   WHERE mb.blob_id = rb.blob_id AND m.repository_id = rb.repository_id)
             ORDER BY rb.repository_id, rb.blob_id LIMIT ?4",
        )
        .bind(cutoff)
        .bind(after.0)
        .bind(after.1)
        .bind(n)
        .fetch_all(&self.readers)
        .await?;
        Ok(rows
            .into_iter()
            .map(
                |(repository_id, repository, blob_id, digest, size)| StaleLink {
                    repository_id,
                    repository,
                    blob_id,
                    digest,
                    size: from_sql(size),
                },
            )
            .collect())
    }

    /// Takes away those of `links` that are still stale; how many went.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn remove_links(
        &self,
        links: Vec<StaleLink>,
        cutoff: i64,
        effect: impl FnOnce() + Send + 'static,
    ) -> Result<u64, MetaError> {
        self.writer
            .run(
                move |c| {
                    Box::pin(async move {
                        let mut gone = 0;
                        for link in &links {
                            let done = sqlx::query(
                                "DELETE FROM repository_blobs
                                 WHERE repository_id = ?1 AND blob_id = ?2 AND linked_at < ?3
                                   AND NOT EXISTS (
                                       SELECT 1 FROM manifest_blobs mb
                                       JOIN manifests m ON m.id = mb.manifest_id
                                       WHERE mb.blob_id = ?2 AND m.repository_id = ?1)",
                            )
                            .bind(link.repository_id)
                            .bind(link.blob_id)
                            .bind(cutoff)
                            .execute(&mut *c)
                            .await?;
                            gone += done.rows_affected();
                        }
                        Ok(gone)
                    })
                },
                move |_| effect(),
            )
            .await
    }

    /// Up to `n` stored blobs that no repository shows, neither as a blob nor as a manifest.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn unused_blobs(&self, after: i64, n: u32) -> Result<Vec<UnusedBlob>, MetaError> {
        let rows: Vec<(i64, String, i64)> = sqlx::query_as(
            "SELECT b.id, b.digest, b.size FROM blobs b
             WHERE b.id > ? AND b.stored = 1
               AND NOT EXISTS (SELECT 1 FROM repository_blobs rb WHERE rb.blob_id = b.id)
               AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.blob_id = b.id)
             ORDER BY b.id LIMIT ?",
        )
        .bind(after)
        .bind(n)
        .fetch_all(&self.readers)
        .await?;
        rows.into_iter()
            .map(|(id, digest, size)| {
                Ok(UnusedBlob {
                    id,
                    digest: digest
                        .parse()
                        .map_err(|e| MetaError::Corrupt(format!("blob {digest:?}: {e}")))?,
                    size: from_sql(size),
                })
            })
            .collect()
    }

    /// Takes away a blob's row unless somebody shows it by now; whether it went. Its file may go
    /// when this is true, before anybody else may bring it again.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn remove_blob(&self, id: i64) -> Result<bool, MetaError> {
        self.writer
            .run(
                move |c| {
                    Box::pin(async move {
                        let unused = "id = ?1
                            AND NOT EXISTS (SELECT 1 FROM repository_blobs WHERE blob_id = ?1)
                            AND NOT EXISTS (SELECT 1 FROM manifests WHERE blob_id = ?1)";
                        let marked = sqlx::query(sqlx::AssertSqlSafe(format!(
                            "UPDATE blobs SET stored = 0 WHERE {unused}"
                        )))
                        .bind(id)
                        .execute(&mut *c)
                        .await?;
                        if marked.rows_affected() == 0 {
                            return Ok(false);
                        }
                        sqlx::query(
                            "DELETE FROM blobs WHERE id = ?1 AND NOT EXISTS (
                                 SELECT 1 FROM manifest_blobs WHERE blob_id = ?1)",
                        )
                        .bind(id)
                        .execute(c)
                        .await?;
                        Ok(true)
                    })
                },
                |_| {},
            )
            .await
    }

    /// Takes away rows that nothing points to: blobs without files that no manifest names any
    /// more, and repositories made before `cutoff` that show nothing. How many repositories went.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn remove_empty(&self, cutoff: i64) -> Result<u64, MetaError> {
        self.writer
            .run(
                move |c| {
                    Box::pin(async move {
                        sqlx::query(
                            "DELETE FROM blobs WHERE stored = 0
                               AND NOT EXISTS (
                                   SELECT 1 FROM manifest_blobs mb WHERE mb.blob_id = blobs.id)",
                        )
                        .execute(&mut *c)
                        .await?;
                        let done = sqlx::query(
                            "DELETE FROM repositories WHERE created_at < ?1
                               AND NOT EXISTS (
                                   SELECT 1 FROM repository_blobs rb
                                   WHERE rb.repository_id = repositories.id)
                               AND NOT EXISTS (
                                   SELECT 1 FROM manifests m
                                   WHERE m.repository_id = repositories.id)",
                        )
                        .bind(cutoff)
                        .execute(c)
                        .await?;
                        Ok(done.rows_affected())
                    })
                },
                |_| {},
            )
            .await
    }
}
