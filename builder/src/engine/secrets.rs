//! What a build is given and must not tell: secrets, and masking them in all that it says.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runtime::Hidden;

use super::keys::Keys;
use crate::solve::progress::{Progress, Vertex};
use crate::solve::reason::Reason;

/// The values of `--secret`, by ID.
pub type Secrets = BTreeMap<String, Hidden>;

/// SSH agents, by the ID that `--ssh` gave.
pub type Agents = BTreeMap<String, Agent>;

/// An SSH agent.
#[derive(Clone, Debug)]
pub enum Agent {
    /// One that runs, by its socket.
    Socket(PathBuf),
    /// This process, with keys from files.
    Keys(Keys),
}

/// What stands in place of a secret.
const MASK: &[u8] = b"***";
/// Shorter ones are no secrets, and masking them would leave nothing to read.
const SHORTEST: usize = 3;

/// Finds secrets in text.
#[derive(Clone, Debug, Default)]
pub struct Masker {
    /// The longest first, so that a part of one does not uncover the rest.
    needles: Vec<Hidden>,
}

impl Masker {
    /// A masker of these secrets: each as a whole, and each line of it, as programs show them
    /// line by line.
    pub fn new(secrets: &Secrets) -> Self {
        let mut needles: Vec<Vec<u8>> = Vec::new();
        for Hidden(value) in secrets.values() {
            needles.push(value.trim_ascii().to_vec());
            let lines = value.split(|byte| matches!(byte, b'\n' | b'\r'));
            needles.extend(lines.map(|line| line.trim_ascii().to_vec()));
        }
        needles.retain(|needle| needle.len() >= SHORTEST);
        needles.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        needles.dedup();
        Self {
            needles: needles.into_iter().map(Hidden).collect(),
        }
    }

    /// A text without secrets.
    pub fn text(&self, text: &str) -> String {
        let mut masked = Vec::new();
        let mut bytes = text.as_bytes().to_vec();
        self.mask(&mut bytes, true, &mut masked);
        String::from_utf8_lossy(&masked).into_owned()
    }

    /// Moves from `pending` to `out` all that can be told: what may be the beginning of a secret
    /// stays, unless it is the `last` of it.
    fn mask(&self, pending: &mut Vec<u8>, last: bool, out: &mut Vec<u8>) {
        let mut at = 0;
        while let Some(rest) = pending.get(at..).filter(|rest| !rest.is_empty()) {
            let begun = |needle: &Hidden| !last && needle.0.starts_with(rest) && needle.0 != rest;
            if self.needles.iter().any(begun) {
                break;
            }
            let found = self
                .needles
                .iter()
                .find(|needle| rest.starts_with(&needle.0));
            match found {
                Some(needle) => {
                    out.extend_from_slice(MASK);
                    at += needle.0.len();
                }
                None => {
                    out.extend(rest.first());
                    at += 1;
                }
            }
        }
        pending.drain(..at);
    }
}

/// Passes on what a build tells, without its secrets.
pub struct Masked {
    told: Arc<dyn Progress>,
    masker: Masker,
    /// By step, what may be the beginning of a secret.
    pending: Mutex<HashMap<usize, Vec<u8>>>,
}

impl Masked {
    /// Tells `told` what it is told itself.
    pub fn new(told: Arc<dyn Progress>, masker: Masker) -> Self {
        Self {
            told,
            masker,
            pending: Mutex::default(),
        }
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<usize, Vec<u8>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing more comes of a step.
    fn flush(&self, vertex: &Vertex) {
        let Some(mut pending) = self.pending().remove(&vertex.number) else {
            return;
        };
        let mut out = Vec::new();
        self.masker.mask(&mut pending, true, &mut out);
        if !out.is_empty() {
            self.told.output(vertex, &out);
        }
    }
}

impl Progress for Masked {
    fn started(&self, vertex: &Vertex) {
        self.told.started(vertex);
    }

    fn cached(&self, vertex: &Vertex) {
        self.told.cached(vertex);
    }

    fn missed(&self, vertex: &Vertex, reason: &Reason) {
        let masked = reason.mapped(&|text| self.masker.text(text));
        self.told.missed(vertex, &masked);
    }

    fn layer(&self, vertex: &Vertex, size: u64) {
        self.told.layer(vertex, size);
    }

    fn output(&self, vertex: &Vertex, bytes: &[u8]) {
        if self.masker.needles.is_empty() {
            return self.told.output(vertex, bytes);
        }
        let mut out = Vec::new();
        {
            let mut all = self.pending();
            let pending = all.entry(vertex.number).or_default();
            pending.extend_from_slice(bytes);
            self.masker.mask(pending, false, &mut out);
        }
        if !out.is_empty() {
            self.told.output(vertex, &out);
        }
    }

    fn status(&self, vertex: &Vertex, text: &str) {
        self.told.status(vertex, &self.masker.text(text));
    }

    fn done(&self, vertex: &Vertex) {
        self.flush(vertex);
        self.told.done(vertex);
    }

    fn failed(&self, vertex: &Vertex, error: &str) {
        self.flush(vertex);
        self.told.failed(vertex, &self.masker.text(error));
    }

    fn canceled(&self, vertex: &Vertex) {
        self.flush(vertex);
        self.told.canceled(vertex);
    }

    fn planned(&self, steps: usize) {
        self.told.planned(steps);
    }

    fn finished(&self) {
        self.told.finished();
    }

    fn warning(&self, text: &str) {
        self.told.warning(&self.masker.text(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masker(values: &[&str]) -> Masker {
        let secrets = values.iter().enumerate();
        let secrets = secrets.map(|(n, v)| (n.to_string(), Hidden(v.as_bytes().to_vec())));
        Masker::new(&secrets.collect())
    }

    /// However the output is cut into reads, the same comes of it.
    #[test]
    fn secrets_are_found_across_reads() {
        for (values, text, want) in [
            (&["s3cr3t\n"][..], "a s3cr3t b s3cr", "a *** b s3cr"),
            (&["aab"], "aaab aab", "a*** ***"),
            (
                &["-----KEY-----\nline one\nline two\n"],
                "x\n-----KEY-----\nline one\nline two\ny line two",
                "x\n***\ny ***",
            ),
            (
                &["-----KEY-----\nline one\n"],
                "-----KEY-----\r\nline one",
                "***\r\n***",
            ),
            (&["abc", "abcdef"], "abcdeX abcdef abc", "***deX *** ***"),
            (&["", "\n", "ab"], "ab\n", "ab\n"),
        ] {
            let masker = masker(values);
            assert_eq!(masker.text(text), want);
            for size in 1..=text.len() {
                let (mut pending, mut out) = (Vec::new(), Vec::new());
                for part in text.as_bytes().chunks(size) {
                    pending.extend_from_slice(part);
                    masker.mask(&mut pending, false, &mut out);
                }
                masker.mask(&mut pending, true, &mut out);
                assert_eq!(String::from_utf8(out).unwrap(), want, "in reads of {size}");
            }
        }
    }

    #[test]
    fn what_cannot_be_a_secret_is_told_at_once() {
        let masker = masker(&["secret"]);
        let (mut pending, mut out) = (b"Password: ".to_vec(), Vec::new());
        masker.mask(&mut pending, false, &mut out);
        assert_eq!(out, b"Password: ");
        assert!(format!("{masker:?}").contains("***"));
    }
}
