//! Definitions as text: HCL and its form in JSON become one tree.
//!
//! - [`tree`]: bodies, blocks, attributes, expressions
//! - [`hcl`]: the language, by the crate `hcl-edit`
//! - [`json`]: the same in JSON, whose strings are templates

pub mod hcl;
pub mod json;
pub mod tree;
