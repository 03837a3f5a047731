//! Users whom others know: a directory, and providers that vouch for them.

use std::collections::BTreeSet;

use super::error::{ConfigError, wrong};
use super::settings::Settings;
use crate::auth::directory::Directory;
use crate::auth::federation::Federation;
use crate::outgoing::is_here;

/// The providers of `[[oidc]]`.
///
/// # Errors
/// [`ConfigError::Value`].
pub(super) fn federations(settings: &Settings) -> Result<Vec<Federation>, ConfigError> {
    let all = settings.lists.oidc.clone();
    let mut names = BTreeSet::new();
    for federation in &all {
        let name = &federation.name;
        let wrong = |why: String| wrong("oidc", name, why);
        federation.check().map_err(wrong)?;
        if !names.insert(name) {
            return Err(wrong("there are two of this name".to_owned()));
        }
        let urls = [Some(&federation.issuer), federation.jwks.as_ref()];
        for text in urls.into_iter().flatten() {
            let file = !text.contains("://") && *text != federation.issuer;
            let secure = reqwest::Url::parse(text).is_ok_and(|url| {
                url.scheme() == "https" || url.scheme() == "http" && is_here(&url)
            });
            if !file && !secure {
                let why = format!("{text} is no https URL; http only on this machine");
                return Err(wrong(why));
            }
        }
    }
    Ok(all)
}

/// The directory, when there is one.
///
/// # Errors
/// [`ConfigError::Value`], [`ConfigError::Conflict`].
pub(super) fn directory(settings: &Settings) -> Result<Option<Directory>, ConfigError> {
    let Some(url) = settings.given("auth.ldap.url")? else {
        return match settings.given("auth.ldap.base_dn")? {
            Some(_) => Err(ConfigError::Conflict(
                "auth.ldap.base_dn needs auth.ldap.url",
            )),
            None => Ok(None),
        };
    };
    let start_tls = settings.boolean("auth.ldap.start_tls")?;
    is_safe(&url, start_tls)?;
    let base = settings.given("auth.ldap.base_dn")?;
    let base = base.ok_or(ConfigError::Conflict(
        "auth.ldap.url needs auth.ldap.base_dn: where users are",
    ))?;
    let timeout = settings.duration("auth.ldap.timeout")?;
    if timeout.is_zero() {
        return Err(wrong("auth.ldap.timeout", "0s", "longer than nothing"));
    }
    let user_filter = filter(settings, "auth.ldap.user_filter")?;
    let group_base = settings.given("auth.ldap.group_base_dn")?;
    Ok(Some(Directory {
        url,
        start_tls,
        ca: settings.path("auth.ldap.ca")?,
        bind_dn: settings.given("auth.ldap.bind_dn")?,
        bind_password: settings.path("auth.ldap.bind_password_file")?,
        user_filter: user_filter.ok_or(ConfigError::Conflict(
            "auth.ldap.url needs auth.ldap.user_filter: what finds a user",
        ))?,
        group_base: group_base.unwrap_or_else(|| base.clone()),
        group_filter: filter(settings, "auth.ldap.group_filter")?,
        group_attribute: settings.text("auth.ldap.group_attribute")?,
        timeout,
        cache: settings.duration("auth.ldap.cache")?,
        base,
    }))
}

/// Passwords go over the wire encrypted, or not at all.
fn is_safe(url: &str, start_tls: bool) -> Result<(), ConfigError> {
    let key = "auth.ldap.url";
    let parsed = reqwest::Url::parse(url).map_err(|e| wrong(key, url, e))?;
    match (parsed.scheme(), start_tls) {
        ("ldaps", true) => Err(ConfigError::Conflict(
            "auth.ldap.start_tls is for ldap://; ldaps:// is encrypted from the start",
        )),
        ("ldaps", false) | ("ldap", true) => Ok(()),
        ("ldap", false) if is_here(&parsed) => Ok(()),
        ("ldap", false) => Err(wrong(
            key,
            url,
            "passwords would be sent in the clear: use ldaps://, or set auth.ldap.start_tls",
        )),
        _ => Err(wrong(key, url, "an ldap:// or ldaps:// URL")),
    }
}

fn filter(settings: &Settings, name: &'static str) -> Result<Option<String>, ConfigError> {
    let Some(text) = settings.given(name)? else {
        return Ok(None);
    };
    let whose = text.contains("{user}") || text.contains("{dn}");
    match whose && text.starts_with('(') && text.ends_with(')') {
        true => Ok(Some(text)),
        false => Err(wrong(
            name,
            text,
            "an LDAP filter in parentheses, with {user} in it, or {dn} for groups",
        )),
    }
}
