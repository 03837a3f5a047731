//! The client against registries: an in-process one that can be made to misbehave, and Debian's
//! docker-registry.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    missing_docs
)]

mod auth;
mod fake;
mod growing;
mod login;
mod manifests;
mod mirrors;
mod pull;
mod push;
mod real;
mod tls;
