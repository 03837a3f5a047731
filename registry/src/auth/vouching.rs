//! Tokens of OpenID providers, verified with the keys of their issuers and given to the rules on
//! what they say.

use std::sync::Arc;

use super::external::{KeysError, Verifier};
use super::federation::Federation;
use super::gate_error::AuthError;
use super::identity::User;
use super::provider::Provider;
use super::settings::{Issuer, Jwks};

/// All of them, with their providers' keys.
#[derive(Debug, Default)]
pub(super) struct Federations(Vec<Trusted>);

/// One of them.
#[derive(Debug)]
struct Trusted {
    federation: Federation,
    verifier: Arc<Verifier>,
    /// Where people log in with a browser, when they do.
    provider: Option<Arc<Provider>>,
}

impl Federations {
    /// For the tokens of these.
    ///
    /// # Errors
    /// [`AuthError`]; keys that are elsewhere are only fetched when the first token comes.
    pub(super) fn new(all: &[Federation]) -> Result<Self, AuthError> {
        let with_keys = |federation: &Federation| {
            let jwks = match &federation.jwks {
                None => Jwks::Discovered,
                Some(text) if text.contains("://") => Jwks::Url(text.clone()),
                Some(path) => Jwks::File(path.into()),
            };
            let issuer = Issuer {
                name: federation.issuer.clone(),
                jwks,
                ca: federation.ca.clone(),
            };
            let verifier = Arc::new(Verifier::new(&issuer, federation.audience())?);
            let provider = Provider::new(federation, &verifier).map_err(KeysError::from)?;
            Ok(Trusted {
                federation: federation.clone(),
                verifier,
                provider: provider.map(Arc::new),
            })
        };
        all.iter()
            .map(with_keys)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether there are none.
    pub(super) fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is one of this name.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.0.iter().any(|one| one.federation.name == name)
    }

    /// Where people log in with a browser, by the name of the rule.
    pub(super) fn provider(&self, name: &str) -> Option<Arc<Provider>> {
        let found = self.0.iter().find(|one| one.federation.name == name);
        found?.provider.clone()
    }

    /// The names of those, and what people call them.
    pub(super) fn providers(&self) -> Vec<(String, String)> {
        let all = self.0.iter().filter(|one| one.provider.is_some());
        all.map(|one| {
            let name = &one.federation.name;
            (
                name.clone(),
                one.federation.title.clone().unwrap_or_else(|| name.clone()),
            )
        })
        .collect()
    }

    /// Whom a token names, by the first whose claims fit.
    pub(super) async fn identify(&self, token: &str, now: i64) -> Option<User> {
        for Trusted {
            federation,
            verifier,
            ..
        } in &self.0
        {
            // Another provider's token is not looked at any further: its issuer is in the open.
            if let Some(claims) = verifier.claims(token, now).await
                && let Some(user) = federation.user(&claims)
            {
                return Some(user);
            }
        }
        None
    }
}

/// Whether a password may be such a token: three parts, the first a JSON object in base64.
pub(super) fn looks_like_one(password: &str) -> bool {
    password.starts_with("eyJ") && password.split('.').count() == 3
}
