//! Logging in at an OpenID provider with a browser: the authorization code flow (OpenID Connect
//! Core 1.0, section 3.1) with PKCE (RFC 7636).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Client;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::discovery::{Discovery, FetchError, body};
use super::external::Verifier;
use super::federation::Federation;
use super::identity::User;
use super::logins::Begun;
use crate::clock::now;
use crate::outgoing::{self, OutgoingError, reason};

/// How long an answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What a provider says of itself is asked for again after this.
const OLD: Duration = Duration::from_secs(15 * 60);

/// Why nobody is logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// There is no such provider, or none for browsers.
    #[error("there is no such provider to sign in with")]
    Unknown,
    /// It cannot be asked, or says what makes no sense.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The file with our secret cannot be read.
    #[error("{path}: {cause}")]
    Secret {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It does not exchange the code.
    #[error("the provider refuses the code: {0}")]
    Refused(String),
    /// What it says of the user is not signed for us, not for this login, or too old.
    #[error("the ID token is not one for this login")]
    Token,
    /// It knows the user, and no rule here does.
    #[error("the claims of the user do not fit [[oidc]]")]
    Stranger,
}

/// A provider that browsers are sent to.
#[derive(Debug)]
pub(super) struct Provider {
    federation: Federation,
    client_id: String,
    verifier: Arc<Verifier>,
    http: Client,
    known: tokio::sync::Mutex<Option<(Arc<Discovery>, Instant)>>,
}

/// What comes for a code.
#[derive(Deserialize)]
struct Exchanged {
    id_token: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

impl Provider {
    /// The provider of a rule; `None` when that is not for browsers.
    ///
    /// # Errors
    /// [`OutgoingError`].
    pub(super) fn new(
        federation: &Federation,
        verifier: &Arc<Verifier>,
    ) -> Result<Option<Self>, OutgoingError> {
        let Some(client_id) = &federation.client_id else {
            return Ok(None);
        };
        let http = outgoing::client(&federation.issuer, federation.ca.as_deref(), TIMEOUT)?;
        Ok(Some(Self {
            federation: federation.clone(),
            client_id: client_id.clone(),
            verifier: Arc::clone(verifier),
            http,
            known: tokio::sync::Mutex::default(),
        }))
    }

    async fn discovery(&self) -> Result<Arc<Discovery>, FetchError> {
        let mut known = self.known.lock().await;
        if let Some((discovery, since)) = &*known
            && since.elapsed() < OLD
        {
            return Ok(Arc::clone(discovery));
        }
        let found = Discovery::of(&self.federation.issuer, &self.http).await?;
        let found = Arc::new(found);
        *known = Some((Arc::clone(&found), Instant::now()));
        Ok(found)
    }

    /// Where a browser goes to log in, and comes back from to `back`.
    ///
    /// # Errors
    /// [`LoginError::Fetch`].
    pub(super) async fn leave(&self, begun: &Begun, back: &str) -> Result<String, LoginError> {
        let mut url = self.discovery().await?.authorization()?;
        let mut scopes = vec!["openid"];
        let more = self.federation.scopes.iter().map(String::as_str);
        scopes.extend(more.filter(|scope| *scope != "openid"));
        url.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", &*self.client_id),
            ("redirect_uri", back),
            ("scope", &*scopes.join(" ")),
            ("state", &*begun.state),
            ("nonce", &*begun.nonce),
            ("code_challenge", &*begun.challenge()),
            ("code_challenge_method", "S256"),
        ]);
        Ok(url.into())
    }

    /// Who came back with a code, and whom the rule takes them for.
    ///
    /// # Errors
    /// [`LoginError`].
    pub(super) async fn arrive(
        &self,
        begun: &Begun,
        code: &str,
        back: &str,
    ) -> Result<User, LoginError> {
        let token = self.exchange(begun, code, back).await?;
        let claims = self.verifier.claims(&token, now()).await;
        let claims = claims.ok_or(LoginError::Token)?;
        if !self.are_for(begun, &claims) {
            return Err(LoginError::Token);
        }
        self.federation.person(&claims).ok_or(LoginError::Stranger)
    }

    /// Whether claims are for this login, and this client.
    fn are_for(&self, begun: &Begun, claims: &Map<String, Value>) -> bool {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        text("nonce") == Some(&*begun.nonce)
            && claims
                .get("azp")
                .is_none_or(|azp| azp.as_str() == Some(&*self.client_id))
    }

    /// The ID token that a code stands for.
    async fn exchange(&self, begun: &Begun, code: &str, back: &str) -> Result<String, LoginError> {
        let discovery = self.discovery().await?;
        let url = discovery.token()?;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", back),
            ("client_id", &*self.client_id),
            ("code_verifier", &*begun.verifier),
        ];
        let secret = self.secret().await?;
        let in_form = discovery.takes_secret_in_form();
        if let (Some(secret), true) = (&secret, in_form) {
            form.push(("client_secret", secret));
        }
        let mut request = self.http.post(url.clone()).body(encoded(&form)).header(
            http::header::CONTENT_TYPE,
            "application/x-www-form-urlencoded",
        );
        if let (Some(secret), false) = (&secret, in_form) {
            // Both are encoded as in forms before they are put together (RFC 6749, 2.3.1).
            request = request.basic_auth(word(&self.client_id), Some(word(secret)));
        }
        let wrong = |reason: String| FetchError {
            url: url.to_string(),
            reason,
        };
        let answer = request.send().await.map_err(|e| wrong(reason(&e)))?;
        let status = answer.status();
        let json = body(answer).await.map_err(wrong)?;
        let exchanged: Exchanged = serde_json::from_slice(&json)
            .map_err(|_| wrong(format!("it answered {status}, and no JSON of a token")))?;
        if let Some(error) = exchanged.error {
            let more = exchanged.error_description.unwrap_or_default();
            return Err(LoginError::Refused(format!("{error} {more}")));
        }
        let missing = || LoginError::Refused(format!("it answered {status} without an ID token"));
        exchanged.id_token.ok_or_else(missing)
    }

    async fn secret(&self) -> Result<Option<String>, LoginError> {
        let Some(path) = &self.federation.client_secret_file else {
            return Ok(None);
        };
        // Read each time: it may be changed at any.
        let text = tokio::fs::read_to_string(path).await;
        let text = text.map_err(|cause| LoginError::Secret {
            path: path.clone(),
            cause,
        })?;
        Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()))
    }
}

/// Pairs as a form has them.
fn encoded(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter();
    let pairs: Vec<String> = pairs.map(|(k, v)| format!("{k}={}", word(v))).collect();
    pairs.join("&")
}

/// One word as forms have it.
fn word(text: &str) -> String {
    let one = |byte: u8| match byte {
        b if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) => char::from(b).to_string(),
        b => format!("%{b:02X}"),
    };
    text.bytes().map(one).collect()
}
