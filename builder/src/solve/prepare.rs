//! Finds all that a build needs before anything runs: its images, and what is wrong with the file.

use std::collections::BTreeMap;

use dockerfile::diagnostic::Diagnostic;
use dockerfile::span::Span;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use oci::ImageConfig;

use super::backend::{BaseImage, Execute};
use super::build::Build;
use super::error::SolveError;
use super::tell::Tell;
use crate::plan::expand::{Declared, ExpandedStage, StageInput, sketch_stage};
use crate::plan::layers;
use crate::plan::windows;
use crate::plan::{Base, CopyFrom, Graph, ImageRequest, PlanError, StagePlan};

/// The images of a build.
pub type Images = BTreeMap<ImageRequest, BaseImage>;

/// A build's graph with what triggers of base images add to it, and the images that it needs.
pub async fn resolve<B: Execute>(
    build: &Build<'_>,
    backend: &B,
    tell: &Tell<'_>,
) -> Result<(Graph, Images), SolveError> {
    let mut graph = build.graph.clone();
    let mut images = Images::new();
    loop {
        find(wanted(build, &graph, &images), backend, tell, &mut images).await?;
        let mut added = false;
        for stage in &graph.stages.clone() {
            let base = base_config(build, &images, stage).config;
            let triggers = base.unwrap_or_default().on_build;
            if !triggers.is_empty() {
                added |= graph.add_triggers(&build.names(), stage.index, &triggers)?;
            }
        }
        if !added {
            return Ok((graph, images));
        }
    }
}

/// The images that stages are based on and copy from and that are not there yet, each with the
/// place that asks for it first.
fn wanted(build: &Build<'_>, graph: &Graph, images: &Images) -> Vec<(ImageRequest, Span)> {
    let mut wanted: BTreeMap<&ImageRequest, Span> = BTreeMap::new();
    for stage in &graph.stages {
        let place = build.file.stages.get(stage.index);
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
            if !images.contains_key(image) {
                let first = wanted.entry(image).or_insert(span);
                *first = span.min(*first);
            }
        }
    }
    let mut wanted: Vec<_> = wanted.into_iter().collect();
    wanted.sort_by_key(|(_, span)| *span);
    let owned = wanted
        .into_iter()
        .map(|(image, span)| (image.clone(), span));
    owned.collect()
}

/// Finds images, all at once.
async fn find<B: Execute>(
    wanted: Vec<(ImageRequest, Span)>,
    backend: &B,
    tell: &Tell<'_>,
    images: &mut Images,
) -> Result<(), SolveError> {
    let one = |(wanted, span): (ImageRequest, Span)| async move {
        let vertex = tell.begin(format!("[internal] load metadata for {}", wanted.name));
        match backend.image(&wanted, &vertex).await {
            Ok(image) => {
                tell.progress.done(&vertex);
                Ok((wanted, image))
            }
            Err(cause) => {
                tell.ended(&vertex, &cause);
                Err(SolveError::Step { span, cause })
            }
        }
    };
    let mut found: FuturesUnordered<_> = wanted.into_iter().map(one).collect();
    let mut failed = None;
    while let Some(ended) = found.next().await {
        match ended {
            Ok((wanted, image)) => drop(images.insert(wanted, image)),
            Err(error) if failed.is_none() => {
                failed = Some(error);
                backend.stop();
            }
            Err(_) => {}
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Expands every stage: all that can be wrong with the file is found before anything runs.
pub fn expand(
    build: &Build<'_>,
    graph: &Graph,
    images: &Images,
) -> Result<Vec<ExpandedStage>, SolveError> {
    let mut places: BTreeMap<usize, usize> = BTreeMap::new();
    let mut result: Vec<ExpandedStage> = Vec::new();
    let mut errors = Vec::new();
    for stage in &graph.stages {
        let earlier = match &stage.base {
            Base::Stage(earlier) => places.get(earlier).and_then(|place| result.get(*place)),
            _ => None,
        };
        let (base, author, declared) = match earlier {
            Some(e) => (
                (*e.config).clone(),
                e.author.as_deref().map(str::to_owned),
                e.declared.clone(),
            ),
            None => {
                let config = base_config(build, images, stage);
                let base = config.config.unwrap_or_default();
                (base, config.author, Declared::default())
            }
        };
        let input = StageInput {
            names: build.names(),
            stage,
            global: &graph.global,
            args: build.args,
            consent: build.consent.clone(),
            base,
            author,
            declared,
            open: false,
        };
        let (expanded, mut found) = sketch_stage(&input);
        errors.append(&mut found);
        places.insert(stage.index, result.len());
        result.push(expanded);
    }
    match errors.is_empty() {
        true => Ok(result),
        false => Err(PlanError(errors).into()),
    }
}

/// Looks whether images get more layers than can be mounted, or loaded elsewhere, which is only
/// a warning.
pub fn count_layers(
    build: &Build<'_>,
    graph: &Graph,
    images: &Images,
    expanded: &[ExpandedStage],
) -> Result<Vec<Diagnostic>, SolveError> {
    let layers_of = |image: &ImageRequest| {
        let image = images.get(image);
        image.map_or(0, |image| image.config.rootfs.diff_ids.len())
    };
    let mut found = layers::check(build.file, graph, expanded, &layers_of);
    if build.image {
        found.extend(layers::of_windows(graph, expanded, build.platform));
    }
    match found.iter().any(Diagnostic::is_error) {
        true => Err(PlanError(found).into()),
        false => Ok(found),
    }
}

/// The document of a stage's base, an empty one for `scratch`.
pub fn base_config(build: &Build<'_>, images: &Images, stage: &StagePlan) -> ImageConfig {
    let platform = stage.platform.as_ref().unwrap_or(build.platform);
    let image = match &stage.base {
        Base::Image(image) => images.get(image),
        _ => None,
    };
    match image {
        Some(image) => image.config.clone(),
        None => {
            let mut config = ImageConfig::for_platform(platform);
            let root = oci::config::Config {
                working_dir: match windows::is(platform) {
                    true => windows::ROOT.to_owned(),
                    false => "/".to_owned(),
                },
                ..Default::default()
            };
            config.config = Some(root);
            config
        }
    }
}
