//! How rules are doing, for people, programs and Prometheus.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::rule::Rule;
use super::settings::{Direction, Replicate};
use crate::meta::{MetaError, RuleState};
use crate::service::Registry;
use crate::units::rfc3339;

/// What a rule is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Progress {
    /// Nothing is left to do, or it is not time yet.
    Waiting,
    /// It works.
    Running,
    /// Something failed, and is tried again.
    Failed,
    /// The settings say that it rests.
    Disabled,
    /// No registry runs.
    Stopped,
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Failed => "failed",
            Self::Disabled => "disabled",
            Self::Stopped => "stopped",
        })
    }
}

/// How a rule is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleReport {
    /// Its name.
    pub name: String,
    /// Which way images go.
    pub direction: Direction,
    /// The other registry.
    pub url: String,
    /// The repositories, as patterns.
    pub repositories: Vec<String>,
    /// What it is doing.
    pub state: Progress,
    /// Tags and referrers that are left.
    pub left: u64,
    /// Those of them that failed before.
    pub failing: u64,
    /// What failed last, unless all has succeeded since.
    pub error: Option<String>,
    /// When something failed last.
    #[serde(with = "rfc3339")]
    pub failed: Option<i64>,
    /// When something was done last.
    #[serde(with = "rfc3339")]
    pub succeeded: Option<i64>,
    /// When both sides were compared last.
    #[serde(with = "rfc3339")]
    pub compared: Option<i64>,
    /// For how many seconds the other registry is left alone.
    pub rests: u64,
}

impl RuleReport {
    fn new(settings: &Replicate, state: RuleState, progress: Progress) -> Self {
        Self {
            name: settings.name.clone(),
            direction: settings.direction,
            url: settings.url.clone(),
            repositories: settings.repositories.clone(),
            state: progress,
            left: state.left,
            failing: state.failing,
            error: state.error,
            failed: state.failed_at,
            succeeded: state.succeeded_at,
            compared: state.compared_at,
            rests: 0,
        }
    }

    /// A rule that is not at work.
    pub(super) async fn idle(settings: &Replicate, registry: &Registry) -> Result<Self, MetaError> {
        let state = registry.replication().replication_state(&settings.name);
        let progress = match settings.disabled {
            true => Progress::Disabled,
            false => Progress::Stopped,
        };
        Ok(Self::new(settings, state.await?, progress))
    }

    /// One that is.
    pub(super) async fn of(rule: &Rule) -> Result<Self, MetaError> {
        let books = rule.registry.replication();
        // Asked before what is left: a change becomes a job in between, and is never neither.
        let untold = rule.settings.is_told() && books.has_replication_changes().await?;
        let state = books.replication_state(&rule.settings.name).await?;
        let rests = rule.rests_for();
        let progress = match (&state.error, rule.is_busy() || untold) {
            (Some(_), _) => Progress::Failed,
            (None, true) => Progress::Running,
            (None, false) if state.left > 0 && rests.is_none() => Progress::Running,
            (None, false) => Progress::Waiting,
        };
        Ok(Self {
            rests: rests.map_or(0, |rests| rests.as_secs().max(1)),
            ..Self::new(&rule.settings, state, progress)
        })
    }
}

/// Adds the numbers of rules to `out`.
pub(super) fn render(rules: &[(&Rule, RuleReport)], out: &mut String) {
    type Value = fn(&Rule, &RuleReport) -> Option<u64>;
    let rows: [(&str, &str, &str, Value); 6] = [
        (
            "left",
            "gauge",
            "Tags and referrers that are left.",
            |_, r| Some(r.left),
        ),
        (
            "failing",
            "gauge",
            "Those of them that failed before.",
            |_, r| Some(r.failing),
        ),
        (
            "manifests_total",
            "counter",
            "Images brought.",
            |rule, _| Some(rule.counts.get().0),
        ),
        (
            "fetched_bytes_total",
            "counter",
            "Bytes of blobs fetched.",
            |rule, _| Some(rule.counts.get().1),
        ),
        (
            "failures_total",
            "counter",
            "Failures, each tried again.",
            |rule, _| Some(rule.counts.get().2),
        ),
        (
            "succeeded_timestamp_seconds",
            "gauge",
            "When something was done last.",
            |_, report| report.succeeded.and_then(|at| u64::try_from(at).ok()),
        ),
    ];
    for (name, kind, help, value) in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# HELP rregistry_replication_{name} {help}");
        let _ = writeln!(out, "# TYPE rregistry_replication_{name} {kind}");
        for (rule, report) in rules {
            if let Some(value) = value(rule, report) {
                let rule = &report.name;
                let _ = writeln!(
                    out,
                    "rregistry_replication_{name}{{rule=\"{rule}\"}} {value}"
                );
            }
        }
    }
}
