//! Garbage collection: from rows that nothing needs to space on the disk.
//!
//! Rows go first, in a durable transaction, content afterwards: after a crash in between there
//! is content without rows, which [`Store::prune`] finds. Blobs are only unlinked in a (second)
//! write transaction, and rows that refer to a blob are only written in one that has seen it, so
//! that neither can overtake the other.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use oci::Digest;
use oci::blob::{BlobStore, DiskBlobs};

use crate::db::collect::{self as table, DeadSnapshot};
use crate::db::sqlite::Connection;
use crate::db::{self, Durability};
use crate::error::{Error, Result};
use crate::lock::{Gate, InUse};
use crate::reserve;
use crate::store::{Known, Store, blocking, orphans};
use crate::trash::{self, Abandoned};

/// Staging files of blobs that nobody has locked belong to nobody. This long one may be about to
/// be locked.
const STAGING_AGE: Duration = Duration::from_secs(2);

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
    /// Files without a row, which crashes and full disks have left, and their bytes.
    pub left: Vec<PathBuf>,
    /// Some of those, with the locks that keep them from being taken for one's own meanwhile.
    abandoned: Vec<Abandoned>,
    pub left_size: u64,
}

impl Freed {
    /// Bytes of files.
    pub fn size(&self) -> u64 {
        let snapshots: u64 = self.snapshots.iter().map(|s| s.size).sum();
        let blobs: u64 = self.blobs.iter().map(|(_, size)| size).sum();
        snapshots + blobs + self.left_size
    }
}

impl Store {
    /// What other processes use; to be asked inside the transaction that removes, so that what
    /// was made since is seen in neither or in both.
    pub(crate) fn in_use(&self, gate: &Gate) -> Result<InUse> {
        gate.in_use(&self.0.layout)
    }

    /// Deletes the rows that nothing needs any more and finds the content that goes with them.
    pub(crate) async fn collect(
        &self,
        tx: &mut Connection,
        in_use: &InUse,
        candidates: BlobCandidates,
    ) -> Result<Freed> {
        let mut forgotten = table::delete_removed_indexes(tx, in_use).await?;
        forgotten.extend(table::delete_removed_images(tx, in_use).await?);
        let snapshots = table::delete_snapshots(tx, in_use).await?;
        forgotten.extend(table::delete_layer_blobs(tx, in_use).await?);
        table::delete_sources(tx, in_use.since).await?;
        let referenced = table::referenced_blobs(tx).await?;
        let live = match candidates {
            BlobCandidates::All => Some(Known::read(tx).await?),
            BlobCandidates::These(_) => None,
        };
        let shared = Arc::clone(&self.0);
        let in_use = in_use.clone();
        let dying: HashSet<PathBuf> = snapshots
            .iter()
            .map(|snapshot| shared.layout.snapshot(snapshot.id))
            .collect();
        let found = blocking(move || {
            let mut found = Freed {
                snapshots: Vec::new(),
                blobs: Vec::new(),
                left: Vec::new(),
                abandoned: Vec::new(),
                left_size: 0,
            };
            let blobs = &shared.blobs;
            let (candidates, known): (HashSet<Digest>, HashSet<Digest>) = match candidates {
                BlobCandidates::All => (
                    blobs.list()?.into_iter().collect(),
                    forgotten.into_iter().collect(),
                ),
                BlobCandidates::These(these) => {
                    let all: HashSet<_> = these.into_iter().chain(forgotten).collect();
                    (all.clone(), all)
                }
            };
            for digest in candidates.difference(&referenced) {
                if in_use.holds(digest) {
                    continue;
                }
                // One that a row knew is nobody's any more. Another may have just come, for a
                // row that is still to be written.
                let before = match known.contains(digest) {
                    true => i64::MAX,
                    false => in_use.since,
                };
                if let Some(size) = unused_since(blobs, digest, before)? {
                    found.blobs.push((digest.clone(), size));
                }
            }
            found.blobs.sort();
            if let Some(known) = live {
                // Nothing gets its place or its row while we hold the transaction.
                let left = orphans(&shared.layout, &known)?.into_iter();
                found.left = left.filter(|path| !dying.contains(path)).collect();
                found.abandoned = trash::abandoned(&shared.layout)?;
                let trashed = trash::entries(&shared.layout)?;
                let abandoned = found.abandoned.iter().map(|left| &left.path);
                let all = found.left.iter().chain(abandoned).chain(&trashed);
                found.left_size = all.map(|path| trash::measure(path)).sum();
                found.left_size += blobs.staging_size(STAGING_AGE)?;
            }
            Ok(found)
        })
        .await?;
        Ok(Freed { snapshots, ..found })
    }

    /// Moves the content to the trash, once the transaction of [`collect`](Self::collect) is
    /// durable. The gate goes along, to be held until it is done even if nobody waits for it.
    pub(crate) async fn free(&self, gate: Gate, freed: Freed) -> Result<()> {
        let mut db = self.0.db.lock().await;
        let mut tx = db.begin(Durability::Lazy).await?;
        // Once more: between the two transactions another process may have come to refer to a
        // blob, or have committed a snapshot.
        let referenced = table::referenced_blobs(&mut tx).await?;
        let shared = self.0.clone();
        blocking(move || {
            let _gate = gate;
            for snapshot in &freed.snapshots {
                trash::discard(&shared.layout, &shared.layout.snapshot(snapshot.id))?;
            }
            for (digest, _) in &freed.blobs {
                if !referenced.contains(digest) {
                    trash::discard(&shared.layout, &shared.blobs.path(digest))?;
                }
            }
            let abandoned = freed.abandoned.iter().map(|left| &left.path);
            for path in freed.left.iter().chain(abandoned) {
                trash::discard(&shared.layout, path)?;
            }
            shared.blobs.clean_staging(STAGING_AGE)?;
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
            reserve::keep(&shared.layout);
            Ok(())
        })
        .await
    }
}

/// The size of a blob that was last written before `before`; `None` when it must stay or is gone.
fn unused_since(blobs: &DiskBlobs, digest: &Digest, before: i64) -> Result<Option<u64>> {
    let path = blobs.path(digest);
    match fs::metadata(&path) {
        Ok(metadata) => Ok((modified(&metadata) < before).then_some(metadata.len())),
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
