//! Freeing what is not used, and telling how much there is.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use oci::Digest;
use oci::blob::BlobStore;

use crate::collect::BlobCandidates;
use crate::db::sqlite::Connection;
use crate::db::{self, Durability, containers, images, indexes};
use crate::downloads;
use crate::error::{Error, Result};
use crate::image::{Image, seconds};
use crate::lock::InUse;
use crate::mounts;
use crate::record::{CacheRecord, RecordKind};
use crate::remove::{Removal, remove_orphans};
use crate::store::{Store, blocking};

/// What to prune.
#[derive(Clone, Debug)]
pub struct PruneOptions {
    /// Images: dangling ones, with [`all`](Self::all) every one.
    pub images: bool,
    /// Cache records: those whose result is part of no image, with [`all`](Self::all) every one.
    pub cache: bool,
    /// Also what is tagged or shared with images.
    pub all: bool,
    /// Only images created, and cache records last used, longer ago than this.
    pub until: Option<Duration>,
    /// Keep the most recently used cache records, up to this many bytes; none with 0.
    pub keep_storage: Option<u64>,
    /// Report only.
    pub dry_run: bool,
    /// Of images and indexes only these, by their IDs.
    pub only_images: Option<HashSet<Digest>>,
    /// Of cache records only these, by their keys.
    pub only_cache: Option<HashSet<Digest>>,
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self {
            images: true,
            cache: true,
            all: false,
            until: None,
            keep_storage: None,
            dry_run: false,
            only_images: None,
            only_cache: None,
        }
    }
}

/// What was pruned, or would be.
#[derive(Clone, Debug, Default)]
pub struct PruneReport {
    /// Images, as `docker image prune` lists them.
    pub images: Vec<Removal>,
    /// Cache records, the least recently used first.
    pub cache: Vec<CacheRecord>,
    /// How many unpacked layers.
    pub snapshots: usize,
    /// How many blobs.
    pub blobs: usize,
    /// Bytes of files.
    pub reclaimed: u64,
    /// What was chosen too, but is in use by other processes.
    pub kept: Kept,
}

/// What pruning left alone because other processes use it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Images.
    pub images: usize,
    /// Cache records.
    pub cache: usize,
    /// Unpacked layers.
    pub snapshots: usize,
    /// Bytes of those layers.
    pub size: u64,
    /// The processes, by the IDs that they have in their own PID namespaces.
    pub processes: Vec<u32>,
}

/// The data of `docker system df`. All sizes in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Images.
    pub images: Usage,
    /// Build-cache records.
    pub cache: Usage,
    /// Unpacked layers, whoever needs them.
    pub snapshots: Usage,
    /// Configurations, manifests and layer tars.
    pub blobs: Usage,
}

/// One line of [`DiskUsage`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many.
    pub total: usize,
    /// How many of them are in use: tagged images, cache records and snapshots that images share,
    /// blobs referred to.
    pub active: usize,
    /// Their size; layers that images share are counted once.
    pub size: u64,
    /// What pruning all that is not in use would free.
    pub reclaimable: u64,
}

/// The images to remove.
fn choose_images<'a>(
    all: &'a [images::StoredImage],
    options: &PruneOptions,
    now: i64,
) -> Vec<&'a images::StoredImage> {
    let before = until(options, now);
    all.iter()
        .filter(|stored| options.images && !stored.image.listed)
        .filter(|stored| options.all || stored.image.is_dangling())
        .filter(|stored| {
            let created = seconds(stored.image.created.as_deref());
            before.is_none_or(|before| created < before)
        })
        .filter(|stored| is_among(&options.only_images, &stored.image.id))
        .collect()
}

/// The cache records to remove, from all of them in the order of last use.
fn choose_records(
    all: Vec<CacheRecord>,
    in_images: &HashSet<String>,
    options: &PruneOptions,
    now: i64,
) -> Vec<CacheRecord> {
    if !options.cache {
        return Vec::new();
    }
    let before = until(options, now);
    let mut left: u64 = all.iter().map(|record| record.size).sum();
    all.into_iter()
        .filter(|record| {
            let removable = before.is_none_or(|before| record.last_used < before)
                && (options.all || !in_images.contains(&record.key.to_string()))
                && is_among(&options.only_cache, &record.key)
                && options
                    .keep_storage
                    .is_none_or(|keep| keep == 0 || left > keep);
            if removable {
                left -= record.size;
            }
            removable
        })
        .collect()
}

/// Whether nothing else is chosen.
fn is_among(only: &Option<HashSet<Digest>>, one: &Digest) -> bool {
    only.as_ref().is_none_or(|only| only.contains(one))
}

