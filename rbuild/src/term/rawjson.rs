//! `--progress rawjson`: what a build does as lines of JSON, each one a BuildKit `SolveStatus` as
//! buildx prints it (client/graph.go): vertexes, their statuses, logs and warnings.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use builder::solve::progress::{Progress, Vertex};
use jiff::Timestamp;
use oci::Digest;
use serde::Serialize;

use crate::term::printer::Printer;

/// A line.
#[derive(Debug, Default, Serialize)]
struct Status {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vertexes: Vec<VertexState>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    statuses: Vec<VertexStatus>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logs: Vec<VertexLog>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<VertexWarning>,
}

#[derive(Clone, Debug, Serialize)]
struct VertexState {
    digest: Digest,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<Digest>,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<Timestamp>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cached: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct VertexStatus {
    id: String,
    vertex: Digest,
    current: u64,
    timestamp: Timestamp,
    started: Timestamp,
    completed: Timestamp,
}

#[derive(Debug, Serialize)]
struct VertexLog {
    vertex: Digest,
    /// Both streams are one here, in the order in which they were written: standard output.
    stream: u8,
    data: String,
    timestamp: Timestamp,
}

#[derive(Debug, Serialize)]
struct VertexWarning {
    level: u8,
    short: String,
}

/// Writes the lines to standard error, as docker does.
pub struct RawJson {
    printer: Printer,
    known: Mutex<HashMap<usize, VertexState>>,
}

impl RawJson {
    /// Nothing has been told yet.
    pub fn new(printer: Printer) -> Self {
        let known = Mutex::default();
        Self { printer, known }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<usize, VertexState>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, status: &Status) {
        if let Ok(line) = serde_json::to_string(status) {
            self.printer.raw_note(line);
        }
    }

    fn changed(&self, vertex: &Vertex, change: impl FnOnce(&mut VertexState)) {
        let mut known = self.known();
        let Some(state) = known.get_mut(&vertex.number) else {
            return;
        };
        change(state);
        let vertexes = vec![state.clone()];
        // Written under the lock, so that the last line of a vertex is its last state.
        self.write(&Status {
            vertexes,
            ..Status::default()
        });
    }

    fn digest(&self, vertex: &Vertex) -> Option<Digest> {
        let known = self.known();
        known.get(&vertex.number).map(|state| state.digest.clone())
    }
}

/// What a vertex is told apart by: its name and what it builds on. Of two that are the same in
/// both, the second has its number too.
fn identity(vertex: &Vertex, inputs: &[Digest], known: &HashMap<usize, VertexState>) -> Digest {
    let mut text = vertex.name.to_string();
    for input in inputs {
        text.push_str(&format!("\n{input}"));
    }
    let digest = Digest::sha256(text.as_bytes());
    match known.values().any(|other| other.digest == digest) {
        true => Digest::sha256(format!("{text}\n{}", vertex.number).as_bytes()),
        false => digest,
    }
}

impl Progress for RawJson {
    fn started(&self, vertex: &Vertex) {
        let mut known = self.known();
        let inputs = vertex.inputs.iter().filter_map(|number| known.get(number));
        let inputs: Vec<Digest> = inputs.map(|input| input.digest.clone()).collect();
        let mut state = VertexState {
            digest: identity(vertex, &inputs, &known),
            inputs,
            name: vertex.name.to_string(),
            started: None,
            completed: None,
            cached: false,
            error: None,
        };
        let announced = state.clone();
        state.started = Some(Timestamp::now());
        known.insert(vertex.number, state.clone());
        for state in [announced, state] {
            let vertexes = vec![state];
            self.write(&Status {
                vertexes,
                ..Status::default()
            });
        }
    }

    fn cached(&self, vertex: &Vertex) {
        self.changed(vertex, |state| {
            state.completed = Some(Timestamp::now());
            state.cached = true;
        });
    }

    fn missed(&self, vertex: &Vertex, reason: &str) {
        self.status(vertex, &format!("not cached: {reason}"));
    }

    fn output(&self, vertex: &Vertex, bytes: &[u8]) {
        if let Some(digest) = self.digest(vertex) {
            let log = VertexLog {
                vertex: digest,
                stream: 1,
                data: STANDARD.encode(bytes),
                timestamp: Timestamp::now(),
            };
            self.write(&Status {
                logs: vec![log],
                ..Status::default()
            });
        }
    }

    fn status(&self, vertex: &Vertex, text: &str) {
        if let Some(digest) = self.digest(vertex) {
            let now = Timestamp::now();
            let status = VertexStatus {
                id: text.to_owned(),
                vertex: digest,
                current: 0,
                timestamp: now,
                started: now,
                completed: now,
            };
            self.write(&Status {
                statuses: vec![status],
                ..Status::default()
            });
        }
    }

    fn done(&self, vertex: &Vertex) {
        self.changed(vertex, |state| state.completed = Some(Timestamp::now()));
    }

    fn failed(&self, vertex: &Vertex, error: &str) {
        self.changed(vertex, |state| {
            state.completed = Some(Timestamp::now());
            state.error = Some(error.to_owned());
        });
    }

    fn warning(&self, text: &str) {
        let warning = VertexWarning {
            level: 1,
            short: STANDARD.encode(text),
        };
        self.write(&Status {
            warnings: vec![warning],
            ..Status::default()
        });
    }
}
