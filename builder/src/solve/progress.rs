//! What a build tells of its work while it goes on.

use std::fmt;
use std::sync::Arc;

use dockerfile::span::Span;

use super::reason::Reason;

/// Where a step's output and progress go. Nothing here blocks for long.
pub trait Progress: Send + Sync {
    /// A step begins to be worked on.
    fn started(&self, vertex: &Vertex);
    /// A step's outcome was found in the cache.
    fn cached(&self, vertex: &Vertex);
    /// Why a step was not found in the cache.
    fn missed(&self, vertex: &Vertex, reason: &Reason);
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
    /// What a step made: the layer's files, in bytes.
    fn layer(&self, vertex: &Vertex, size: u64) {
        let _ = (vertex, size);
    }
    /// How many lines of progress there will be, those that were told included.
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
    /// The place of its instruction, if it is one.
    pub span: Option<Span>,
    /// The numbers of the lines that its work builds on.
    pub inputs: Arc<[usize]>,
}

impl fmt::Display for Vertex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {}", self.number, self.name)
    }
}
