//! What a user is known by.

/// What a registry knows a user by.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A name and a password or access token.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: String,
    },
    /// An OAuth2 refresh token, given to a token server only.
    IdentityToken(String),
    /// A bearer token for the registry itself.
    RegistryToken(String),
}

/// Secrets are not printed.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Basic { username, .. } => write!(f, "Basic({username:?})"),
            Self::IdentityToken(_) => f.write_str("IdentityToken"),
            Self::RegistryToken(_) => f.write_str("RegistryToken"),
        }
    }
}
