//! Goes through the nodes of a build: whatever waits for no other is looked up or done, as many at
//! a time as there are turns, each key once. The first failure stops the rest.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use oci::{ChainId, Digest, Platform};
use tokio::sync::MutexGuard;

use super::backend::{Asked, Cache, Execute, Layer, Outcome, Tree};
use super::build::Build;
use super::error::{SolveError, StepError};
use super::inputs::{Looked, look};
use super::jobs::Turn;
use super::key::{self, StepKey, Taken};
use super::prepare::Images;
use super::progress::Vertex;
use super::ready::Ready;
use super::reason::Reason;
use super::tell::Tell;
use super::trace::Trace;
use super::why::why;
use crate::plan::Op;
use crate::plan::nodes::{Input, Node, Nodes, Stack};

/// A walk through the nodes of one build.
pub struct Walk<'a, B> {
    build: &'a Build<'a>,
    backend: &'a B,
    tell: &'a Tell<'a>,
    nodes: &'a Nodes<'a>,
    images: &'a Images,
    before: &'a Trace,
    done: RefCell<Vec<Option<Layer>>>,
    after: RefCell<Trace>,
    failed: Cell<bool>,
    /// The nodes whose layers are the result's.
    result: HashSet<usize>,
    /// The number of the line of progress of the first base image.
    first_base: usize,
    /// Those of the nodes that were begun, by index.
    lines: RefCell<HashMap<usize, usize>>,
}

/// How a node's layer was come by.
enum Found {
    /// It was there.
    Cached(Layer),
    /// It was made.
    Made(Layer),
}

impl<'a, B: Cache + Execute> Walk<'a, B> {
    /// A walk that has not begun; the lines of the base images were told last.
    pub fn new(
        build: &'a Build<'a>,
        backend: &'a B,
        tell: &'a Tell<'a>,
        nodes: &'a Nodes<'a>,
        images: &'a Images,
        before: &'a Trace,
        target: usize,
    ) -> Self {
        Self {
            build,
            backend,
            tell,
            nodes,
            images,
            before,
            done: RefCell::new(vec![None; nodes.all.len()]),
            after: RefCell::default(),
            failed: Cell::new(false),
            result: nodes.of_result(target),
            first_base: tell.begun() + 1 - nodes.bases.len(),
            lines: RefCell::default(),
        }
    }

    /// The layer of every node, and the keys of the steps that were done.
    pub async fn all(self) -> (Result<Vec<Option<Layer>>, SolveError>, Trace) {
        let needs = self.nodes.all.iter().map(|node| node.needs().collect());
        let mut ready = Ready::new(needs);
        let mut running = FuturesUnordered::new();
        let mut failed = None;
        loop {
            tokio::select! {
                biased;
                turn = self.build.together.turn(), if ready.any() && failed.is_none() => {
                    let next = ready.take();
                    running.extend(next.map(|next| self.step(next, turn)));
                }
                Some(ended) = running.next() => match ended {
                    Ok(index) => ready.done(index),
                    Err(error) if failed.is_none() => {
                        // Then it is tried again: what runs may be of use.
                        if error.lost().is_none() {
                            self.backend.stop();
                        }
                        failed = Some(error);
                        self.failed.set(true);
                    }
                    Err(_) => {}
                },
                else => break,
            }
        }
        drop(running);
        let done = match failed {
            Some(error) => Err(error),
            None => Ok(self.done.into_inner()),
        };
        (done, self.after.into_inner())
    }

    /// Finds the layer of a node, or makes it.
    async fn step(&self, index: usize, turn: Turn) -> Result<usize, SolveError> {
        let Some(node) = self.nodes.all.get(index) else {
            return Ok(index);
        };
        let vertex = self.begin(index, node);
        let layer = match self.look_up_or_do((index, node), &vertex, turn).await {
            Ok(Found::Cached(layer)) => {
                self.tell.progress.cached(&vertex);
                layer
            }
            Ok(Found::Made(layer)) => {
                self.tell.progress.done(&vertex);
                layer
            }
            Err(cause) => {
                self.tell.ended(&vertex, &cause);
                let span = node.span;
                return Err(SolveError::Step { span, cause });
            }
        };
        if let Some(done) = self.done.borrow_mut().get_mut(index) {
            *done = Some(layer);
        }
        Ok(index)
    }

