//! Steps that other machines share: looked up there, and written there when they are done.

use std::sync::atomic::Ordering;

use images::shared::entry::{Draft, Entry, Files, Name};
use images::shared::inline::Inline;
use images::shared::sources::Answer;
use images::shared::targets::Origin;
use oci::{ChainId, DiffId, Digest};
use store::NewCacheRecord;

use super::sharing::{Found, SharedSteps, names};
use super::{Engine, failed, lock};
use crate::derived;
use crate::plan::Op;
use crate::solve::backend::{Asked, Layer, Outcome};
use crate::solve::error::StepError;

impl Engine {
    fn steps(&self) -> &SharedSteps {
        &self.steps
    }

    /// Whether anything is looked up in shared caches.
    pub(super) fn asks_elsewhere(&self) -> bool {
        !self.options.sharing.sources.is_empty() && !self.has_lost_elsewhere()
    }

    /// Whether a layer of a shared cache was not to be had, here or in a build beside this one.
    pub(super) fn has_lost_elsewhere(&self) -> bool {
        self.shared.lost.load(Ordering::SeqCst)
    }

    /// Whether anything is written to shared caches.
    pub(super) fn tells_elsewhere(&self) -> bool {
        let sharing = &self.options.sharing;
        sharing.inline || !sharing.targets.is_empty()
    }

    /// From now on steps count only with their layers, or, if that was so already, only what is
    /// here; whether it came to that.
    pub(super) fn lose_elsewhere(&self) -> bool {
        let hollow = std::mem::take(&mut lock(self.steps()).hollow);
        if !hollow.is_empty() {
            self.shared.solid.store(true, Ordering::SeqCst);
            return false;
        }
        self.shared.lost.store(true, Ordering::SeqCst);
        self.images.forget_elsewhere();
        true
    }

    /// What shared caches know of a name; nothing, once the build is interrupted.
    async fn ask(&self, name: &Name) -> Option<Answer> {
        tokio::select! {
            answer = self.options.sharing.sources.get(name) => answer,
            () = self.cancel.cancelled() => None,
        }
    }

    /// Waits until everything is written, also what a build has done that failed then; whoever
    /// interrupts it does not wait.
    pub(super) async fn finish_sharing(&self) {
        let finish = self.options.sharing.targets.finish();
        let failed = lock(self.steps()).failed;
        match failed {
            true => finish.await,
            false => tokio::select! {
                () = finish => {}
                () = self.cancel.cancelled() => {}
            },
        }
    }

    /// The build has failed, and what runs is ended.
    pub(super) fn note_failure(&self) {
        if !self.cancel.is_cancelled() {
            lock(self.steps()).failed = true;
        }
    }

    /// The layer that a shared cache has for a step.
    pub(super) async fn step_elsewhere(&self, asked: &Asked<'_>) -> Option<Layer> {
        if !self.asks_elsewhere() {
            return None;
        }
        let alone = matches!(asked.op, Op::Copy(copy) if copy.link);
        let parent = asked.parent.filter(|_| !alone);
        let wanted = Name::Step(asked.key.clone());
        let answer = self.ask(&wanted).await?;
        let Entry::Step(step) = answer.entry else {
            return None;
        };
        let images = &self.images;
        let chain_id = match step.blob {
            Some(blob) => images.layer_elsewhere(parent, &step.diff_id, blob, answer.place),
            // The result needs its layers, and others may have turned out to be needed.
            None if asked.in_result || self.shared.solid.load(Ordering::SeqCst) => return None,
            None => {
                let chain_id = images.unknown_elsewhere(parent, &step.diff_id);
                lock(self.steps()).hollow.insert(chain_id.clone());
                chain_id
            }
        };
        let layer = Layer {
            diff_id: step.diff_id,
            chain_id,
            created: step.created,
        };
        let mut steps = lock(self.steps());
        steps
            .caches
            .extend(answer.cache.map(|cache| (wanted, cache)));
        drop(steps);
        self.note_found(asked, &layer);
        Some(layer)
    }

    /// A step was found whose layer may not be here.
    pub(super) fn note_found(&self, asked: &Asked<'_>, layer: &Layer) {
        let found = Found {
            key: asked.key.clone(),
            layer: layer.clone(),
            name: asked.name.to_owned(),
        };
        let mut steps = lock(self.steps());
        let at = steps.found.entry(layer.chain_id.clone());
        at.or_default().push(found);
    }

    /// Data about layers that never changes, kept in the folder `kind` of derived data, or had
    /// from a shared cache.
    pub(super) async fn recall(&self, kind: &str, name: &Digest) -> Option<Files> {
        let path = self.derived_path(kind, name);
        if let Some(files) = derived::load::<Files>(path.clone()).await {
            return Some(files);
        }
        if !self.asks_elsewhere() {
            return None;
        }
        let wanted = Name::Files(name.clone());
        let answer = self.ask(&wanted).await?;
        let Entry::Files(files) = answer.entry else {
            return None;
        };
        derived::save(path, &files).await;
        let cache = answer.cache.map(|cache| (wanted, cache));
        lock(self.steps()).caches.extend(cache);
        Some(files)
    }