fn until(options: &PruneOptions, now: i64) -> Option<i64> {
    options
        .until
        .map(|age| now.saturating_sub(db::to_i64(age.as_secs())))
}

/// The bytes of the directories of snapshots: one that several stacks share is there once.
fn files_of<'s>(sizes: impl Iterator<Item = &'s (i64, u64)>) -> u64 {
    let files: HashMap<i64, u64> = sizes.copied().collect();
    files.values().sum()
}

fn is_mount(record: &CacheRecord) -> bool {
    record.kind == RecordKind::CacheMount
}

/// Cache mounts belong to no image: pruning frees all that no step uses.
async fn mount_usage(store: &Store) -> Result<Usage> {
    let all = store.cache_mounts().await?;
    let shared = Arc::clone(&store.0);
    let active = blocking(move || mounts::in_use(&shared.layout)).await?;
    let size = all.iter().map(|mount| mount.size).sum();
    Ok(Usage {
        total: all.len(),
        active,
        size,
        reclaimable: size,
    })
}

/// All images once indexes were removed: some went with them, which come last, and others are
/// listed no more.
async fn without_indexes(
    tx: &mut Connection,
    before: Vec<images::StoredImage>,
    report: &PruneReport,
) -> Result<Vec<images::StoredImage>> {
    let mut all = images::all(tx).await?;
    all.extend(before.into_iter().filter(|stored| {
        let removed = Removal::Deleted(stored.image.id.clone());
        report.images.contains(&removed)
    }));
    Ok(all)
}

/// Removes indexes, and the images that only they led to; returns how many stay because they are
/// in use.
async fn prune_indexes(
    tx: &mut Connection,
    in_use: &InUse,
    options: &PruneOptions,
    now: i64,
    report: &mut PruneReport,
) -> Result<usize> {
    if !options.images {
        return Ok(0);
    }
    let before = until(options, now);
    let mut kept = 0;
    for row in indexes::all(tx).await? {
        let index = &row.index;
        let created = seconds(index.created.as_deref());
        if !(options.all || index.is_dangling()) || before.is_some_and(|b| created >= b) {
            continue;
        }
        if !is_among(&options.only_images, &index.id) {
            continue;
        }
        if in_use.holds(&index.id) {
            kept += 1;
            continue;
        }
        for reference in index.tags.iter().chain(&index.repo_digests) {
            images::remove_reference(tx, reference).await?;
            report.images.push(Removal::Untagged(reference.clone()));
        }
        indexes::remove(tx, row.row_id).await?;
        report.images.push(Removal::Deleted(index.id.clone()));
        remove_orphans(tx, &mut report.images).await?;
    }
    Ok(kept)
}

