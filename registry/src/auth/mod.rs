//! Who is asking, and what they may do.
//!
//! [`htpasswd`] knows users and their passwords, [`token`] makes and verifies tokens, [`rules`]
//! says what each may do where; [`Auth`] puts them together. Pure but for reading its files.

pub mod htpasswd;
mod private_file;
mod refresh;
pub mod rules;
pub mod token;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::config::Config;
use crate::meta::now;
use htpasswd::{Htpasswd, HtpasswdError};
use rules::{Access, Rules};
use token::{Grant, KeyError, Signer};

/// Passwords that were right lately, so that bcrypt's deliberate slowness is paid once.
const REMEMBERED: usize = 1024;

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Nobody said.
    Anonymous,
    /// A user who proved it.
    User(Arc<str>),
}

/// Who is asking, and what their token is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated {
    /// Who.
    pub identity: Identity,
    /// What the token says; `None` when a password was sent, which is good for everything.
    pub granted: Option<Vec<Grant>>,
}

/// Why somebody is not who they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadCredentials;

/// Why nobody can be let in at all.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The password file cannot be used.
    #[error(transparent)]
    Htpasswd(#[from] HtpasswdError),
    /// The key for tokens cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Users, passwords, tokens and rules.
#[derive(Debug)]
pub struct Auth {
    users: RwLock<Htpasswd>,
    rules: Rules,
    /// What clients are shown when they must log in.
    realm: String,
    tokens: Option<Tokens>,
    /// Hashes of credentials that were right; forgotten when the file is read again.
    remembered: RwLock<HashMap<[u8; 32], Arc<str>>>,
}

#[derive(Debug)]
struct Tokens {
    signer: Signer,
    seconds: i64,
    /// Where clients get tokens, when it is not where they are asking.
    url: Option<String>,
}

impl Auth {
    /// From the configuration; `None` when it asks nobody to log in. The key for tokens is kept in
    /// `data_dir`.
    ///
    /// # Errors
    /// [`AuthError`].
    pub fn from_config(config: &Config, data_dir: &Path) -> Result<Option<Self>, AuthError> {
        let Some(path) = &config.htpasswd else {
            return Ok(None);
        };
        let tokens = match &config.token {
            None => None,
            Some(token) => Some(Tokens {
                signer: Signer::open(&data_dir.join("token.key"), &config.realm)?,
                seconds: i64::try_from(token.lifetime.as_secs()).unwrap_or(i64::MAX / 2),
                url: token.url.clone(),
            }),
        };
        Ok(Some(Self {
            users: RwLock::new(Htpasswd::read(path)?),
            rules: Rules::new(&config.access, &config.groups),
            realm: config.realm.clone(),
            tokens,
            remembered: RwLock::default(),
        }))
    }

    /// Reads the password file again.
    ///
    /// # Errors
    /// [`HtpasswdError`]; the users stay as they were.
    pub fn reload(&self, path: &Path) -> Result<(), HtpasswdError> {
        let fresh = Htpasswd::read(path)?;
        *self.users.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        self.remembered
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        Ok(())
    }

    /// What makes tokens, when tokens are used.
    pub fn signer(&self) -> Option<&Signer> {
        self.tokens.as_ref().map(|t| &t.signer)
    }

    /// What a client is sent that must send a password.
    pub fn basic_challenge(&self) -> String {
        format!("Basic realm=\"{}\"", quoted(&self.realm))
    }

    /// What a client is sent that must log in. `origin` is the scheme and host that it asked,
    /// `scope` what it needs.
    pub fn challenge(&self, origin: &str, scope: Option<&str>) -> String {
        let Some(tokens) = &self.tokens else {
            return self.basic_challenge();
        };
        let url = match &tokens.url {
            Some(url) => quoted(url),
            None => format!("{}/auth/token", quoted(origin)),
        };
        let service = quoted(tokens.signer.service());
        let scope = scope.map_or_else(String::new, |scope| {
            let scopes: Vec<String> = scope.split(' ').map(quoted).collect();
            format!(",scope=\"{}\"", scopes.join(" "))
        });
        format!("Bearer realm=\"{url}\",service=\"{service}\"{scope}")
    }

    /// Who sends this `Authorization` header, and what for.
    ///
    /// # Errors
    /// [`BadCredentials`] when it proves nothing.
    pub async fn identify(
        self: &Arc<Self>,
        header: Option<&str>,
    ) -> Result<Authenticated, BadCredentials> {
        if let Some(tokens) = &self.tokens
            && let Some(token) = header.and_then(bearer)
        {
            let claims = tokens.signer.verify(token, now()).ok_or(BadCredentials)?;
            let identity = if claims.sub.is_empty() {
                Identity::Anonymous
            } else {
                Identity::User(claims.sub.into())
            };
            return Ok(Authenticated {
                identity,
                granted: Some(claims.access),
            });
        }
        Ok(Authenticated {
            identity: self.login(header).await?,
            granted: None,
        })
    }

    /// Who sends this `Authorization` header with a password in it; nobody, when there is none.
    ///
    /// # Errors
    /// [`BadCredentials`].
    pub async fn login(self: &Arc<Self>, header: Option<&str>) -> Result<Identity, BadCredentials> {
        let Some(header) = header else {
            return Ok(Identity::Anonymous);
        };
        let fingerprint: [u8; 32] = Sha256::digest(header).into();
        let remembered = self
            .remembered
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&fingerprint)
            .cloned();
        if let Some(user) = remembered {
            return Ok(Identity::User(user));
        }
        let (user, password) = basic(header).ok_or(BadCredentials)?;
        let this = Arc::clone(self);
        // bcrypt takes its time, on purpose.
        let user = tokio::task::spawn_blocking(move || {
            let users = this.users.read().unwrap_or_else(PoisonError::into_inner);
            if !users.verify(&user, &password) {
                return None;
            }
            let user: Arc<str> = user.into();
            let mut remembered = this
                .remembered
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            if remembered.len() >= REMEMBERED {
                remembered.clear();
            }
            remembered.insert(fingerprint, Arc::clone(&user));
            Some(user)
        })
        .await
        .map_err(|_| BadCredentials)?;
        user.map(Identity::User).ok_or(BadCredentials)
    }

    /// A token that stands for a user's password until that changes; `None` when there are no
    /// tokens or no such user.
    pub fn refresh_token(&self, user: &str) -> Option<String> {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        Some(refresh::make(self.signer()?, user, users.hash(user)?))
    }

    /// Whom such a token stands for.
    ///
    /// # Errors
    /// [`BadCredentials`] when it is none of ours, or of a password that was changed.
    pub fn refreshed(&self, token: &str) -> Result<Identity, BadCredentials> {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        self.signer()
            .and_then(|signer| refresh::user(signer, token, |user| users.hash(user)))
            .map(|user| Identity::User(user.into()))
            .ok_or(BadCredentials)
    }

    /// Whether a client that asks for this service means this one.
    pub fn is_service(&self, service: &str) -> bool {
        self.signer()
            .is_some_and(|s| s.service() == service || quoted(s.service()) == service)
    }

    /// Whether the caller may do `access` in a repository: the rules say so, and so does the
    /// token, when there is one. Rules that change make old tokens good for less at once.
    pub fn allows(&self, caller: &Authenticated, repository: &str, access: Access) -> bool {
        let granted = caller.granted.as_ref().is_none_or(|grants| {
            grants.iter().any(|grant| {
                grant.kind == "repository"
                    && grant.name == repository
                    && grant
                        .actions
                        .iter()
                        .any(|a| a == "*" || a == access.action())
            })
        });
        granted && self.rules.allow(&caller.identity, repository, access)
    }

    /// Whether the rules let somebody read a repository, whatever their token is for: for lists.
    pub fn may_see(&self, caller: &Authenticated, repository: &str) -> bool {
        self.rules.allow(&caller.identity, repository, Access::Pull)
    }

    /// That part of the scopes asked for that the rules allow.
    pub fn grant(&self, identity: &Identity, scope: &str) -> Vec<Grant> {
        let mut granted = Vec::new();
        for mut asked in token::scopes(scope) {
            let everything = asked.actions.iter().any(|a| a == "*");
            if asked.kind != "repository" {
                continue;
            }
            let allowed: Vec<String> = [Access::Pull, Access::Push, Access::Delete]
                .into_iter()
                .filter(|a| everything || asked.actions.iter().any(|b| b == a.action()))
                .filter(|a| self.rules.allow(identity, &asked.name, *a))
                .map(|a| a.action().to_owned())
                .collect();
            if !allowed.is_empty() {
                asked.actions = allowed;
                granted.push(asked);
            }
        }
        granted
    }

    /// A token, and how many seconds it is good for.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which is a bug.
    pub fn issue(
        &self,
        user: &str,
        granted: Vec<Grant>,
        now: i64,
    ) -> Result<(String, i64), serde_json::Error> {
        match &self.tokens {
            None => Ok((String::new(), 0)),
            Some(tokens) => {
                let token = tokens.signer.sign(user, granted, now, tokens.seconds)?;
                Ok((token, tokens.seconds))
            }
        }
    }
}

/// Text within the quotes of a header.
fn quoted(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_graphic() && *c != '"' && *c != '\\')
        .collect()
}

/// The token of a Bearer header.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// The user and password of a Basic header.
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_headers_are_read() {
        let pair = |u: &str, p: &str| Some((u.to_owned(), p.to_owned()));
        assert_eq!(basic("Basic YTpiOmM="), pair("a", "b:c"));
        assert_eq!(basic("basic YTo="), pair("a", ""));
        for bad in ["", "Basic", "Basic !!!", "Bearer YTpi", "Basic YQ=="] {
            assert_eq!(basic(bad), None, "{bad}");
        }
        assert_eq!(bearer("bearer x.y.z"), Some("x.y.z"));
        assert_eq!(bearer("Basic YTo="), None);
    }
}
