//! What the steps of a build write, kept for the message about one that fails.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::fit;

/// Bytes kept of each step's output, the last ones.
const KEPT: usize = 64 << 10;

/// The output of the steps that run, and of those that failed.
#[derive(Debug, Default)]
pub struct Logs(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    running: HashMap<usize, Vec<u8>>,
    failed: Vec<u8>,
}

impl Logs {
    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A step wrote something.
    pub fn add(&self, step: usize, bytes: &[u8]) {
        self.with(|inner| {
            let output = inner.running.entry(step).or_default();
            // What is longer than all that is kept needs no copy.
            let from = bytes.len().saturating_sub(KEPT);
            output.extend_from_slice(bytes.get(from..).unwrap_or_default());
            if output.len() > 2 * KEPT {
                let cut = output.len() - KEPT;
                output.drain(..cut);
            }
        });
    }

    /// A step is over, and nobody will ask for its output.
    pub fn forget(&self, step: usize) {
        self.with(|inner| inner.running.remove(&step));
    }

    /// A step failed.
    pub fn failed(&self, step: usize) {
        self.with(|inner| {
            if let Some(output) = inner.running.remove(&step) {
                inner.failed = output;
            }
        });
    }

    /// The last lines that the step wrote which failed, `most` of them, fit for a terminal.
    pub fn last_lines(&self, most: usize) -> Vec<String> {
        let output = self.with(|inner| std::mem::take(&mut inner.failed));
        let text = String::from_utf8_lossy(&output);
        let lines: Vec<String> = text.lines().map(fit::plain).collect();
        let end = lines.iter().rposition(|line| !line.trim().is_empty());
        let lines = lines
            .get(..end.map_or(0, |end| end + 1))
            .unwrap_or_default();
        let first = lines.len().saturating_sub(most);
        lines.get(first..).unwrap_or_default().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_the_step_that_failed_are_kept() {
        let logs = Logs::default();
        logs.add(1, b"other\n");
        logs.add(2, b"one\ntw");
        logs.add(2, b"o\n\x1b[31mthree\x1b[0m\n\n");
        logs.forget(1);
        logs.failed(2);
        assert_eq!(logs.last_lines(2), ["two", "three"]);
        assert!(logs.last_lines(2).is_empty(), "told once");
    }

    #[test]
    fn the_end_of_much_output_is_kept() {
        let logs = Logs::default();
        for _ in 0..100 {
            logs.add(1, &[b'x'; 10_000]);
        }
        logs.add(1, b"\nend\n");
        logs.failed(1);
        let lines = logs.last_lines(10);
        assert_eq!(lines.last().unwrap(), "end");
        assert!(lines[0].len() <= 2 * KEPT);
    }
}