impl Store {
    /// Frees what is not used: images and cache records by the options, then whatever no image,
    /// cache record or lease needs, and what crashes have left. What other processes use or have
    /// just added stays.
    ///
    /// # Errors
    /// Those of the database and the file system.
    pub async fn prune(&self, options: &PruneOptions) -> Result<PruneReport> {
        let gate = self.gate().await?;
        let now = self.now();
        let mounts = self.cache_mounts().await?;
        let mut report = PruneReport::default();
        let mut db = self.0.db.lock().await;
        let mut tx = db.begin(Durability::Full).await?;
        let in_use = self.in_use(&gate)?;

        let mut all = images::all(&mut tx).await?;
        let kept_indexes = prune_indexes(&mut tx, &in_use, options, now, &mut report).await?;
        if !report.images.is_empty() {
            all = without_indexes(&mut tx, all, &report).await?;
        }
        let used = containers::images(&mut tx).await?;
        let (kept_images, chosen): (Vec<_>, Vec<_>) = choose_images(&all, options, now)
            .into_iter()
            .filter(|stored| !used.contains(&stored.image.id))
            .partition(|stored| in_use.holds(&stored.image.id));
        // Lines go image by image, each with the layers that went with it.
        for stored in chosen {
            let image = &stored.image;
            for reference in image.tags.iter().chain(&image.repo_digests) {
                images::remove_reference(&mut tx, reference).await?;
                report.images.push(Removal::Untagged(reference.clone()));
            }
            images::remove(&mut tx, stored.row_id).await?;
            report.images.push(Removal::Deleted(image.id.clone()));
        }
        let in_images = db::cache::keys_in_images(&mut tx)
            .await?
            .into_iter()
            .collect();
        let mut records = db::cache::all(&mut tx)
            .await?
            .into_iter()
            .map(db::cache::CacheRow::into_record)
            .collect::<Result<Vec<_>>>()?;
        records.extend(mounts);
        records.sort_by_key(|record| record.last_used);
        let used = |record: &CacheRecord| match &record.chain_id {
            Some(chain_id) => in_use.holds(chain_id),
            None => in_use.everything,
        };
        let chosen = choose_records(records, &in_images, options, now);
        let (mut mounts, chosen): (Vec<_>, Vec<_>) = chosen.into_iter().partition(is_mount);
        let (kept_records, chosen): (Vec<_>, Vec<_>) = chosen.into_iter().partition(used);
        report.cache = chosen;
        let busy = self.remove_mounts(&mut mounts, options.dry_run).await?;
        let keys: Vec<&Digest> = report.cache.iter().map(|record| &record.key).collect();
        db::cache::delete(&mut tx, keys).await?;

        let freed = self.collect(&mut tx, &in_use, BlobCandidates::All).await?;
        let rows: Vec<i64> = kept_images.iter().map(|stored| stored.row_id).collect();
        let keys: Vec<&Digest> = kept_records.iter().map(|record| &record.key).collect();
        let (snapshots, size) = db::collect::kept_snapshots(&mut tx, &rows, &keys).await?;
        report.kept = Kept {
            images: rows.len() + kept_indexes,
            cache: keys.len() + busy,
            snapshots,
            size,
            processes: in_use.processes.iter().copied().collect(),
        };
        let mut listed = HashSet::new();
        report.images = report
            .images
            .into_iter()
            .flat_map(|removal| {
                let image = match &removal {
                    Removal::Deleted(id) => all.iter().find(|stored| stored.image.id == *id),
                    Removal::Untagged(_) => None,
                };
                let layers = image.map(|s| s.image.layers_of(&freed.snapshots));
                let layers = layers.into_iter().flatten().map(Removal::Deleted);
                std::iter::once(removal).chain(layers).collect::<Vec<_>>()
            })
            .filter(|removal| match removal {
                Removal::Deleted(digest) => listed.insert(digest.clone()),
                Removal::Untagged(_) => true,
            })
            .collect();
        report.snapshots = freed.snapshots.len();
        report.blobs = freed.blobs.len();
        let downloads = self.old_downloads(options).await?;
        let in_mounts = mounts.iter().map(|mount| mount.size).sum::<u64>();
        report.reclaimed = freed.size() + in_mounts + downloads;
        report.cache.append(&mut mounts);
        report.cache.sort_by_key(|record| record.last_used);
        if options.dry_run {
            tx.rollback().await?;
            return Ok(report);
        }
        tx.commit().await?;
        drop(db);
        self.free(gate, freed).await?;
        self.empty_trash().await?;
        Ok(report)
    }

    /// Bytes of downloads that are pruned: they are cache, and have no records.
    async fn old_downloads(&self, options: &PruneOptions) -> Result<u64> {
        // They have no names that could be chosen.
        let chosen = options.keep_storage.is_some() || options.only_cache.is_some();
        if !options.cache || chosen {
            return Ok(0);
        }
        let dir = self.0.layout.derived.join(downloads::FOLDER);
        let (until, remove) = (options.until, !options.dry_run);
        blocking(move || downloads::old(&dir, until, remove).map_err(Error::io("pruning", &dir)))
            .await
    }

    /// Takes cache mounts away, and leaves those in the list that nobody uses; returns how many
    /// somebody does.
    async fn remove_mounts(&self, chosen: &mut Vec<CacheRecord>, trial: bool) -> Result<usize> {
        let (shared, asked) = (Arc::clone(&self.0), chosen.clone());
        let gone = blocking(move || {
            if !trial {
                mounts::tidy(&shared.layout)?;
            }
            mounts::remove(&shared.layout, &asked, trial)
        })
        .await?;
        let asked = chosen.len();
        chosen.retain(|mount| gone.contains(&mount.key));
        Ok(asked - chosen.len())
    }

