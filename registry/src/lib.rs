//! A registry for OCI and Docker images.
//!
//! Each layer calls only those below it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cli`] | the command line of `rregistry` |
//! | [`server`] | listening, connections, draining |
//! | [`tls`] | certificates, read again when told to |
//! | [`http`] | requests into calls of the service, and its answers back |
//! | [`route`] | `(method, path) → Route`, pure |
//! | [`service`] | the rules; no HTTP, no SQL |
//! | [`policy`] | which tags never move, and which go after a time; pure |
//! | [`quota`] | how much may be stored, and what is promised; pure |
//! | [`meta`] | all SQL: repositories, links, manifests, tags |
//! | [`storage`] | blob files and upload sessions |
//! | [`auth`] | users, passwords and access rules |
//! | [`config`] | every setting |
//! | [`control`] | commands to a running registry |
//! | [`metrics`] | counters |
//! | [`cache`] | a bounded cache that the writer keeps coherent |
//! | [`name`] | what requests name, as types |

pub mod auth;
pub mod cache;
pub mod cli;
pub mod config;
pub mod control;
pub mod http;
pub mod meta;
pub mod metrics;
pub mod name;
pub mod policy;
pub mod quota;
pub mod route;
pub mod server;
pub mod service;
pub mod storage;
pub mod tls;
