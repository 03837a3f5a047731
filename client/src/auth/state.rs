//! What we know of authenticating to one registry.

use std::collections::HashMap;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderValue};
use tokio::sync::{Mutex, MutexGuard};

use super::challenge::{self, Challenge};
use super::scope::Scopes;
use super::token::{self, Token, Wanted};
use crate::config::{Credentials, DockerConfig};
use crate::error::{Error, Note};
use crate::http::Transports;
use crate::origin::{Origin, may_follow, may_send};
use crate::text::shown;

/// How one registry (or mirror) is authenticated to. Safe to share: one token is fetched at a
/// time, and whoever waited for it uses it.
pub(crate) struct Auth {
    /// The name that credentials are stored under.
    name: String,
    home: Origin,
    source: Source,
    state: Mutex<State>,
}

/// Where credentials come from.
pub(crate) enum Source {
    /// Docker's config.json, when first challenged.
    Stored(DockerConfig),
    /// Given, to be tried out.
    Given(Credentials),
}

#[derive(Default)]
struct State {
    /// What the registry last asked for.
    challenge: Option<Challenge>,
    credentials: Option<Option<Credentials>>,
    tokens: HashMap<String, Token>,
    note: Option<String>,
}

impl Auth {
    pub(crate) fn new(name: String, home: Origin, source: Source) -> Self {
        Self {
            name,
            home,
            source,
            state: Mutex::new(State::default()),
        }
    }

    /// The header to begin with, once the registry is known to ask for one.
    pub(crate) async fn header(
        &self,
        transports: &Transports,
        scopes: &Scopes,
    ) -> Result<Option<HeaderValue>, Error> {
        let mut state = self.state.lock().await;
        match state.challenge.clone() {
            None => Ok(None),
            Some(challenge) => {
                self.obtain(&mut state, transports, &challenge, scopes)
                    .await
            }
        }
    }

