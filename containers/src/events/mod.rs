//! What has happened to containers, networks, volumes and images: docker's events, without a daemon
//! that would tell them.
//!
//! Commands and monitors write each to a journal in the store, and whoever wants to know reads it.
//!
//! - [`event`](Event): one of them, as docker's API has it
//! - [`journal`]: where they are kept, and following them

mod event;
pub mod journal;

pub use event::{Actor, Event};
