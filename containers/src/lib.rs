//! Containers: made, started, watched over, entered and removed, without a daemon.
//!
//! | module | what it holds |
//! |---|---|
//! | [`record`] | what a container was made with, as docker's API has it |
//! | [`status`], [`state`] | what it is doing, and what has become of it |
//! | [`events`] | what has happened to all of them |
//! | [`health`] | whether it is well |
//! | [`folder`] | what lies in its folder |
//! | [`launch`], [`protocol`] | what its monitor is told, and how one talks to it |
//! | [`monitor`] | the process beside each running container |
//! | [`log`] | what it has said |
//! | [`endpoint`], [`network`] | networks, and a container's places on them |
//! | `dns` | names within networks |
//! | [`engine`] | what is done with containers: requests and their results |
//! | [`attach`] | the streams of a container or of a command in one |
//!
//! A program that uses this crate calls `runtime::init_hook` and [`monitor_hook`] first thing in
//! `main`.

pub mod attach;
mod dns;
pub mod endpoint;
pub mod engine;
mod error;
pub mod events;
mod folder;
pub mod health;
mod launch;
pub mod log;
mod marks;
mod monitor;
mod names;
pub mod network;
mod protocol;
pub mod record;
pub mod state;
pub mod status;

pub use error::{Error, Result};
pub use launch::Streams;
pub use monitor::monitor_hook;
