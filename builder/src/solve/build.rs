//! What is built, and how.

use dockerfile::stage::Dockerfile;
use oci::Platform;

use super::together::Together;
use crate::plan::{BuildArgs, Consent, Graph, NamedContexts, Names};

/// What is built, and how.
#[derive(Clone, Copy)]
pub struct Build<'a> {
    /// The Dockerfile.
    pub file: &'a Dockerfile,
    /// The stages to build.
    pub graph: &'a Graph,
    /// `--build-arg`
    pub args: &'a BuildArgs,
    /// The names given with `--build-context`.
    pub named: &'a NamedContexts,
    /// `--allow`
    pub consent: &'a Consent,
    /// The platform to build for.
    pub platform: &'a Platform,
    /// The flags that what a RUN does may depend on (its network, hosts and limits), as part of
    /// its key.
    pub run_flags: &'a str,
    /// Which steps are not looked up in the cache.
    pub no_cache: NoCache<'a>,
    /// The builds that are done at the same time, this one among them.
    pub together: &'a Together,
    /// The layers of the result have to be here, also those that caches have elsewhere.
    pub whole: bool,
    /// An image is made of the result, not files alone.
    pub image: bool,
}

/// Which steps are not looked up in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoCache<'a> {
    /// None: all are.
    No,
    /// `--no-cache`
    All,
    /// `--no-cache-filter`: those of the stages that have one of these names, in any case.
    Stages(&'a [String]),
}

impl NoCache<'_> {
    /// The flag that keeps the steps of a stage from being looked up.
    pub(super) fn flag(self, stage: &str) -> Option<&'static str> {
        match self {
            Self::No => None,
            Self::All => Some("--no-cache"),
            Self::Stages(names) => names
                .iter()
                .any(|name| name.eq_ignore_ascii_case(stage))
                .then_some("--no-cache-filter"),
        }
    }
}

impl<'a> Build<'a> {
    /// What the names in the Dockerfile mean.
    pub fn names(&self) -> Names<'a> {
        Names {
            file: self.file,
            named: self.named,
            platform: self.platform,
        }
    }
}
