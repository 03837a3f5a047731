//! The Dockerfile language: text to syntax tree, to typed instructions and stages, with
//! diagnostics. Pure and synchronous: nothing here touches a file system or a network.
//!
//! [`parse`] does it all. What it is made of:
//!
//! - [`parser`]: lines, directives, continuations and here-documents into a syntax tree
//! - [`instruction`]: what each instruction says, typed
//! - [`stage`]: the file as global arguments and stages
//! - [`shell`]: quotes, escapes and variables in words
//! - [`eval`]: the values of ARG, ENV and the platform
//! - [`value`]: what is inside arguments once they are expanded
//! - [`ignore`]: `.dockerignore` and wildcards
//! - [`lint`]: build checks
//! - [`history`]: the history lines of an image
//! - [`mod@print`]: a syntax tree as text again
//! - [`diagnostic`]: errors and warnings, and how they are shown
//! - [`span`]: places in the source
//! - [`suggest`]: did you mean

pub mod diagnostic;
pub mod eval;
pub mod history;
pub mod ignore;
pub mod instruction;
pub mod lint;
pub mod parser;
pub mod print;
pub mod shell;
pub mod span;
pub mod stage;
pub mod suggest;
pub mod value;

mod build;
mod heredoc;
mod rule;
mod typing;

pub use build::{Parsed, parse, parse_bytes, parse_trigger};
