//! The Dockerfile language: text to syntax tree, to typed instructions and stages, with
//! diagnostics. Pure and synchronous: nothing here touches a file system or a network.
//!
//! - [`parser`]: lines, directives, continuations and here-documents into a syntax tree
//! - [`instruction`]: what each instruction says, typed
//! - [`stage`]: the file as global arguments and stages
//! - [`span`]: places in the source

pub mod instruction;
pub mod parser;
pub mod span;
pub mod stage;
