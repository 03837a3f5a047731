//! What is done with networks.
//!
//! - [`manage`]: made, found, listed and removed
//! - [`actor`]: how events tell of them
//! - [`connect`]: a container comes to one, or leaves it
//! - [`settle`]: what a container that is made says of networks
//! - [`plan`]: what its monitor is told of them
//! - [`shown`]: what `inspect` shows
//! - [`sweep`]: what killed processes have left

mod actor;
mod connect;
mod manage;
mod plan;
mod settle;
mod shown;
mod sweep;

pub(super) use plan::Planned;
pub use settle::Asked;
pub(super) use sweep::sweep;
