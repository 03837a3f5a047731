//! What is kept of a build once it has ended: what was done, why, and how long it took.
//!
//! - [`build`]: the record
//! - [`recorder`]: writes one while a build runs
//! - [`kept`]: records as files, the last hundred
//! - [`spans`]: a record as events for a trace viewer

pub mod build;
pub mod kept;
pub mod recorder;
pub mod spans;
