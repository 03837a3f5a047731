//! `--squash`: the layers of a stage merged into one upon its base.

use oci::layer::TarOptions;
use oci::layer::diff::measure;
use oci::{ChainId, DiffId, Digest};

use super::stack::mount;
use super::{Engine, blocking, failed};
use crate::files::merge::merge;
use crate::solve::backend::{Cache as _, Layer};
use crate::solve::error::StepError;

impl Engine {
    /// The layer that an earlier build made of the layers between two stacks.
    ///
    /// # Errors
    /// The store's.
    pub async fn squashed(
        &self,
        base: &[DiffId],
        all: &[DiffId],
    ) -> Result<Option<Layer>, StepError> {
        match self.options.no_cache {
            true => Ok(None),
            false => self.lookup(&self.squash_key(base, all)).await,
        }
    }

    /// Merges the layers of `all` that lie on those of `base`, which are its first, into one.
    /// Without any it is an empty one.
    ///
    /// # Errors
    /// Those of the file system and the store, and when it is interrupted.
    pub async fn squash(&self, base: &[DiffId], all: &[DiffId]) -> Result<Layer, StepError> {
        let below = ChainId::chain(base).pop();
        let lowers = self.lowers(ChainId::chain(all).pop().as_ref()).await?;
        let empty = self.derived("empty").await?;
        let begun = self.store().begin_snapshot().await;
        let staged = begun.map_err(failed("prepare a snapshot"))?;
        let upper = staged.upper().to_owned();
        let (count, stop) = (all.len() - base.len().min(all.len()), self.cancel.flag());
        let epoch = self.options.epoch;
        let merged = blocking(move || {
            let (layers, base) = lowers.split_at(count.min(lowers.len()));
            let layers: Vec<_> = layers.iter().map(AsRef::as_ref).collect();
            let base = match base {
                [] => None,
                base => Some(mount(base, &empty, None)?.into_fd()),
            };
            let base = base.as_ref().map(std::os::fd::AsFd::as_fd);
            merge(&layers, base, &upper, &stop)?;
            // Files are shared with the layers, and keep their times; only the tar is dated.
            let options = TarOptions { clamp_mtime: epoch };
            let dir = oci::layer::open_dir(&upper)?;
            Ok(measure(&dir, &options, &|| stop.check())?)
        })
        .await;
        let layer = match merged {
            Ok(layer) => layer,
            Err(e) => return Err(self.give_up(staged, e).await),
        };
        let (diff, tar, files) = (layer.diff_id, layer.size_tar, layer.size_files);
        let committed = staged.commit(below.as_ref(), diff.clone(), tar, files, epoch);
        let snapshot = committed.await.map_err(failed("store the layer"))?;
        let layer = Layer {
            diff_id: diff,
            chain_id: snapshot.chain_id,
            created: self.now(),
        };
        let key = self.squash_key(base, all);
        self.remember(&key, &layer, "merge layers").await?;
        Ok(layer)
    }

    fn squash_key(&self, base: &[DiffId], all: &[DiffId]) -> Digest {
        let (below, chain) = (ChainId::chain(base).pop(), ChainId::chain(all).pop());
        let merged = format!("squash 1 {below:?} {chain:?} {:?}", self.options.epoch);
        Digest::sha256(merged.as_bytes())
    }
}
