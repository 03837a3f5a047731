//! The image that building a stage gives.

use std::sync::Arc;

use oci::config::{History, RootFs};
use oci::{ChainId, DiffId, ImageConfig};

use super::backend::Tree;

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
}

impl StageImage {
    /// The tree of its files.
    pub fn tree(&self) -> Tree {
        Tree::Layers(self.chain.clone())
    }
}

impl StageImage {
    /// The configuration document of the image. Without layers that were dated it has the date of
    /// the build, `dated`, if there is one, and else none: the same file gives the same image.
    pub fn document(&self, dated: Option<&str>) -> ImageConfig {
        let mut document = self.base.clone();
        document.config = Some((*self.config).clone());
        document.author = self.author.clone();
        document.created = self.created.clone().or_else(|| dated.map(str::to_owned));
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
        ] {
            document.other.shift_remove(stale);
        }
        document
    }
}
