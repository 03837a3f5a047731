//! Who is asking, and what they may do.
//!
//! [`htpasswd`] knows users and their passwords, [`token`] makes and verifies tokens, [`external`]
//! verifies those of a token server elsewhere with its keys ([`jwks`]), [`rules`] says what each
//! may do where; [`Auth`] puts them together. Pure but for reading its files and fetching keys.

pub mod external;
pub mod htpasswd;
pub mod jwks;
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
use external::{KeysError, Verifier};
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
    /// The token server's keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// Users, passwords, tokens and rules.
#[derive(Debug)]
pub struct Auth {
    users: RwLock<Htpasswd>,
    /// None when a token server decides alone.
    rules: Option<Rules>,
    /// What clients are shown when they must log in.
    realm: String,
    tokens: Option<Tokens>,
    /// Hashes of credentials that were right; forgotten when the file is read again.
    remembered: RwLock<HashMap<[u8; 32], Arc<str>>>,
}

#[derive(Debug)]
struct Tokens {
    maker: Maker,
    /// Where clients get tokens, when it is not where they are asking.
    url: Option<String>,
}

/// Who makes tokens.
#[derive(Debug)]
enum Maker {
    /// We do; each is good for so many seconds.
    Us(Signer, i64),
    /// A token server elsewhere.
    Other(Arc<Verifier>),
}

