//! A registry for OCI and Docker images.
//!
//! Each layer calls only those below it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cli`] | the command line of `rregistry` |
//! | [`server`] | listening, connections, draining |
//! | [`linger`] | closing a connection without losing the answer |
//! | [`tls`] | certificates, read again when told to |
//! | [`reload`], [`stamp`] | files that are read again when they change |
//! | [`http`] | requests into calls of the service, and its answers back |
//! | [`route`], [`admin_route`] | `(method, path) → Route`, pure |
//! | [`webhook`] | events sent to those who are told |
//! | [`audit`] | what changed, in a file |
//! | [`service`] | the rules; no HTTP, no SQL |
//! | [`mirror`] | other registries, asked for what is not here |
//! | [`replication`] | images kept the same at other registries |
//! | [`policy`] | which tags never move, and which go after a time; pure |
//! | [`proxies`] | which proxies are believed, and what they say; pure |
//! | [`quota`] | how much may be stored, and what is promised; pure |
//! | [`meta`] | all SQL: repositories, links, manifests, tags |
//! | [`storage`] | blob files and upload sessions |
//! | [`contents`] | what is inside layers; pure |
//! | [`events`] | what happens to images, and who is told; pure |
//! | [`auth`] | users, passwords and access rules |
//! | [`limits`] | how much a client may have at once, and how often it may ask; pure |
//! | [`config`] | every setting |
//! | [`operate`] | what operators do, as values |
//! | [`control`] | commands to a running registry |
//! | [`metrics`] | counters |
//! | [`outgoing`] | requests that the registry itself sends |
//! | [`describe`] | what an image tells of itself; pure |
//! | [`cache`] | a bounded cache that the writer keeps coherent |
//! | [`name`] | what requests name, as types |
//! | [`clock`], [`pattern`], [`units`] | the time, patterns for names, sizes and times as text |
//! | [`sync`] | locks and blocking work |

pub mod admin_route;
pub mod audit;
pub mod auth;
pub mod cache;
pub mod cli;
mod clock;
pub mod config;
pub mod contents;
pub mod control;
mod describe;
pub mod events;
pub mod http;
pub mod limits;
pub mod linger;
pub mod meta;
pub mod metrics;
pub mod mirror;
pub mod name;
pub mod operate;
pub mod outgoing;
mod pattern;
pub mod policy;
pub mod proxies;
pub mod quota;
pub mod reload;
pub mod replication;
pub mod route;
pub mod server;
pub mod service;
mod stamp;
#[cfg(test)]
mod standin;
pub mod storage;
mod sync;
pub mod tls;
mod units;
pub mod webhook;
