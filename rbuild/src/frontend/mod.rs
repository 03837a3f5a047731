//! What building and checking a Dockerfile have in common on the command line.
//!
//! - [`text`]: the Dockerfile, for messages that show where something is wrong
//! - [`arguments`], [`contexts`]: flags to values; [`bases`]: what is known of base images
//! - [`checks`], [`report`]: mistakes and violations, printed

pub mod annotations;
pub mod arguments;
pub mod bases;
pub mod checks;
pub mod contexts;
pub mod report;
pub mod text;
