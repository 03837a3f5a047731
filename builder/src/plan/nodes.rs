//! A build as a graph of nodes: each is one thing to be done to a stack of layers, and says which
//! other trees of files it takes from. Made purely, of stages that are expanded.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use dockerfile::span::Span;

use super::copy::CopyFrom;
use super::expand::ExpandedStage;
use super::graph::Graph;
use super::image::ImageRequest;
use super::mount::MountOp;
use super::names::Base;
use super::step::Op;

/// Layers on which a node stands, or from which it takes files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stack {
    /// None.
    Empty,
    /// Those of an image.
    Image(Box<ImageRequest>),
    /// What the node of this index comes to.
    Node(usize),
}

/// A tree of files that a node takes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The build context.
    Context,
    /// A named context.
    Named(String),
    /// A stage or an image.
    Layers(Stack),
}

/// One thing to be done.
#[derive(Clone, Debug)]
pub struct Node<'p> {
    /// What.
    pub op: &'p Op,
    /// What it is done to.
    pub parent: Stack,
    /// What else it takes from: for a COPY its source, for a RUN those of its mounts, in order.
    pub inputs: Vec<Input>,
    /// The instruction's place in the file.
    pub span: Span,
    /// As progress shows it, such as `[build 2/4] RUN make`.
    pub name: String,
    /// The instruction alone.
    pub step: &'p str,
    /// The name of its stage.
    pub stage: &'p str,
    /// Its stage and position there, the same from build to build.
    pub place: String,
    /// The FROM line that it stands on, by its place among those.
    pub base: Option<usize>,
}

impl Node<'_> {
    /// The nodes that have to be done before.
    pub fn needs(&self) -> impl Iterator<Item = usize> {
        let inputs = self.inputs.iter().filter_map(|input| match input {
            Input::Layers(stack) => Some(stack),
            Input::Context | Input::Named(_) => None,
        });
        let stacks = std::iter::once(&self.parent).chain(inputs);
        stacks.filter_map(|stack| match stack {
            Stack::Node(index) => Some(*index),
            Stack::Empty | Stack::Image(_) => None,
        })
    }
}

/// All that a build has to do.
#[derive(Clone, Debug, Default)]
pub struct Nodes<'p> {
    /// Each after those that it needs.
    pub all: Vec<Node<'p>>,
    /// The FROM lines of images, as progress shows them.
    pub bases: Vec<String>,
    /// The nodes of each stage, by its index in the Dockerfile.
    stages: BTreeMap<usize, Range<usize>>,
    /// What each stage comes to.
    tops: BTreeMap<usize, Stack>,
}

impl<'p> Nodes<'p> {
    /// The nodes of a graph's stages; `expanded` has one for each. With `several` stages in the
    /// file each node is shown with the name of its own.
    pub fn new(graph: &'p Graph, expanded: &'p [ExpandedStage], several: bool) -> Self {
        let mut nodes = Self::default();
        for (stage, expanded) in graph.stages.iter().zip(expanded) {
            // As BuildKit counts: FROM is a step only where it names an image.
            let mut number = usize::from(matches!(stage.base, Base::Image(_)));
            let steps = expanded.steps.iter().enumerate();
            let steps: Vec<_> = steps
                .filter_map(|(i, step)| Some((i, step, step.op.as_ref()?)))
                .collect();
            let total = number + steps.len();
            let prefix = match several {
                true => format!("{} ", stage.name),
                false => String::new(),
            };
            let mut top = match &stage.base {
                Base::Image(image) => {
                    let shown = format!("[{prefix}1/{total}] FROM {}", image.name);
                    nodes.bases.push(shown);
                    Stack::Image(Box::new(image.clone()))
                }
                Base::Stage(earlier) => nodes.top(*earlier),
                Base::Unknown | Base::Scratch | Base::Tree(_) => Stack::Empty,
            };
            let mut base = match &top {
                Stack::Image(_) if matches!(stage.base, Base::Image(_)) => {
                    nodes.bases.len().checked_sub(1)
                }
                _ => None,
            };
            let first = nodes.all.len();
            for (i, step, op) in steps {
                number += 1;
                let inputs = nodes.inputs(op);
                let index = nodes.all.len();
                nodes.all.push(Node {
                    op,
                    parent: std::mem::replace(&mut top, Stack::Node(index)),
                    inputs,
                    span: step.span,
                    name: format!("[{prefix}{number}/{total}] {}", step.name),
                    step: &step.name,
                    stage: &stage.name,
                    place: format!("{}:{i}", stage.name),
                    base: base.take(),
                });
            }
            nodes.stages.insert(stage.index, first..nodes.all.len());
            nodes.tops.insert(stage.index, top);
        }
        nodes
    }

    /// The nodes of a stage, in order: one for each of its steps that changes files.
    pub fn of_stage(&self, index: usize) -> Range<usize> {
        self.stages.get(&index).cloned().unwrap_or(0..0)
    }

    /// The nodes whose layers a stage has in the end, those of stages that it stands on included.
    pub fn of_result(&self, target: usize) -> HashSet<usize> {
        let mut found = HashSet::new();
        let mut at = self.top(target);
        while let Stack::Node(index) = at {
            found.insert(index);
            let node = self.all.get(index);
            at = node.map_or(Stack::Empty, |node| node.parent.clone());
        }
        found
    }

    /// What a stage comes to.
    fn top(&self, stage: usize) -> Stack {
        self.tops.get(&stage).cloned().unwrap_or(Stack::Empty)
    }

    /// The trees that an operation takes from.
    fn inputs(&self, op: &Op) -> Vec<Input> {
        match op {
            Op::Run(run) => {
                let from = run.mounts.iter().filter_map(MountOp::from);
                from.map(|from| self.input(from)).collect()
            }
            Op::Workdir(_) => Vec::new(),
            Op::Copy(copy) => vec![self.input(&copy.from)],
        }
    }

    /// The tree that `--from` means.
    fn input(&self, from: &CopyFrom) -> Input {
        match from {
            CopyFrom::Context => Input::Context,
            CopyFrom::Named(name) => Input::Named(name.clone()),
            CopyFrom::Scratch => Input::Layers(Stack::Empty),
            CopyFrom::Stage(index) => Input::Layers(self.top(*index)),
            CopyFrom::Image(image) => Input::Layers(Stack::Image(Box::new(image.clone()))),
        }
    }
}
