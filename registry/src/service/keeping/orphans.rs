//! Files that no row knows: what a refused push or a crash left.
//!
//! Whoever brings a file holds [`BlobFiles::arriving`](crate::storage::BlobFiles::arriving) until
//! its row is committed, and a file is only taken away under
//! [`BlobFiles::leaving`](crate::storage::BlobFiles::leaving): a push in flight keeps its file,
//! however old that is.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use oci::{Algorithm, Digest};

use super::collect::Run;
use crate::service::error::ServiceError;
use crate::service::state::Registry;
use crate::sync::blocking;

/// In how many regular collections every directory gets its turn.
const TURNS: usize = 16;
/// Files asked about in one query.
const BATCH: usize = 200;

impl Registry {
    /// Takes away the file of a push that came to nothing, unless a row knows it.
    pub(in crate::service) async fn drop_refused(&self, digest: &Digest) {
        if let Err(e) = self.drop_unknown(digest).await {
            // The sweep finds it again.
            tracing::warn!(error = %e, %digest, "the file of a refused push stays for now");
        }
    }

    /// Removes a file that no row knows; whether it was one.
    async fn drop_unknown(&self, digest: &Digest) -> Result<bool, ServiceError> {
        let _leaving = self.blobs.leaving(digest).await;
        if self.meta.is_stored(digest).await? {
            return Ok(false);
        }
        let (files, digest) = (self.blobs.clone(), digest.clone());
        blocking(move || files.remove(&digest)).await?;
        Ok(true)
    }
}

impl Run<'_> {
    /// Removes files that no row knows and that got their names longer than the grace ago: of
    /// every directory, or of those whose turn it is. What an older database that was put in place
    /// could not know stays: names of it may still be found.
    pub(super) async fn sweep(&mut self) -> Result<(), ServiceError> {
        let files = self.registry.blobs.clone();
        let mut shards = blocking(move || files.shards()).await?;
        if !self.options.every_file {
            let turn = self.registry.turn.fetch_add(1, Relaxed) % TURNS;
            shards.retain(|(_, dir)| number(dir) % TURNS == turn);
        }
        for shard in shards {
            if self.stopped() {
                break;
            }
            self.sweep_shard(shard).await?;
        }
        Ok(())
    }

    async fn sweep_shard(&mut self, shard: (Algorithm, PathBuf)) -> Result<(), ServiceError> {
        let (files, grace) = (self.registry.blobs.clone(), self.options.grace);
        let old = blocking(move || files.older_than(&shard, grace)).await?;
        for some in old.chunks(BATCH) {
            if self.stopped() {
                break;
            }
            let digests: Vec<&Digest> = some.iter().map(|(digest, ..)| digest).collect();
            let unknown = self.registry.meta.not_stored(&digests).await?;
            for (digest, size, named) in some.iter().filter(|(d, ..)| unknown.contains(d)) {
                if self.registry.gap.has(*named) {
                    self.collected.suspect_count += 1;
                } else if self.options.dry_run || self.registry.drop_unknown(digest).await? {
                    self.collected.orphan_count += 1;
                    self.collected.orphan_bytes += size;
                }
            }
        }
        Ok(())
    }
}

/// A directory's number, from the two hex digits that it is named by.
fn number(dir: &Path) -> usize {
    dir.file_name()
        .and_then(|name| usize::from_str_radix(name.to_str()?, 16).ok())
        .unwrap_or(0)
}
