//! Text to syntax tree.

mod directive;

pub use directive::Directives;
