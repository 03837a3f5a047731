//! Statements of a check of the store.

use std::collections::HashMap;

use oci::Digest;
use sqlx::sqlite::SqliteConnection;

use super::parse;
use crate::error::Result;

/// What SQLite finds wrong.
pub(crate) async fn faults(db: &mut SqliteConnection) -> sqlx::Result<Vec<String>> {
    let mut faults: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check")
        .fetch_all(&mut *db)
        .await?;
    faults.retain(|fault| fault != "ok");
    let dangling: Vec<(String, String)> =
        sqlx::query_as("SELECT \"table\", parent FROM pragma_foreign_key_check")
            .fetch_all(db)
            .await?;
    faults.extend(
        dangling
            .into_iter()
            .map(|(table, parent)| format!("a row of {table} refers to none of {parent}")),
    );
    Ok(faults)
}

/// Every blob that has to be there.
pub(crate) async fn needed_blobs(db: &mut SqliteConnection) -> Result<Vec<Digest>> {
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT digest FROM images WHERE removed = 0
         UNION SELECT manifest_digest FROM images WHERE manifest_digest IS NOT NULL
         UNION SELECT digest FROM layer_blobs
         UNION SELECT digest FROM indexes WHERE removed = 0
         UNION SELECT digest FROM index_manifests WHERE present = 1
         UNION SELECT digest FROM index_blobs",
    )
    .fetch_all(db)
    .await?;
    rows.iter().map(|text| parse(text)).collect()
}

/// The chain IDs of the snapshots below others, by the IDs of these.
pub(crate) async fn parents(db: &mut SqliteConnection) -> sqlx::Result<HashMap<i64, String>> {
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "SELECT s.id, p.chain_id FROM snapshots s JOIN snapshots p ON p.id = s.parent_id",
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().collect())
}

/// A snapshot, all that stands on it, and what has its files: IDs and chain IDs.
pub(crate) async fn above(db: &mut SqliteConnection, id: i64) -> sqlx::Result<Vec<(i64, String)>> {
    sqlx::query_as(
        "WITH RECURSIVE above (id) AS (
             SELECT ?
             UNION SELECT s.id FROM snapshots s
             JOIN above ON s.parent_id = above.id OR s.source_id = above.id
         )
         SELECT s.id, s.chain_id FROM above JOIN snapshots s ON s.id = above.id",
    )
    .bind(id)
    .fetch_all(db)
    .await
}

/// Forgets a blob in whatever part it had.
pub(crate) async fn forget_blob(db: &mut SqliteConnection, digest: &Digest) -> sqlx::Result<()> {
    for sql in [
        "DELETE FROM layer_blobs WHERE digest = ?",
        "DELETE FROM images WHERE digest = ?",
        "DELETE FROM indexes WHERE digest = ?",
        "UPDATE index_manifests SET present = 0 WHERE digest = ?",
        "UPDATE index_manifests SET present = 0 WHERE image_id IS NULL AND index_id IN
             (SELECT index_id FROM index_blobs WHERE digest = ?)",
        "DELETE FROM index_blobs WHERE digest = ?",
        "UPDATE images SET manifest_digest = NULL, manifest_media_type = NULL,
             manifest_size = NULL WHERE manifest_digest = ?",
    ] {
        sqlx::query(sql)
            .bind(digest.to_string())
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}
