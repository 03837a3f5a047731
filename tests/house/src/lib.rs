//! The rules of the house: what keeps the workspace readable, checked on its own source text.
//!
//! [`load`] reads the workspace once into plain data ([`workspace`], [`source`]); each of the
//! [`rules`] is a function from that to what breaks it. `tests/house.rs` applies them to this
//! workspace, and each rule's unit tests to small ones that break it and do not.
//!
//! Names are resolved as far as syntax goes ([`modules`]): paths, `use`, re-exports and globs.
//! Methods and what macros make are not seen, so a rule here can miss something, never invent it.

pub mod finding;
pub mod load;
pub mod markdown;
pub mod modules;
pub mod rules;
pub mod scope;
pub mod source;
pub mod tokens;
pub mod workspace;

#[cfg(test)]
mod fixture;
