//! Build-cache records: what a step with a key led to.

use std::collections::{HashMap, HashSet};

use oci::Digest;

use crate::db::cache as table;
use crate::error::{Error, Result};
use crate::lock::TOUCH_SECONDS;
use crate::record::{CacheRecord, NewCacheRecord};
use crate::store::Store;

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
        let _gate = self.looking().await?;
        let mut db = self.0.db.lock().await;
        let mut found = HashMap::with_capacity(keys.len());
        for row in table::get_many(&mut db, keys).await? {
            let record = row.into_record()?;
            found.insert(record.key.clone(), record);
        }
        self.announce(found.values().filter_map(|record| record.chain_id.as_ref()))?;
        if self.0.read_only {
            return Ok(found);
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

    /// Those of the records whose layer is here, with all that a look at one after the other would
    /// do, in a few queries.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn cache_layers(&self, keys: &[Digest]) -> Result<Vec<CacheRecord>> {
        let found = self.cache_get_many(keys).await?;
        let chains: Vec<_> = found.values().filter_map(|r| r.chain_id.clone()).collect();
        let here = self.snapshots_here(&chains).await?;
        let is_here = |record: &CacheRecord| {
            let chain = record.chain_id.as_ref();
            chain.is_some_and(|chain| here.contains(chain))
        };
        Ok(found.into_values().filter(is_here).collect())
    }

    /// Stores a record, replacing the one that the key has.
    ///
    /// # Errors
    /// [`Error::NoSuchSnapshot`] when that of `chain_id` is not there.
    pub async fn cache_put(&self, record: NewCacheRecord) -> Result<()> {
        let mut db = self.0.db.lock().await;
        match (
            table::put(&mut db, &record, self.now()).await?,
            record.chain_id,
        ) {
            (false, Some(chain_id)) => Err(Error::NoSuchSnapshot(chain_id)),
            _ => Ok(()),
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
