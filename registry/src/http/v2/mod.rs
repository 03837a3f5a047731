//! The distribution API: one file for each resource, and the handler that chooses.

mod blobs;
mod handler;
mod listing;
mod manifests;
pub(super) mod origin;
mod uploads;

pub(super) use handler::handle;
