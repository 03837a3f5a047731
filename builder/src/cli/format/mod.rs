//! How results are written: columns, and Go templates as docker's `--format` takes them.
//!
//! - [`template`]: the templates
//! - [`table`]: text in columns
//! - [`listing`]: a command's lines in whatever `--format` says

pub mod listing;
pub mod table;
pub mod template;
