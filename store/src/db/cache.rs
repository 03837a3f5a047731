//! The `cache_records` table.

use oci::Digest;
use sqlx::FromRow;
use sqlx::sqlite::SqliteConnection;

use super::{json_list, parse, parse_opt, to_i64, to_u64};
use crate::error::Result;
use crate::record::{CacheRecord, NewCacheRecord, RecordKind};

#[derive(Debug, FromRow)]
pub(crate) struct CacheRow {
    key: String,
    chain_id: Option<String>,
    diff_id: Option<String>,
    created: String,
    description: String,
    size: i64,
    created_at: i64,
    last_used: i64,
    uses: i64,
}

impl CacheRow {
    pub fn into_record(self) -> Result<CacheRecord> {
        Ok(CacheRecord {
            key: parse(&self.key)?,
            chain_id: parse_opt(self.chain_id.as_deref())?,
            diff_id: parse_opt(self.diff_id.as_deref())?,
            created: self.created,
            description: self.description,
            size: to_u64(self.size),
            created_at: self.created_at,
            last_used: self.last_used,
            uses: to_u64(self.uses),
            kind: RecordKind::Regular,
        })
    }
}

/// The records of those keys that have one, in no particular order.
pub(crate) async fn get_many(
    db: &mut SqliteConnection,
    keys: &[Digest],
) -> sqlx::Result<Vec<CacheRow>> {
    sqlx::query_as("SELECT * FROM cache_records WHERE key IN (SELECT value FROM json_each(?))")
        .bind(json_list(keys))
        .fetch_all(db)
        .await
}

/// All records, least recently used first.
pub(crate) async fn all(db: &mut SqliteConnection) -> sqlx::Result<Vec<CacheRow>> {
    sqlx::query_as("SELECT * FROM cache_records ORDER BY last_used, created_at, key")
        .fetch_all(db)
        .await
}

/// The keys of the records whose result is part of an image.
pub(crate) async fn keys_in_images(db: &mut SqliteConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT key FROM cache_records
         WHERE chain_id IN (SELECT l.chain_id FROM image_layers l
                            JOIN images i ON i.id = l.image_id WHERE i.removed = 0)
            OR chain_id IN (SELECT source.chain_id FROM image_layers l
                            JOIN images i ON i.id = l.image_id
                            JOIN snapshots s ON s.chain_id = l.chain_id
                            JOIN snapshots source ON source.id = s.source_id
                            WHERE i.removed = 0)",
    )
    .fetch_all(db)
    .await
}

/// Writes down a use of each key and returns those that are still there.
pub(crate) async fn touch(
    db: &mut SqliteConnection,
    keys: impl IntoIterator<Item = &Digest>,
    now: i64,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "UPDATE cache_records SET last_used = ?, uses = uses + 1
         WHERE key IN (SELECT value FROM json_each(?)) RETURNING key",
    )
    .bind(now)
    .bind(json_list(keys))
    .fetch_all(db)
    .await
}

/// Adds or replaces a record; false when the snapshot that it names is not there.
pub(crate) async fn put(
    db: &mut SqliteConnection,
    record: &NewCacheRecord,
    now: i64,
) -> sqlx::Result<bool> {
    let put = sqlx::query(
        "INSERT INTO cache_records (key, chain_id, diff_id, created, description, size,
                                    created_at, last_used, uses)
         VALUES (?, ?, ?, ?, ?, ?, ?7, ?7, 0)
         ON CONFLICT (key) DO UPDATE SET
             chain_id = excluded.chain_id, diff_id = excluded.diff_id,
             created = excluded.created, description = excluded.description,
             size = excluded.size, created_at = excluded.created_at,
             last_used = excluded.last_used",
    )
    .bind(record.key.to_string())
    .bind(record.chain_id.as_ref().map(ToString::to_string))
    .bind(record.diff_id.as_ref().map(ToString::to_string))
    .bind(&record.created)
    .bind(&record.description)
    .bind(to_i64(record.size))
    .bind(now)
    .execute(db)
    .await;
    match put {
        Err(sqlx::Error::Database(e)) if e.is_foreign_key_violation() => Ok(false),
        put => put.map(|_| true),
    }
}

/// Removes records.
pub(crate) async fn delete(
    db: &mut SqliteConnection,
    keys: impl IntoIterator<Item = &Digest>,
) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM cache_records WHERE key IN (SELECT value FROM json_each(?))")
        .bind(json_list(keys))
        .execute(db)
        .await?;
    Ok(())
}
