//! Garbage collection: from rows that nothing needs to space on the disk.
//!
//! Rows go first, in a durable transaction, content afterwards: after a crash in between there
//! is content without rows, which [`Store::prune`] finds. Blobs are only unlinked in a (second)
//! write transaction, and rows that refer to a blob are only written in one that has seen it, so
//! that neither can overtake the other.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use oci::Digest;
use oci::blob::{BlobStore, DiskBlobs};

use crate::db::collect::{self as table, DeadSnapshot};
use crate::db::sqlite::Connection;
use crate::db::{self, Durability};
use crate::error::{Error, Result};
use crate::lock::{Gate, unique_name};
use crate::root::Layout;
use crate::store::{Store, blocking, discard_orphans};
use crate::trash;

/// Staging files of blobs not written to for this long belong to nobody.
const STAGING_AGE: Duration = Duration::from_secs(60);

/// Which blobs to look at.
#[derive(Clone, Debug)]
pub(crate) enum BlobCandidates {
    /// These, and those of the rows deleted in the same transaction.
    These(Vec<Digest>),
    /// Every file in the store.
    All,
}

/// What a collection has taken out of the database.
#[derive(Debug)]
pub(crate) struct Freed {
    pub snapshots: Vec<DeadSnapshot>,
    /// Blobs that nothing refers to, with their sizes.
    pub blobs: Vec<(Digest, u64)>,
    thorough: bool,
}

impl Freed {
    /// Bytes of files.
    pub fn size(&self) -> u64 {
        let snapshots: u64 = self.snapshots.iter().map(|s| s.size).sum();
        snapshots + self.blobs.iter().map(|(_, size)| size).sum::<u64>()
    }
}

impl Store {
    pub(crate) fn horizon(&self, gate: &Gate) -> Result<i64> {
        gate.horizon(&self.0.layout)
    }

    /// Deletes the rows that nothing needs any more and finds the content that goes with them.
    pub(crate) async fn collect(
        &self,
        tx: &mut Connection,
        horizon: i64,
        candidates: BlobCandidates,
    ) -> Result<Freed> {
        let mut forgotten = table::delete_removed_images(tx, horizon).await?;
        let snapshots = table::delete_snapshots(tx, horizon).await?;
        forgotten.extend(table::delete_layer_blobs(tx, horizon).await?);
        table::delete_sources(tx, horizon).await?;
        let referenced = table::referenced_blobs(tx).await?;
        let thorough = matches!(candidates, BlobCandidates::All);
        let blobs = self.0.blobs.clone();
        let blobs = blocking(move || {
            let candidates: HashSet<Digest> = match candidates {
                BlobCandidates::All => blobs.list()?.into_iter().collect(),
                BlobCandidates::These(these) => these.into_iter().chain(forgotten).collect(),
            };
            let mut dead = Vec::new();
            for digest in candidates.difference(&referenced) {
                if let Some(size) = unused_since(&blobs, digest, horizon)? {
                    dead.push((digest.clone(), size));
                }
            }
            dead.sort();
            Ok(dead)
        })
        .await?;
        Ok(Freed {
            snapshots,
            blobs,
            thorough,
        })
    }

    /// Moves the content to the trash, once the transaction of [`collect`](Self::collect) is
    /// durable. The gate goes along, to be held until it is done even if nobody waits for it.
    pub(crate) async fn free(&self, gate: Gate, horizon: i64, freed: Freed) -> Result<()> {
        let since = self.since();
        let mut db = self.0.db.lock().await;
        let mut tx = db.begin(Durability::Lazy).await?;
        // Once more: between the two transactions another process may have come to refer to a
        // blob, or have committed a snapshot.
        let referenced = table::referenced_blobs(&mut tx).await?;
        let live = match freed.thorough {
            true => Some(db::snapshots::ids(&mut tx).await?),
            false => None,
        };
        let shared = self.0.clone();
        blocking(move || {
            let _gate = gate;
            for snapshot in &freed.snapshots {
                trash::discard(&shared.layout, &shared.layout.snapshot(snapshot.id))?;
            }
            for (digest, _) in &freed.blobs {
                if !referenced.contains(digest) {
                    discard_blob(&shared.layout, &shared.blobs, digest, horizon)?;
                }
            }
            if let Some(live) = live {
                discard_orphans(&shared.layout, &live, since)?;
                shared.blobs.clean_staging(STAGING_AGE)?;
            }
            Ok(())
        })
        .await?;
        tx.rollback().await?;
        Ok(())
    }

    /// Deletes what is in the trash. To the caller it is gone already: what cannot be deleted now
    /// is tried again by later runs, and is no failure of this one.
    pub(crate) async fn empty_trash(&self) -> Result<()> {
        let shared = Arc::clone(&self.0);
        blocking(move || {
            if let Err(e) = trash::empty(&shared.layout) {
                tracing::warn!(error = %e, "some removed files could not be deleted");
            }
            Ok(())
        })
        .await
    }
}

/// The size of a blob that was last written or asked for before `horizon`; `None` when it must
/// stay or is gone.
fn unused_since(blobs: &DiskBlobs, digest: &Digest, horizon: i64) -> Result<Option<u64>> {
    let path = blobs.path(digest);
    match fs::metadata(&path) {
        Ok(metadata) => Ok((modified(&metadata) < horizon).then_some(metadata.len())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("reading", &path)(e)),
    }
}

/// Seconds since the epoch; what has no time was just written.
fn modified(metadata: &fs::Metadata) -> i64 {
    let modified = metadata.modified().ok();
    let age = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    age.map_or(i64::MAX, |d| db::to_i64(d.as_secs()))
}

/// Takes a blob away, unless [`Store::use_blob`] has marked it meanwhile.
fn discard_blob(layout: &Layout, blobs: &DiskBlobs, digest: &Digest, horizon: i64) -> Result<()> {
    let path = blobs.path(digest);
    let aside = layout.trash.join(unique_name());
    match fs::rename(&path, &aside) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io("moving to the trash", &path)(e)),
    }
    let metadata = fs::metadata(&aside).map_err(Error::io("reading", &aside))?;
    if modified(&metadata) >= horizon {
        // The same content under the same name, should it have been written again meanwhile.
        fs::rename(&aside, &path).map_err(Error::io("putting back", &path))?;
    }
    Ok(())
}