    /// The header to try again with after a 401; `None` when there is nothing better to offer
    /// than what was `used`.
    pub(crate) async fn answer(
        &self,
        transports: &Transports,
        headers: &HeaderMap,
        scopes: &Scopes,
        used: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, Error> {
        let Some(challenge) = challenge::best(headers) else {
            return Ok(None);
        };
        let mut state = self.state.lock().await;
        // The scope asked for belongs to this request and is kept for this one only.
        state.challenge = Some(match &challenge {
            Challenge::Basic => Challenge::Basic,
            Challenge::Bearer { realm, service, .. } => Challenge::Bearer {
                realm: realm.clone(),
                service: service.clone(),
                scope: None,
            },
        });
        if let Some(used) = used {
            let key = scopes.joined();
            if state
                .tokens
                .get(&key)
                .is_some_and(|token| token.header == *used)
            {
                state.tokens.remove(&key);
            }
        }
        let header = self
            .obtain(&mut state, transports, &challenge, scopes)
            .await?;
        Ok(header.filter(|header| Some(header) != used))
    }

    /// Why an error may be about credentials that were not sent.
    pub(crate) async fn note(&self) -> Note {
        Note(self.state.lock().await.note.clone())
    }

    /// A refresh token, if the registry's token server gives one for the credentials.
    pub(crate) async fn refresh_token(
        &self,
        transports: &Transports,
        headers: &HeaderMap,
    ) -> Result<Option<String>, Error> {
        let Some(Challenge::Bearer { realm, service, .. }) = challenge::best(headers) else {
            return Ok(None);
        };
        let mut state = self.state.lock().await;
        let scopes = Scopes::none();
        let (realm, credentials) = self.for_realm(&mut state, transports, &realm).await?;
        let wanted = Wanted {
            realm: &realm,
            service: service.as_deref(),
            scopes: &scopes,
            offline: true,
        };
        let name = &self.name;
        let token =
            token::fetch(transports, &self.home, name, &wanted, credentials.as_ref()).await?;
        Ok(token.refresh)
    }

    async fn obtain(
        &self,
        state: &mut MutexGuard<'_, State>,
        transports: &Transports,
        challenge: &Challenge,
        scopes: &Scopes,
    ) -> Result<Option<HeaderValue>, Error> {
        let insecure = transports.is_insecure(&self.home, &self.name);
        let own = may_send(&self.home, &self.home, insecure);
        match challenge {
            Challenge::Basic => match self.credentials(state).await {
                Some(Credentials::Basic { username, password }) if own => {
                    token::basic(&username, &password).map(Some)
                }
                Some(_) if !own => {
                    state.note = Some(self.refusal(&self.home.host_port()));
                    Ok(None)
                }
                Some(Credentials::RegistryToken(token)) => token::bearer(&token).map(Some),
                _ => Ok(None),
            },
            Challenge::Bearer {
                realm,
                service,
                scope,
            } => {
                let key = scopes.joined();
                if let Some(token) = state.tokens.get(&key).filter(|token| token.is_fresh()) {
                    return Ok(Some(token.header.clone()));
                }
                if own
                    && let Some(Credentials::RegistryToken(token)) = self.credentials(state).await
                {
                    return token::bearer(&token).map(Some);
                }
                let mut scopes = scopes.clone();
                if let Some(scope) = scope {
                    scopes.add(scope);
                }
                let (realm, credentials) = self.for_realm(state, transports, realm).await?;
                let wanted = Wanted {
                    realm: &realm,
                    service: service.as_deref(),
                    scopes: &scopes,
                    offline: false,
                };
                let fetched = token::fetch(
                    transports,
                    &self.home,
                    &self.name,
                    &wanted,
                    credentials.as_ref(),
                );
                let token = match fetched.await {
                    Ok(token) => token,
                    Err(Error::Unauthorized { cause, .. }) => {
                        let note = Note(state.note.clone());
                        return Err(Error::Unauthorized { cause, note });
                    }
                    Err(e) => return Err(e),
                };
                let header = token.header.clone();
                state.tokens.insert(key, token);
                Ok(Some(header))
            }
        }
    }

    /// The realm's URL and the credentials that it may be given.
    async fn for_realm(
        &self,
        state: &mut MutexGuard<'_, State>,
        transports: &Transports,
        realm: &str,
    ) -> Result<(Url, Option<Credentials>), Error> {
        let protocol = |reason: String| Error::Protocol {
            what: format!("authentication for {}", self.name),
            reason,
        };
        let realm: Url = realm
            .parse()
            .map_err(|_| protocol(format!("the token server's address {realm:?} is no URL")))?;
        let Some(target) = Origin::of(&realm) else {
            return Err(protocol(format!(
                "{} is neither http nor https",
                shown(&realm)
            )));
        };
        let insecure = transports.is_insecure(&target, &target.authority());
        if !may_follow(&self.home, &target, insecure) {
            return Err(protocol(format!(
                "it names the token server {}, which is plain http; mark {} insecure in \
                 registries.toml if that is meant",
                shown(&realm),
                target.authority()
            )));
        }
        let own_insecure = target == self.home && transports.is_insecure(&self.home, &self.name);
        if may_send(&self.home, &target, insecure || own_insecure) {
            return Ok((realm, self.credentials(state).await));
        }
        if self.credentials(state).await.is_some() {
            state.note = Some(self.refusal(&shown(&realm)));
        }
        Ok((realm, None))
    }

    fn refusal(&self, target: &str) -> String {
        format!(
            "the credentials for {} were not sent to {target}: it is neither {} itself nor verified \
             https",
            self.name, self.name
        )
    }

    /// The credentials, looked up once. A helper that fails is no reason not to read what is
    /// public: the failure is told when access is denied.
    async fn credentials(&self, state: &mut MutexGuard<'_, State>) -> Option<Credentials> {
        if let Some(known) = &state.credentials {
            return known.clone();
        }
        let found = match &self.source {
            Source::Given(credentials) => Some(credentials.clone()),
            Source::Stored(config) => match config.credentials(&self.name).await {
                Ok(found) => found,
                Err(e) => {
                    tracing::warn!(registry = self.name, "no credentials: {e}");
                    state.note = Some(format!("no credentials were sent: {e}"));
                    None
                }
            },
        };
        state.credentials = Some(found.clone());
        found
    }
}
