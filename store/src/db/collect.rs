//! Statements of garbage collection. They belong into one transaction, with the gate held.

use std::collections::HashSet;

use oci::{ChainId, Digest};
use sqlx::sqlite::SqliteConnection;

use super::{json_list, parse, to_u64};
use crate::error::Result;
use crate::lock::InUse;

/// A snapshot that is no longer in the database.
#[derive(Clone, Debug)]
pub(crate) struct DeadSnapshot {
    pub id: i64,
    pub chain_id: ChainId,
    pub size: u64,
}

/// Deletes images that were removed while in use and are in use no more. Returns their blobs.
pub(crate) async fn delete_removed_images(
    db: &mut SqliteConnection,
    in_use: &InUse,
) -> Result<Vec<Digest>> {
    if in_use.everything {
        return Ok(Vec::new());
    }
    let rows: Vec<(String, Option<String>)> = sqlx::query_as(
        "DELETE FROM images WHERE removed = 1 AND digest NOT IN (SELECT value FROM json_each(?))
         RETURNING digest, manifest_digest",
    )
    .bind(json_list(&in_use.digests))
    .fetch_all(db)
    .await?;
    rows.iter()
        .flat_map(|(digest, manifest)| [Some(digest), manifest.as_ref()])
        .flatten()
        .map(|text| parse(text))
        .collect()
}

/// Deletes indexes that were removed while in use and are in use no more. Returns their blobs.
pub(crate) async fn delete_removed_indexes(
    db: &mut SqliteConnection,
    in_use: &InUse,
) -> Result<Vec<Digest>> {
    if in_use.everything {
        return Ok(Vec::new());
    }
    let held = json_list(&in_use.digests);
    let rows: Vec<String> = sqlx::query_scalar(
        "WITH gone (id) AS (
             SELECT id FROM indexes
             WHERE removed = 1 AND digest NOT IN (SELECT value FROM json_each(?))
         )
         SELECT digest FROM indexes WHERE id IN (SELECT id FROM gone)
         UNION SELECT digest FROM index_manifests
             WHERE present = 1 AND index_id IN (SELECT id FROM gone)
         UNION SELECT digest FROM index_blobs WHERE index_id IN (SELECT id FROM gone)",
    )
    .bind(&held)
    .fetch_all(&mut *db)
    .await?;
    sqlx::query(
        "DELETE FROM indexes
         WHERE removed = 1 AND digest NOT IN (SELECT value FROM json_each(?))",
    )
    .bind(&held)
    .execute(db)
    .await?;
    rows.iter().map(|text| parse(text)).collect()
}

/// Deletes the snapshots that no image, cache record or process needs.
pub(crate) async fn delete_snapshots(
    db: &mut SqliteConnection,
    in_use: &InUse,
) -> Result<Vec<DeadSnapshot>> {
    if in_use.everything {
        return Ok(Vec::new());
    }
    let rows: Vec<(i64, String, i64)> = sqlx::query_as(
        "WITH RECURSIVE live (id) AS (
             SELECT id FROM snapshots WHERE chain_id IN (SELECT value FROM json_each(?))
                 OR chain_id IN (SELECT chain_id FROM image_layers)
                 OR chain_id IN (SELECT chain_id FROM cache_records WHERE chain_id IS NOT NULL)
                 OR chain_id IN (SELECT chain_id FROM containers WHERE chain_id IS NOT NULL)
                 OR chain_id IN (SELECT chain_id FROM container_images WHERE chain_id IS NOT NULL)
             UNION
             SELECT s.parent_id FROM snapshots s JOIN live ON live.id = s.id
             WHERE s.parent_id IS NOT NULL
             UNION
             SELECT s.source_id FROM snapshots s JOIN live ON live.id = s.id
             WHERE s.source_id IS NOT NULL
         )
         SELECT id, chain_id, iif(source_id IS NULL, size_disk, 0) FROM snapshots
         WHERE id NOT IN (SELECT id FROM live)",
    )
    .bind(json_list(&in_use.digests))
    .fetch_all(&mut *db)
    .await?;
    let ids: Vec<i64> = rows.iter().map(|row| row.0).collect();
    super::snapshots::delete(db, &ids).await?;
    rows.into_iter()
        .map(|(id, chain_id, size)| {
            Ok(DeadSnapshot {
                id,
                chain_id: parse(&chain_id)?,
                size: to_u64(size),
            })
        })
        .collect()
}

