//! The distribution client: resolving references, pulling, pushing and logging in
//! (OCI distribution-spec 1.1; Docker Registry HTTP API V2).
//!
//! Asynchronous on tokio; disk work happens on blocking threads. One [`Client`] is made for a
//! process and shared: it remembers connections, tokens, and which registries speak plain http.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | registries.toml, docker's config.json, credential helpers, certs.d |
//! | [`auth`] | challenges, tokens, and the rule of who may be sent credentials |
//! | [`error`] | the error types, in docker's words |
//! | [`events`] | what a pull or push tells whoever renders its progress |
//! | `endpoint` | a registry or a mirror of it, and how it is reached |
//! | `call` | requests: credentials, redirects, further tries |
//! | `http` | transports, time limits, capped bodies |
//! | [`resolve`] | a reference to an image manifest |
//! | [`pull`] | blobs into a [`BlobStore`](oci::blob::BlobStore) |
//! | [`push`] | blobs and manifests to a registry |
//! | [`catalog`] | tags, catalog, deletion |
//! | [`login`] | logging in and out |
//! | [`search`] | images by a word |
//! | [`upstream`] | one registry at a URL, for mirrors of it |
//!
//! # Who is sent credentials
//!
//! Credentials are bound to the registry that they were stored for. [`auth`] states the rule.

pub mod auth;
pub mod catalog;
pub mod config;
pub mod error;
pub mod events;
pub mod login;
pub mod pull;
pub mod push;
pub mod resolve;
pub mod search;
pub mod upstream;

mod call;
mod client;
mod endpoint;
mod growing;
mod http;
mod origin;
mod pages;
mod part;
mod retry;
mod sync;
mod text;

pub use client::Client;
pub use config::{Config, ConfigError};
pub use error::{Error, RegistryError};
pub use events::{Events, LayerState, Silent};
pub use growing::{Growing, Growth};
pub use login::{Login, LoginOutcome};
pub use push::{PushImage, PushLayer, Pushed};
pub use resolve::Resolved;
