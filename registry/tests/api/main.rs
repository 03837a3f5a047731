//! The API's rules, each driven through the router in process.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod auth;
mod blobs;
mod check;
mod collect;
mod concurrency;
mod harness;
mod import;
mod layout;
mod listing;
mod manifests;
mod memory;
mod model;
mod process;
mod quota;
mod rebuild;
mod restart;
mod retention;
mod soak;
mod uploads;
