//! Bake files: definitions of many targets in HCL, JSON or compose files, as `docker buildx bake`
//! reads them. Text of files and an environment go in, targets with all that they inherit come
//! out; nothing is read or built here.
//!
//! - [`read`]: the way in
//! - [`plan`], [`target`], [`entries`], [`granted`]: what comes out
//! - [`error`], [`source`]: mistakes, and where they are
//! - `syntax`, `eval`, `functions`, `types`, `variables`, `own_functions`,
//!   `definitions`: HCL and what it means
//! - `compose`: compose files
//! - `config`, `overrides`, [`shorthands`]: targets before they are asked for, `--set`, and what is
//!   short for it

mod compose;
mod config;
mod csv;
mod definitions;
pub mod entries;
pub mod error;
mod eval;
mod functions;
pub mod granted;
mod number;
mod overrides;
mod own_functions;
pub mod plan;
pub mod read;
pub mod shorthands;
pub mod source;
mod syntax;
pub mod target;
mod types;
mod value;
mod variables;
