//! Statements of garbage collection. They belong into one transaction, with the gate held.

use std::collections::HashSet;

use oci::{ChainId, Digest};
use sqlx::sqlite::SqliteConnection;

use super::{parse, to_u64};
use crate::error::Result;

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
    horizon: i64,
) -> Result<Vec<Digest>> {
    let rows: Vec<(String, Option<String>)> = sqlx::query_as(
        "DELETE FROM images WHERE removed = 1 AND last_used < ?
         RETURNING digest, manifest_digest",
    )
    .bind(horizon)
    .fetch_all(db)
    .await?;
    rows.iter()
        .flat_map(|(digest, manifest)| [Some(digest), manifest.as_ref()])
        .flatten()
        .map(|text| parse(text))
        .collect()
}

/// Deletes the snapshots that no image, cache record or recent use needs.
pub(crate) async fn delete_snapshots(
    db: &mut SqliteConnection,
    horizon: i64,
) -> Result<Vec<DeadSnapshot>> {
    let rows: Vec<(i64, String, i64)> = sqlx::query_as(
        "WITH RECURSIVE live (id) AS (
             SELECT id FROM snapshots WHERE last_used >= ?
                 OR chain_id IN (SELECT chain_id FROM image_layers)
                 OR chain_id IN (SELECT chain_id FROM cache_records WHERE chain_id IS NOT NULL)
             UNION
             SELECT s.parent_id FROM snapshots s JOIN live ON live.id = s.id
             WHERE s.parent_id IS NOT NULL
         )
         SELECT id, chain_id, size_disk FROM snapshots
         WHERE id NOT IN (SELECT id FROM live)",
    )
    .bind(horizon)
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

/// Forgets the blobs of layers that nothing has any more, and returns them.
pub(crate) async fn delete_layer_blobs(
    db: &mut SqliteConnection,
    horizon: i64,
) -> Result<Vec<Digest>> {
    let rows: Vec<String> = sqlx::query_scalar(
        "DELETE FROM layer_blobs WHERE recorded_at < ?
             AND diff_id NOT IN (SELECT diff_id FROM image_layers)
             AND diff_id NOT IN (SELECT diff_id FROM snapshots)
             AND diff_id NOT IN (SELECT diff_id FROM cache_records WHERE diff_id IS NOT NULL)
         RETURNING digest",
    )
    .bind(horizon)
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
         UNION SELECT digest FROM repo_digests",
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
