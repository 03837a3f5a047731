//! From a parsed Dockerfile to steps that can be run: pure, no file is opened here.
//!
//! [`mistakes`] tells all that is wrong at once, [`outline`] what a build takes from outside.
//! Planning has two phases, because variables may come from the base image:
//! 1. [`graph`]: which stages and images the target needs, in which order;
//! 2. [`expand`]: a stage's instructions with every variable expanded, once the configuration of
//!    its base is known. [`nodes`] are what is to be done then.
//!
//! All that can be wrong with a Dockerfile is found here, before anything runs.

pub mod args;
pub mod changes;
pub mod copy;
pub mod epoch;
pub mod expand;
pub mod graph;
pub mod image;
pub mod layers;
pub mod mistakes;
pub mod mount;
pub mod named;
pub mod names;
pub mod nodes;
pub mod outline;
mod state;
pub mod step;
pub mod windows;

#[cfg(test)]
mod tests;

pub use args::BuildArgs;
pub use copy::{CopyFrom, CopyOp, CopySource, GitAdd};
pub use graph::{Consent, DeviceConsent, Graph, StagePlan};
pub use image::{ImageName, ImageRequest};
pub use mount::{CacheMount, MountOp, Mounted};
pub use named::NamedContexts;
pub use names::{Base, Names};
pub use step::{Op, RunOp, Step, WorkdirOp};

use dockerfile::diagnostic::Diagnostic;

/// The Dockerfile cannot be built, and why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", .0.iter().map(|d| d.message.as_str()).collect::<Vec<_>>().join("; "))]
pub struct PlanError(pub Vec<Diagnostic>);

impl From<Diagnostic> for PlanError {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}
