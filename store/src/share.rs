//! Layers that depend on none below them lie on any stack, without a second copy of their files.

use oci::ChainId;

use crate::db::Durability;
use crate::db::snapshots::{self as table, NewSnapshot};
use crate::error::{Error, Result};
use crate::snapshot::{Snapshot, random_id};
use crate::store::Store;

impl Store {
    /// Puts the layer of a snapshot that stands on nothing on top of `parent` as well: a snapshot
    /// of its own with the same files, which stay as long as it is there. `None` when `layer` is
    /// not there any more.
    ///
    /// # Errors
    /// [`Error::NoSuchSnapshot`] when `parent` is gone; those of the database.
    pub async fn share(&self, layer: &ChainId, parent: &ChainId) -> Result<Option<Snapshot>> {
        let Some(snapshot) = self.snapshot(layer).await? else {
            return Ok(None);
        };
        let chain_id = ChainId::extend(Some(parent), &snapshot.diff_id);
        if let Some(there) = self.snapshot(&chain_id).await? {
            return Ok(Some(there));
        }
        self.announce([&chain_id])?;
        let mut db = self.0.db.lock().await;
        let mut tx = db.begin(Durability::Lazy).await?;
        if let Some(row) = table::get(&mut tx, &chain_id).await? {
            // Another process was as quick.
            return self.to_snapshot(&row).map(Some);
        }
        let Some(source) = table::get(&mut tx, layer).await? else {
            return Ok(None);
        };
        let Some(below) = table::get(&mut tx, parent).await? else {
            return Err(Error::NoSuchSnapshot(parent.clone()));
        };
        let new = NewSnapshot {
            id: random_id(),
            chain_id: &chain_id,
            parent: Some(below.id),
            source: Some(source.owner()),
            diff_id: &snapshot.diff_id,
            size_tar: snapshot.size_tar,
            size_disk: snapshot.size_disk,
            clamp_mtime: snapshot.clamp_mtime,
            boot_id: &self.0.boot_id,
            now: self.now(),
        };
        table::insert(&mut tx, &new).await?;
        tx.commit().await?;
        Ok(Some(Snapshot {
            chain_id,
            ..snapshot
        }))
    }

    /// The directories of a stack of layers, topmost first, each once: an overlay takes none
    /// twice, and whatever the lower one holds the upper one holds as well. Empty when the stack
    /// is not there.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn directories(&self, chain_id: &ChainId) -> Result<Vec<std::path::PathBuf>> {
        let mut seen = std::collections::HashSet::new();
        let chain = self.chain(chain_id).await?.into_iter();
        let paths = chain.map(|snapshot| snapshot.fs_path);
        Ok(paths.filter(|path| seen.insert(path.clone())).collect())
    }
}
