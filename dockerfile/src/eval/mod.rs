//! The values of ARG, ENV and the platform: what a word of a Dockerfile comes to.
//!
//! Build checks and planning ask here, so that what one warns of is what the other does.
//! - [`platform`]: a platform in its parts, and the arguments that tell it
//! - [`global`]: what FROM lines see
//! - [`stage`]: what the lines of a stage see

pub mod global;
pub mod platform;
pub mod stage;
mod word;

pub use word::{ArgValue, arg_value, expand_word};
