//! The `snapshots` table.

use std::collections::HashSet;

use oci::{ChainId, DiffId};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{FromRow, Row};

use super::{json_list, parse, to_i64, to_u64};
use crate::error::Result;

/// A row.
#[derive(Debug, FromRow)]
pub(crate) struct SnapshotRow {
    pub id: i64,
    chain_id: String,
    diff_id: String,
    size_tar: i64,
    size_disk: i64,
    pub clamp_mtime: Option<i64>,
    pub last_used: i64,
    source_id: Option<i64>,
}

impl SnapshotRow {
    /// The row in whose directory the files are.
    pub fn owner(&self) -> i64 {
        self.source_id.unwrap_or(self.id)
    }

    pub fn chain_id(&self) -> Result<ChainId> {
        parse(&self.chain_id)
    }

    pub fn diff_id(&self) -> Result<DiffId> {
        parse(&self.diff_id)
    }

    pub fn size_tar(&self) -> u64 {
        to_u64(self.size_tar)
    }

    pub fn size_disk(&self) -> u64 {
        to_u64(self.size_disk)
    }
}

/// A row to be.
#[derive(Debug)]
pub(crate) struct NewSnapshot<'a> {
    pub id: i64,
    pub chain_id: &'a ChainId,
    pub parent: Option<i64>,
    /// The row in whose directory the files are, when that is another one.
    pub source: Option<i64>,
    pub diff_id: &'a DiffId,
    pub size_tar: u64,
    pub size_disk: u64,
    pub clamp_mtime: Option<i64>,
    pub boot_id: &'a str,
    pub now: i64,
}

/// One snapshot.
pub(crate) async fn get(
    db: &mut SqliteConnection,
    chain_id: &ChainId,
) -> sqlx::Result<Option<SnapshotRow>> {
    sqlx::query_as(
        "SELECT id, chain_id, diff_id, size_tar, size_disk, clamp_mtime, last_used,
                source_id
         FROM snapshots WHERE chain_id = ?",
    )
    .bind(chain_id.to_string())
    .fetch_optional(db)
    .await
}

/// Those of many that are there.
pub(crate) async fn get_many(
    db: &mut SqliteConnection,
    chain_ids: &[ChainId],
) -> sqlx::Result<Vec<SnapshotRow>> {
    sqlx::query_as(
        "SELECT id, chain_id, diff_id, size_tar, size_disk, clamp_mtime, last_used,
                source_id
         FROM snapshots WHERE chain_id IN (SELECT value FROM json_each(?))",
    )
    .bind(json_list(chain_ids))
    .fetch_all(db)
    .await
}

/// A snapshot and all below it, topmost first; empty when it is not there.
pub(crate) async fn chain(
    db: &mut SqliteConnection,
    chain_id: &ChainId,
) -> sqlx::Result<Vec<SnapshotRow>> {
    sqlx::query_as(
        "WITH RECURSIVE chain (id, parent_id, depth) AS (
             SELECT id, parent_id, 0 FROM snapshots WHERE chain_id = ?
             UNION ALL
             SELECT s.id, s.parent_id, chain.depth + 1
             FROM chain JOIN snapshots s ON s.id = chain.parent_id
         )
         SELECT s.id, s.chain_id, s.diff_id, s.size_tar, s.size_disk, s.clamp_mtime, s.last_used,
                s.source_id
         FROM chain JOIN snapshots s ON s.id = chain.id ORDER BY chain.depth",
    )
    .bind(chain_id.to_string())
    .fetch_all(db)
    .await
}

/// Adds a row.
pub(crate) async fn insert(db: &mut SqliteConnection, new: &NewSnapshot<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO snapshots (id, chain_id, parent_id, diff_id, size_tar, size_disk,
                                clamp_mtime, boot_id, created_at, last_used, source_id)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?9, ?9, ?10)",
    )
    .bind(new.id)
    .bind(new.chain_id.to_string())
    .bind(new.parent)
    .bind(new.diff_id.to_string())
    .bind(to_i64(new.size_tar))
    .bind(to_i64(new.size_disk))
    .bind(new.clamp_mtime)
    .bind(new.boot_id)
    .bind(new.now)
    .bind(new.source)
    .execute(db)
    .await?;
    Ok(())
}

