//! What the solver needs of the world: a cache, and hands to do a step with.

use oci::{ChainId, DiffId, Digest, ImageConfig, Platform};

use super::error::StepError;
use super::jobs::Turn;
use super::progress::Vertex;
use crate::files::listing::Listing;
use crate::plan::{CopyOp, ImageRequest, Op, RunOp, WorkdirOp};

/// A base image, its layers ready to be stacked, or to be fetched for that.
#[derive(Clone, Debug)]
pub struct BaseImage {
    /// Its configuration.
    pub config: ImageConfig,
    /// Its ID: the digest of the configuration's document.
    pub id: Digest,
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

/// The files of one stage, image or context, as a step sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// The build context.
    Context,
    /// A named context.
    Named(String),
    /// A stack of layers; `None` is an empty one.
    Layers(Option<ChainId>),
}

/// What a copy takes, as the backend found it.
#[derive(Clone, Debug)]
pub struct Sources<S> {
    /// The content digests: name and digest, in order.
    pub files: Vec<(String, String)>,
    /// The files themselves, for the copy.
    pub selected: S,
}

/// A step to be done.
#[derive(Debug)]
pub enum Job<'a, S> {
    /// A process.
    Run {
        /// The process.
        op: &'a RunOp,
        /// What each of its mounts is taken from, in their order, if anything.
        trees: Vec<Option<Tree>>,
        /// Its cache mounts begin empty.
        anew: bool,
    },
    /// Files to be copied.
    Copy {
        /// What is copied, and to where.
        op: &'a CopyOp,
        /// Where it is taken from.
        tree: Tree,
        /// What [`Execute::sources`] selected there.
        selected: S,
    },
    /// A working directory.
    Workdir(&'a WorkdirOp),
}

/// A step, as caches that others use are asked for it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its key.
    pub key: &'a Digest,
    /// What is to be done,
    pub op: &'a Op,
    /// to what,
    pub parent: Option<&'a ChainId>,
    /// and what it takes from.
    pub trees: &'a [Tree],
    /// What it stands on is for this platform.
    pub platform: &'a Platform,
    /// What else a RUN depends on.
    pub run_flags: &'a str,
    /// The instruction.
    pub name: &'a str,
    /// Its layer is one of the result's.
    pub in_result: bool,
}

/// A step that is done, for caches that others use.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// The step.
    pub asked: Asked<'a>,
    /// What it came to.
    pub layer: &'a Layer,
    /// It was made in this build, and not found.
    pub made: bool,
}

/// What earlier builds, and others that run now, have come to.
#[allow(
    async_fn_in_trait,
    reason = "called generically on one task; no Send bound is needed"
)]
pub trait Cache {
    /// The right to do the step of a key, given back when it is dropped.
    type Claim;

    /// Tells which keys will probably be looked up, all of them at once.
    async fn expect(&self, keys: &[Digest]) {
        let _ = keys;
    }

    /// The layer that a key is known to give.
    async fn lookup(&self, key: &Digest) -> Result<Option<Layer>, StepError>;

    /// Remembers what a key gives.
    async fn remember(&self, key: &Digest, layer: &Layer, name: &str) -> Result<(), StepError>;

    /// The right to do the step of a key; `None` while another build does it.
    async fn claim(&self, key: &Digest) -> Result<Option<Self::Claim>, StepError>;

    /// Waits until no other build does the step of a key, however that ends.
    async fn claim_after(&self, key: &Digest) -> Result<Self::Claim, StepError>;

    /// The layer that a cache shared with other machines has for a step. It need not be here:
    /// [`Execute`] fetches what it needs of it.
    async fn elsewhere(&self, asked: &Asked<'_>) -> Option<Layer> {
        let _ = asked;
        None
    }

    /// Begins to tell other machines of a step.
    async fn share(&self, outcome: &Outcome<'_>) {
        let _ = outcome;
    }

    /// Whether other machines are told of anything.
    fn shares(&self) -> bool {
        false
    }

    /// Waits until they have been told.
    async fn shared(&self) {}

    /// What other machines have promised is not to be had: from now on less of it counts, and at
    /// last only what is here. Whether that is worth telling.
    fn lose(&self) -> bool {
        false
    }
}

/// The world, as the solver sees it.
#[allow(
    async_fn_in_trait,
    reason = "called generically on one task; no Send bound is needed"
)]
pub trait Execute {
    /// What a look at a copy's sources leaves for the copy itself.
    type Selected;

    /// Finds an image, in the store or where its name leads.
    async fn image(&self, wanted: &ImageRequest, vertex: &Vertex) -> Result<BaseImage, StepError>;

    /// What a copy takes from a tree.
    async fn sources(
        &self,
        op: &CopyOp,
        tree: &Tree,
        turn: &Turn,
    ) -> Result<Sources<Self::Selected>, StepError>;

    /// The content digests of what a RUN's mounts bind from `trees`, by target.
    async fn bound(
        &self,
        op: &RunOp,
        trees: &[Option<Tree>],
        turn: &Turn,
    ) -> Result<Vec<(String, String)>, StepError>;

    /// What a `--link` copy, which depends on no layer below it, takes from them all the same:
    /// names and values.
    async fn below(
        &self,
        op: &CopyOp,
        parent: Option<&ChainId>,
    ) -> Result<Vec<(String, String)>, StepError>;

    /// Does a job on top of `parent`, and stores the layer.
    async fn execute(
        &self,
        job: Job<'_, Self::Selected>,
        parent: Option<&ChainId>,
        vertex: &Vertex,
        turn: &Turn,
    ) -> Result<Layer, StepError>;

    /// Puts a layer that depends on none below it on top of `parent`; `None` when it is gone.
    async fn stack(
        &self,
        layer: Layer,
        parent: Option<&ChainId>,
    ) -> Result<Option<Layer>, StepError>;

    /// Sees to it that all layers of a stack are here.
    async fn complete(&self, chain: &ChainId) -> Result<(), StepError> {
        let _ = chain;
        Ok(())
    }

    /// The files of what a key says of a copy's sources, if they are known, to say what changed.
    async fn listing(&self, values: &[&str]) -> Option<Listing> {
        let _ = values;
        None
    }

    /// Ends what runs: the build has failed.
    fn stop(&self);

    /// The time that everything is dated to, RFC 3339, if there is one.
    fn dated(&self) -> Option<String>;
}
