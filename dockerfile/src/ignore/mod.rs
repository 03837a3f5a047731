//! `.dockerignore` and the wildcards of COPY and ADD.
//!
//! Patterns mean what moby/patternmatcher makes of them, and wildcards what Go's `filepath.Match`
//! does; neither is gitignore.

mod expression;
mod matcher;
mod pattern;

pub use matcher::{IgnoreError, IgnoreMatcher, ParentMatches};
