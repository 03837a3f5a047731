//! How clients log in: what goes together of the keys in `auth`.

use std::time::Duration;

use super::elsewhere;
use super::error::{ConfigError, wrong};
use super::settings::Settings;
use crate::auth::rules::Rules;
use crate::auth::settings::{self, Issuer, Jwks, Login, Users};
use crate::outgoing::is_here;

/// The settings of `auth`, with groups and access rules.
///
/// # Errors
/// [`ConfigError::Value`], [`ConfigError::Conflict`].
pub(super) fn auth(settings: &Settings) -> Result<settings::Settings, ConfigError> {
    Ok(settings::Settings {
        login: login(settings)?,
        realm: settings.text("auth.realm")?,
    })
}

fn login(settings: &Settings) -> Result<Login, ConfigError> {
    let url = settings.url("auth.token_url")?;
    let service = settings.given("auth.token_service")?;
    let lifetime = lifetime(settings)?;
    match (settings.text("auth.method")?.as_str(), issuer(settings)?) {
        ("basic", Some(_)) => Err(ConfigError::Conflict(
            "a token server needs auth.method = \"token\"",
        )),
        ("basic", None) if url.is_some() || service.is_some() => Err(ConfigError::Conflict(
            "auth.token_url and auth.token_service need auth.method = \"token\"",
        )),
        ("basic", None) => Ok(match users(settings)? {
            None => Login::Open,
            // No client stays anonymous that is asked for a password: docker gives up, and others
            // send an empty one. Asked for a token they get one for nobody.
            Some(users) if users.rules.are_for_anonymous() => Login::OwnTokens {
                users,
                service: service_or_realm(settings)?,
                lifetime,
                url,
                passwords: true,
            },
            Some(users) => Login::Passwords(users),
        }),
        ("token", Some(issuer)) => token_server(settings, issuer, url),
        ("token", None) => Ok(Login::OwnTokens {
            users: users(settings)?.ok_or(ConfigError::Conflict(
                "auth.method = token needs users: set auth.htpasswd, or auth.token_issuer, or \
                 auth.ldap.url, or [[oidc]]",
            ))?,
            service: service_or_realm(settings)?,
            lifetime,
            url,
            passwords: false,
        }),
        (other, _) => Err(wrong("auth.method", other, "basic or token")),
    }
}

fn lifetime(settings: &Settings) -> Result<Duration, ConfigError> {
    let lifetime = settings.duration("auth.token_lifetime")?;
    if lifetime < Duration::from_secs(1) {
        let given = settings.text("auth.token_lifetime")?;
        return Err(wrong("auth.token_lifetime", given, "a second or more"));
    }
    Ok(lifetime)
}

/// The token server, when there is one.
fn issuer(settings: &Settings) -> Result<Option<Issuer>, ConfigError> {
    let ca = settings.path("auth.jwks_ca")?;
    match (
        settings.given("auth.token_issuer")?,
        settings.given("auth.jwks")?,
    ) {
        (None, None) if ca.is_some() => Err(ConfigError::Conflict(
            "auth.jwks_ca is for a token server: set auth.token_issuer and auth.jwks",
        )),
        (None, None) => Ok(None),
        (Some(name), Some(jwks)) => Ok(Some(Issuer {
            name,
            jwks: keys_at(jwks)?,
            ca,
        })),
        _ => Err(ConfigError::Conflict(
            "a token server needs both auth.token_issuer and auth.jwks",
        )),
    }
}

fn token_server(
    settings: &Settings,
    issuer: Issuer,
    url: Option<String>,
) -> Result<Login, ConfigError> {
    let url = url.ok_or(ConfigError::Conflict(
        "a token server needs auth.token_url: where clients get tokens",
    ))?;
    if settings.path("auth.htpasswd")?.is_some() {
        return Err(ConfigError::Conflict(
            "auth.htpasswd and auth.token_issuer: passwords are the token server's business",
        ));
    }
    if settings.given("auth.ldap.url")?.is_some() || !settings.lists.oidc.is_empty() {
        return Err(ConfigError::Conflict(
            "auth.token_issuer with auth.ldap.url or [[oidc]]: who is who is the token server's \
             business",
        ));
    }
    Ok(Login::TokenServer {
        issuer,
        service: service_or_realm(settings)?,
        url,
        rules: (!settings.lists.access.is_empty()).then(|| rules(settings)),
    })
}

/// What tokens are for.
fn service_or_realm(settings: &Settings) -> Result<String, ConfigError> {
    match settings.given("auth.token_service")? {
        Some(service) => Ok(service),
        None => settings.text("auth.realm"),
    }
}

/// Those who can log in here, when there is anybody.
fn users(settings: &Settings) -> Result<Option<Users>, ConfigError> {
    let htpasswd = settings.path("auth.htpasswd")?;
    let directory = elsewhere::directory(settings)?;
    let federations = elsewhere::federations(settings)?;
    if htpasswd.is_some() || directory.is_some() || !federations.is_empty() {
        return Ok(Some(Users {
            htpasswd,
            tokens: settings.path("auth.tokens")?,
            directory,
            federations,
            rules: rules(settings),
        }));
    }
    match settings.lists.access.is_empty() {
        true => Ok(None),
        false => Err(ConfigError::Conflict(
            "access rules need users: set auth.htpasswd, auth.ldap.url, [[oidc]] or \
             auth.token_issuer",
        )),
    }
}

fn rules(settings: &Settings) -> Rules {
    Rules::new(&settings.lists.access, &settings.lists.groups)
}

/// A file or a URL. Keys that come over plain http could be anybody's.
fn keys_at(text: String) -> Result<Jwks, ConfigError> {
    let Some((scheme, _)) = text.split_once("://") else {
        return Ok(Jwks::File(text.into()));
    };
    let url = reqwest::Url::parse(&text).map_err(|e| wrong("auth.jwks", &text, e))?;
    match scheme {
        "https" => Ok(Jwks::Url(text)),
        "http" if is_here(&url) => Ok(Jwks::Url(text)),
        _ => Err(wrong(
            "auth.jwks",
            &text,
            "a file or an https URL; http only on this machine",
        )),
    }
}
