//! Who is asking, and what they may do.
//!
//! Pure but for reading its files and fetching keys.
//!
//! | module | what it holds |
//! |---|---|
//! | [`settings`] | how clients log in, as the configuration says |
//! | [`gate`] | all below put together: [`Auth`] |
//! | [`users`] | those of the password file, and whose password was right lately |
//! | [`backoff`] | how long to wait after wrong passwords |
//! | [`htpasswd`] | the password file |
//! | [`token`], [`refresh`] | tokens that we make and know again |
//! | [`external`], [`jwks`] | those of a token server elsewhere, verified with its keys |
//! | [`rules`] | what each may do where |
//! | [`sessions`] | who is logged in with a browser |
//! | [`identity`] | who somebody is |

mod backoff;
pub mod external;
mod gate;
mod header;
pub mod htpasswd;
mod identity;
mod jwks;
mod private_file;
mod refresh;
pub mod rules;
pub(crate) mod sessions;
pub mod settings;
pub mod token;
mod users;

pub use gate::Missing;
pub use gate::{Auth, AuthError};
pub(crate) use header::claimed;
pub use identity::{Authenticated, BadCredentials, Identity};
