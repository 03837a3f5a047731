//! What the solver asks of this machine.

use images::layout::ingest_image;
use images::progress::Untold;
use oci::ChainId;

use super::sharing::{BELOW, below_name};
use super::stack::mount;
use super::{Engine, Selected, blocking, copy, failed};
use crate::files::listing::Listing;
use crate::plan::{CopyOp, ImageName, ImageRequest, RunOp};
use crate::solve::backend::{BaseImage, Execute, Job, Layer, Sources, Tree};
use crate::solve::error::StepError;
use crate::solve::jobs::Turn;
use crate::solve::progress::Vertex;

impl Engine {
    async fn find_image(
        &self,
        wanted: &ImageRequest,
        vertex: &Vertex,
    ) -> Result<BaseImage, StepError> {
        let note = |text: &str| self.progress.status(vertex, text);
        let platform = &wanted.platform;
        let found = match &wanted.name {
            ImageName::Reference(reference) => {
                let pull = self.options.pull;
                match self.asks_elsewhere() {
                    true => {
                        let lazily = self.images.image_lazily(reference, platform, pull, &note);
                        lazily.await
                    }
                    false => self.images.image(reference, platform, pull, &note).await,
                }
            }
            ImageName::Stored(id) => self.images.find_for(&id.to_string(), platform).await,
            ImageName::Layout(name) => {
                let missing = || StepError::NoSuchContext(name.clone());
                let place = self.options.layouts.get(name).ok_or_else(missing)?;
                ingest_image(&self.images, place, platform).await
            }
        };
        let image = found?;
        if let ImageName::Reference(reference) = &wanted.name {
            self.note_image(reference, platform, &image).await;
        }
        let top = ChainId::chain(&image.config.rootfs.diff_ids).pop();
        // What can be had from its registry is fetched when somebody needs it.
        if !top.is_some_and(|top| self.images.is_elsewhere(&top)) {
            self.images.ensure_unpacked(&image.config, &Untold).await?;
        }
        Ok(BaseImage {
            id: image.id,
            config: image.config,
        })
    }
}

impl Execute for Engine {
    type Selected = Selected;

    async fn image(&self, wanted: &ImageRequest, vertex: &Vertex) -> Result<BaseImage, StepError> {
        tokio::select! {
            found = self.find_image(wanted, vertex) => found.map_err(|e| self.cancel.explain(e)),
            () = self.cancel.cancelled() => Err(StepError::Cancelled),
        }
    }

    async fn sources(
        &self,
        op: &CopyOp,
        tree: &Tree,
        turn: &Turn,
    ) -> Result<Sources<Selected>, StepError> {
        let found = self.find_sources(op, tree, turn).await;
        found.map_err(|e| self.cancel.explain(e))
    }

    async fn bound(
        &self,
        op: &RunOp,
        trees: &[Option<Tree>],
        turn: &Turn,
    ) -> Result<Vec<(String, String)>, StepError> {
        let found = self.bound_files(op, trees, turn).await;
        found.map_err(|e| self.cancel.explain(e))
    }

    async fn below(
        &self,
        op: &CopyOp,
        parent: Option<&ChainId>,
    ) -> Result<Vec<(String, String)>, StepError> {
        let Some(parent) = parent else {
            return Ok(Vec::new());
        };
        let name = below_name(op, parent);
        if let Some(name) = &name
            && let Some(below) = self.recall(BELOW, name).await
        {
            return Ok(below);
        }
        let lowers = self.lowers(Some(parent)).await?;
        let empty = self.derived("empty").await?;
        let op = op.clone();
        let below = blocking(move || copy::below(&op, &mount(&lowers, &empty, None)?)).await?;
        if let Some(name) = name {
            self.keep(BELOW, &name, &below).await;
        }
        Ok(below)
    }

    async fn execute(
        &self,
        job: Job<'_, Selected>,
        parent: Option<&ChainId>,
        vertex: &Vertex,
        turn: &Turn,
    ) -> Result<Layer, StepError> {
        let made = self.make(job, parent, vertex, turn).await;
        made.map_err(|e| self.cancel.explain(e))
    }

    async fn stack(
        &self,
        layer: Layer,
        parent: Option<&ChainId>,
    ) -> Result<Option<Layer>, StepError> {
        let Some(parent) = parent else {
            return Ok(Some(layer));
        };
        let here = self.store().snapshot(parent).await;
        let here = here.map_err(failed("read the store"))?.is_some();
        if self.images.is_elsewhere(&layer.chain_id) || !here {
            let chain_id = self.images.stack_elsewhere(parent, &layer.diff_id);
            return Ok(Some(Layer { chain_id, ..layer }));
        }
        let shared = self.store().share(&layer.chain_id, parent).await;
        let shared = shared.map_err(failed("stack a layer"))?;
        Ok(shared.map(|snapshot| Layer {
            chain_id: snapshot.chain_id,
            ..layer
        }))
    }

    async fn complete(&self, chain: &ChainId) -> Result<(), StepError> {
        self.lowers(Some(chain)).await.map(drop)
    }

    async fn listing(&self, values: &[&str]) -> Option<Listing> {
        self.find_listing(values).await
    }

    fn stop(&self) {
        self.note_failure();
        self.cancel.cancel();
    }

    fn dated(&self) -> Option<String> {
        let time = jiff::Timestamp::from_second(self.options.epoch?);
        Some(time.unwrap_or_default().to_string())
    }
}
