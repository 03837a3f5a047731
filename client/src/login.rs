//! `login` and `logout` as docker does them: credentials are tried before they are stored.

use reqwest::{Method, StatusCode};

use crate::Client;
use crate::auth::{Scopes, Source};
use crate::call::{self, Call};
use crate::config::Credentials;
use crate::endpoint::{Endpoint, Spec};
use crate::error::Error;

/// What a user logs in with.
#[derive(Clone)]
pub struct Login {
    /// The user.
    pub username: String,
    /// The password or access token.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Where credentials were put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginOutcome {
    /// The credential helper that keeps them; `None` when they stand in docker's config.json,
    /// which deserves a warning: they are not encrypted there.
    pub helper: Option<String>,
}

impl Client {
    /// Tries credentials on a registry and, if it takes them, stores them where docker would.
    /// A registry that asks for none takes any, as with docker.
    ///
    /// # Errors
    /// [`Error::Login`] when the registry refuses them; [`Error::Connect`], [`Error::Config`].
    pub async fn login(&self, registry: &str, login: &Login) -> Result<LoginOutcome, Error> {
        let spec = Spec::registry(registry);
        let refused = |reason: String| Error::Login {
            registry: registry.to_owned(),
            reason,
        };
        if login.username.is_empty() || login.username.contains(':') {
            return Err(refused(
                "a user name is not empty and has no colon".to_owned(),
            ));
        }
        let given = Credentials::Basic {
            username: login.username.clone(),
            password: login.password.clone(),
        };
        let transports = self.transports();
        let source = Source::Given(given.clone());
        let endpoint = Endpoint::reach(&spec, source, self.config(), transports).await?;

        // What the registry asks for, then whether it is content with the answer.
        let call = Call::new(Method::GET, endpoint.url("")?, Scopes::none());
        let challenged = async {
            let request = endpoint.http.get(call.url.clone()).send();
            transports.timed(request, &endpoint.name, &call.url).await
        };
        let challenge = challenged.await?;
        let mut stored = given;
        if challenge.status() == StatusCode::UNAUTHORIZED {
            let offered = endpoint
                .auth
                .refresh_token(transports, challenge.headers())
                .await;
            match offered {
                Ok(Some(token)) => stored = Credentials::IdentityToken(token),
                Ok(None) => {}
                Err(Error::Unauthorized { cause, .. }) => return Err(refused(cause.to_string())),
                Err(e) => return Err(e),
            }
        }
        let (response, _) =
            call::exchange(transports, &endpoint, &call)
                .await
                .map_err(|e| match e {
                    Error::Unauthorized { cause, note } => refused(format!("{cause}{note}")),
                    e => e,
                })?;
        match response.status() {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let error = self.refuse(&endpoint, &call, response).await;
                return Err(refused(error.to_string()));
            }
            _ => return Err(self.refuse(&endpoint, &call, response).await),
        }
        let docker = &self.config().docker;
        let helper = docker
            .store(&endpoint.name, &login.username, &stored)
            .await?;
        Ok(LoginOutcome { helper })
    }

    /// Forgets the credentials for a registry. `false`: there were none ("Not logged in to …").
    ///
    /// # Errors
    /// [`Error::Config`].
    pub async fn logout(&self, registry: &str) -> Result<bool, Error> {
        Ok(self.config().docker.erase(registry).await?)
    }
}
