//! The lines of progress of one build, counted as they begin.

use std::cell::Cell;
use std::sync::Arc;

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
        self.begin_on(name, Vec::new())
    }

    /// A new line, of work that builds on that of the lines with these numbers.
    pub fn begin_on(&self, name: impl Into<Arc<str>>, inputs: Vec<usize>) -> Vertex {
        self.begun.set(self.begun.get() + 1);
        let vertex = Vertex {
            number: self.begun.get(),
            name: name.into(),
            inputs: inputs.into(),
        };
        self.progress.started(&vertex);
        vertex
    }

    /// The work was not done.
    pub fn ended(&self, vertex: &Vertex, cause: &StepError) {
        match cause {
            StepError::Cancelled => self.progress.canceled(vertex),
            _ => self.progress.failed(vertex, &cause.to_string()),
        }
    }
}
