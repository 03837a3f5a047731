//! The image builder: a Dockerfile and a build context in, an image in the local store out.
//!
//! Data flows one way: text is parsed (crate `dockerfile`), [`plan`]ned, [`solve`]d step by step
//! on the [`engine`], and the outcome becomes an [`image`]. [`cli`] turns flags into options and
//! options into calls.

pub mod cli;
pub mod context;
pub mod engine;
pub mod files;
pub mod image;
pub mod local;
pub mod plan;
pub mod solve;
