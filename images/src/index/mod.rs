//! Indexes: one name, an image for each platform.
//!
//! - [`build`]: of images that were made here
//! - [`pull`] and [`push`]: from and to registries

pub mod build;
pub mod pull;
pub mod push;
