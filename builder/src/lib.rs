//! The image builder: a Dockerfile and a build context in, an image in the local store out.
//!
//! Data flows one way: text is parsed (crate `dockerfile`), [`plan`]ned, and [`solve`]d step by
//! step on the [`engine`]; a [`record`] of it is kept. Nothing here knows a terminal.

pub mod auth;
pub mod buildkit;
pub mod context;
pub mod derived;
pub mod download;
pub mod engine;
pub mod files;
pub mod git;
pub mod kept;
pub mod plan;
pub mod record;
pub mod solve;
pub mod stop;
