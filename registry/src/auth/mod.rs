//! Who is asking, and what they may do.
//!
//! Pure but for reading its files and fetching keys.
//!
//! | module | what it holds |
//! |---|---|
//! | [`settings`] | how clients log in, as the configuration says |
//! | [`gate`] | all below put together: [`Auth`] |
//! | [`method`] | how clients prove who they are, with what that needs |
//! | [`people`] | those who can log in, by whatever means |
//! | [`users`] | those of the password file, and whose password was right lately |
//! | [`backoff`] | how long to wait after wrong passwords |
//! | [`htpasswd`] | the password file |
//! | [`personal`], [`token_file`] | personal tokens, and the file that keeps them |
//! | [`directory`] | users of an LDAP directory |
//! | [`federation`], [`vouching`] | users that OpenID providers vouch for |
//! | [`provider`], [`discovery`] | logging in there with a browser |
//! | [`token`], [`refresh`] | tokens that we make and know again |
//! | [`external`], [`jwks`] | those of a token server elsewhere, verified with its keys |
//! | [`rules`] | what each may do where |
//! | [`sessions`], [`logins`] | who is logged in with a browser, or on the way to it |
//! | [`person`] | what people do with a browser: log in, make tokens |
//! | [`census`] | who came and went |
//! | [`identity`] | who somebody is |

mod backoff;
mod census;
pub mod directory;
mod discovery;
pub mod external;
pub mod federation;
mod gate;
mod gate_error;
mod header;
pub mod htpasswd;
mod identity;
mod jwks;
mod logins;
mod method;
mod people;
mod person;
pub mod personal;
mod private_file;
mod provider;
mod refresh;
pub mod rules;
pub(crate) mod sessions;
pub mod settings;
pub mod token;
mod token_file;
mod users;
mod vouching;

pub use census::Change;
pub use gate::{Auth, Missing};
pub use gate_error::AuthError;
pub(crate) use header::claimed;
pub use identity::{Authenticated, BadCredentials, Identity, Proof, User};
pub(crate) use person::{OwnToken, TokensError};
pub(crate) use personal::is_personal;
pub(crate) use provider::LoginError;
