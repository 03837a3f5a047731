//! The API's rules, each driven through the router in process.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod access;
mod archives;
mod auth;
mod blobs;
mod check;
mod collect;
mod concurrency;
mod conformance;
mod dry_run;
mod harness;
mod images;
mod import;
mod layout;
mod limits;
mod listing;
mod manifests;
mod memory;
mod model;
mod orphans;
mod paths;
mod process;
mod quota;
mod rebuild;
mod restart;
mod retention;
mod silent;
mod soak;
mod stopping;
mod tls;
mod token_server;
mod upgrade;
mod uploads;
mod webhook_process;
mod webhooks;
mod wire;