    /// The line of progress of a node, which names those of what it needs.
    fn begin(&self, index: usize, node: &Node<'_>) -> Vertex {
        let mut lines = self.lines.borrow_mut();
        let base = node.base.map(|base| self.first_base + base);
        let needs = node.needs().filter_map(|need| lines.get(&need).copied());
        let inputs = base.into_iter().chain(needs).collect();
        let vertex = self.tell.begin_at(node.name.as_str(), node.span, inputs);
        lines.insert(index, vertex.number);
        vertex
    }

    async fn look_up_or_do(
        &self,
        (index, node): (usize, &Node<'_>),
        vertex: &Vertex,
        turn: Turn,
    ) -> Result<Found, StepError> {
        let parent = self.chain(&node.parent);
        let trees: Vec<Tree> = node.inputs.iter().map(|input| self.tree(input)).collect();
        let build = self.build;
        let anew = build.no_cache.flag(node.stage).is_some();
        let wanted = trees.clone();
        let looked = look(self.backend, node.op, wanted, parent.as_ref(), &turn, anew).await?;
        let taken = Taken {
            files: &looked.files,
            below: &looked.below,
        };
        let mut key = key::step_key(
            node.op,
            parent.as_ref(),
            self.platform(node),
            build.run_flags,
            taken,
        );
        // Only the times of files that we write ourselves are part of what a step means; a RUN
        // that is dated to another commit does nothing else.
        if let (Some(dated), Op::Copy(_) | Op::Workdir(_)) = (self.backend.dated(), node.op) {
            key = key.dated(&dated);
        }
        let once = build.together.once(key.digest(), anew);
        let (mut once, turn) = match once.try_lock() {
            Ok(once) => (once, turn),
            Err(_) => {
                drop(turn);
                self.tell
                    .progress
                    .status(vertex, "waits for the same step elsewhere in this build");
                let once = once.lock().await;
                (once, self.turn().await?)
            }
        };
        let digest = key.digest();
        let asked = Asked {
            key: &digest,
            op: node.op,
            parent: parent.as_ref(),
            trees: &trees,
            platform: self.platform(node),
            run_flags: build.run_flags,
            name: node.step,
            in_result: self.result.contains(&index),
        };
        let step = Step {
            node,
            vertex,
            parent: parent.as_ref(),
            key: &key,
            asked,
        };
        let found = self.find(&step, looked, turn, &mut once).await;
        drop(once);
        if let Ok(found) = &found {
            let (layer, made) = match found {
                Found::Cached(layer) => (layer, false),
                Found::Made(layer) => (layer, true),
            };
            let outcome = Outcome { asked, layer, made };
            self.backend.share(&outcome).await;
            self.after.borrow_mut().insert(&node.place, &key);
        }
        found
    }

    /// The layer of a step, of which no other is being done that has the same key.
    async fn find(
        &self,
        step: &Step<'_>,
        looked: Looked<'_, B::Selected>,
        turn: Turn,
        once: &mut MutexGuard<'_, Option<Layer>>,
    ) -> Result<Found, StepError> {
        if let Some(layer) = once.as_ref()
            && let Some(layer) = self.on_parent(step, layer.clone()).await?
        {
            return Ok(Found::Cached(layer));
        }
        let digest = step.key.digest();
        let no_cache = self.build.no_cache.flag(step.node.stage);
        let (claim, turn) = if no_cache.is_some() {
            // Whatever another build makes now is not what was asked for.
            (None, turn)
        } else {
            if let Some(layer) = self.cached(step, &digest).await? {
                **once = Some(layer.clone());
                return Ok(Found::Cached(layer));
            }
            let (claim, turn) = self.claim(step, &digest, turn).await?;
            // Another build may have done it just now.
            let mut there = self.cached(step, &digest).await?;
            if there.is_none() {
                there = self.elsewhere(step, &turn).await?;
            }
            if let Some(layer) = there {
                **once = Some(layer.clone());
                return Ok(Found::Cached(layer));
            }
            (Some(claim), turn)
        };
        let reason = match no_cache {
            Some(flag) => Reason::NoCache {
                flag: flag.to_owned(),
            },
            None => why(self.backend, self.before, (step.node, self.nodes), step.key).await,
        };
        self.tell.progress.missed(step.vertex, &reason);
        let done = self
            .backend
            .execute(looked.job, step.parent, step.vertex, &turn);
        let layer = done.await?;
        self.backend
            .remember(&digest, &layer, step.node.step)
            .await?;
        drop(claim);
        **once = Some(layer.clone());
        match self.on_parent(step, layer).await? {
            Some(layer) => Ok(Found::Made(layer)),
            None => Err(StepError::Other(
                "the layer that was just made is gone".to_owned(),
            )),
        }
    }

    /// What the cache knows of a step.
    async fn cached(&self, step: &Step<'_>, digest: &Digest) -> Result<Option<Layer>, StepError> {
        match self.backend.lookup(digest).await? {
            Some(layer) => self.on_parent(step, layer).await,
            None => Ok(None),
        }
    }

    /// What caches of other machines know of a step.
    async fn elsewhere(&self, step: &Step<'_>, turn: &Turn) -> Result<Option<Layer>, StepError> {
        let waiting = turn.waiting();
        let found = self.backend.elsewhere(&step.asked).await;
        drop(waiting);
        match found {
            Some(layer) => self.on_parent(step, layer).await,
            None => Ok(None),
        }
    }

    /// A layer that was found by a key, on top of what is below the step that has the key.
    async fn on_parent(&self, step: &Step<'_>, layer: Layer) -> Result<Option<Layer>, StepError> {
        match step.node.op {
            Op::Copy(copy) if copy.link => self.backend.stack(layer, step.parent).await,
            Op::Copy(_) | Op::Run(_) | Op::Workdir(_) => Ok(Some(layer)),
        }
    }

    /// The right to do a step, of which no other build does the same meanwhile. Whoever waits for
    /// it holds nobody else back.
    async fn claim(
        &self,
        step: &Step<'_>,
        digest: &Digest,
        turn: Turn,
    ) -> Result<(B::Claim, Turn), StepError> {
        if let Some(claim) = self.backend.claim(digest).await? {
            return Ok((claim, turn));
        }
        drop(turn);
        let note = "waiting for another build that does the same step";
        self.tell.progress.status(step.vertex, note);
        let claim = self.backend.claim_after(digest).await?;
        Ok((claim, self.turn().await?))
    }

    /// A turn to go on with, unless the build has failed meanwhile.
    async fn turn(&self) -> Result<Turn, StepError> {
        let turn = self.build.together.turn().await;
        match self.failed.get() {
            true => Err(StepError::Cancelled),
            false => Ok(turn),
        }
    }

    /// The platform of the image that a node goes back to: with `FROM --platform=$BUILDPLATFORM` it
    /// is not what is built for.
    fn platform<'n>(&'n self, node: &'n Node<'_>) -> &'n Platform {
        let mut stack = &node.parent;
        loop {
            match stack {
                Stack::Empty => return self.build.platform,
                Stack::Image(image) => return &image.platform,
                Stack::Node(below) => match self.nodes.all.get(*below) {
                    Some(below) => stack = &below.parent,
                    None => return self.build.platform,
                },
            }
        }
    }

    /// The layers that a stack stands for.
    fn chain(&self, stack: &Stack) -> Option<ChainId> {
        match stack {
            Stack::Empty => None,
            Stack::Image(image) => {
                let diff_ids = &self.images.get(image.as_ref())?.config.rootfs.diff_ids;
                ChainId::chain(diff_ids).pop()
            }
            Stack::Node(index) => {
                let done = self.done.borrow();
                let layer = done.get(*index)?.as_ref()?;
                Some(layer.chain_id.clone())
            }
        }
    }

    /// The tree that an input stands for.
    fn tree(&self, input: &Input) -> Tree {
        match input {
            Input::Context => Tree::Context,
            Input::Named(name) => Tree::Named(name.clone()),
            Input::Layers(stack) => Tree::Layers(self.chain(stack)),
        }
    }
}

/// A node with what is known of it once what it needs is done.
struct Step<'s> {
    node: &'s Node<'s>,
    vertex: &'s Vertex,
    parent: Option<&'s ChainId>,
    key: &'s StepKey,
    asked: Asked<'s>,
}
