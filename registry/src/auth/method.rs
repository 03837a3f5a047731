//! How clients prove who they are, with all that this needs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::external::Verifier;
use super::gate_error::AuthError;
use super::people::People;
use super::rules::Rules;
use super::settings::{self, Login};
use super::token::Signer;

/// How clients prove who they are, with what that needs.
#[derive(Debug)]
pub(super) enum Method {
    Passwords {
        people: Arc<People>,
        rules: Rules,
    },
    OwnTokens {
        people: Arc<People>,
        rules: Rules,
        signer: Signer,
        /// How many seconds a token is good for.
        seconds: i64,
        /// Where clients get tokens, when it is not where they are asking.
        url: Option<String>,
        /// Who comes with a password, or with nothing, is asked for a password: but for the path
        /// at which clients find out how to log in.
        passwords: bool,
    },
    TokenServer {
        verifier: Arc<Verifier>,
        /// None when the token server decides alone.
        rules: Option<Rules>,
        /// Where clients get tokens.
        url: String,
    },
}

impl Method {
    /// As the settings have it; `None` when nobody logs in. What `before` knows already of the
    /// same files is taken over.
    pub(super) fn open(
        login: &Login,
        data_dir: &Path,
        before: Option<&Self>,
    ) -> Result<Option<Self>, AuthError> {
        let before = before.and_then(Self::people);
        let people = |users: &settings::Users| {
            People::open(users, data_dir, before.map(|before| &**before)).map(Arc::new)
        };
        Ok(Some(match login {
            Login::Open => return Ok(None),
            Login::Passwords(known) => Self::Passwords {
                people: people(known)?,
                rules: known.rules.clone(),
            },
            Login::OwnTokens {
                users: known,
                service,
                lifetime,
                url,
                passwords,
            } => Self::OwnTokens {
                people: people(known)?,
                rules: known.rules.clone(),
                signer: Signer::open(&key_file(data_dir), service)?,
                seconds: i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX / 2),
                url: url.clone(),
                passwords: *passwords,
            },
            Login::TokenServer {
                issuer,
                service,
                url,
                rules,
            } => Self::TokenServer {
                verifier: Arc::new(Verifier::new(issuer, service)?),
                rules: rules.clone(),
                url: url.clone(),
            },
        }))
    }

    /// Those who can log in here.
    pub(super) fn people(&self) -> Option<&Arc<People>> {
        match self {
            Self::Passwords { people, .. } | Self::OwnTokens { people, .. } => Some(people),
            Self::TokenServer { .. } => None,
        }
    }

    /// What must allow everything; `None` when the token server decides alone.
    pub(super) fn rules(&self) -> Option<&Rules> {
        match self {
            Self::Passwords { rules, .. } | Self::OwnTokens { rules, .. } => Some(rules),
            Self::TokenServer { rules, .. } => rules.as_ref(),
        }
    }

    /// What makes tokens, when we do, and those who can get one.
    pub(super) fn signer(&self) -> Option<(&Signer, &Arc<People>)> {
        match self {
            Self::OwnTokens { signer, people, .. } => Some((signer, people)),
            Self::Passwords { .. } | Self::TokenServer { .. } => None,
        }
    }
}

/// Where the key for tokens is.
pub(super) fn key_file(data_dir: &Path) -> PathBuf {
    data_dir.join("token.key")
}
