//! A build as events for a trace viewer: the JSON object format of Chrome's trace events, which
//! Perfetto reads too.

use serde_json::{Value, json};

use super::build::{BuildRecord, StepOutcome, StepRecord};

/// The events of a build. What went on at the same time is in lines of its own, as few as there
/// need to be.
pub fn events(record: &BuildRecord) -> Value {
    let name = format!("build {} of {}", record.number, record.name());
    let mut events = vec![
        json!({"name": "process_name", "ph": "M", "pid": 1, "tid": 0, "args": {"name": name}}),
        json!({
            "name": "build", "cat": "build", "ph": "X", "pid": 1, "tid": 0, "ts": 0,
            "dur": record.duration,
            "args": {"started": record.started, "tags": record.asked.tags},
        }),
    ];
    let mut steps: Vec<&StepRecord> = record.steps.iter().collect();
    steps.sort_by_key(|step| (step.started, step.number));
    // When each line is free again.
    let mut lines: Vec<u64> = Vec::new();
    for step in steps {
        let end = step.started.saturating_add(step.duration);
        let free = lines.iter().position(|until| *until <= step.started);
        let line = free.unwrap_or(lines.len());
        match lines.get_mut(line) {
            Some(until) => *until = end,
            None => lines.push(end),
        }
        events.push(json!({
            "name": step.name, "cat": category(&step.outcome), "ph": "X", "pid": 1,
            "tid": line + 1, "ts": step.started, "dur": step.duration,
            "args": {
                "line": step.line,
                "why": step.reason.as_ref().map(ToString::to_string),
                "bytes": step.size,
            },
        }));
    }
    json!({"displayTimeUnit": "ms", "traceEvents": events})
}

fn category(outcome: &StepOutcome) -> &'static str {
    match outcome {
        StepOutcome::Cached => "cached",
        StepOutcome::Done => "done",
        StepOutcome::Failed { .. } => "failed",
        StepOutcome::Canceled => "canceled",
    }
}

#[cfg(test)]
mod tests {
    use super::super::build::{Asked, Ended, VERSION};
    use super::*;

    #[test]
    fn what_overlaps_is_in_lines_of_its_own() {
        let step = |number: usize, started: u64, duration: u64| StepRecord {
            number,
            name: format!("[{number}/4] RUN x"),
            offset: None,
            line: Some(number),
            started,
            duration,
            outcome: StepOutcome::Done,
            reason: None,
            size: None,
            note: None,
        };
        let record = BuildRecord {
            version: VERSION,
            number: 7,
            started: "2026-01-01T00:00:00Z".to_owned(),
            duration: 100,
            asked: Asked::default(),
            ended: Ended::Completed,
            images: Vec::new(),
            steps: vec![
                step(1, 0, 10),
                step(2, 10, 50),
                step(3, 20, 20),
                step(4, 40, 60),
            ],
        };
        let events = events(&record);
        let events = events["traceEvents"].as_array().unwrap();
        let lines: Vec<u64> = events.iter().map(|e| e["tid"].as_u64().unwrap()).collect();
        assert_eq!(lines, [0, 0, 1, 1, 2, 2]);
        for event in &events[1..] {
            let time = |key: &str| event[key].as_u64().unwrap();
            assert!(event["ph"] == "X" && time("ts") + time("dur") <= 100);
        }
    }
}
