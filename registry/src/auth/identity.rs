//! Who is asking.

use std::ops::Deref;
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
    User(User),
}

/// A user who proved to be one, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: Arc<str>,
    groups: Arc<[String]>,
    proof: Proof,
}

/// What showed that a user is who they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A password of the password file, or a token server elsewhere.
    Password,
    /// A personal token, by its ID.
    Token(Arc<str>),
    /// A password of the directory.
    Directory,
    /// A token of a provider, by the name of its `[[oidc]]`.
    Federation(Arc<str>),
    /// A login at a provider with a browser, by the name of its `[[oidc]]`.
    Browser(Arc<str>),
}

impl User {
    /// A user of this name, in these groups beside those of the settings.
    pub fn new(name: String, groups: Vec<String>, proof: Proof) -> Self {
        Self {
            name: name.into(),
            groups: groups.into(),
            proof,
        }
    }

    /// The groups that whoever knows the user named.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// What showed that it is this user.
    pub fn proof(&self) -> &Proof {
        &self.proof
    }
}

impl Deref for User {
    type Target = str;

    fn deref(&self) -> &str {
        &self.name
    }
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl From<Arc<str>> for User {
    fn from(name: Arc<str>) -> Self {
        Self {
            name,
            groups: Arc::default(),
            proof: Proof::Password,
        }
    }
}

impl From<String> for User {
    fn from(name: String) -> Self {
        Arc::<str>::from(name).into()
    }
}

impl From<&str> for User {
    fn from(name: &str) -> Self {
        Arc::<str>::from(name).into()
    }
}

impl Proof {
    /// Whether it shows a person: programs come with personal tokens, and a provider's.
    pub fn is_personal(&self) -> bool {
        match self {
            Self::Password | Self::Directory | Self::Browser(_) => true,
            Self::Token(_) | Self::Federation(_) => false,
        }
    }

    /// As tokens of ours have it; nothing for a password.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Password => String::new(),
            Self::Token(id) => format!("token:{id}"),
            Self::Directory => "ldap".to_owned(),
            Self::Federation(name) => format!("oidc:{name}"),
            Self::Browser(name) => format!("web:{name}"),
        }
    }

    /// The proof that a token of ours names.
    pub(super) fn read(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None if text.is_empty() => Some(Self::Password),
            None if text == "ldap" => Some(Self::Directory),
            Some(("token", id)) => Some(Self::Token(id.into())),
            Some(("oidc", name)) => Some(Self::Federation(name.into())),
            Some(("web", name)) => Some(Self::Browser(name.into())),
            _ => None,
        }
    }
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
    /// Whoever knows cannot be asked now.
    Unavailable,
}

/// A password that could not be looked at to its end proves nothing.
impl From<JoinError> for BadCredentials {
    fn from(_: JoinError) -> Self {
        Self::Wrong
    }
}
