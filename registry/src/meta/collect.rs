//! What nothing needs any more, and taking it away.
//!
//! Everything is found by a reader and checked again in the transaction that deletes it.

use std::time::Duration;

use oci::Digest;

use super::collection::{Collection, Slice};
use super::engine::{query, query_as, query_scalar};
use super::error::MetaError;
use super::job::job;
use super::sql::{from_sql, json};

/// A link, by the rows of its repository and its blob.
pub type LinkKey = (i64, i64);

/// A blob that a repository shows although none of its manifests needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleLink {
    /// The rows of repository and blob.
    pub key: LinkKey,
    /// The repository's name.
    pub repository: String,
    /// The blob's digest.
    pub digest: String,
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

/// A link `rb` that no manifest of its repository needs.
const STALE: &str = "NOT EXISTS (
    SELECT 1 FROM manifest_blobs n
    WHERE n.blob_id = rb.blob_id AND n.repository_id = rb.repository_id)";

/// A blob `b` that has a file and that no repository shows, neither as a blob nor as a manifest.
const UNUSED: &str = "b.stored = 1
    AND NOT EXISTS (SELECT 1 FROM repository_blobs rb WHERE rb.blob_id = b.id)
    AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.blob_id = b.id)";

/// A repository `r` that shows nothing.
const EMPTY: &str = "NOT EXISTS (SELECT 1 FROM repository_blobs rb WHERE rb.repository_id = r.id)
    AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = r.id)";

/// Sorts after every digest.
const AFTER_DIGESTS: &str = "~";

