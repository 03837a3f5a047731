//! What comes from other registries, and is shown as what was pushed is.
//!
//! A mirrored manifest is shown before the blobs that it names are here: they come when they are
//! asked for. Its rows say already that it needs them, so that a blob that came is kept for as long
//! as the manifest is.

mod blobs;
mod evicting;
mod manifests;

pub use evicting::Evicted;
