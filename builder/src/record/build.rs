//! The record of a build.

use serde::{Deserialize, Serialize};

use crate::solve::reason::Reason;

/// The version of what is written; others are not read.
pub const VERSION: u32 = 1;

/// A build that has ended. Lengths of time are microseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRecord {
    /// [`VERSION`]
    pub version: u32,
    /// Counted from 1 in a store; 0 until it is kept.
    pub number: u64,
    /// When it began, RFC 3339.
    pub started: String,
    /// How long it took.
    pub duration: u64,
    /// What was asked for.
    #[serde(flatten)]
    pub asked: Asked,
    /// How it ended.
    #[serde(flatten)]
    pub ended: Ended,
    /// The IDs of the images that it made, and of the index of several.
    pub images: Vec<String>,
    /// All that was done, in the order in which it began.
    pub steps: Vec<StepRecord>,
}

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The Dockerfile, as it is called in messages.
    pub dockerfile: String,
    /// The build context.
    pub context: String,
    /// `--target`, empty for the last stage.
    pub target: String,
    /// What it was built for.
    pub platforms: Vec<String>,
    /// The names of the result.
    pub tags: Vec<String>,
}

/// How a build ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Ended {
    /// All went well.
    Completed,
    /// It failed.
    Error {
        /// Why, without secrets.
        error: String,
    },
    /// It was interrupted.
    Canceled,
}

/// Something that a build did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Its number in the progress of the build.
    pub number: usize,
    /// As progress shows it, such as `[2/4] RUN make`.
    pub name: String,
    /// Where its instruction begins in the Dockerfile, in bytes, until that is a line.
    #[serde(skip)]
    pub offset: Option<usize>,
    /// The line of its instruction, counted from 1.
    pub line: Option<usize>,
    /// When it began, since the build did.
    pub started: u64,
    /// How long it took.
    pub duration: u64,
    /// What came of it.
    pub outcome: StepOutcome,
    /// Why it was not found in the cache: then it ran.
    pub reason: Option<Reason>,
    /// How many bytes the files of its layer have.
    pub size: Option<u64>,
    /// What it told last of what it was doing, where it did not come to an end.
    pub note: Option<String>,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum StepOutcome {
    /// It was found in the cache.
    Cached,
    /// It was done.
    Done,
    /// It failed.
    Failed {
        /// Why, without secrets.
        error: String,
    },
    /// It was ended, or had not ended when the build did.
    Canceled,
}

impl BuildRecord {
    /// The steps that ran, or began to.
    pub fn ran(&self) -> impl Iterator<Item = &StepRecord> {
        self.steps.iter().filter(|step| step.reason.is_some())
    }

    /// How many steps were found in the cache.
    pub fn cached(&self) -> usize {
        let steps = self.steps.iter();
        steps
            .filter(|step| step.outcome == StepOutcome::Cached)
            .count()
    }

    /// The name of a build as buildx lists it: the folder of the context, the Dockerfile where it
    /// is another, and the target.
    pub fn name(&self) -> String {
        let Asked {
            dockerfile,
            context,
            target,
            ..
        } = &self.asked;
        let folder = context.trim_end_matches('/').rsplit('/').next();
        let mut name = folder.unwrap_or_default().to_owned();
        if dockerfile != "Dockerfile" && !dockerfile.is_empty() {
            if !name.is_empty() {
                name.push('/');
            }
            name.push_str(dockerfile);
        }
        if !target.is_empty() {
            name.push_str(&format!(" ({target})"));
        }
        name
    }
}
