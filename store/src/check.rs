//! What a check of the store looks at, and how it takes away what is damaged.

use std::path::PathBuf;
use std::sync::Arc;

use oci::{ChainId, Digest};

use crate::db::{self, Durability, check as table, snapshots};
use crate::error::Result;
use crate::snapshot::Snapshot;
use crate::store::{Known, Store, blocking, orphans};
use crate::trash;

impl Store {
    /// What SQLite finds wrong with the database, a line a fault.
    ///
    /// # Errors
    /// Those of the database: one that is damaged may not be readable at all.
    pub async fn check_database(&self) -> Result<Vec<String>> {
        let mut db = self.0.db.lock().await;
        Ok(table::faults(&mut db).await?)
    }

    /// Every snapshot, the oldest first, with the one below it; whether its files are there or
    /// not.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn snapshots(&self) -> Result<Vec<(Snapshot, Option<ChainId>)>> {
        let mut db = self.0.db.lock().await;
        let mut parents = table::parents(&mut db).await?;
        let rows = snapshots::all(&mut db).await?;
        rows.iter()
            .map(|row| {
                let parent = parents.remove(&row.id).map(|text| db::parse(&text));
                Ok((self.to_snapshot(row)?, parent.transpose()?))
            })
            .collect()
    }

    /// Whether there is a row of a snapshot.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn knows_snapshot(&self, chain_id: &ChainId) -> Result<bool> {
        let row = snapshots::get(&mut *self.0.db.lock().await, chain_id).await?;
        Ok(row.is_some())
    }

    /// Whether nothing can be written.
    pub fn is_read_only(&self) -> bool {
        self.0.read_only
    }

    /// Every blob that has to be there: configurations, manifests, and the forms of layers.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn needed_blobs(&self) -> Result<Vec<Digest>> {
        table::needed_blobs(&mut *self.0.db.lock().await).await
    }

    /// Directories that no row and no process knows, with their bytes.
    ///
    /// # Errors
    /// Those of the database and the file system.
    pub async fn leftovers(&self) -> Result<Vec<(PathBuf, u64)>> {
        let mut db = self.0.db.lock().await;
        let without_row = if self.0.read_only {
            orphans(&self.0.layout, &Known::read(&mut db).await?)?
        } else {
            // No snapshot is between its place and its row while a transaction is held.
            let mut tx = db.begin(Durability::Lazy).await?;
            let known = Known::read(&mut tx).await?;
            let shared = Arc::clone(&self.0);
            let found = blocking(move || orphans(&shared.layout, &known)).await?;
            tx.rollback().await?;
            found
        };
        drop(db);
        let shared = Arc::clone(&self.0);
        blocking(move || {
            let mut found = without_row;
            let abandoned = trash::abandoned(&shared.layout)?;
            found.extend(abandoned.into_iter().map(|left| left.path));
            let sized = found.into_iter().map(|path| {
                let size = trash::measure(&path);
                (path, size)
            });
            Ok(sized.collect())
        })
        .await
    }

    /// Takes a snapshot's files away, to be committed anew at once: its row stays, and whatever
    /// stands on it. False when a running process uses it.
    ///
    /// # Errors
    /// Those of the database and the file system.
    pub async fn take_away(&self, chain_id: &ChainId) -> Result<bool> {
        let gate = self.gate().await?;
        let mut db = self.0.db.lock().await;
        let Some(row) = snapshots::get(&mut db, chain_id).await? else {
            return Ok(true);
        };
        let above = table::above(&mut db, row.id).await?;
        drop(db);
        let in_use = self.in_use(&gate)?;
        if above.iter().any(|(_, chain_id)| in_use.holds(chain_id)) {
            return Ok(false);
        }
        let shared = Arc::clone(&self.0);
        blocking(move || {
            let _gate = gate;
            trash::discard(&shared.layout, &shared.layout.snapshot(row.owner()))?;
            Ok(true)
        })
        .await
    }

    /// Forgets a snapshot, with all that stands on it and leads to it, and removes the files.
    /// False when a running process uses any of it.
    ///
    /// # Errors
    /// Those of the database and the file system.
    pub async fn drop_snapshot(&self, chain_id: &ChainId) -> Result<bool> {
        let gate = self.gate().await?;
        let mut db = self.0.db.lock().await;
        let mut tx = db.begin(Durability::Full).await?;
        let in_use = self.in_use(&gate)?;
        let Some(row) = snapshots::get(&mut tx, chain_id).await? else {
            return Ok(true);
        };
        let above = table::above(&mut tx, row.id).await?;
        if above.iter().any(|(_, chain_id)| in_use.holds(chain_id)) {
            return Ok(false);
        }
        snapshots::delete(&mut tx, &[row.id]).await?;
        tx.commit().await?;
        drop(db);
        let shared = Arc::clone(&self.0);
        blocking(move || {
            let _gate = gate;
            for (id, _) in above {
                trash::discard(&shared.layout, &shared.layout.snapshot(id))?;
            }
            Ok(())
        })
        .await?;
        self.empty_trash().await?;
        Ok(true)
    }

    /// Forgets a blob that is damaged or gone, and removes its file: as a form of layers, as the
    /// manifest that an image came with, and an image whose configuration it is. False when a
    /// running process uses it.
    ///
    /// # Errors
    /// Those of the database and the file system.
    pub async fn drop_blob(&self, digest: &Digest) -> Result<bool> {
        let gate = self.gate().await?;
        let mut db = self.0.db.lock().await;
        let mut tx = db.begin(Durability::Full).await?;
        if self.in_use(&gate)?.holds(digest) {
            return Ok(false);
        }
        table::forget_blob(&mut tx, digest).await?;
        tx.commit().await?;
        drop(db);
        let shared = Arc::clone(&self.0);
        let digest = digest.clone();
        blocking(move || {
            let _gate = gate;
            trash::discard(&shared.layout, &shared.blobs.path(&digest))
        })
        .await?;
        self.empty_trash().await?;
        Ok(true)
    }
}
