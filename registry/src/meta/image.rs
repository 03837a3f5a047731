//! One manifest, what belongs to it, and what its deletion would take.

use oci::Digest;
use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;

use super::database::Meta;
use super::described::{MANIFEST, ManifestColumns, ManifestEntry, manifest_entry};
use super::engine::{query_as, query_scalar};
use super::error::MetaError;
use super::links::find_repository;
use super::needed::tag_needing_manifest;
use super::sql::{from_sql, json};
use crate::name::RepositoryName;

/// Names that are told at most; more are counted.
const NAMES: u32 = 1000;

/// What the deletion of a manifest, or of a whole repository, takes away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Going {
    /// Tags that go; the first thousand.
    pub tags: Vec<String>,
    /// How many tags go.
    pub tag_count: u64,
    /// Manifests that go.
    pub manifest_count: u64,
    /// Blobs that nothing in the repository needs then: the next collection takes them out of it.
    pub blob_count: u64,
    /// Their bytes, with those of the manifests.
    pub bytes: u64,
    /// Bytes of these that no other repository shows: so much is freed by that collection.
    pub freed_bytes: u64,
}

impl Meta {
    /// Those of these manifests that a repository shows, in any order.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn manifest_entries(
        &self,
        repository: &RepositoryName,
        digests: &[Digest],
    ) -> Result<Vec<ManifestEntry>, MetaError> {
        let rows: Vec<ManifestColumns> = query_as(AssertSqlSafe(format!(
            "SELECT {MANIFEST} FROM repositories r
             CROSS JOIN json_each(?2) j ON true
             CROSS JOIN manifests m ON m.repository_id = r.id AND m.digest = j.value
             WHERE r.name = ?1"
        )))
        .bind(repository.as_str())
        .bind(json(digests)?)
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.into_iter().map(manifest_entry).collect())
    }

    /// The tags that point to a manifest, and the manifests that list it: a thousand at most.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn pointing_to(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<(Vec<String>, Vec<String>), MetaError> {
        let tags = query_scalar(
            "SELECT t.name FROM repositories r
             CROSS JOIN manifests m ON m.repository_id = r.id AND m.digest = ?2
             CROSS JOIN tags t ON t.manifest_id = m.id
             WHERE r.name = ?1 ORDER BY t.name LIMIT ?3",
        )
        .bind(repository.as_str())
        .bind(digest.to_string())
        .bind(NAMES)
        .fetch_all(&self.readers)
        .await?;
        let listed = query_scalar(
            "SELECT m.digest FROM repositories r
             CROSS JOIN manifest_children c ON c.repository_id = r.id AND c.child_digest = ?2
             CROSS JOIN manifests m ON m.id = c.manifest_id
             WHERE r.name = ?1 LIMIT ?3",
        )
        .bind(repository.as_str())
        .bind(digest.to_string())
        .bind(NAMES)
        .fetch_all(&self.readers)
        .await?;
        Ok((tags, listed))
    }

    /// The first tag of which `counts` is true and whose index needs a manifest.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn tag_needing(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        counts: impl Fn(&str) -> bool,
    ) -> Result<Option<String>, MetaError> {
        let mut connection = self.readers.acquire().await?;
        let Some(id) = find_repository(&mut connection, repository).await? else {
            return Ok(None);
        };
        let found = tag_needing_manifest(&mut connection, id, digest, counts).await;
        self.noted(found)
    }

    /// What the deletion of a manifest takes away; nothing, when it is not there.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn manifest_going(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Going, MetaError> {
        let row: Option<(i64, i64, i64)> = query_as(
            "SELECT m.id, m.repository_id, m.blob_id FROM repositories r
             CROSS JOIN manifests m ON m.repository_id = r.id
             WHERE r.name = ? AND m.digest = ?",
        )
        .bind(repository.as_str())
        .bind(digest.to_string())
        .fetch_optional(&self.readers)
        .await?;
        let Some((manifest, repository_id, blob)) = row else {
            return Ok(Going::default());
        };
        let tag_count: i64 = query_scalar("SELECT count(*) FROM tags WHERE manifest_id = ?")
            .bind(manifest)
            .fetch_one(&self.readers)
            .await?;
        let (blob_count, bytes, freed): (i64, i64, i64) = query_as(
            "WITH going (id, is_blob) AS (
                 SELECT n.blob_id, 1 FROM manifest_blobs n WHERE n.manifest_id = ?1
                   AND NOT EXISTS (SELECT 1 FROM manifest_blobs o
                       WHERE o.blob_id = n.blob_id AND o.repository_id = ?2
                         AND o.manifest_id <> ?1)
                 UNION ALL SELECT ?3, 0)
             SELECT coalesce(sum(g.is_blob), 0), CAST(coalesce(sum(b.size), 0) AS BIGINT),
                 CAST(coalesce(sum(CASE
                     WHEN EXISTS (SELECT 1 FROM repository_blobs rb
                          WHERE rb.blob_id = g.id AND rb.repository_id <> ?2)
                        OR EXISTS (SELECT 1 FROM manifests m
                          WHERE m.blob_id = g.id AND m.repository_id <> ?2)
                     THEN 0 ELSE b.size END), 0) AS BIGINT)
             FROM going g CROSS JOIN blobs b ON b.id = g.id",
        )
        .bind(manifest)
        .bind(repository_id)
        .bind(blob)
        .fetch_one(&self.readers)
        .await?;
        let (tags, _) = self.pointing_to(repository, digest).await?;
        Ok(Going {
            tags,
            tag_count: from_sql(tag_count),
            manifest_count: 1,
            blob_count: from_sql(blob_count),
            bytes: from_sql(bytes),
            freed_bytes: from_sql(freed),
        })
    }

    /// What the deletion of a whole repository takes away; `None` when there is none.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn repository_going(
        &self,
        repository: &RepositoryName,
    ) -> Result<Option<Going>, MetaError> {
        let row: Option<(i64, i64)> =
            query_as("SELECT id, bytes FROM repositories WHERE name = ? AND emptied = 0")
                .bind(repository.as_str())
                .fetch_optional(&self.readers)
                .await?;
        let Some((id, bytes)) = row else {
            return Ok(None);
        };
        let tags =
            query_scalar("SELECT name FROM tags WHERE repository_id = ? ORDER BY name LIMIT ?")
                .bind(id)
                .bind(NAMES)
                .fetch_all(&self.readers)
                .await?;
        let (tag_count, manifest_count, blob_count, freed): (i64, i64, i64, i64) = query_as(
            "SELECT (SELECT count(*) FROM tags WHERE repository_id = ?1),
                    (SELECT count(*) FROM manifests WHERE repository_id = ?1),
                    (SELECT count(*) FROM repository_blobs WHERE repository_id = ?1),
                    (SELECT CAST(coalesce(sum(b.size), 0) AS BIGINT) FROM (
                         SELECT blob_id AS id FROM repository_blobs WHERE repository_id = ?1
                         UNION SELECT blob_id FROM manifests WHERE repository_id = ?1) g
                     CROSS JOIN blobs b ON b.id = g.id
                     WHERE NOT EXISTS (SELECT 1 FROM repository_blobs rb
                               WHERE rb.blob_id = g.id AND rb.repository_id <> ?1)
                       AND NOT EXISTS (SELECT 1 FROM manifests m
                               WHERE m.blob_id = g.id AND m.repository_id <> ?1))",
        )
        .bind(id)
        .fetch_one(&self.readers)
        .await?;
        Ok(Some(Going {
            tags,
            tag_count: from_sql(tag_count),
            manifest_count: from_sql(manifest_count),
            blob_count: from_sql(blob_count),
            bytes: from_sql(bytes),
            freed_bytes: from_sql(freed),
        }))
    }
}
