//! The image that building a stage gives.

use std::sync::Arc;

use oci::config::{History, RootFs};
use oci::{ChainId, DiffId, Digest, ImageConfig};

use super::backend::Layer;
use super::build::Build;
use super::prepare::{Images, base_config};
use crate::plan::expand::ExpandedStage;
use crate::plan::nodes::Nodes;
use crate::plan::{Base, Graph, StagePlan};

/// The comment that marks a history entry as BuildKit's format.
const HISTORY_COMMENT: &str = "buildkit.dockerfile.v0";

/// The image of a stage.
#[derive(Clone, Debug)]
pub struct StageImage {
    /// Its layers, bottom first.
    pub diff_ids: Vec<DiffId>,
    /// Their stack.
    pub chain: Option<ChainId>,
    /// Its history.
    pub history: Vec<History>,
    /// Its configuration.
    pub config: Arc<oci::config::Config>,
    /// Its author.
    pub author: Option<String>,
    /// When its newest layer was made, if it has a date.
    pub created: Option<String>,
    /// The document of its base, for fields that nothing here changes.
    pub base: ImageConfig,
    /// What its stage stands on, another stage too; `None` for nothing.
    pub onto: Option<Onto>,
}

/// The image that a stage begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onto {
    /// Its ID.
    pub id: Digest,
    /// Its layers, bottom first.
    pub diff_ids: Vec<DiffId>,
    /// So many entries of the history are its own.
    pub history: usize,
}

/// What a build has done.
pub struct Solved<'a> {
    /// What was built.
    pub build: &'a Build<'a>,
    /// Its stages.
    pub graph: &'a Graph,
    /// The images it stands on.
    pub images: &'a Images,
    /// One for each stage of the graph.
    pub expanded: &'a [ExpandedStage],
    /// What there was to do.
    pub nodes: &'a Nodes<'a>,
    /// One for each node.
    pub layers: &'a [Option<Layer>],
}

impl Solved<'_> {
    /// The image of the target, `None` when it is not among the stages; `dated` is the date of
    /// the build, if it has one, for what has no layer to be dated by.
    pub fn target(&self, dated: Option<&str>) -> Option<StageImage> {
        let stages = || self.graph.stages.iter().zip(self.expanded);
        let by_index: std::collections::BTreeMap<usize, _> =
            stages().map(|found| (found.0.index, found)).collect();
        // From the target down to the stage that stands on none, and up again.
        let mut line = Vec::new();
        let mut wanted = self.graph.target;
        let bottom = loop {
            let (stage, expanded) = by_index.get(&wanted)?;
            line.push((*stage, *expanded));
            match stage.base {
                Base::Stage(earlier) => wanted = earlier,
                _ => break *stage,
            }
        };
        let base = base_config(self.build, self.images, bottom);
        let diff_ids: Vec<DiffId> = base.rootfs.diff_ids.clone();
        let mut image = StageImage {
            chain: ChainId::chain(&diff_ids).pop(),
            diff_ids,
            history: base.history.clone(),
            config: Arc::default(),
            author: base.author.clone(),
            created: base.created.clone(),
            base,
            onto: None,
        };
        let moment = || dated.map(str::to_owned);
        for (stage, expanded) in line.into_iter().rev() {
            if stage.index == self.graph.target {
                image.onto = self.onto(stage, &image, dated);
            }
            let mut layers = self.nodes.of_stage(stage.index);
            for step in &expanded.steps {
                if step.op.is_some() {
                    let layer = self.layers.get(layers.next()?)?.as_ref()?;
                    image.push(layer);
                    // One of the cache may have been made without the epoch.
                    image.created = moment().or(image.created);
                }
                if let Some(text) = &step.history {
                    image.history.push(History {
                        created: moment().or_else(|| image.created.clone()),
                        created_by: Some(text.clone()),
                        author: None,
                        comment: Some(HISTORY_COMMENT.to_owned()),
                        empty_layer: step.op.is_none(),
                    });
                }
            }
            image.config = expanded.config.clone();
            image.author = expanded.author.as_deref().map(str::to_owned);
        }
        Some(image)
    }
}

impl Solved<'_> {
    /// What a stage stands on; `below` is what has come of that.
    fn onto(&self, stage: &StagePlan, below: &StageImage, dated: Option<&str>) -> Option<Onto> {
        let id = match &stage.base {
            Base::Image(image) => self.images.get(image)?.id.clone(),
            Base::Stage(_) => {
                let document = images::ConfigDocument::new(&below.document(dated));
                document.ok()?.id
            }
            Base::Unknown | Base::Scratch | Base::Tree(_) => return None,
        };
        Some(Onto {
            id,
            diff_ids: below.diff_ids.clone(),
            history: below.history.len(),
        })
    }
}

impl StageImage {
    /// The image with one layer in place of those that its stage has made: `layer`, merged from
    /// those of `id`. History and its words are those of docker's `--squash`.
    pub fn squashed(mut self, id: &Digest, layer: &Layer) -> Self {
        let (kept, comment) = match &self.onto {
            Some(onto) => (onto.history, format!("merge {id} to {}", onto.id)),
            None => (0, format!("create new from {id}")),
        };
        for entry in self.history.iter_mut().skip(kept) {
            entry.empty_layer = true;
        }
        self.diff_ids = self.onto.take().map(|o| o.diff_ids).unwrap_or_default();
        self.push(layer);
        self.history.push(History {
            created: Some(layer.created.clone()),
            comment: Some(comment),
            ..History::default()
        });
        self
    }

    fn push(&mut self, layer: &Layer) {
        self.diff_ids.push(layer.diff_id.clone());
        self.chain = Some(layer.chain_id.clone());
        self.created = Some(layer.created.clone());
    }

    /// The configuration document of the image. It has the date of the build, `dated`, if there is
    /// one, else that of its last layer, else none: the same file gives the same image.
    pub fn document(&self, dated: Option<&str>) -> ImageConfig {
        let mut document = self.base.clone();
        document.config = Some((*self.config).clone());
        document.author = self.author.clone();
        document.created = dated.map(str::to_owned).or_else(|| self.created.clone());
        document.history = self.history.clone();
        document.rootfs = RootFs {
            diff_ids: self.diff_ids.clone(),
            ..RootFs::default()
        };
        // Docker's classic builder recorded the container that made the base; it made nothing here.
        for stale in [
            "container",
            "container_config",
            "docker_version",
            "parent",
            "id",
            // The steps of the base, which these are not.
            "moby.buildkit.cache.v0",
            images::shared::inline::FIELD,
        ] {
            document.other.shift_remove(stale);
        }
        document
    }
}
