//! The `layer_blobs` and `blob_sources` tables.

use oci::{Descriptor, DiffId, Digest, MediaType};
use sqlx::sqlite::SqliteConnection;

use super::{parse, to_i64, to_u64};
use crate::error::Result;

/// The blobs of a layer, the latest recorded first.
pub(crate) async fn blobs(db: &mut SqliteConnection, diff_id: &DiffId) -> Result<Vec<Descriptor>> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT media_type, digest, size FROM layer_blobs WHERE diff_id = ?
         ORDER BY recorded_at DESC, digest",
    )
    .bind(diff_id.to_string())
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|(media_type, digest, size)| {
            let media_type = MediaType::new(media_type);
            Ok(Descriptor::new(media_type, parse(&digest)?, to_u64(size)))
        })
        .collect()
}

/// The layers that a blob is a form of.
pub(crate) async fn diff_ids(db: &mut SqliteConnection, blob: &Digest) -> Result<Vec<DiffId>> {
    let rows: Vec<String> = sqlx::query_scalar("SELECT diff_id FROM layer_blobs WHERE digest = ?")
        .bind(blob.to_string())
        .fetch_all(db)
        .await?;
    rows.iter().map(|text| parse(text)).collect()
}

/// Adds a blob of a layer.
pub(crate) async fn record_blob(
    db: &mut SqliteConnection,
    diff_id: &DiffId,
    blob: &Descriptor,
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT OR REPLACE INTO layer_blobs (diff_id, digest, media_type, size, recorded_at)
         VALUES (?, ?, ?, ?, ?)",
    )
    .bind(diff_id.to_string())
    .bind(blob.digest.to_string())
    .bind(blob.media_type.as_str())
    .bind(to_i64(blob.size))
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets a blob of a layer.
pub(crate) async fn forget_blob(db: &mut SqliteConnection, blob: &Digest) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM layer_blobs WHERE digest = ?")
        .bind(blob.to_string())
        .execute(db)
        .await?;
    Ok(())
}

/// The repositories known to hold a blob, the latest seen first.
pub(crate) async fn sources(db: &mut SqliteConnection, blob: &Digest) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT repository FROM blob_sources WHERE digest = ? ORDER BY seen_at DESC, repository",
    )
    .bind(blob.to_string())
    .fetch_all(db)
    .await
}

/// Whether all of these blobs are known to be in a repository.
pub(crate) async fn sources_known(
    db: &mut SqliteConnection,
    repository: &str,
    blobs: &str,
) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT NOT EXISTS (SELECT 1 FROM json_each(?2) j WHERE NOT EXISTS (
             SELECT 1 FROM blob_sources b WHERE b.digest = j.value AND b.repository = ?1))",
    )
    .bind(repository)
    .bind(blobs)
    .fetch_one(db)
    .await
}

/// Records that a repository holds these blobs.
pub(crate) async fn record_sources(
    db: &mut SqliteConnection,
    repository: &str,
    blobs: &str,
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT OR REPLACE INTO blob_sources (digest, repository, seen_at)
         SELECT value, ?, ? FROM json_each(?)",
    )
    .bind(repository)
    .bind(now)
    .bind(blobs)
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets that a repository holds a blob.
pub(crate) async fn forget_source(
    db: &mut SqliteConnection,
    repository: &str,
    blob: &Digest,
) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM blob_sources WHERE digest = ? AND repository = ?")
        .bind(blob.to_string())
        .bind(repository)
        .execute(db)
        .await?;
    Ok(())
}
