//! Runs a plan: each step is found in the cache or done, and becomes a layer.
//!
//! - [`build`]: what is built; [`prepare`]: what has to be known of it before anything runs
//! - [`walk`]: goes through the nodes of the plan; [`ready`]: which can be worked on, [`jobs`]: how
//!   many at a time, [`inputs`]: what each takes from elsewhere; [`together`]: what builds share
//!   that go on at the same time
//! - [`backend`]: the traits through which the world is seen; [`progress`]: what it is told
//! - `foreign`: for which platforms processes run
//! - [`image`]: what a stage comes to; [`error`]: why there is none
//! - [`key`]: what a step's result depends on
//! - [`trace`]: the keys of the last build, from which `why` finds the [`reason`] of a miss

pub mod backend;
pub mod build;
pub mod error;
mod foreign;
pub mod image;
mod inputs;
pub mod jobs;
pub mod key;
mod prepare;
pub mod progress;
mod ready;
pub mod reason;
mod tell;
pub mod together;
pub mod trace;
mod walk;
mod why;

#[cfg(test)]
mod tests;

use dockerfile::diagnostic::Diagnostic;
use oci::{Digest, ImageConfig};

use crate::plan::expand::ExpandedStage;
use crate::plan::nodes::Nodes;
use crate::plan::{Graph, ImageRequest};
use backend::{Cache, Execute, Layer};
pub use build::{Build, NoCache};
use error::SolveError;
use image::{Solved, StageImage};
use key::StepKey;
use prepare::Images;
use progress::Progress;
use tell::Tell;
use trace::Trace;
use walk::Walk;

/// Runs a build on a backend.
pub struct Solver<'a, B> {
    build: Build<'a>,
    /// The build's graph, and what triggers of base images add to it.
    graph: Graph,
    backend: &'a B,
    tell: Tell<'a>,
    images: Images,
    /// One for each stage of the graph, once the build is prepared.
    expanded: Vec<ExpandedStage>,
    before: Trace,
}

impl<'a, B: Cache + Execute> Solver<'a, B> {
    /// A solver; `before` has the keys of the last build of the same Dockerfile.
    pub fn new(
        build: Build<'a>,
        backend: &'a B,
        progress: &'a dyn Progress,
        before: Trace,
    ) -> Self {
        Self {
            graph: build.graph.clone(),
            build,
            backend,
            tell: Tell::new(progress),
            images: Images::new(),
            expanded: Vec::new(),
            before,
        }
    }

    /// Finds every image that the build needs, and all that is wrong with the file: nothing runs
    /// before. What only deserves a warning is returned.
    ///
    /// # Errors
    /// [`SolveError`].
    pub async fn prepare(&mut self) -> Result<Vec<Diagnostic>, SolveError> {
        let resolved = prepare::resolve(&self.build, self.backend, &self.tell);
        (self.graph, self.images) = resolved.await?;
        self.expanded = prepare::expand(&self.build, &self.graph, &self.images)?;
        prepare::count_layers(&self.build, &self.graph, &self.images, &self.expanded)
    }

    /// The images that were found.
    pub fn images(&self) -> impl Iterator<Item = (&ImageRequest, &ImageConfig)> {
        let found = self.images.iter();
        found.map(|(wanted, image)| (wanted, &image.config))
    }

    /// Builds the target of a build that is prepared. Returns its image, or why there is none
    /// (steps that were done stay in the cache then), and in either case the keys of the steps
    /// that were done.
    pub async fn solve(self) -> (Result<StageImage, SolveError>, Trace) {
        let (build, tell) = (&self.build, &self.tell);
        let several = build.file.stages.len() > 1;
        let nodes = Nodes::new(&self.graph, &self.expanded, several);
        let shares = usize::from(self.backend.shares());
        let lines = tell.begun() + nodes.bases.len() + nodes.all.len() + shares;
        tell.progress.planned(lines);
        for base in &nodes.bases {
            let vertex = tell.begin(base.as_str());
            tell.progress.done(&vertex);
        }
        let before = nodes
            .all
            .iter()
            .filter_map(|node| self.before.key(&node.place));
        let keys: Vec<Digest> = before.map(StepKey::digest).collect();
        let asked = !matches!(build.no_cache, NoCache::All);
        if asked && keys.len() > 1 {
            self.backend.expect(&keys).await;
        }
        let mut walked = self.walk(&nodes).await;
        // Once without steps whose layers nobody has, then without what others have at all.
        for _ in 0..2 {
            let Some(lost) = walked.0.as_ref().err().and_then(SolveError::lost) else {
                break;
            };
            let warning = format!("{lost}; going on without the shared cache");
            if self.backend.lose() {
                tell.progress.warning(&warning);
            }
            build.together.forget();
            walked = self.walk(&nodes).await;
        }
        if self.backend.shares() {
            let vertex = tell.begin("exporting cache");
            self.backend.shared().await;
            tell.progress.done(&vertex);
        }
        walked
    }

    /// Goes through all nodes.
    async fn walk(&self, nodes: &Nodes<'_>) -> (Result<StageImage, SolveError>, Trace) {
        let (build, tell, images) = (&self.build, &self.tell, &self.images);
        let walk = Walk::new(
            build,
            self.backend,
            tell,
            nodes,
            images,
            &self.before,
            self.graph.target,
        );
        let (layers, after) = walk.all().await;
        let image = match layers {
            Ok(layers) => self.image(nodes, &layers).await,
            Err(e) => Err(e),
        };
        (image, after)
    }

    /// What the layers come to.
    async fn image(
        &self,
        nodes: &Nodes<'_>,
        layers: &[Option<Layer>],
    ) -> Result<StageImage, SolveError> {
        let build = &self.build;
        let solved = Solved {
            build,
            graph: &self.graph,
            images: &self.images,
            expanded: &self.expanded,
            nodes,
            layers,
        };
        let dated = self.backend.dated();
        let image = solved
            .target(dated.as_deref())
            .ok_or(SolveError::Unplanned)?;
        if build.whole
            && let Some(chain) = &image.chain
        {
            let stage = build.file.stages.get(self.graph.target);
            let span = stage.map_or(Default::default(), |stage| stage.base.span);
            let complete = self.backend.complete(chain).await;
            complete.map_err(|cause| SolveError::Step { span, cause })?;
        }
        Ok(image)
    }
}
