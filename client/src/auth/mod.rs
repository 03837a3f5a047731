//! Authentication: Basic, and Bearer tokens from a token server (Docker Registry v2
//! authentication; RFC 6749 and 6750).
//!
//! # The rule of who may be sent credentials
//!
//! Credentials belong to the registry (`host[:port]`) that they were stored for. Its *home* is
//! the scheme, host and port where its API is. They are sent
//!
//! 1. to the home itself, when that is https, this machine (loopback), or a registry that the
//!    user has marked `insecure`, which is consent to plain http;
//! 2. to a token server that the home names in a 401 answer and that is elsewhere, only over
//!    https with a certificate that the system (or the registry's own `ca`) vouches for, or when
//!    the user has marked that server `insecure` too. Another port is elsewhere.
//!
//! They are never sent over plain http otherwise; never to wherever a redirect, an upload
//! location or a layer's `urls` point outside the home; never by a mirror's leave: a mirror is a
//! registry of its own, with its own credentials or none. Bearer tokens go to the home only.
//! Where the rule forbids, the request is made without credentials, and the error that follows
//! says so. (The class of CVE-2020-15157 and CVE-2026-33540.)

mod challenge;
mod scope;
mod state;
mod token;

pub(crate) use scope::Scopes;
pub(crate) use state::{Auth, Source};
