//! Runs a plan: each step is found in the cache or done, and becomes a layer.
//!
//! - [`backend`]: the one trait through which the world is seen; [`progress`]: what it is told
//! - [`image`]: what a stage comes to; [`error`]: why there is none
//! - [`key`]: what a step's result depends on
//! - [`trace`]: the keys of the last build, to say why a step missed

pub mod backend;
pub mod error;
pub mod image;
pub mod key;
pub mod progress;
pub mod trace;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dockerfile::diagnostic::Diagnostic;
use dockerfile::span::Span;
use dockerfile::stage::Dockerfile;
use oci::config::History;
use oci::{ChainId, DiffId, ImageConfig, Platform};

use crate::plan::expand::{Declared, ExpandedStage, StageInput, sketch_stage};
use crate::plan::layers;
use crate::plan::{
    Base, BuildArgs, Consent, CopyFrom, Graph, ImageRequest, NamedContexts, Names, Op, PlanError,
    StagePlan, Step,
};
use backend::{Backend, BaseImage, Job, Layer, Sources, Tree};
use error::{SolveError, StepError};
use image::StageImage;
use progress::{Progress, Vertex};
use trace::Trace;

/// The comment that marks a history entry as BuildKit's format.
const HISTORY_COMMENT: &str = "buildkit.dockerfile.v0";

/// What is built, and how.
pub struct Build<'a> {
    /// The Dockerfile.
    pub file: &'a Dockerfile,
    /// The stages to build.
    pub graph: &'a Graph,
    /// `--build-arg`
    pub args: &'a BuildArgs,
    /// The names given with `--build-context`.
    pub named: &'a NamedContexts,
    /// `--allow`
    pub consent: Consent,
    /// The platform to build for.
    pub platform: &'a Platform,
    /// The flags that what a RUN does may depend on (its network, hosts and limits), as part of
    /// its key.
    pub run_flags: &'a str,
    /// Steps are not looked up in the cache.
    pub no_cache: bool,
}

/// Runs a build on a backend.
pub struct Solver<'a, B> {
    build: Build<'a>,
    /// The build's graph, and what triggers of base images add to it.
    graph: Graph,
    backend: &'a B,
    progress: &'a dyn Progress,
    next: AtomicUsize,
    images: BTreeMap<ImageRequest, BaseImage>,
    /// One for each stage of the graph, once the build is prepared.
    expanded: Vec<ExpandedStage>,
    done: BTreeMap<usize, StageImage>,
    before: Trace,
    after: Trace,
}

