//! Progress of several builds, one for each platform or target, as the progress of one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use builder::solve::progress::{Progress, Vertex};
use builder::solve::reason::Reason;
use oci::Platform;

/// The lines of progress of all of them.
#[derive(Debug, Default)]
pub struct Lines(Mutex<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    last: usize,
    /// By the name of the build, and the number that a line has there.
    given: HashMap<(String, usize), usize>,
    /// How many lines each build will have.
    planned: HashMap<String, usize>,
}

/// What tells one build from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Platform,
    Target,
}

/// Passes one build's progress on: its lines are counted with those of the others, and say which
/// build they are of.
pub struct Among {
    progress: Arc<dyn Progress>,
    kind: Kind,
    name: String,
    lines: Arc<Lines>,
}

impl Among {
    /// For one of several platforms.
    pub fn platforms(
        progress: &Arc<dyn Progress>,
        platform: &Platform,
        lines: &Arc<Lines>,
    ) -> Self {
        Self::new(progress, Kind::Platform, platform.to_string(), lines)
    }

    /// For one of several targets.
    pub fn targets(progress: &Arc<dyn Progress>, target: &str, lines: &Arc<Lines>) -> Self {
        Self::new(progress, Kind::Target, target.to_owned(), lines)
    }

    fn new(progress: &Arc<dyn Progress>, kind: Kind, name: String, lines: &Arc<Lines>) -> Self {
        Self {
            progress: Arc::clone(progress),
            kind,
            name,
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
            let key = (self.name.clone(), own);
            let number = *numbers.given.entry(key).or_insert(next);
            numbers.last = numbers.last.max(number);
            number
        };
        Vertex {
            number: number(vertex.number),
            name: named(&vertex.name, self.kind, &self.name).into(),
            span: vertex.span,
            inputs: vertex.inputs.iter().map(|input| number(*input)).collect(),
        }
    }
}

/// A line's name with that of its build: in the brackets, as BuildKit and buildx have it.
fn named(line: &str, kind: Kind, name: &str) -> String {
    match (line.strip_prefix('['), kind) {
        (Some(rest), Kind::Platform) if rest.starts_with("internal]") => format!("{line} ({name})"),
        (None, Kind::Platform) => format!("{line} ({name})"),
        (Some(rest), Kind::Platform | Kind::Target) => format!("[{name} {rest}"),
        (None, Kind::Target) => format!("[{name}] {line}"),
    }
}

impl Progress for Among {
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
        // Bringing a target's result where it is to go is a line as well.
        let own = steps + usize::from(self.kind == Kind::Target);
        numbers.planned.insert(self.name.clone(), own);
        let all = numbers.planned.values().sum();
        drop(numbers);
        self.progress.planned(all);
    }

    /// Others may go on.
    fn finished(&self) {}

    fn warning(&self, text: &str) {
        self.progress.warning(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_named_as_buildkits() {
        for (kind, name, shown) in [
            (
                Kind::Platform,
                "[2/3] RUN make",
                "[linux/arm64 2/3] RUN make",
            ),
            (
                Kind::Platform,
                "[app 1/2] FROM x",
                "[linux/arm64 app 1/2] FROM x",
            ),
            (
                Kind::Platform,
                "[internal] load metadata for x",
                "[internal] load metadata for x (linux/arm64)",
            ),
            (Kind::Target, "[2/3] RUN make", "[app 2/3] RUN make"),
            (
                Kind::Target,
                "[internal] load metadata for x",
                "[app internal] load metadata for x",
            ),
            (
                Kind::Target,
                "exporting to image",
                "[app] exporting to image",
            ),
        ] {
            let of = match kind {
                Kind::Platform => "linux/arm64",
                Kind::Target => "app",
            };
            assert_eq!(named(name, kind, of), shown);
        }
    }
}
