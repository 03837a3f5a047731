//! What is built, and how.

use dockerfile::stage::Dockerfile;
use oci::Platform;

use super::jobs::Bound;
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
    pub consent: Consent,
    /// The platform to build for.
    pub platform: &'a Platform,
    /// The flags that what a RUN does may depend on (its network, hosts and limits), as part of
    /// its key.
    pub run_flags: &'a str,
    /// Steps are not looked up in the cache.
    pub no_cache: bool,
    /// `--jobs`
    pub jobs: Bound,
    /// The layers of the result have to be here, also those that caches have elsewhere.
    pub whole: bool,
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
