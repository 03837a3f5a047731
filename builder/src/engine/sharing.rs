//! What a build shares with other machines: its caches, and what is known of their steps.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use images::shared::entry::{Files, Name};
use images::shared::place::CachePlace;
use images::shared::sources::Sources;
use images::shared::targets::Targets;
use oci::{ChainId, DiffId, Digest};

use crate::plan::{CopyOp, CopySource, Op};
use crate::solve::backend::{Layer, Outcome, Tree};

/// The shared caches of a build.
pub struct Sharing {
    /// `--cache-from`
    pub sources: Sources,
    /// `--cache-to`, but for the image itself.
    pub targets: Arc<Targets>,
    /// `--cache-to type=inline`
    pub inline: bool,
}

/// What is known of shared steps in one build.
#[derive(Default)]
pub(super) struct Steps {
    /// The build has failed by itself.
    pub(super) failed: bool,
    /// Steps that were found, by the stack that they come to: the store learns of them when it has
    /// their layers.
    pub(super) found: HashMap<ChainId, Vec<Found>>,
    /// Where each entry was found.
    pub(super) caches: HashMap<Name, CachePlace>,
    /// Stacks whose topmost layer nobody has: it is known what it is, which is all that keys need.
    pub(super) hollow: HashSet<ChainId>,
    /// What was written, and whether as part of the result.
    pub(super) written: HashSet<(Name, bool)>,
    /// For the image itself: steps of the result, and what they take.
    pub(super) steps: Vec<(Digest, DiffId, String)>,
    pub(super) others: Vec<(Digest, DiffId, String)>,
    pub(super) files: Vec<(Digest, Files)>,
}

/// Records of each cache, in their order.
pub(super) type Records = Vec<BTreeSet<usize>>;

/// What is known of BuildKit's caches in one build.
#[derive(Default)]
pub(super) struct Foreign {
    /// The records that stand for a stack.
    pub(super) stacks: Mutex<HashMap<ChainId, Records>>,
    /// The keys of images by their manifests, by the stacks of their layers.
    pub(super) images: Mutex<HashMap<ChainId, Vec<Digest>>>,
    /// Those of steps, by their own keys.
    pub(super) steps: Mutex<HashMap<Digest, Records>>,
}

/// A step that was found.
pub(super) struct Found {
    pub(super) key: Digest,
    pub(super) layer: Layer,
    pub(super) name: String,
}

/// Steps, behind a lock that is never held for long.
pub(super) type SharedSteps = Mutex<Steps>;

/// The names of what a step takes from layers, and the folders in which that is kept.
pub(super) fn names(outcome: &Outcome<'_>) -> Vec<(&'static str, Digest)> {
    let asked = &outcome.asked;
    match asked.op {
        Op::Copy(op) => {
            let sources = asked.trees.first();
            let sources = sources.and_then(|tree| taken_name(op, tree));
            let below = asked.parent.and_then(|parent| below_name(op, parent));
            let named = [(TREES, sources), (BELOW, below)].into_iter();
            named
                .filter_map(|(kind, name)| Some((kind, name?)))
                .collect()
        }
        Op::Run(run) => {
            let mounts = run.mounts.iter().filter(|mount| mount.from().is_some());
            let bound = mounts.zip(asked.trees).filter_map(|(mount, tree)| {
                let (_, take) = mount.taken()?;
                Some((TREES, taken_name(&take, tree)?))
            });
            bound.collect()
        }
        Op::Workdir(_) => Vec::new(),
    }
}

/// The folder of digests of what is taken from stacks of layers.
pub(super) const TREES: &str = "trees";
/// The folder of what `--link` copies take from the layers below them.
pub(super) const BELOW: &str = "below";

/// The name under which the digests are kept of what is taken from a stack of layers, which never
/// changes.
pub(super) fn taken_name(op: &CopyOp, tree: &Tree) -> Option<Digest> {
    let Tree::Layers(Some(chain)) = tree else {
        return None;
    };
    if !op.sources.iter().any(|s| matches!(s, CopySource::Path(_))) {
        return None;
    }
    let kind = (op.parents, op.chown.is_some());
    // Names what is hashed too: attributes, since the second version.
    let taken = format!("2 {chain} {:?} {:?} {kind:?}", op.sources, op.exclude);
    Some(Digest::sha256(taken.as_bytes()))
}

/// The same of what a `--link` copy takes from the stack below it.
pub(super) fn below_name(op: &CopyOp, parent: &ChainId) -> Option<Digest> {
    let taken = format!("below 1 {parent} {:?} {:?}", op.chown, op.dest);
    op.link.then(|| Digest::sha256(taken.as_bytes()))
}