impl Auth {
    /// From the configuration; `None` when it asks nobody to log in. The key for tokens is kept in
    /// `data_dir`.
    ///
    /// # Errors
    /// [`AuthError`].
    pub fn from_config(config: &Config, data_dir: &Path) -> Result<Option<Self>, AuthError> {
        let issuer = config.token.as_ref().and_then(|t| t.issuer.as_ref());
        if config.htpasswd.is_none() && issuer.is_none() {
            return Ok(None);
        }
        let users = match &config.htpasswd {
            Some(path) => read_users(path)?,
            None => Htpasswd::default(),
        };
        let tokens = match &config.token {
            None => None,
            Some(token) => Some(Tokens {
                maker: match &token.issuer {
                    Some(issuer) => Maker::Other(Arc::new(Verifier::new(issuer, &token.service)?)),
                    None => Maker::Us(
                        Signer::open(&data_dir.join("token.key"), &token.service)?,
                        i64::try_from(token.lifetime.as_secs()).unwrap_or(i64::MAX / 2),
                    ),
                },
                url: token.url.clone(),
            }),
        };
        let rules = (issuer.is_none() || !config.access.is_empty())
            .then(|| Rules::new(&config.access, &config.groups));
        Ok(Some(Self {
            users: RwLock::new(users),
            rules,
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
        let fresh = read_users(path)?;
        *self.users.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        self.remembered
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        Ok(())
    }

    /// Gets a token server's keys again; how many there are, or `None` without such a server.
    ///
    /// # Errors
    /// [`KeysError`]; the keys stay as they were.
    pub async fn reload_keys(&self) -> Result<Option<usize>, KeysError> {
        match &self.tokens {
            Some(Tokens {
                maker: Maker::Other(verifier),
                ..
            }) => verifier.refresh().await.map(Some),
            _ => Ok(None),
        }
    }

    /// Whether a token server elsewhere knows who is who.
    fn is_elsewhere(&self) -> bool {
        matches!(&self.tokens, Some(tokens) if matches!(tokens.maker, Maker::Other(_)))
    }

    /// What makes tokens, when we do.
    fn signer(&self) -> Option<&Signer> {
        match &self.tokens.as_ref()?.maker {
            Maker::Us(signer, _) => Some(signer),
            Maker::Other(_) => None,
        }
    }

    /// Whether clients get tokens from us.
    pub fn issues(&self) -> bool {
        self.signer().is_some()
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
        let service = quoted(match &tokens.maker {
            Maker::Us(signer, _) => signer.service(),
            Maker::Other(verifier) => verifier.service(),
        });
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
            let (user, access) = match &tokens.maker {
                Maker::Us(signer, _) => {
                    let claims = signer.verify(token, now()).ok_or(BadCredentials)?;
                    (claims.sub, claims.access)
                }
                Maker::Other(verifier) => {
                    let verified = verifier.verify(token, now()).await.ok_or(BadCredentials)?;
                    (verified.user, verified.access)
                }
            };
            let identity = if user.is_empty() {
                Identity::Anonymous
            } else {
                Identity::User(user.into())
            };
            return Ok(Authenticated {
                identity,
                granted: Some(access),
            });
        }
        if header.is_some() && self.is_elsewhere() {
            // Nobody has a password here.
            return Err(BadCredentials);
        }
        Ok(Authenticated {
            identity: self.login(header).await?,
            granted: None,
        })
    }

    /// Whether this `Authorization` header holds a password that was not right lately.
    pub fn would_try(&self, header: &str) -> bool {
        bearer(header).is_none() && self.recall(&fingerprint(header)).is_none()
    }

    fn recall(&self, fingerprint: &[u8; 32]) -> Option<Arc<str>> {
        self.remembered
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(fingerprint)
            .cloned()
    }

    /// Who sends this `Authorization` header with a password in it; nobody, when there is none.
    ///
    /// # Errors
    /// [`BadCredentials`].
    pub async fn login(self: &Arc<Self>, header: Option<&str>) -> Result<Identity, BadCredentials> {
        let Some(header) = header else {
            return Ok(Identity::Anonymous);
        };
        let fingerprint = fingerprint(header);
        if let Some(user) = self.recall(&fingerprint) {
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

    /// A token that stands for a user's password until that changes; `None` when we make no tokens
    /// or there is no such user.
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
        let granted = self.grants(caller, repository, access);
        match &self.rules {
            Some(rules) => granted && rules.allow(&caller.identity, repository, access),
            // Nobody but the token server says who may do what.
            None => granted && caller.granted.is_some(),
        }
    }

    /// Whether what the caller came with is good for this: another token would not help.
    pub fn grants(&self, caller: &Authenticated, repository: &str, access: Access) -> bool {
        caller.granted.as_ref().is_none_or(|grants| {
            grants
                .iter()
                .any(|grant| grant.lets(repository, access.action()))
        })
    }

    /// Whether the rules let somebody read a repository, whatever their token is for: for lists.
    /// Without rules a token for the list shows all of it, another what it is for.
    pub fn may_see(&self, caller: &Authenticated, repository: &str) -> bool {
        match &self.rules {
            Some(rules) => rules.allow(&caller.identity, repository, Access::Pull),
            None => {
                let grants = caller.granted.iter().flatten();
                let catalog = |grant: &Grant| {
                    (grant.kind.as_str(), grant.name.as_str()) == ("registry", "catalog")
                        && grant.actions.iter().any(|a| a == "*")
                };
                grants.into_iter().any(catalog) || self.allows(caller, repository, Access::Pull)
            }
        }
    }

    /// Whether somebody may read a repository, with another token if need be. What a token server
    /// would put into another is not known, so there the token at hand decides.
    pub fn could_pull(&self, caller: &Authenticated, repository: &str) -> bool {
        match &self.rules {
            Some(rules) if !self.is_elsewhere() => {
                rules.allow(&caller.identity, repository, Access::Pull)
            }
            _ => self.allows(caller, repository, Access::Pull),
        }
    }

    /// That part of the scopes asked for that the rules allow.
    pub fn grant(&self, identity: &Identity, scope: &str) -> Vec<Grant> {
        let mut granted = Vec::new();
        let Some(rules) = &self.rules else {
            return granted;
        };
        for mut asked in token::scopes(scope) {
            let everything = asked.actions.iter().any(|a| a == "*");
            if asked.kind != "repository" {
                continue;
            }
            let allowed: Vec<String> = [Access::Pull, Access::Push, Access::Delete]
                .into_iter()
                .filter(|a| everything || asked.actions.iter().any(|b| b == a.action()))
                .filter(|a| rules.allow(identity, &asked.name, *a))
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
        match self.tokens.as_ref().map(|tokens| &tokens.maker) {
            Some(Maker::Us(signer, seconds)) => {
                Ok((signer.sign(user, granted, now, *seconds)?, *seconds))
            }
            _ => Ok((String::new(), 0)),
        }
    }
}

fn fingerprint(header: &str) -> [u8; 32] {
    Sha256::digest(header).into()
}

/// Reads the password file, and tells what is weak about it.
fn read_users(path: &Path) -> Result<Htpasswd, HtpasswdError> {
    let users = Htpasswd::read(path)?;
    if let Some(weakness) = users.weakness() {
        tracing::warn!(file = %path.display(), "{weakness}");
    }
    Ok(users)
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