    /// Keeps what [`recall`](Self::recall) gives.
    pub(super) async fn keep(&self, kind: &str, name: &Digest, files: &Files) {
        derived::save(self.derived_path(kind, name), files).await;
    }

    fn derived_path(&self, kind: &str, name: &Digest) -> std::path::PathBuf {
        let dir = self.store().root().join("build").join(kind);
        dir.join(name.hex())
    }

    /// Begins to write a step, and what of layers its key is made of.
    pub(super) async fn share_step(&self, outcome: &Outcome<'_>) {
        let layer = outcome.layer;
        let alone = ChainId::extend(None, &layer.diff_id);
        let hollow = {
            let steps = lock(self.steps());
            steps.hollow.contains(&layer.chain_id) || steps.hollow.contains(&alone)
        };
        let steady = {
            let unsteady = lock(&self.shared.unsteady);
            !unsteady.contains(&layer.chain_id) && !unsteady.contains(&alone)
        };
        if !self.tells_elsewhere() || !steady {
            return;
        }
        let draft = Draft::Step {
            diff_id: layer.diff_id.clone(),
            chain_id: layer.chain_id.clone(),
            created: layer.created.clone(),
            hollow,
        };
        self.put(Name::Step(outcome.asked.key.clone()), draft, outcome);
        for (kind, name) in names(outcome) {
            let path = self.derived_path(kind, &name);
            if let Some(files) = derived::load::<Files>(path).await {
                self.put(Name::Files(name), Draft::Files(files), outcome);
            }
        }
    }

    fn put(&self, name: Name, draft: Draft, outcome: &Outcome<'_>) {
        let mut steps = lock(self.steps());
        if !steps
            .written
            .insert((name.clone(), outcome.asked.in_result))
        {
            return;
        }
        let origin = match (outcome.made, steps.caches.get(&name)) {
            (true, _) => Origin::Made,
            (false, Some(cache)) => Origin::Cache(cache.clone()),
            (false, None) => Origin::Found,
        };
        let sharing = &self.options.sharing;
        sharing
            .targets
            .put(&name, &draft, outcome.asked.in_result, &origin);
        if sharing.inline {
            match (name, draft) {
                (
                    Name::Step(key),
                    Draft::Step {
                        diff_id, created, ..
                    },
                ) => match outcome.asked.in_result {
                    true => steps.steps.push((key, diff_id, created)),
                    false => steps.others.push((key, diff_id, created)),
                },
                (Name::Files(key), Draft::Files(files)) => steps.files.push((key, files)),
                (Name::Step(_), Draft::Files(_)) | (Name::Files(_), Draft::Step { .. }) => {}
            }
        }
    }

    /// Fetches what is missing of a stack that can be had elsewhere; whether it could.
    pub(super) async fn bring(&self, chain: &ChainId) -> Result<bool, StepError> {
        if !self.images.is_elsewhere(chain) {
            return Ok(false);
        }
        let brought = tokio::select! {
            brought = self.images.bring(chain) => brought,
            () = self.cancel.cancelled() => return Err(StepError::Cancelled),
        };
        let brought = brought.map_err(|e| match e {
            images::ImageError::Elsewhere { .. } => StepError::CacheLost(e.to_string()),
            e => e.into(),
        })?;
        self.learn().await?;
        Ok(brought)
    }

    /// Tells the store of steps whose layers it has got.
    async fn learn(&self) -> Result<(), StepError> {
        let found: Vec<ChainId> = lock(self.steps()).found.keys().cloned().collect();
        for chain in found {
            let snapshot = self.store().snapshot(&chain).await;
            let Some(snapshot) = snapshot.map_err(failed("read the store"))? else {
                continue;
            };
            let steps = lock(self.steps()).found.remove(&chain);
            for Found { key, layer, name } in steps.unwrap_or_default() {
                let record = NewCacheRecord {
                    key,
                    chain_id: Some(layer.chain_id),
                    diff_id: Some(layer.diff_id),
                    created: layer.created,
                    description: name,
                    size: snapshot.size_disk,
                };
                let put = self.store().cache_put(record).await;
                put.map_err(failed("write the build cache"))?;
            }
        }
        Ok(())
    }

    /// What the image of these layers says of its steps, if it is to.
    pub fn inline(&self, diff_ids: &[DiffId]) -> Option<Inline> {
        if !self.options.sharing.inline {
            return None;
        }
        let steps = lock(self.steps());
        let mut inline = Inline::default();
        for (key, diff_id, created) in &steps.steps {
            inline.add_step(key.clone(), diff_id, created, diff_ids);
        }
        for (key, diff_id, created) in &steps.others {
            inline.add_other(key.clone(), diff_id.clone(), created);
        }
        for (key, files) in &steps.files {
            inline.add_files(key.clone(), files.clone());
        }
        Some(inline)
    }
}
