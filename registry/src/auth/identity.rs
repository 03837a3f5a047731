//! Who is asking.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinError;

use super::token::Grant;

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Nobody said.
    Anonymous,
    /// A user who proved it.
    User(Arc<str>),
}

/// Who is asking, and what their token is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated {
    /// Who.
    pub identity: Identity,
    /// What the token says; `None` when a password was sent, which is good for everything.
    pub granted: Option<Vec<Grant>>,
}

/// Why somebody is not taken for who they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCredentials {
    /// They prove nothing.
    Wrong,
    /// They were not looked at: so many before were wrong. How long to wait.
    Wait(Duration),
}

/// A password that could not be looked at to its end proves nothing.
impl From<JoinError> for BadCredentials {
    fn from(_: JoinError) -> Self {
        Self::Wrong
    }
}
