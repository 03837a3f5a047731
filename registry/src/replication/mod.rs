//! Images kept the same at another registry: pushed to it, or pulled from it, by rule.
//!
//! What is to be done stands in the database as jobs, each the name of a tag or a referrer: a job
//! makes what the name stands for there the same as here, or here as there, whatever it stands for
//! when its turn comes. So a job can be done twice, or after many changes, and two registries that
//! replicate to each other find that nothing is left to do. Triggers note what changes here, in the
//! transaction of the change; a comparison of both sides finds the rest.
//!
//! | module | what it holds |
//! |---|---|
//! | [`settings`] | `[[replicate]]` |
//! | [`whole`] | all rules; changes given to those that are about them |
//! | [`rule`] | one rule at work: jobs, pauses |
//! | [`comparing`] | both sides compared |
//! | [`pushing`], [`deleting`] | a job towards the other registry |
//! | [`pulling`], [`fetching`] | a job from there |
//! | [`remote`], [`tagged`] | the other registry, and its tags a moment ago |
//! | [`report`], [`counts`] | how rules are doing |
//! | [`error`] | why something is not replicated, and whose trouble that is |

mod comparing;
mod counts;
mod deleting;
mod error;
mod fetching;
mod pulling;
mod pushing;
mod remote;
mod report;
mod rule;
pub mod settings;
mod tagged;
mod whole;

pub use error::ReplicationError;
pub use report::{Progress, RuleReport};
pub use whole::{Replication, report_stopped};
