//! Expressions to values.
//!
//! - [`expression`]: the walk over the tree
//! - [`template`]: strings with parts that are put in
//! - [`operators`]: what stands between operands
//! - [`scope`]: what names stand for

mod expression;
mod operators;
pub mod scope;
mod template;

pub use expression::{evaluate, keyword};