impl<'a, B: Backend> Solver<'a, B> {
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
            progress,
            next: AtomicUsize::new(1),
            images: BTreeMap::new(),
            expanded: Vec::new(),
            done: BTreeMap::new(),
            before,
            after: Trace::default(),
        }
    }

    /// Finds every image that the build needs, and all that is wrong with the file: nothing runs
    /// before. What only deserves a warning is returned.
    ///
    /// # Errors
    /// [`SolveError`].
    pub async fn prepare(&mut self) -> Result<Vec<Diagnostic>, SolveError> {
        self.resolve_images().await?;
        self.expanded = self.expand()?;
        self.count_layers()
    }

    /// The images that were found.
    pub fn images(&self) -> impl Iterator<Item = (&ImageRequest, &ImageConfig)> {
        let found = self.images.iter();
        found.map(|(wanted, image)| (wanted, &image.config))
    }

    /// Builds the target of a build that is prepared, and returns its image and the keys of this
    /// build.
    ///
    /// # Errors
    /// [`SolveError`]. Steps that were done stay in the cache.
    pub async fn solve(mut self) -> Result<(StageImage, Trace), SolveError> {
        let expanded = std::mem::take(&mut self.expanded);
        self.progress.planned(self.count(&expanded));
        for (stage, expanded) in self.graph.stages.clone().iter().zip(&expanded) {
            let image = self.stage(stage, expanded).await?;
            self.done.insert(stage.index, image);
        }
        let target = self.done.remove(&self.graph.target);
        match target {
            Some(image) => Ok((image, self.after)),
            None => Err(SolveError::Unplanned),
        }
    }

    /// The lines of progress that there will be.
    fn count(&self, expanded: &[ExpandedStage]) -> usize {
        let before = self.next.load(Ordering::Relaxed) - 1;
        let stages = self.graph.stages.iter();
        let bases = stages.filter(|s| matches!(s.base, Base::Image(_))).count();
        let steps = expanded.iter().flat_map(|stage| &stage.steps);
        before + bases + steps.filter(|step| step.op.is_some()).count()
    }

    /// Tells that a step was not done.
    fn ended(&self, vertex: &Vertex, cause: &StepError) {
        match cause {
            StepError::Cancelled => self.progress.canceled(vertex),
            _ => self.progress.failed(vertex, &cause.to_string()),
        }
    }

    /// A new line of progress.
    fn vertex(&self, name: impl Into<Arc<str>>) -> Vertex {
        Vertex {
            number: self.next.fetch_add(1, Ordering::Relaxed),
            name: name.into(),
        }
    }

    /// Finds every image that the build needs, before anything runs.
    async fn resolve_images(&mut self) -> Result<(), SolveError> {
        let mut next = 0;
        while let Some(stage) = self.graph.stages.get(next).cloned() {
            self.resolve_stage(&stage).await?;
            let base = self.base_config(&stage).config.unwrap_or_default();
            let names = self.names();
            let graph = &mut self.graph;
            let added = graph.add_triggers(&names, stage.index, &base.on_build)?;
            // What is known already is not looked for again.
            next = if added { 0 } else { next + 1 };
        }
        Ok(())
    }

    /// Looks whether images get more layers than can be mounted, or loaded elsewhere.
    fn count_layers(&self) -> Result<Vec<Diagnostic>, SolveError> {
        let layers_of = |image: &ImageRequest| {
            let image = self.images.get(image);
            image.map_or(0, |image| image.config.rootfs.diff_ids.len())
        };
        let found = layers::check(self.build.file, &self.graph, &self.expanded, &layers_of);
        match found.iter().any(Diagnostic::is_error) {
            true => Err(PlanError(found).into()),
            false => Ok(found),
        }
    }

    /// What the names in the Dockerfile mean.
    fn names(&self) -> Names<'a> {
        Names {
            file: self.build.file,
            named: self.build.named,
            platform: self.build.platform,
        }
    }

    /// Finds the images that a stage is based on and copies from.
    async fn resolve_stage(&mut self, stage: &StagePlan) -> Result<(), SolveError> {
        let place = self.build.file.stages.get(stage.index);
        let from = place.map_or(Default::default(), |s| s.base.span);
        let base = match &stage.base {
            Base::Image(image) => Some((image, from)),
            _ => None,
        };
        let copied = stage
            .sources
            .iter()
            .filter_map(|(source, span)| match source {
                CopyFrom::Image(image) => Some((image, *span)),
                _ => None,
            });
        for (image, span) in base.into_iter().chain(copied) {
            self.resolve(image, span).await?;
        }
        Ok(())
    }

    async fn resolve(&mut self, wanted: &ImageRequest, span: Span) -> Result<(), SolveError> {
        if self.images.contains_key(wanted) {
            return Ok(());
        }
        let vertex = self.vertex(format!("[internal] load metadata for {}", wanted.name));
        self.progress.started(&vertex);
        match self.backend.image(wanted, &vertex).await {
            Ok(image) => {
                self.progress.done(&vertex);
                self.images.insert(wanted.clone(), image);
                Ok(())
            }
            Err(cause) => {
                self.ended(&vertex, &cause);
                Err(SolveError::Step { span, cause })
            }
        }
    }

    /// Expands every stage: all that can be wrong with the file is found before anything runs.
    fn expand(&self) -> Result<Vec<ExpandedStage>, SolveError> {
        let mut expanded: BTreeMap<usize, ExpandedStage> = BTreeMap::new();
        let mut result = Vec::new();
        let mut errors = Vec::new();
        for stage in &self.graph.stages {
            let earlier = match &stage.base {
                Base::Stage(earlier) => expanded.get(earlier),
                _ => None,
            };
            let (base, author, declared) = match earlier {
                Some(e) => (
                    (*e.config).clone(),
                    e.author.as_deref().map(str::to_owned),
                    e.declared.clone(),
                ),
                None => {
                    let config = self.base_config(stage);
                    let base = config.config.unwrap_or_default();
                    (base, config.author, Declared::default())
                }
            };
            let input = StageInput {
                names: self.names(),
                stage,
                global: &self.graph.global,
                args: self.build.args,
                consent: self.build.consent,
                base,
                author,
                declared,
                open: false,
            };
            let (stage_expanded, mut found) = sketch_stage(&input);
            errors.append(&mut found);
            expanded.insert(stage.index, stage_expanded.clone());
            result.push(stage_expanded);
        }
        match errors.is_empty() {
            true => Ok(result),
            false => Err(PlanError(errors).into()),
        }
    }

    /// The document of a stage's base, an empty one for `scratch`.
    fn base_config(&self, stage: &StagePlan) -> ImageConfig {
        let platform = stage.platform.as_ref().unwrap_or(self.build.platform);
        let image = match &stage.base {
            Base::Image(image) => self.images.get(image),
            _ => None,
        };
        match image {
            Some(image) => image.config.clone(),
            None => {
                let mut config = ImageConfig::for_platform(platform);
                let root = oci::config::Config {
                    working_dir: "/".to_owned(),
                    ..Default::default()
                };
                config.config = Some(root);
                config
            }
        }
    }

    /// Builds one stage on what its base gives.
    async fn stage(
        &mut self,
        stage: &StagePlan,
        expanded: &ExpandedStage,
    ) -> Result<StageImage, SolveError> {
        let mut image = self.start(stage);
        // As BuildKit counts: FROM is a step only where it names an image.
        let first = usize::from(matches!(stage.base, Base::Image(_)));
        let total = first + expanded.steps.iter().filter(|s| s.op.is_some()).count();
        let prefix = if self.build.file.stages.len() > 1 {
            format!("{} ", stage.name)
        } else {
            String::new()
        };
        if let Base::Image(image) = &stage.base {
            let vertex = self.vertex(format!("[{prefix}1/{total}] FROM {}", image.name));
            self.progress.started(&vertex);
            self.progress.done(&vertex);
        }
        let mut number = first;
        for (i, step) in expanded.steps.iter().enumerate() {
            if let Some(op) = &step.op {
                number += 1;
                let vertex = self.vertex(format!("[{prefix}{number}/{total}] {}", step.name));
                let place = format!("{}:{i}", stage.name);
                let layer = self.step(op, step, &image, &vertex, &place).await?;
                image.diff_ids.push(layer.diff_id.clone());
                image.chain = Some(layer.chain_id.clone());
                image.created = Some(layer.created.clone());
            }
            if let Some(text) = &step.history {
                let created = image.created.clone().or_else(|| self.backend.dated());
                image.history.push(History {
                    created,
                    created_by: Some(text.clone()),
                    author: None,
                    comment: Some(HISTORY_COMMENT.to_owned()),
                    empty_layer: step.op.is_none(),
                });
            }
        }
        image.config = expanded.config.clone();
        image.author = expanded.author.as_deref().map(str::to_owned);
        Ok(image)
    }

    /// The image that a stage starts from.
    fn start(&self, stage: &StagePlan) -> StageImage {
        if let Base::Stage(earlier) = &stage.base
            && let Some(image) = self.done.get(earlier)
        {
            return image.clone();
        }
        let base = self.base_config(stage);
        let diff_ids: Vec<DiffId> = base.rootfs.diff_ids.clone();
        StageImage {
            chain: ChainId::chain(&diff_ids).pop(),
            diff_ids,
            history: base.history.clone(),
            config: Arc::default(),
            author: base.author.clone(),
            created: base.created.clone(),
            base,
        }
    }

    /// Finds a step in the cache or does it.
    async fn step(
        &mut self,
        op: &Op,
        step: &Step,
        image: &StageImage,
        vertex: &Vertex,
        place: &str,
    ) -> Result<Layer, SolveError> {
        self.progress.started(vertex);
        let result = self.look_up_or_do(op, step, image, vertex, place).await;
        result.map_err(|cause| {
            self.ended(vertex, &cause);
            SolveError::Step {
                span: step.span,
                cause,
            }
        })
    }

    async fn look_up_or_do(
        &mut self,
        op: &Op,
        step: &Step,
        image: &StageImage,
        vertex: &Vertex,
        place: &str,
    ) -> Result<Layer, StepError> {
        let (job, files) = self.job(op).await?;
        let parent = image.chain.as_ref();
        let build = &self.build;
        let key = key::step_key(op, parent, build.platform, build.run_flags, &files);
        let digest = key.digest();
        if !build.no_cache
            && let Some(layer) = self.backend.lookup(&digest).await?
        {
            self.after.insert(place, key);
            self.progress.cached(vertex);
            return Ok(layer);
        }
        if let Some(reason) = self.before.explain(place, &key, build.no_cache) {
            self.progress.missed(vertex, &reason);
        }
        let layer = self.backend.execute(job, parent, vertex).await?;
        self.backend.remember(&digest, &layer, &step.name).await?;
        self.after.insert(place, key);
        self.progress.done(vertex);
        Ok(layer)
    }

    /// What there is to do for a step, and the content digests of the files that it takes.
    async fn job<'o>(
        &self,
        op: &'o Op,
    ) -> Result<(Job<'o, B::Selected>, Vec<(String, String)>), StepError> {
        Ok(match op {
            Op::Run(run) => (Job::Run(run), Vec::new()),
            Op::Workdir(workdir) => (Job::Workdir(workdir), Vec::new()),
            Op::Copy(op) => {
                let tree = self.tree(&op.from);
                let Sources { files, selected } = self.backend.sources(op, &tree).await?;
                (Job::Copy { op, tree, selected }, files)
            }
        })
    }

    /// The tree that a copy takes from.
    fn tree(&self, from: &CopyFrom) -> Tree {
        match from {
            CopyFrom::Context => Tree::Context,
            CopyFrom::Scratch => Tree::Layers(None),
            CopyFrom::Named(name) => Tree::Named(name.clone()),
            CopyFrom::Stage(index) => self
                .done
                .get(index)
                .map_or(Tree::Layers(None), StageImage::tree),
            CopyFrom::Image(image) => {
                let found = self.images.get(image);
                Tree::Layers(
                    found.and_then(|image| ChainId::chain(&image.config.rootfs.diff_ids).pop()),
                )
            }
        }
    }
}