    /// How much there is and how much of it pruning would free.
    ///
    /// # Errors
    /// Those of the database and the file system.
    pub async fn usage(&self) -> Result<DiskUsage> {
        let mut db = self.0.db.lock().await;
        let images: Vec<Image> = images::all(&mut db)
            .await?
            .into_iter()
            .map(|stored| stored.image)
            .collect();
        let indexes = indexes::all(&mut db).await?;
        let in_images: HashSet<String> = db::cache::keys_in_images(&mut db)
            .await?
            .into_iter()
            .collect();
        let records = db::cache::all(&mut db)
            .await?
            .into_iter()
            .map(db::cache::CacheRow::into_record)
            .collect::<Result<Vec<_>>>()?;
        let mounts = mount_usage(self).await?;
        let sizes = db::snapshots::sizes(&mut db).await?;
        let referenced = db::collect::referenced_blobs(&mut db).await?;
        drop(db);

        let blobs = self.0.blobs.clone();
        let blob_sizes = blocking(move || {
            let mut sizes = Vec::new();
            for digest in blobs.list()? {
                // One that has gone meanwhile counts for nothing.
                if let Some(size) = blobs.size(&digest)? {
                    sizes.push((referenced.contains(&digest), size));
                }
            }
            Ok(sizes)
        })
        .await?;

        let chains = |wanted: &dyn Fn(&Image) -> bool| -> HashSet<String> {
            images
                .iter()
                .filter(|image| wanted(image))
                .flat_map(|image| oci::ChainId::chain(&image.layers))
                .map(|id| id.to_string())
                .collect()
        };
        let in_any = chains(&|_| true);
        // What has no name of its own is shown as its index.
        let by_index: HashSet<&Digest> = indexes
            .iter()
            .filter(|row| !row.index.is_dangling())
            .flat_map(|row| row.index.images())
            .collect();
        let in_tagged = chains(&|image| !image.tags.is_empty() || by_index.contains(&image.id));
        let shown = images.iter().filter(|i| !i.listed || !i.tags.is_empty());
        let named = images.iter().filter(|i| !i.tags.is_empty()).count();
        let named_indexes = indexes.iter().filter(|row| !row.index.is_dangling());
        let total = |ids: &HashSet<String>| files_of(ids.iter().filter_map(|id| sizes.get(id)));
        let everything = files_of(sizes.values());
        let cached: u64 = records.iter().map(|record| record.size).sum();
        let dir = self.0.layout.derived.join(downloads::FOLDER);
        let downloaded =
            blocking(move || downloads::old(&dir, None, false).map_err(Error::io("listing", &dir)))
                .await?;
        let shared = records
            .iter()
            .filter(|record| in_images.contains(&record.key.to_string()));
        let shared_size: u64 = shared.clone().map(|record| record.size).sum();
        Ok(DiskUsage {
            images: Usage {
                total: shown.count() + indexes.len(),
                active: named + named_indexes.count(),
                size: total(&in_any),
                reclaimable: total(&in_any) - total(&in_tagged),
            },
            cache: Usage {
                total: records.len() + mounts.total,
                active: shared.count() + mounts.active,
                size: cached + mounts.size + downloaded,
                reclaimable: cached - shared_size + mounts.reclaimable + downloaded,
            },
            snapshots: Usage {
                total: sizes.len(),
                active: sizes.keys().filter(|id| in_any.contains(*id)).count(),
                size: everything,
                reclaimable: everything - total(&in_any),
            },
            blobs: Usage {
                total: blob_sizes.len(),
                active: blob_sizes.iter().filter(|(used, _)| *used).count(),
                size: blob_sizes.iter().map(|(_, size)| size).sum(),
                reclaimable: blob_sizes
                    .iter()
                    .filter(|(used, _)| !used)
                    .map(|(_, s)| s)
                    .sum(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<CacheRecord> {
        (0..4)
            .map(|n| CacheRecord {
                key: Digest::sha256(&[n]),
                chain_id: None,
                diff_id: None,
                created: String::new(),
                description: String::new(),
                size: 10,
                created_at: 0,
                last_used: 1000 + i64::from(n),
                uses: 0,
                kind: RecordKind::Regular,
            })
            .collect()
    }

    #[test]
    fn records_go_by_last_use_within_the_limits() {
        let in_images = HashSet::from([Digest::sha256(&[0]).to_string()]);
        let cache = |change: fn(&mut PruneOptions)| {
            let mut options = PruneOptions::default();
            change(&mut options);
            let chosen = choose_records(records(), &in_images, &options, 2000);
            chosen
                .iter()
                .map(|r| r.last_used - 1000)
                .collect::<Vec<_>>()
        };
        assert_eq!(cache(|_| {}), [1, 2, 3]);
        assert_eq!(cache(|o| o.all = true), [0, 1, 2, 3]);
        assert_eq!(cache(|o| o.cache = false), [0; 0]);
        let only = |o: &mut PruneOptions| {
            let keys = [[0], [2]].map(|n| Digest::sha256(&n));
            o.only_cache = Some(HashSet::from(keys));
        };
        assert_eq!(cache(only), [2]);
        assert_eq!(cache(|o| o.until = Some(Duration::from_secs(998))), [1]);
        assert_eq!(
            cache(|o| (o.all, o.keep_storage) = (true, Some(25))),
            [0, 1]
        );
        assert_eq!(cache(|o| o.keep_storage = Some(25)), [1, 2]);
    }
}
