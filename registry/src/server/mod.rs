//! Listening: connections in, and a calm end.
//!
//! | module | what it holds |
//! |---|---|
//! | [`listen`] | the listener, and what becomes of each connection |
//! | [`connections`] | how many are open, and which goes when there is no room |
//! | [`activity`] | what one connection is doing, and since when it does nothing |
//! | [`sending`] | bodies of answers, which say that they are being taken |
//! | [`socket`] | what connections come in by: TCP, or a unix socket |
//! | [`plain`] | the answer to plain http where TLS is spoken |

mod activity;
mod connections;
mod listen;
mod plain;
mod sending;
mod socket;

pub use activity::Patience;
pub use listen::Server;
