//! Build-cache records: what a step with a key led to.

use std::collections::{HashMap, HashSet};

use oci::{ChainId, DiffId, Digest};

use crate::db::cache as table;
use crate::error::{Error, Result};
use crate::lock::TOUCH_SECONDS;
use crate::store::Store;

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRecord {
    /// The step's key.
    pub key: Digest,
    /// The stack of layers after the step; its snapshot is there. `None` when the step left
    /// everything as it was.
    pub chain_id: Option<ChainId>,
    /// The layer that the step made, if it made one.
    pub diff_id: Option<DiffId>,
    /// When the step ran, as its history entry says it: RFC 3339.
    pub created: String,
    /// The step in the user's words.
    pub description: String,
    /// Bytes of files in the layer.
    pub size: u64,
    /// When the record was made, in seconds since the epoch.
    pub created_at: i64,
    /// When it was last used, in seconds since the epoch, to about a minute.
    pub last_used: i64,
    /// How often it was used; uses within a minute count once.
    pub uses: u64,
}

/// A record to be stored.
#[derive(Clone, Debug)]
pub struct NewCacheRecord {
    /// The step's key.
    pub key: Digest,
    /// The stack of layers after the step, which must have been committed; `None` when the step
    /// left everything as it was.
    pub chain_id: Option<ChainId>,
    /// The layer that the step made, if it made one.
    pub diff_id: Option<DiffId>,
    /// When the step ran: RFC 3339.
    pub created: String,
    /// The step in the user's words.
    pub description: String,
    /// Bytes of files in the layer.
    pub size: u64,
}

impl Store {
    /// The record of one key; see [`cache_get_many`](Self::cache_get_many).
    ///
    /// # Errors
    /// Those of the database.
    pub async fn cache_get(&self, key: &Digest) -> Result<Option<CacheRecord>> {
        let mut found = self.cache_get_many(std::slice::from_ref(key)).await?;
        Ok(found.remove(key))
    }

    /// The records of those keys that have one, in one query. The use is written down at most
    /// once a minute, so that a hit is not a write.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn cache_get_many(&self, keys: &[Digest]) -> Result<HashMap<Digest, CacheRecord>> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let mut db = self.0.db.lock().await;
        let mut found = HashMap::with_capacity(keys.len());
        for row in table::get_many(&mut db, keys).await? {
            let record = row.into_record()?;
            found.insert(record.key.clone(), record);
        }
        let now = self.now();
        let stale: Vec<Digest> = found
            .values()
            .filter(|record| record.last_used + TOUCH_SECONDS <= now)
            .map(|record| record.key.clone())
            .collect();
        if !stale.is_empty() {
            let kept: HashSet<String> = table::touch(&mut db, &stale, now)
                .await?
                .into_iter()
                .collect();
            // What another process has removed since we read it is no hit.
            for key in stale {
                if !kept.contains(&key.to_string()) {
                    found.remove(&key);
                }
            }
        }
        Ok(found)
    }

    /// Stores a record, replacing the one that the key has.
    ///
    /// # Errors
    /// [`Error::NoSuchSnapshot`] when that of `chain_id` is not there.
    pub async fn cache_put(&self, record: NewCacheRecord) -> Result<()> {
        let mut db = self.0.db.lock().await;
        let put = table::put(&mut db, &record, self.now()).await;
        match (put, record.chain_id) {
            (Err(sqlx::Error::Database(e)), Some(chain_id)) if e.is_foreign_key_violation() => {
                Err(Error::NoSuchSnapshot(chain_id))
            }
            (put, _) => Ok(put?),
        }
    }

    /// All records, the least recently used first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn cache_list(&self) -> Result<Vec<CacheRecord>> {
        let rows = table::all(&mut *self.0.db.lock().await).await?;
        rows.into_iter().map(table::CacheRow::into_record).collect()
    }
}
