//! The lines of progress of one build, counted as they begin.

use std::cell::Cell;
use std::sync::Arc;

use dockerfile::span::Span;

use super::error::StepError;
use super::progress::{Progress, Vertex};

/// Tells of a build's work.
pub struct Tell<'a> {
    /// Whom.
    pub progress: &'a dyn Progress,
    begun: Cell<usize>,
}

impl<'a> Tell<'a> {
    /// Nothing has been told yet.
    pub fn new(progress: &'a dyn Progress) -> Self {
        let begun = Cell::new(0);
        Self { progress, begun }
    }

    /// How many lines there are.
    pub fn begun(&self) -> usize {
        self.begun.get()
    }

    /// A new line, of work that begins.
    pub fn begin(&self, name: impl Into<Arc<str>>) -> Vertex {
        self.start(name.into(), None, Vec::new())
    }

    /// The same, of an instruction at its place in the file, which builds on the work of the lines
    /// with these numbers.
    pub fn begin_at(&self, name: impl Into<Arc<str>>, span: Span, inputs: Vec<usize>) -> Vertex {
        self.start(name.into(), Some(span), inputs)
    }

    fn start(&self, name: Arc<str>, span: Option<Span>, inputs: Vec<usize>) -> Vertex {
        self.begun.set(self.begun.get() + 1);
        let vertex = Vertex {
            number: self.begun.get(),
            name,
            span,
            inputs: inputs.into(),
        };
        self.progress.started(&vertex);
        vertex
    }

    /// The work was not done.
    pub fn ended(&self, vertex: &Vertex, cause: &StepError) {
        match cause {
            StepError::Cancelled | StepError::CacheLost(_) => self.progress.canceled(vertex),
            _ => self.progress.failed(vertex, &cause.to_string()),
        }
    }
}
