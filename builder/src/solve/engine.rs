//! What the solver needs of the world: images, the cache, and hands to run a step with.

use std::fmt;
use std::sync::Arc;

use dockerfile::span::Span;
use oci::config::History;
use oci::{ChainId, DiffId, Digest, ImageConfig, Platform};

use crate::plan::{CopyFrom, ImageName, Op};

/// A base image, its layers ready to be stacked.
#[derive(Clone, Debug)]
pub struct BaseImage {
    /// Its configuration.
    pub config: ImageConfig,
    /// What it was resolved to, for progress: a digest or an ID.
    pub id: String,
}

/// A layer, as a step makes it or the cache remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The layer.
    pub diff_id: DiffId,
    /// The stack with it on top.
    pub chain_id: ChainId,
    /// When it was made, RFC 3339.
    pub created: String,
}

/// The files of one stage, image or context, as a COPY sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// The build context.
    Context,
    /// A named context.
    Named(String),
    /// A stack of layers; `None` is an empty one.
    Layers(Option<ChainId>),
}

/// Where a step's output and progress go. Nothing here blocks for long.
pub trait Progress: Send + Sync {
    /// A step begins to be worked on.
    fn started(&self, vertex: &Vertex);
    /// A step's outcome was found in the cache.
    fn cached(&self, vertex: &Vertex);
    /// Why a step was not found in the cache.
    fn missed(&self, vertex: &Vertex, reason: &str);
    /// A step wrote to its standard output or error.
    fn output(&self, vertex: &Vertex, bytes: &[u8]);
    /// A note on what a step is doing.
    fn status(&self, vertex: &Vertex, text: &str);
    /// A step is done.
    fn done(&self, vertex: &Vertex);
    /// A step failed.
    fn failed(&self, vertex: &Vertex, error: &str);
    /// A step was ended by whoever waits for the build.
    fn canceled(&self, vertex: &Vertex) {
        self.failed(vertex, "canceled");
    }
    /// How many steps there are, those that are done included; told once that is known.
    fn planned(&self, steps: usize) {
        let _ = steps;
    }
    /// Nothing more comes of this build, whether it went well or not.
    fn finished(&self) {}
    /// Something that deserves attention and stops nothing.
    fn warning(&self, text: &str);
}

/// A line of progress.
#[derive(Clone, Debug)]
pub struct Vertex {
    /// Counted from 1, in the order started.
    pub number: usize,
    /// Such as `[2/4] RUN make`.
    pub name: Arc<str>,
}

impl fmt::Display for Vertex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {}", self.number, self.name)
    }
}

/// Why a step could not be done.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The process of a RUN failed.
    ///
    /// The command is not told again: whoever shows this has the instruction's place.
    #[error("process did not complete successfully: {status}")]
    Process {
        /// How it ended, in words.
        status: String,
        /// The exit code to pass on.
        code: u8,
    },
    /// A file of ADD was not downloaded.
    #[error("ADD {0}")]
    Download(crate::download::DownloadError),
    /// Files could not be found, read or written.
    #[error(transparent)]
    Files(#[from] crate::files::FilesError),
    /// An image could not be found or fetched.
    #[error(transparent)]
    Image(Box<images::ImageError>),
    /// Anything else, told in full.
    #[error("{0}")]
    Other(String),
    /// The build was interrupted.
    #[error("the build was cancelled")]
    Cancelled,
}

impl From<images::ImageError> for StepError {
    fn from(error: images::ImageError) -> Self {
        Self::Image(Box::new(error))
    }
}

impl From<crate::download::DownloadError> for StepError {
    fn from(error: crate::download::DownloadError) -> Self {
        Self::Download(error)
    }
}

impl StepError {
    /// An error with what was being done.
    pub fn other(what: &str, error: impl fmt::Display) -> Self {
        Self::Other(format!("{what}: {error}"))
    }

    /// The exit code of the whole build.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Process { code, .. } => (*code).max(1),
            Self::Cancelled => 130,
            _ => 1,
        }
    }
}

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum SolveError {
    /// The Dockerfile is wrong.
    #[error(transparent)]
    Plan(#[from] crate::plan::PlanError),
    /// An instruction could not be done.
    #[error("failed to solve: {cause}")]
    Step {
        /// The instruction's place.
        span: Span,
        /// Why.
        cause: StepError,
    },
}

/// The world, as the solver sees it.
#[allow(
    async_fn_in_trait,
    reason = "called generically on one task; no Send bound is needed"
)]
pub trait Engine {
    /// Finds an image for a platform, in the store or where its name leads.
    async fn image(
        &self,
        name: &ImageName,
        platform: &Platform,
        vertex: &Vertex,
    ) -> Result<BaseImage, StepError>;

    /// The content digests of what a copy takes: name and digest, in order.
    async fn digests(&self, op: &Op, tree: &Tree) -> Result<Vec<(String, String)>, StepError>;

    /// The layer that a key is known to give.
    async fn lookup(&self, key: &Digest) -> Result<Option<Layer>, StepError>;

    /// Does it, on top of `parent`, and stores the layer.
    async fn execute(
        &self,
        op: &Op,
        parent: Option<&ChainId>,
        tree: Option<&Tree>,
        vertex: &Vertex,
    ) -> Result<Layer, StepError>;

    /// Remembers what a key gives.
    async fn remember(&self, key: &Digest, layer: &Layer, name: &str) -> Result<(), StepError>;

    /// The time to date things to, RFC 3339.
    fn now(&self) -> String;
}

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

/// Whether a copy is from the build's own context.
pub fn is_context(from: &CopyFrom) -> bool {
    matches!(from, CopyFrom::Context)
}
