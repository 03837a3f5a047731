//! `registry.toml`: every setting, where it comes from, and what it means.
//!
//! A setting comes from the command line, else from its environment variable, else from the file,
//! else from its default. [`keys`] has the one list of them: the file is checked against it, and
//! `rregistry config --explain` prints it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`keys`], [`operating`], [`stores`] | the list of settings |
//! | [`settings`] | what was set, as it came |
//! | [`check`] | what that makes: [`Config`] |
//! | [`listen`] | where to listen |
//! | [`http`] | what is in front: proxies, pages of others |
//! | [`elsewhere`] | users whom others know: a directory, providers |
//! | [`login`] | the part of it that says how clients log in |
//! | [`mirroring`] | the part of it that says what is mirrored |
//! | [`place`] | the lines of a file, for errors |
//! | [`storing`], [`database`] | where blobs are kept, and what is known of them |
//! | [`error`] | what is wrong with settings |

mod check;
mod database;
mod elsewhere;
mod error;
mod http;
mod key;
mod keys;
mod listen;
mod login;
mod mirroring;
mod operating;
mod place;
mod settings;
mod stores;
mod storing;

pub use check::{Config, Limits, Tls};
pub use error::ConfigError;
pub use http::{Cors, Http};
pub use key::Key;
pub use keys::{env_name, explain};
pub use listen::ListenAddr;
pub use settings::Settings;

#[cfg(test)]
mod tests;
