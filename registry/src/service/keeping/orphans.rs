//! Files that no row knows: what a refused push or a crash left.
//!
//! Whoever brings a file holds [`Blobs::arriving`](crate::storage::Blobs::arriving) until
//! its row is committed, and a file is only taken away under
//! [`Blobs::leaving`](crate::storage::Blobs::leaving): a push in flight keeps its file,
//! however old that is.

use std::sync::atomic::Ordering::Relaxed;

use oci::Digest;

use super::collect::Run;
use crate::clock::now;
use crate::service::error::ServiceError;
use crate::service::state::Registry;
use crate::storage::{Listed, Shard};

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
        if !self.meta.leave_unknown(digest).await? {
            return Ok(false);
        }
        let gone = vec![digest.clone()];
        self.blobs.remove(gone.clone()).await?;
        self.meta.left(&gone).await?;
        Ok(true)
    }
}

impl Run<'_> {
    /// Removes files that no row knows and that got their names longer than the grace ago: of
    /// every directory, or of those whose turn it is. What an older database that was put in place
    /// could not know stays: names of it may still be found.
    pub(super) async fn sweep(&mut self) -> Result<(), ServiceError> {
        let mut shards = self.registry.blobs.shards().await?;
        if !self.options.every_file {
            let turn = self.registry.turn.fetch_add(1, Relaxed) % TURNS;
            shards.retain(|shard| shard.number() % TURNS == turn);
        }
        for shard in shards {
            if self.stopped() {
                break;
            }
            self.sweep_shard(&shard).await?;
        }
        Ok(())
    }

    async fn sweep_shard(&mut self, shard: &Shard) -> Result<(), ServiceError> {
        let grace = i64::try_from(self.options.grace.as_secs()).unwrap_or(i64::MAX);
        let cutoff = now().saturating_sub(grace);
        let mut listed = self.registry.blobs.list(shard, None).await?;
        while let Some(last) = listed.last().map(|last| last.digest.clone()) {
            listed.retain(|found| found.named <= cutoff);
            for some in listed.chunks(BATCH) {
                if self.stopped() {
                    return Ok(());
                }
                self.sweep_some(some).await?;
            }
            listed = self.registry.blobs.list(shard, Some(&last)).await?;
        }
        Ok(())
    }

    async fn sweep_some(&mut self, some: &[Listed]) -> Result<(), ServiceError> {
        let digests: Vec<&Digest> = some.iter().map(|found| &found.digest).collect();
        let unknown = self.registry.meta.not_stored(&digests).await?;
        for found in some.iter().filter(|found| unknown.contains(&found.digest)) {
            if self.registry.gap.has(found.named) {
                self.collected.suspect_count += 1;
            } else if self.options.dry_run || self.registry.drop_unknown(&found.digest).await? {
                self.collected.orphan_count += 1;
                self.collected.orphan_bytes += found.size;
            }
        }
        Ok(())
    }
}
