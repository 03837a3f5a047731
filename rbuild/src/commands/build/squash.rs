//! `--squash`: an image with one layer upon its base.

use std::sync::Arc;

use builder::engine::Engine;
use builder::solve::error::StepError;
use builder::solve::image::StageImage;
use builder::solve::progress::{Progress, Vertex};
use oci::Digest;

use crate::failure::Failure;

/// Whether its stage has made no layer.
pub fn is_merged(image: &StageImage) -> bool {
    let onto = image.onto.as_ref();
    image.diff_ids.len() == onto.map_or(0, |onto| onto.diff_ids.len())
}

/// The image `id` with its stage's layers merged, which is a step that is cached like others.
///
/// # Errors
/// When the layers cannot be had or written.
pub async fn squash(
    engine: &Engine,
    image: StageImage,
    id: &Digest,
    progress: &dyn Progress,
) -> Result<StageImage, Failure> {
    let line = Vertex {
        number: usize::MAX - 1,
        name: "merging layers".into(),
        span: None,
        inputs: Arc::default(),
    };
    progress.started(&line);
    let failed = |e: StepError| {
        progress.failed(&line, &e.to_string());
        Failure::new(format!("merging layers: {e}"))
    };
    let onto = image.onto.as_ref();
    let base = onto
        .map(|onto| onto.diff_ids.as_slice())
        .unwrap_or_default();
    let all = &image.diff_ids;
    let known = engine.squashed(base, all).await.map_err(&failed)?;
    let layer = match known {
        Some(layer) => {
            progress.cached(&line);
            layer
        }
        None => {
            let layer = engine.squash(base, all).await.map_err(&failed)?;
            progress.done(&line);
            layer
        }
    };
    Ok(image.squashed(id, &layer))
}