impl Collection<'_> {
    /// Those of the `n` links after `after` that were made before `cutoff` and that no manifest of
    /// their repository needs.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn stale_links(
        &self,
        cutoff: i64,
        after: LinkKey,
        n: u32,
    ) -> Result<Slice<Vec<StaleLink>, LinkKey>, MetaError> {
        self.look(move |c| {
            Box::pin(async move {
                let next: Option<LinkKey> = query_as(
                    "SELECT repository_id, blob_id FROM repository_blobs
                     WHERE (repository_id, blob_id) > (?1, ?2)
                     ORDER BY repository_id, blob_id LIMIT 1 OFFSET ?3",
                )
                .bind(after.0)
                .bind(after.1)
                .bind(n.saturating_sub(1))
                .fetch_optional(&mut *c)
                .await?;
                let end = next.unwrap_or((i64::MAX, i64::MAX));
                let rows: Vec<(i64, i64, String, String)> = query_as(sqlx::AssertSqlSafe(format!(
                    "SELECT rb.repository_id, rb.blob_id, r.name, b.digest
                         FROM repository_blobs rb
                         CROSS JOIN repositories r ON r.id = rb.repository_id
                         CROSS JOIN blobs b ON b.id = rb.blob_id
                         WHERE (rb.repository_id, rb.blob_id) > (?2, ?3)
                           AND (rb.repository_id, rb.blob_id) <= (?4, ?5)
                           AND rb.linked_at < ?1 AND {STALE}
                         ORDER BY rb.repository_id, rb.blob_id"
                )))
                .bind(cutoff)
                .bind(after.0)
                .bind(after.1)
                .bind(end.0)
                .bind(end.1)
                .fetch_all(c)
                .await?;
                let found = rows
                    .into_iter()
                    .map(|(repository_id, blob_id, repository, digest)| StaleLink {
                        key: (repository_id, blob_id),
                        repository,
                        digest,
                    })
                    .collect();
                Ok(Slice { found, next })
            })
        })
        .await
    }

    /// Takes away those of `links` that are still stale; how many went.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn remove_links(
        &self,
        links: Vec<LinkKey>,
        cutoff: i64,
        effect: impl FnOnce() + Send + 'static,
    ) -> Result<(u64, Duration), MetaError> {
        let work = job(move |c| {
            Box::pin(async move {
                let stale: Vec<LinkKey> = query_as(sqlx::AssertSqlSafe(format!(
                    "SELECT rb.repository_id, rb.blob_id FROM json_each(?1) j
                     CROSS JOIN repository_blobs rb
                         ON rb.repository_id = CAST(j.value ->> 0 AS BIGINT)
                         AND rb.blob_id = CAST(j.value ->> 1 AS BIGINT)
                     WHERE rb.linked_at < ?2 AND {STALE}"
                )))
                .bind(json(&links)?)
                .bind(cutoff)
                .fetch_all(&mut *c)
                .await?;
                query(
                    "DELETE FROM repository_blobs WHERE (repository_id, blob_id) IN (
                         SELECT CAST(value ->> 0 AS BIGINT), CAST(value ->> 1 AS BIGINT)
                         FROM json_each(?))",
                )
                .bind(json(&stale)?)
                .execute(c)
                .await?;
                Ok(stale.len() as u64)
            })
        });
        self.change(work, move |_| effect()).await
    }

    /// Those of the `n` blobs after the digest `after` that have a file and that no repository
    /// shows. In the order of digests, as files lie in directories.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn unused_blobs(
        &self,
        after: String,
        n: u32,
    ) -> Result<Slice<Vec<UnusedBlob>, String>, MetaError> {
        self.look(move |c| {
            Box::pin(async move {
                let next: Option<String> = query_scalar(
                    "SELECT digest FROM blobs WHERE digest > ?1
                     ORDER BY digest LIMIT 1 OFFSET ?2",
                )
                .bind(&after)
                .bind(n.saturating_sub(1))
                .fetch_optional(&mut *c)
                .await?;
                let rows: Vec<(i64, String, i64)> = query_as(sqlx::AssertSqlSafe(format!(
                    "SELECT b.id, b.digest, b.size FROM blobs b
                         WHERE b.digest > ?1 AND b.digest <= ?2 AND {UNUSED}
                         ORDER BY b.digest"
                )))
                .bind(&after)
                .bind(next.as_deref().unwrap_or(AFTER_DIGESTS))
                .fetch_all(c)
                .await?;
                let found = rows
                    .into_iter()
                    .map(|(id, digest, size)| {
                        Ok(UnusedBlob {
                            id,
                            digest: digest
                                .parse()
                                .map_err(|e| MetaError::Corrupt(format!("blob {digest:?}: {e}")))?,
                            size: from_sql(size),
                        })
                    })
                    .collect::<Result<_, MetaError>>()?;
                Ok(Slice { found, next })
            })
        })
        .await
    }

    /// Takes away the rows of blobs unless somebody shows them by now, or another process brings
    /// them; which went. Their files may go then, before anybody else may bring the same ones again,
    /// and [`Meta::left`](super::Meta::left) is to be told.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn remove_blobs(&self, ids: Vec<i64>) -> Result<(Vec<i64>, Duration), MetaError> {
        let replica = self.replica();
        let work = job(move |c| {
            Box::pin(async move {
                let mut unused: Vec<(i64, String)> = query_as(sqlx::AssertSqlSafe(format!(
                    "SELECT b.id, b.digest FROM json_each(?) j
                     CROSS JOIN blobs b ON b.id = CAST(j.value AS BIGINT)
                     WHERE {UNUSED}"
                )))
                .bind(json(&ids)?)
                .fetch_all(&mut *c)
                .await?;
                if let Some(replica) = replica {
                    let digests: Vec<&str> = unused.iter().map(|(_, d)| d.as_str()).collect();
                    let leaving = replica.leave(c, &digests).await?;
                    unused.retain(|(_, digest)| leaving.contains(digest));
                }
                let unused: Vec<i64> = unused.into_iter().map(|(id, _)| id).collect();
                for sql in [
                    "UPDATE blobs SET stored = 0
                     WHERE id IN (SELECT CAST(value AS BIGINT) FROM json_each(?))",
                    "DELETE FROM blobs WHERE id IN (SELECT CAST(value AS BIGINT) FROM json_each(?))
                       AND NOT EXISTS (SELECT 1 FROM manifest_blobs n WHERE n.blob_id = blobs.id)",
                ] {
                    query(sql).bind(json(&unused)?).execute(&mut *c).await?;
                }
                Ok(unused)
            })
        });
        self.change(work, |_| {}).await
    }

    /// Takes away the rows, of the `n` after `after`, of blobs without files that no manifest names
    /// any more; where to go on.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn forget_blobs(&self, after: i64, n: u32) -> Result<Option<i64>, MetaError> {
        let ids: Vec<i64> = self
            .look(move |c| {
                Box::pin(async move {
                    Ok(query_scalar(
                        "SELECT id FROM blobs WHERE stored = 0 AND id > ? ORDER BY id LIMIT ?",
                    )
                    .bind(after)
                    .bind(n)
                    .fetch_all(c)
                    .await?)
                })
            })
            .await?;
        let Some(last) = ids.last().copied() else {
            return Ok(None);
        };
        let work = job(move |c| {
            Box::pin(async move {
                query(
                    "DELETE FROM blobs WHERE stored = 0
                       AND id IN (SELECT CAST(value AS BIGINT) FROM json_each(?))
                       AND NOT EXISTS (SELECT 1 FROM manifest_blobs n WHERE n.blob_id = blobs.id)",
                )
                .bind(json(&ids)?)
                .execute(c)
                .await?;
                Ok(())
            })
        });
        self.change(work, |()| {}).await?;
        Ok(Some(last))
    }

    /// Those of the `n` repositories after `after` that were made before `cutoff` and show nothing.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn empty_repositories(
        &self,
        cutoff: i64,
        after: i64,
        n: u32,
    ) -> Result<Slice<Vec<i64>, i64>, MetaError> {
        self.look(move |c| {
            Box::pin(async move {
                let next: Option<i64> = query_scalar(
                    "SELECT id FROM repositories WHERE id > ?1 ORDER BY id LIMIT 1 OFFSET ?2",
                )
                .bind(after)
                .bind(n.saturating_sub(1))
                .fetch_optional(&mut *c)
                .await?;
                let found = query_scalar(sqlx::AssertSqlSafe(format!(
                    "SELECT r.id FROM repositories r
                     WHERE r.id > ?1 AND r.id <= ?2 AND r.created_at < ?3 AND {EMPTY}"
                )))
                .bind(after)
                .bind(next.unwrap_or(i64::MAX))
                .bind(cutoff)
                .fetch_all(c)
                .await?;
                Ok(Slice { found, next })
            })
        })
        .await
    }

    /// Takes away those of the repositories `ids` that still show nothing; how many went.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn remove_repositories(&self, ids: Vec<i64>) -> Result<(u64, Duration), MetaError> {
        let work = job(move |c| {
            Box::pin(async move {
                let done = query(sqlx::AssertSqlSafe(format!(
                    "DELETE FROM repositories AS r
                     WHERE r.id IN (SELECT CAST(value AS BIGINT) FROM json_each(?)) AND {EMPTY}"
                )))
                .bind(json(&ids)?)
                .execute(c)
                .await?;
                Ok(done.rows_affected())
            })
        });
        self.change(work, |_| {}).await
    }
}
