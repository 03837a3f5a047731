//! Progress of several builds, one for each platform, as the progress of one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use builder::solve::progress::{Progress, Vertex};
use builder::solve::reason::Reason;
use oci::Platform;

/// The lines of progress of all platforms.
#[derive(Debug, Default)]
pub struct Lines(Mutex<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    last: usize,
    /// By platform, and the number that a line has there.
    given: HashMap<(String, usize), usize>,
    /// How many lines each platform will have.
    planned: HashMap<String, usize>,
}

/// Passes one platform's progress on: its lines are counted with those of the others, and say which
/// platform they are about.
pub struct OfPlatform {
    progress: Arc<dyn Progress>,
    platform: String,
    lines: Arc<Lines>,
}

impl OfPlatform {
    /// For one of several platforms.
    pub fn new(progress: &Arc<dyn Progress>, platform: &Platform, lines: &Arc<Lines>) -> Self {
        Self {
            progress: Arc::clone(progress),
            platform: platform.to_string(),
            lines: Arc::clone(lines),
        }
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.lines.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn vertex(&self, vertex: &Vertex) -> Vertex {
        let mut numbers = self.numbers();
        let mut number = |own: usize| {
            let next = numbers.last + 1;
            let key = (self.platform.clone(), own);
            let number = *numbers.given.entry(key).or_insert(next);
            numbers.last = numbers.last.max(number);
            number
        };
        Vertex {
            number: number(vertex.number),
            name: named(&vertex.name, &self.platform).into(),
            span: vertex.span,
            inputs: vertex.inputs.iter().map(|input| number(*input)).collect(),
        }
    }
}

/// A line's name with its platform: in the brackets, as BuildKit has it.
fn named(name: &str, platform: &str) -> String {
    match name.strip_prefix('[') {
        Some(rest) if !rest.starts_with("internal]") => format!("[{platform} {rest}"),
        _ => format!("{name} ({platform})"),
    }
}

impl Progress for OfPlatform {
    fn started(&self, vertex: &Vertex) {
        self.progress.started(&self.vertex(vertex));
    }

    fn cached(&self, vertex: &Vertex) {
        self.progress.cached(&self.vertex(vertex));
    }

    fn missed(&self, vertex: &Vertex, reason: &Reason) {
        self.progress.missed(&self.vertex(vertex), reason);
    }

    fn layer(&self, vertex: &Vertex, size: u64) {
        self.progress.layer(&self.vertex(vertex), size);
    }

    fn output(&self, vertex: &Vertex, bytes: &[u8]) {
        self.progress.output(&self.vertex(vertex), bytes);
    }

    fn status(&self, vertex: &Vertex, text: &str) {
        self.progress.status(&self.vertex(vertex), text);
    }

    fn done(&self, vertex: &Vertex) {
        self.progress.done(&self.vertex(vertex));
    }

    fn failed(&self, vertex: &Vertex, error: &str) {
        self.progress.failed(&self.vertex(vertex), error);
    }

    fn canceled(&self, vertex: &Vertex) {
        self.progress.canceled(&self.vertex(vertex));
    }

    fn planned(&self, steps: usize) {
        let mut numbers = self.numbers();
        numbers.planned.insert(self.platform.clone(), steps);
        let all = numbers.planned.values().sum();
        drop(numbers);
        self.progress.planned(all);
    }

    fn finished(&self) {
        self.progress.finished();
    }

    fn warning(&self, text: &str) {
        self.progress.warning(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_named_as_buildkits() {
        for (name, shown) in [
            ("[2/3] RUN make", "[linux/arm64 2/3] RUN make"),
            ("[app 1/2] FROM x", "[linux/arm64 app 1/2] FROM x"),
            (
                "[internal] load metadata for x",
                "[internal] load metadata for x (linux/arm64)",
            ),
        ] {
            assert_eq!(named(name, "linux/arm64"), shown);
        }
    }
}
