//! What an OpenID provider says of itself (OpenID Connect Discovery 1.0).

use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;

use crate::outgoing::{is_here, reason};

/// Largest document that is read.
const MAX_BYTES: usize = 1 << 20;

/// What is at a URL cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {reason}")]
pub struct FetchError {
    /// Where.
    pub url: String,
    /// Why.
    pub reason: String,
}

/// What a provider says of itself.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Discovery {
    issuer: String,
    jwks_uri: String,
    /// Where browsers go to log in.
    authorization_endpoint: Option<String>,
    /// Where a code is exchanged.
    token_endpoint: Option<String>,
    /// How whoever exchanges one may prove who they are.
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

impl Discovery {
    /// What `issuer` says of itself.
    ///
    /// # Errors
    /// [`FetchError`].
    pub(super) async fn of(issuer: &str, client: &Client) -> Result<Self, FetchError> {
        let base = issuer.trim_end_matches('/');
        let url = format!("{base}/.well-known/openid-configuration");
        let json = fetch(&url, client).await?;
        let wrong = |reason: &str| FetchError {
            url: url.clone(),
            reason: reason.to_owned(),
        };
        let document: Self = serde_json::from_slice(&json)
            .map_err(|_| wrong("it is no description of an OpenID provider"))?;
        match document.issuer == issuer {
            true => Ok(document),
            false => Err(wrong("it describes another issuer")),
        }
    }

    /// Where its keys are.
    ///
    /// # Errors
    /// [`FetchError`] when nobody could trust what is there.
    pub(super) fn keys(&self) -> Result<Url, FetchError> {
        self.safe("jwks_uri", Some(&self.jwks_uri))
    }

    /// Where browsers go to log in.
    ///
    /// # Errors
    /// [`FetchError`], also when there is no such place.
    pub(super) fn authorization(&self) -> Result<Url, FetchError> {
        let there = self.authorization_endpoint.as_deref();
        self.safe("authorization_endpoint", there)
    }

    /// Where a code is exchanged for what it stands for.
    ///
    /// # Errors
    /// [`FetchError`], also when there is no such place.
    pub(super) fn token(&self) -> Result<Url, FetchError> {
        self.safe("token_endpoint", self.token_endpoint.as_deref())
    }

    /// Whether a client's secret goes into the form there, rather than into a header.
    pub(super) fn takes_secret_in_form(&self) -> bool {
        let methods = &self.token_endpoint_auth_methods_supported;
        let known = |name: &str| methods.iter().any(|method| method == name);
        known("client_secret_post") && !known("client_secret_basic")
    }

    fn safe(&self, name: &str, text: Option<&str>) -> Result<Url, FetchError> {
        let wrong = |reason: String| FetchError {
            url: self.issuer.clone(),
            reason,
        };
        let text = text.ok_or_else(|| wrong(format!("it has no {name}")))?;
        let url = Url::parse(text).map_err(|_| wrong(format!("its {name} is no URL")))?;
        match url.scheme() {
            "https" => Ok(url),
            "http" if is_here(&url) => Ok(url),
            _ => Err(wrong(format!("its {name} is not https"))),
        }
    }
}

/// What is at a URL, of a size that such documents have.
///
/// # Errors
/// [`FetchError`].
pub(super) async fn fetch(url: &str, client: &Client) -> Result<Vec<u8>, FetchError> {
    let wrong = |reason: String| FetchError {
        url: url.to_owned(),
        reason,
    };
    let answer = client.get(url).send().await;
    let answer = answer.map_err(|e| wrong(reason(&e)))?;
    if answer.status() != StatusCode::OK {
        return Err(wrong(format!("it answered {}", answer.status())));
    }
    body(answer).await.map_err(wrong)
}

/// An answer's body.
///
/// # Errors
/// Why it cannot be had, in words.
pub(super) async fn body(mut answer: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|e| reason(&e))? {
        if bytes.len() + chunk.len() > MAX_BYTES {
            return Err("it is too large".to_owned());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
