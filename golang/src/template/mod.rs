//! Go's text/template, as far as docker's `--format` is used with it, and docker's functions.
//!
//! - [`lex`]: text and the words of its actions
//! - [`parse`]: words to a tree
//! - [`eval`]: the tree and a JSON value to text
//! - [`funcs`]: `json`, `join`, `printf`, `eq`, …
//! - [`show`]: values as Go prints them
//!
//! Not in: `define`, `template`, `block`, `html`, `js`, `urlquery` and `call`; they are refused.

mod compiled;
mod eval;
mod funcs;
mod lex;
mod mistake;
mod parse;
mod show;
mod types;
mod val;

#[cfg(test)]
mod tests;

pub use compiled::Template;
pub use mistake::TemplateError;
pub use types::Types;
