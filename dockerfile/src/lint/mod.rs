//! Build checks: BuildKit's rules, by their names.

mod rule;

pub use rule::Rule;
