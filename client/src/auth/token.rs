//! Asking a token server (Docker Registry v2 "Token Authentication" and "OAuth2 Token
//! Authentication").

use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::scope::Scopes;
use crate::config::Credentials;
use crate::error::{Error, Note, RegistryError};
use crate::http::{Transports, read_capped};
use crate::origin::Origin;
use crate::text::shown;

const MAX_ANSWER: u64 = 1 << 20;
/// The shortest life of a token, whatever the server says; also when it does not say.
const MIN_LIFE: u64 = 60;
/// A token is not used in its last moments, since a request takes time to arrive.
const LEEWAY: Duration = Duration::from_secs(5);
const CLIENT_ID: &str = "rbuild";

/// A token and how long it may be used.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) header: HeaderValue,
    expires: Instant,
    /// For further tokens; only when asked for.
    pub(super) refresh: Option<String>,
}

impl Token {
    pub(super) fn is_fresh(&self) -> bool {
        Instant::now() + LEEWAY < self.expires
    }
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
    refresh_token: Option<String>,
}

/// What a token is wanted for.
pub(super) struct Wanted<'a> {
    pub(super) realm: &'a Url,
    pub(super) service: Option<&'a str>,
    pub(super) scopes: &'a Scopes,
    /// Also a refresh token, to be stored instead of the password.
    pub(super) offline: bool,
}

/// Fetches a token, with the credentials given (which the caller has found may be sent there).
pub(super) async fn fetch(
    transports: &Transports,
    home: &Origin,
    home_name: &str,
    wanted: &Wanted<'_>,
    credentials: Option<&Credentials>,
) -> Result<Token, Error> {
    let shown = shown(wanted.realm);
    let what = format!("token from {shown}");
    let target = Origin::of(wanted.realm).ok_or_else(|| Error::Protocol {
        what: what.clone(),
        reason: "a realm must be an http or https URL".to_owned(),
    })?;
    let client = transports.for_target(home, home_name, &target).await?;
    let request = match credentials {
        Some(Credentials::IdentityToken(token)) => {
            let form = encode(&[
                ("grant_type", "refresh_token"),
                ("service", wanted.service.unwrap_or_default()),
                ("client_id", CLIENT_ID),
                ("refresh_token", token),
                ("scope", &wanted.scopes.joined()),
            ]);
            client
                .post(wanted.realm.clone())
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form)
        }
        other => {
            let mut url = wanted.realm.clone();
            {
                let mut query = url.query_pairs_mut();
                if let Some(service) = wanted.service {
                    query.append_pair("service", service);
                }
                for scope in wanted.scopes.iter() {
                    query.append_pair("scope", scope);
                }
                if wanted.offline {
                    query.append_pair("offline_token", "true");
                    query.append_pair("client_id", CLIENT_ID);
                }
                if let Some(Credentials::Basic { username, .. }) = other {
                    query.append_pair("account", username);
                }
            }
            let request = client.get(url);
            match other {
                Some(Credentials::Basic { username, password }) => {
                    request.header(AUTHORIZATION, basic(username, password)?)
                }
                _ => request,
            }
        }
    };
    let response = transports
        .timed(request.send(), home_name, wanted.realm)
        .await?;
    let status = response.status();
    let body = read_capped(response, MAX_ANSWER, transports.idle(), &what).await?;
    if !status.is_success() {
        let cause = RegistryError::parse(status, &body);
        return Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Unauthorized {
                cause,
                note: Note::default(),
            },
            _ => Error::Registry { what, cause },
        });
    }
    let answer: Answer = serde_json::from_slice(&body).map_err(|e| Error::Protocol {
        what: what.clone(),
        reason: format!("the answer is not the JSON expected: {e}"),
    })?;
    let token = answer
        .token
        .filter(|t| !t.is_empty())
        .or(answer.access_token.filter(|t| !t.is_empty()))
        .ok_or_else(|| Error::Protocol {
            what: what.clone(),
            reason: "the answer has no token".to_owned(),
        })?;
    // A life of years would overflow the clock on some systems; a day is as good.
    let life = answer
        .expires_in
        .unwrap_or(MIN_LIFE)
        .clamp(MIN_LIFE, 86_400);
    Ok(Token {
        header: bearer(&token)?,
        expires: Instant::now() + Duration::from_secs(life),
        refresh: answer.refresh_token.filter(|t| !t.is_empty()),
    })
}

/// `Authorization: Bearer TOKEN`.
pub(super) fn bearer(token: &str) -> Result<HeaderValue, Error> {
    secret(format!("Bearer {token}"), "a bearer token")
}

/// `Authorization: Basic …` (RFC 7617).
pub(super) fn basic(username: &str, password: &str) -> Result<HeaderValue, Error> {
    use base64::Engine;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
    secret(format!("Basic {pair}"), "user and password")
}

fn secret(text: String, what: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::try_from(text).map_err(|_| Error::Protocol {
        what: what.to_owned(),
        reason: "has characters that no HTTP header can carry".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// `application/x-www-form-urlencoded`, by the same rules as a query string.
fn encode(pairs: &[(&str, &str)]) -> String {
    let Ok(mut url) = Url::parse("http://x/") else {
        return String::new();
    };
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_escaped() {
        assert_eq!(encode(&[("a", "b c&d=+"), ("e", "")]), "a=b+c%26d%3D%2B&e=");
    }

    #[test]
    fn secrets_are_not_shown() {
        let value = basic("user", "pass").unwrap();
        assert_eq!(value.as_bytes(), b"Basic dXNlcjpwYXNz");
        assert!(!format!("{value:?}").contains("dXNl"));
        assert!(bearer("a\nb").is_err());
    }
}