/// Writes down a use; false when the row is gone.
pub(crate) async fn touch(db: &mut SqliteConnection, id: i64, now: i64) -> sqlx::Result<bool> {
    let done = sqlx::query("UPDATE snapshots SET last_used = ? WHERE id = ?")
        .bind(now)
        .bind(id)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes down a use of each.
pub(crate) async fn touch_many(
    db: &mut SqliteConnection,
    ids: &[i64],
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE snapshots SET last_used = ? WHERE id IN (SELECT value FROM json_each(?))")
        .bind(now)
        .bind(serde_json::Value::from(ids).to_string())
        .execute(db)
        .await?;
    Ok(())
}

/// Records that a snapshot's files were made anew, in this boot.
pub(crate) async fn renew(
    db: &mut SqliteConnection,
    id: i64,
    boot_id: &str,
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE snapshots SET boot_id = ?, last_used = ? WHERE id = ?")
        .bind(boot_id)
        .bind(now)
        .bind(id)
        .execute(db)
        .await?;
    Ok(())
}

/// Every snapshot, what has files of its own first, and what was made first before what was made
/// of it.
pub(crate) async fn all(db: &mut SqliteConnection) -> sqlx::Result<Vec<SnapshotRow>> {
    sqlx::query_as(
        "SELECT id, chain_id, diff_id, size_tar, size_disk, clamp_mtime, last_used,
                source_id
         FROM snapshots ORDER BY source_id IS NOT NULL, created_at, id",
    )
    .fetch_all(db)
    .await
}

/// The snapshots whose files may not be on disk yet.
pub(crate) async fn not_durable(db: &mut SqliteConnection) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar("SELECT id FROM snapshots WHERE boot_id IS NOT NULL")
        .fetch_all(db)
        .await
}

/// Those of them whose files have so many bytes at least.
pub(crate) async fn large_not_durable(
    db: &mut SqliteConnection,
    bytes: i64,
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "SELECT id FROM snapshots
         WHERE boot_id IS NOT NULL AND source_id IS NULL AND size_disk >= ?",
    )
    .bind(bytes)
    .fetch_all(db)
    .await
}

/// Records that the files of these are on disk.
pub(crate) async fn mark_durable(db: &mut SqliteConnection, ids: &[i64]) -> sqlx::Result<()> {
    let ids = serde_json::Value::from(ids.to_vec()).to_string();
    sqlx::query("UPDATE snapshots SET boot_id = NULL WHERE id IN (SELECT value FROM json_each(?))")
        .bind(ids)
        .execute(db)
        .await?;
    Ok(())
}

/// Drops what another boot did not get onto the disk, with all that is built upon it, and returns
/// the IDs.
pub(crate) async fn drop_not_durable(
    db: &mut SqliteConnection,
    boot_id: &str,
) -> sqlx::Result<Vec<i64>> {
    let ids: Vec<i64> = sqlx::query_scalar(
        "WITH RECURSIVE lost (id) AS (
             SELECT id FROM snapshots WHERE boot_id IS NOT NULL AND boot_id <> ?
             UNION
             SELECT s.id FROM snapshots s
             JOIN lost ON s.parent_id = lost.id OR s.source_id = lost.id
         )
         SELECT id FROM lost",
    )
    .bind(boot_id)
    .fetch_all(&mut *db)
    .await?;
    delete(db, &ids).await?;
    Ok(ids)
}

/// Deletes rows, and the cache records that lead to them.
pub(crate) async fn delete(db: &mut SqliteConnection, ids: &[i64]) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM snapshots WHERE id IN (SELECT value FROM json_each(?))")
        .bind(serde_json::Value::from(ids.to_vec()).to_string())
        .execute(db)
        .await?;
    Ok(())
}

/// The IDs of all snapshots.
pub(crate) async fn ids(db: &mut SqliteConnection) -> sqlx::Result<HashSet<i64>> {
    let rows: Vec<SqliteRow> = sqlx::query("SELECT id FROM snapshots")
        .fetch_all(db)
        .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// Of all snapshots by chain ID: whose files they have, and how many bytes these are.
pub(crate) async fn sizes(
    db: &mut SqliteConnection,
) -> sqlx::Result<std::collections::HashMap<String, (i64, u64)>> {
    let rows: Vec<(String, i64, i64)> =
        sqlx::query_as("SELECT chain_id, coalesce(source_id, id), size_disk FROM snapshots")
            .fetch_all(db)
            .await?;
    Ok(rows
        .into_iter()
        .map(|(id, owner, size)| (id, (owner, to_u64(size))))
        .collect())
}
