//! The build cache of the store, and what other builds on it do at the moment.

use std::time::Duration;

use oci::Digest;
use store::{CacheRecord, Claim, NewCacheRecord};

use super::{Engine, failed, lock};
use crate::solve::backend::{Asked, Cache, Layer, Outcome};
use crate::solve::error::StepError;

/// How often it is looked whether another build has ended a step: soon at first, then less often.
const SOONEST: Duration = Duration::from_millis(5);
const LATEST: Duration = Duration::from_millis(80);

impl Cache for Engine {
    type Claim = Claim;

    async fn expect(&self, keys: &[Digest]) {
        // Without it each is looked up when it is needed, which tells what is wrong.
        let found = self.store().cache_layers(keys).await.unwrap_or_default();
        let layers = found.into_iter().filter_map(|record| {
            let key = record.key.clone();
            Some((key, layer(record)?))
        });
        lock(&self.expected).extend(layers);
    }

    async fn lookup(&self, key: &Digest) -> Result<Option<Layer>, StepError> {
        // It is announced: nobody takes it away meanwhile.
        if let Some(layer) = lock(&self.expected).remove(key) {
            return Ok(Some(layer));
        }
        let found = self.store().cache_get(key).await;
        let failed = failed("read the build cache");
        let Some(record) = found.map_err(&failed)? else {
            return Ok(None);
        };
        let Some(layer) = layer(record) else {
            return Ok(None);
        };
        // The files may have been taken away behind the store's back: the step is done again.
        let there = self.store().snapshot(&layer.chain_id).await;
        Ok(there.map_err(&failed)?.map(|_| layer))
    }

    async fn remember(&self, key: &Digest, layer: &Layer, name: &str) -> Result<(), StepError> {
        if lock(&self.shared.unsteady).contains(&layer.chain_id) {
            return Ok(());
        }
        let failed = failed("write the build cache");
        let snapshot = self.store().snapshot(&layer.chain_id).await;
        let size = snapshot.map_err(&failed)?.map_or(0, |s| s.size_disk);
        let record = NewCacheRecord {
            key: key.clone(),
            chain_id: Some(layer.chain_id.clone()),
            diff_id: Some(layer.diff_id.clone()),
            created: layer.created.clone(),
            description: name.to_owned(),
            size,
        };
        let stored = self.store().cache_put(record).await;
        stored.map(drop).map_err(failed)
    }

    async fn elsewhere(&self, asked: &Asked<'_>) -> Option<Layer> {
        match self.step_elsewhere(asked).await {
            Some(layer) => Some(layer),
            None => self.step_of_buildkit(asked).await,
        }
    }

    async fn share(&self, outcome: &Outcome<'_>) {
        if outcome.asked.in_result {
            self.compress(outcome.layer).await;
        }
        self.note_for_buildkit(outcome).await;
        self.share_step(outcome).await;
    }

    fn shares(&self) -> bool {
        !self.options.sharing.targets.is_empty()
    }

    async fn shared(&self) {
        self.finish_sharing().await;
    }

    fn lose(&self) -> bool {
        self.lose_elsewhere()
    }

    async fn claim(&self, key: &Digest) -> Result<Option<Claim>, StepError> {
        let claimed = self.store().claim(key).await;
        claimed.map_err(failed("claim a step"))
    }

    async fn claim_after(&self, key: &Digest) -> Result<Claim, StepError> {
        let mut pause = SOONEST;
        loop {
            if let Some(claim) = self.claim(key).await? {
                return Ok(claim);
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.cancel.cancelled() => return Err(StepError::Cancelled),
            }
            pause = (pause * 2).min(LATEST);
        }
    }
}

/// The layer that a record leads to.
fn layer(record: CacheRecord) -> Option<Layer> {
    Some(Layer {
        diff_id: record.diff_id?,
        chain_id: record.chain_id?,
        created: record.created,
    })
}

impl Engine {
    /// Begins to compress a layer of the result, if an output will want that.
    async fn compress(&self, layer: &Layer) {
        for compression in &self.options.compress {
            let (diff_id, chain_id) = (&layer.diff_id, &layer.chain_id);
            let begun = self.images.compress_ahead(diff_id, chain_id, *compression);
            // Whoever wants it later begins once more, and tells what is wrong then.
            drop(begun.await);
        }
    }
}
