//! Writes down what a build does while it runs, and passes it on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::build::{Asked, BuildRecord, Ended, StepOutcome, StepRecord, VERSION};
use crate::solve::progress::{Progress, Vertex};
use crate::solve::reason::Reason;

/// Records a build.
pub struct Recorder {
    told: Arc<dyn Progress>,
    began: Instant,
    started: jiff::Timestamp,
    steps: Mutex<Steps>,
}

#[derive(Default)]
struct Steps {
    all: Vec<StepRecord>,
    /// Where each is, by its number.
    places: HashMap<usize, usize>,
}

impl Recorder {
    /// Tells `told` what it is told itself. The build begins now.
    pub fn new(told: Arc<dyn Progress>) -> Self {
        Self {
            told,
            began: Instant::now(),
            started: jiff::Timestamp::now(),
            steps: Mutex::default(),
        }
    }

    fn steps(&self) -> MutexGuard<'_, Steps> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        micros(self.began.elapsed())
    }

    fn change(&self, vertex: &Vertex, change: impl FnOnce(&mut StepRecord)) {
        let mut steps = self.steps();
        let place = steps.places.get(&vertex.number).copied();
        if let Some(step) = place.and_then(|place| steps.all.get_mut(place)) {
            change(step);
        }
    }

    fn end(&self, vertex: &Vertex, outcome: StepOutcome) {
        let now = self.now();
        let canceled = outcome == StepOutcome::Canceled;
        self.change(vertex, |step| {
            step.duration = now.saturating_sub(step.started);
            step.outcome = outcome;
            if !canceled {
                step.note = None;
            }
        });
    }

    /// The record of the build, which ends now. `line` says in which line of the Dockerfile a byte
    /// is.
    pub fn record(
        &self,
        asked: Asked,
        ended: Ended,
        images: Vec<String>,
        line: &dyn Fn(usize) -> usize,
    ) -> BuildRecord {
        let duration = self.now();
        let mut steps = self.steps().all.clone();
        for step in &mut steps {
            step.line = step.offset.map(line);
            // The build's clock may have been read a moment before the step's.
            step.started = step.started.min(duration);
            let left = duration - step.started;
            step.duration = match step.duration {
                OPEN => left,
                known => known.min(left),
            };
        }
        BuildRecord {
            version: VERSION,
            number: 0,
            started: self.started.to_string(),
            duration,
            asked,
            ended,
            images,
            steps,
        }
    }
}

/// The duration of what has not ended.
const OPEN: u64 = u64::MAX;

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(OPEN - 1)
}

impl Progress for Recorder {
    fn started(&self, vertex: &Vertex) {
        let started = self.now();
        let mut steps = self.steps();
        let place = steps.all.len();
        steps.places.insert(vertex.number, place);
        steps.all.push(StepRecord {
            number: vertex.number,
            name: vertex.name.to_string(),
            offset: vertex.span.map(|span| span.start),
            line: None,
            started,
            duration: OPEN,
            outcome: StepOutcome::Canceled,
            reason: None,
            size: None,
            note: None,
        });
        drop(steps);
        self.told.started(vertex);
    }

    fn cached(&self, vertex: &Vertex) {
        self.end(vertex, StepOutcome::Cached);
        self.told.cached(vertex);
    }

    fn missed(&self, vertex: &Vertex, reason: &Reason) {
        self.change(vertex, |step| step.reason = Some(reason.clone()));
        self.told.missed(vertex, reason);
    }

    fn output(&self, vertex: &Vertex, bytes: &[u8]) {
        self.told.output(vertex, bytes);
    }

    fn status(&self, vertex: &Vertex, text: &str) {
        self.change(vertex, |step| step.note = Some(text.to_owned()));
        self.told.status(vertex, text);
    }

    fn done(&self, vertex: &Vertex) {
        self.end(vertex, StepOutcome::Done);
        self.told.done(vertex);
    }

    fn failed(&self, vertex: &Vertex, error: &str) {
        let outcome = StepOutcome::Failed {
            error: error.to_owned(),
        };
        self.end(vertex, outcome);
        self.told.failed(vertex, error);
    }

    fn canceled(&self, vertex: &Vertex) {
        self.end(vertex, StepOutcome::Canceled);
        self.told.canceled(vertex);
    }

    fn layer(&self, vertex: &Vertex, size: u64) {
        self.change(vertex, |step| step.size = Some(size));
        self.told.layer(vertex, size);
    }

    fn planned(&self, steps: usize) {
        self.told.planned(steps);
    }

    fn finished(&self) {
        self.told.finished();
    }

    fn warning(&self, text: &str) {
        self.told.warning(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Untold;

    impl Progress for Untold {
        fn started(&self, _: &Vertex) {}
        fn cached(&self, _: &Vertex) {}
        fn missed(&self, _: &Vertex, _: &Reason) {}
        fn output(&self, _: &Vertex, _: &[u8]) {}
        fn status(&self, _: &Vertex, _: &str) {}
        fn done(&self, _: &Vertex) {}
        fn failed(&self, _: &Vertex, error: &str) {
            assert_eq!(error, "exit code: 1");
        }
        fn warning(&self, _: &str) {}
    }

    fn vertex(number: usize, at: Option<usize>) -> Vertex {
        Vertex {
            number,
            name: format!("[{number}/4] RUN make").into(),
            span: at.map(dockerfile::span::Span::at),
        }
    }

    #[test]
    fn what_is_told_is_written_down() {
        let recorder = Recorder::new(Arc::new(Untold));
        let all: Vec<Vertex> = (1..5)
            .map(|n| vertex(n, (n > 1).then_some(n * 10)))
            .collect();
        for one in &all {
            recorder.started(one);
            recorder.status(one, "waiting");
        }
        recorder.cached(&all[0]);
        recorder.missed(&all[1], &Reason::New);
        recorder.layer(&all[1], 7);
        recorder.done(&all[1]);
        recorder.failed(&all[2], "exit code: 1");
        let error = "no".to_owned();
        let ended = Ended::Error { error };
        let record = recorder.record(Asked::default(), ended, Vec::new(), &|at| at / 10);
        let outcomes: Vec<_> = record
            .steps
            .iter()
            .map(|step| step.outcome.clone())
            .collect();
        let error = "exit code: 1".to_owned();
        let want = [
            StepOutcome::Cached,
            StepOutcome::Done,
            StepOutcome::Failed { error },
            StepOutcome::Canceled,
        ];
        assert_eq!(outcomes, want);
        let lines: Vec<_> = record.steps.iter().map(|step| step.line).collect();
        assert_eq!(lines, [None, Some(2), Some(3), Some(4)]);
        assert_eq!(record.steps[1].size, Some(7));
        let notes: Vec<_> = record
            .steps
            .iter()
            .map(|step| step.note.is_some())
            .collect();
        assert_eq!(notes, [false, false, false, true], "of what did not end");
        assert_eq!((record.cached(), record.ran().count()), (1, 1));
        for step in &record.steps {
            assert!(step.started + step.duration <= record.duration);
        }
    }
}