/// How many snapshots, of how many bytes, would be unneeded without these images and cache
/// records and without any process.
pub(crate) async fn kept_snapshots(
    db: &mut SqliteConnection,
    images: &[i64],
    records: &[&Digest],
) -> Result<(usize, u64)> {
    let (count, size): (i64, i64) = sqlx::query_as(
        "WITH RECURSIVE live (id) AS (
             SELECT id FROM snapshots
             WHERE chain_id IN (SELECT chain_id FROM image_layers
                     WHERE image_id NOT IN (SELECT value FROM json_each(?1))
                     AND image_id NOT IN (SELECT id FROM images WHERE removed = 1))
                 OR chain_id IN (SELECT chain_id FROM cache_records WHERE chain_id IS NOT NULL
                     AND key NOT IN (SELECT value FROM json_each(?2)))
                 OR chain_id IN (SELECT chain_id FROM containers WHERE chain_id IS NOT NULL)
                 OR chain_id IN (SELECT chain_id FROM container_images WHERE chain_id IS NOT NULL)
             UNION
             SELECT s.parent_id FROM snapshots s JOIN live ON live.id = s.id
             WHERE s.parent_id IS NOT NULL
             UNION
             SELECT s.source_id FROM snapshots s JOIN live ON live.id = s.id
             WHERE s.source_id IS NOT NULL
         )
         SELECT count(*), coalesce(sum(size_disk), 0) FROM snapshots
         WHERE source_id IS NULL AND id NOT IN (SELECT id FROM live)",
    )
    .bind(serde_json::Value::from(images.to_vec()).to_string())
    .bind(json_list(records))
    .fetch_one(db)
    .await?;
    Ok((usize::try_from(count).unwrap_or(0), to_u64(size)))
}

/// Forgets the blobs of layers that nothing has any more, and returns them.
pub(crate) async fn delete_layer_blobs(
    db: &mut SqliteConnection,
    in_use: &InUse,
) -> Result<Vec<Digest>> {
    if in_use.everything {
        return Ok(Vec::new());
    }
    let rows: Vec<String> = sqlx::query_scalar(
        "DELETE FROM layer_blobs WHERE digest NOT IN (SELECT value FROM json_each(?))
             AND diff_id NOT IN (SELECT diff_id FROM image_layers)
             AND diff_id NOT IN (SELECT diff_id FROM snapshots)
             AND diff_id NOT IN (SELECT diff_id FROM cache_records WHERE diff_id IS NOT NULL)
         RETURNING digest",
    )
    .bind(json_list(&in_use.digests))
    .fetch_all(db)
    .await?;
    rows.iter().map(|text| parse(text)).collect()
}

/// Every blob that a row refers to.
pub(crate) async fn referenced_blobs(db: &mut SqliteConnection) -> Result<HashSet<Digest>> {
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT digest FROM images
         UNION SELECT manifest_digest FROM images WHERE manifest_digest IS NOT NULL
         UNION SELECT digest FROM layer_blobs
         UNION SELECT digest FROM repo_digests
         UNION SELECT digest FROM indexes
         UNION SELECT digest FROM index_manifests WHERE present = 1
         UNION SELECT digest FROM index_blobs",
    )
    .fetch_all(db)
    .await?;
    rows.iter().map(|text| parse(text)).collect()
}

/// Forgets where blobs are that nothing here refers to.
pub(crate) async fn delete_sources(db: &mut SqliteConnection, horizon: i64) -> sqlx::Result<()> {
    sqlx::query(
        "DELETE FROM blob_sources WHERE seen_at < ?
             AND digest NOT IN (SELECT digest FROM layer_blobs)
             AND digest NOT IN (SELECT digest FROM images)",
    )
    .bind(horizon)
    .execute(db)
    .await?;
    Ok(())
}
