//! What came from other registries: what its manifests will need, and what of it goes first.

use oci::Digest;

use super::collect::UnusedBlob;
use super::database::Meta;
use super::engine::{Connection, query, query_as, query_scalar};
use super::error::MetaError;
use super::sql::{from_sql, json, to_sql};
use crate::clock::now;
use crate::name::RepositoryName;

/// What taking a mirrored manifest away took along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// The manifest itself; none when it was gone already.
    pub manifest: Option<UnusedBlob>,
    /// Its tags.
    pub tags: Vec<String>,
    /// The blobs that its repository does not show any more.
    pub blobs: Vec<UnusedBlob>,
}

/// A mirrored manifest that may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idle {
    /// Its row.
    pub id: i64,
    /// Its repository.
    pub repository: String,
}

impl Meta {
    /// The size of a blob that is stored, whoever shows it.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn stored_size(&self, digest: &Digest) -> Result<Option<u64>, MetaError> {
        let size: Option<i64> =
            query_scalar("SELECT size FROM blobs WHERE digest = ? AND stored = 1")
                .bind(digest.to_string())
                .fetch_optional(&self.readers)
                .await?;
        Ok(size.map(from_sql))
    }

    /// Whether there is a repository of that name.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn has_repository(&self, name: &RepositoryName) -> Result<bool, MetaError> {
        let found: Option<i64> = query_scalar("SELECT 1 FROM repositories WHERE name = ?")
            .bind(name.as_str())
            .fetch_optional(&self.readers)
            .await?;
        Ok(found.is_some())
    }

    /// Bytes of all that these repositories show, each blob counted once.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn bytes_of(&self, repositories: &[String]) -> Result<u64, MetaError> {
        let bytes: i64 = query_scalar(
            "WITH r (id) AS (SELECT id FROM repositories
                             WHERE name IN (SELECT value FROM json_each(?)))
             SELECT CAST(coalesce(sum(size), 0) AS BIGINT) FROM blobs WHERE stored = 1 AND id IN (
                 SELECT blob_id FROM repository_blobs WHERE repository_id IN (SELECT id FROM r)
                 UNION SELECT blob_id FROM manifests WHERE repository_id IN (SELECT id FROM r))",
        )
        .bind(json(repositories)?)
        .fetch_one(&self.readers)
        .await?;
        Ok(from_sql(bytes))
    }

    /// Up to `n` manifests of these repositories, those that were not pulled for longest first,
    /// used before `before`.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn idle_manifests(
        &self,
        repositories: &[String],
        before: i64,
        n: u32,
    ) -> Result<Vec<Idle>, MetaError> {
        let rows: Vec<(i64, String, i64)> = query_as(
            "SELECT m.id, r.name, max(coalesce(m.pulled_at, 0), m.pushed_at) AS used
             FROM repositories r JOIN manifests m ON m.repository_id = r.id
             WHERE r.name IN (SELECT value FROM json_each(?1))
               AND max(coalesce(m.pulled_at, 0), m.pushed_at) < ?2
             ORDER BY used, m.id LIMIT ?3",
        )
        .bind(json(repositories)?)
        .bind(before)
        .bind(n)
        .fetch_all(&self.readers)
        .await?;
        Ok(rows
            .into_iter()
            .map(|(id, repository, _)| Idle { id, repository })
            .collect())
    }

    /// Takes a manifest away, its tags with it, and out of its repository the blobs that no other
    /// manifest there needs.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn drop_manifest(
        &self,
        id: i64,
        effect: impl FnOnce(&Dropped) + Send + 'static,
    ) -> Result<Dropped, MetaError> {
        self.writer
            .run(move |c| Box::pin(drop_manifest(c, id)), effect)
            .await
    }
}

async fn drop_manifest(c: &mut Connection, id: i64) -> Result<Dropped, MetaError> {
    let row: Option<(i64, i64, String, i64)> =
        query_as("SELECT repository_id, blob_id, digest, size FROM manifests WHERE id = ?")
            .bind(id)
            .fetch_optional(&mut *c)
            .await?;
    let Some((repository, blob, digest, size)) = row else {
        return Ok(Dropped::default());
    };
    let needed: Vec<i64> = query_scalar("SELECT blob_id FROM manifest_blobs WHERE manifest_id = ?")
        .bind(id)
        .fetch_all(&mut *c)
        .await?;
    let tags = query_scalar("DELETE FROM tags WHERE manifest_id = ? RETURNING name")
        .bind(id)
        .fetch_all(&mut *c)
        .await?;
    query("DELETE FROM manifests WHERE id = ?")
        .bind(id)
        .execute(&mut *c)
        .await?;
    let gone: Vec<(i64, String, i64)> = query_as(
        "SELECT b.id, b.digest, b.size FROM json_each(?1) j
         JOIN blobs b ON b.id = CAST(j.value AS BIGINT)
         JOIN repository_blobs rb ON rb.blob_id = b.id AND rb.repository_id = ?2
         WHERE NOT EXISTS (SELECT 1 FROM manifest_blobs n
                           WHERE n.blob_id = b.id AND n.repository_id = ?2)",
    )
    .bind(json(&needed)?)
    .bind(repository)
    .fetch_all(&mut *c)
    .await?;
    let ids: Vec<i64> = gone.iter().map(|(id, ..)| *id).collect();
    query(
        "DELETE FROM repository_blobs WHERE repository_id = ?
           AND blob_id IN (SELECT CAST(value AS BIGINT) FROM json_each(?))",
    )
    .bind(repository)
    .bind(json(&ids)?)
    .execute(c)
    .await?;
    Ok(Dropped {
        manifest: Some(unused_blob((blob, digest, size))?),
        tags,
        blobs: gone
            .into_iter()
            .map(unused_blob)
            .collect::<Result<_, MetaError>>()?,
    })
}

/// Makes rows for blobs that are still to come, so that the manifest can say that it needs them.
pub(super) async fn expect(
    c: &mut Connection,
    repository: &RepositoryName,
    manifest: &Digest,
    blobs: &[(Digest, u64)],
) -> Result<(), MetaError> {
    for (digest, size) in blobs {
        query(
            "INSERT INTO blobs (digest, size, created_at, stored) VALUES (?, ?, ?, 0)
             ON CONFLICT DO NOTHING",
        )
        .bind(digest.to_string())
        .bind(to_sql(*size))
        .bind(now())
        .execute(&mut *c)
        .await?;
    }
    let digests: Vec<Digest> = blobs.iter().map(|(digest, _)| digest.clone()).collect();
    query(
        "INSERT INTO manifest_blobs (manifest_id, blob_id, repository_id)
         SELECT m.id, b.id, r.id FROM repositories r
         JOIN manifests m ON m.repository_id = r.id AND m.digest = ?2
         JOIN json_each(?3) j ON true
         JOIN blobs b ON b.digest = j.value
         WHERE r.name = ?1
         ON CONFLICT DO NOTHING",
    )
    .bind(repository.as_str())
    .bind(manifest.to_string())
    .bind(json(&digests)?)
    .execute(c)
    .await?;
    Ok(())
}

fn unused_blob((id, digest, size): (i64, String, i64)) -> Result<UnusedBlob, MetaError> {
    Ok(UnusedBlob {
        id,
        digest: digest
            .parse()
            .map_err(|e| MetaError::Corrupt(format!("blob {digest:?}: {e}")))?,
        size: from_sql(size),
    })
}
