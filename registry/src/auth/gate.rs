//! Who is let in: users, passwords, tokens and rules put together.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::external::{KeysError, Verifier};
use super::header::{bearer, is_empty, quoted};
use super::htpasswd::HtpasswdError;
use super::identity::{Authenticated, BadCredentials, Identity};
use super::refresh;
use super::rules::{Access, Reach, Rules};
use super::settings::{Login, Settings};
use super::token::{self, Grant, KeyError, Signer};
use super::users::Users;
use crate::clock::now;
use crate::limits::network;

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

/// Why a token is not enough, in words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(pub String);

/// Users, passwords, tokens and rules.
#[derive(Debug)]
pub struct Auth {
    /// What clients are shown when they must log in.
    realm: String,
    method: Method,
}

/// How clients prove who they are, with what that needs.
#[derive(Debug)]
enum Method {
    Passwords {
        users: Arc<Users>,
        rules: Rules,
    },
    OwnTokens {
        users: Arc<Users>,
        rules: Rules,
        signer: Signer,
        /// How many seconds a token is good for.
        seconds: i64,
        /// Where clients get tokens, when it is not where they are asking.
        url: Option<String>,
        /// Who comes with a password, or with nothing, is asked for a password: but for the path
        /// at which clients find out how to log in.
        passwords: bool,
    },
    TokenServer {
        verifier: Arc<Verifier>,
        /// None when the token server decides alone.
        rules: Option<Rules>,
        /// Where clients get tokens.
        url: String,
    },
}

impl Auth {
    /// As the settings have it; `None` when nobody logs in. The key for tokens of ours is kept in
    /// `data_dir`.
    ///
    /// # Errors
    /// [`AuthError`].
    pub fn open(settings: &Settings, data_dir: &Path) -> Result<Option<Self>, AuthError> {
        let method = match &settings.login {
            Login::Open => return Ok(None),
            Login::Passwords(users) => Method::Passwords {
                users: Arc::new(Users::open(&users.htpasswd)?),
                rules: users.rules.clone(),
            },
            Login::OwnTokens {
                users,
                service,
                lifetime,
                url,
                passwords,
            } => Method::OwnTokens {
                users: Arc::new(Users::open(&users.htpasswd)?),
                rules: users.rules.clone(),
                signer: Signer::open(&data_dir.join("token.key"), service)?,
                seconds: i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX / 2),
                url: url.clone(),
                passwords: *passwords,
            },
            Login::TokenServer {
                issuer,
                service,
                url,
                rules,
            } => Method::TokenServer {
                verifier: Arc::new(Verifier::new(issuer, service)?),
                rules: rules.clone(),
                url: url.clone(),
            },
        };
        Ok(Some(Self {
            realm: settings.realm.clone(),
            method,
        }))
    }

    /// Reads the password file again; whether there is one.
    ///
    /// # Errors
    /// [`HtpasswdError`]; the users stay as they were.
    pub fn reload_passwords(&self) -> Result<bool, HtpasswdError> {
        match self.users() {
            Some(users) => users.reload().map(|()| true),
            None => Ok(false),
        }
    }

    /// Gets a token server's keys again; how many there are, or `None` without such a server.
    ///
    /// # Errors
    /// [`KeysError`]; the keys stay as they were.
    pub async fn reload_keys(&self) -> Result<Option<usize>, KeysError> {
        match &self.method {
            Method::TokenServer { verifier, .. } => verifier.refresh().await.map(Some),
            Method::Passwords { .. } | Method::OwnTokens { .. } => Ok(None),
        }
    }

    /// Those who have a password here.
    fn users(&self) -> Option<&Arc<Users>> {
        match &self.method {
            Method::Passwords { users, .. } | Method::OwnTokens { users, .. } => Some(users),
            Method::TokenServer { .. } => None,
        }
    }

    /// What must allow everything; `None` when the token server decides alone.
    fn rules(&self) -> Option<&Rules> {
        match &self.method {
            Method::Passwords { rules, .. } | Method::OwnTokens { rules, .. } => Some(rules),
            Method::TokenServer { rules, .. } => rules.as_ref(),
        }
    }

    /// Whether a token server elsewhere knows who is who.
    fn is_elsewhere(&self) -> bool {
        matches!(self.method, Method::TokenServer { .. })
    }

    /// What makes tokens, when we do, and those who can get one.
    fn signer(&self) -> Option<(&Signer, &Arc<Users>)> {
        match &self.method {
            Method::OwnTokens { signer, users, .. } => Some((signer, users)),
            Method::Passwords { .. } | Method::TokenServer { .. } => None,
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
    /// `scope` what it needs, `asks` whether it came with a token or to find out how to log in.
    /// With `missing`, its token is good but not for this.
    pub fn challenge(
        &self,
        origin: &str,
        scope: Option<&str>,
        asks: bool,
        missing: Option<&Missing>,
    ) -> String {
        let (url, service) = match &self.method {
            Method::Passwords { .. } => return self.basic_challenge(),
            Method::OwnTokens { passwords, .. } if *passwords && !asks => {
                return self.basic_challenge();
            }
            Method::OwnTokens { url, signer, .. } => (url.as_ref(), signer.service()),
            Method::TokenServer { url, verifier, .. } => (Some(url), verifier.service()),
        };
        let url = match url {
            Some(url) => quoted(url),
            None => format!("{}/auth/token", quoted(origin)),
        };
        let service = quoted(service);
        let scope = scope.map_or_else(String::new, |scope| {
            let scopes: Vec<String> = scope.split(' ').map(quoted).collect();
            format!(",scope=\"{}\"", scopes.join(" "))
        });
        let missing = missing.map_or_else(String::new, |Missing(why)| {
            let fits = |c: &char| (*c == ' ' || c.is_ascii_graphic()) && !"\"\\".contains(*c);
            let why: String = why.chars().filter(fits).collect();
            format!(",error=\"insufficient_scope\",error_description=\"{why}\"")
        });
        format!("Bearer realm=\"{url}\",service=\"{service}\"{missing}{scope}")
    }

    /// Why a caller with a token may not do something, in words for people; `None` for who has
    /// no token, or one that speaks for nobody.
    pub fn missing(&self, who: &Authenticated, name: &str, access: Access) -> Option<Missing> {
        let Identity::User(user) = &who.identity else {
            return None;
        };
        who.granted.as_ref()?;
        let rules = self.rules();
        let may = rules.is_some_and(|rules| rules.allow(&who.identity, name, access));
        let what = access.words();
        Some(Missing(match may {
            true => format!("the token of {user} is not for {what} {name}"),
            false => format!("{user} may not {} {name}", access.verb()),
        }))
    }

    /// Who sends this `Authorization` header, and what for.
    ///
    /// # Errors
    /// [`BadCredentials`] when it proves nothing.
    pub async fn identify(
        &self,
        header: Option<&str>,
        address: IpAddr,
    ) -> Result<Authenticated, BadCredentials> {
        let token = header.and_then(bearer);
        let (user, access) = match (&self.method, token) {
            (Method::OwnTokens { signer, users, .. }, Some(token)) => {
                let claims = signer.verify(token, now()).ok_or(BadCredentials::Wrong)?;
                users.follow().await;
                // Who was removed is out at once, whatever is left of the token's time.
                if !claims.sub.is_empty() && !users.has(&claims.sub) {
                    return Err(BadCredentials::Wrong);
                }
                (claims.sub, claims.access)
            }
            (Method::TokenServer { verifier, .. }, Some(token)) => {
                let verified = verifier
                    .verify(token, now())
                    .await
                    .ok_or(BadCredentials::Wrong)?;
                (verified.user, verified.access)
            }
            _ => {
                return Ok(Authenticated {
                    identity: self.login(header, address).await?,
                    granted: None,
                });
            }
        };
        let identity = if user.is_empty() {
            Identity::Anonymous
        } else {
            Identity::User(user.into())
        };
        Ok(Authenticated {
            identity,
            granted: Some(access),
        })
    }

    /// Whether this `Authorization` header holds a password that was not right lately.
    pub fn would_try(&self, header: &str) -> bool {
        bearer(header).is_none()
            && !is_empty(header)
            && !self.users().is_some_and(|users| users.remembers(header))
    }

    /// Who sends this `Authorization` header with a password in it; nobody, when there is none.
    ///
    /// # Errors
    /// [`BadCredentials`]; where a token server knows who is who, nobody has a password.
    pub async fn login(
        &self,
        header: Option<&str>,
        address: IpAddr,
    ) -> Result<Identity, BadCredentials> {
        match (header, self.users()) {
            (None, _) => Ok(Identity::Anonymous),
            (Some(header), _) if is_empty(header) => Ok(Identity::Anonymous),
            (Some(header), Some(users)) => users.login(header, network(address)).await,
            (Some(_), None) => Err(BadCredentials::Wrong),
        }
    }

    /// A token that stands for a user's password until that changes; `None` when we make no tokens
    /// or there is no such user.
    pub fn refresh_token(&self, user: &str) -> Option<String> {
        let (signer, users) = self.signer()?;
        users.with(|users| Some(refresh::make(signer, user, users.hash(user)?)))
    }

    /// Whom such a token stands for.
    ///
    /// # Errors
    /// [`BadCredentials`] when it is none of ours, or of a password that was changed.
    pub async fn refreshed(&self, token: &str) -> Result<Identity, BadCredentials> {
        let (signer, users) = self.signer().ok_or(BadCredentials::Wrong)?;
        users.follow().await;
        users
            .with(|users| refresh::user(signer, token, |user| users.hash(user)))
            .map(|user| Identity::User(user.into()))
            .ok_or(BadCredentials::Wrong)
    }

    /// Whether a client that asks for this service means this one.
    pub fn is_service(&self, service: &str) -> bool {
        self.signer()
            .is_some_and(|(s, _)| s.service() == service || quoted(s.service()) == service)
    }

    /// Whether the caller may do `access` in a repository: the rules say so, and so does the
    /// token, when there is one. Rules that change make old tokens good for less at once.
    pub fn allows(&self, caller: &Authenticated, repository: &str, access: Access) -> bool {
        let granted = self.grants(caller, repository, access);
        match self.rules() {
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
        match self.rules() {
            Some(rules) => rules.allow(&caller.identity, repository, Access::Pull),
            None => {
                let grants = caller.granted.iter().flatten();
                grants.into_iter().any(lists_all) || self.allows(caller, repository, Access::Pull)
            }
        }
    }

    /// Whether somebody may do everything everywhere, and proves it by a password.
    pub fn operates(&self, caller: &Authenticated) -> bool {
        let rules = self.rules();
        caller.granted.is_none() && rules.is_some_and(|rules| rules.operates(&caller.identity))
    }

    /// Where repositories may be that somebody may see; nowhere else.
    pub fn reach(&self, caller: &Authenticated) -> Vec<Reach> {
        if let Some(rules) = self.rules() {
            return rules.reach(&caller.identity, Access::Pull);
        }
        let grants = caller.granted.iter().flatten();
        if grants.clone().any(lists_all) {
            return vec![Reach::of("*")];
        }
        grants
            .map(|grant| Reach::Name(grant.name.clone()))
            .collect()
    }

    /// Whether somebody may read a repository, with another token if need be. What a token server
    /// would put into another is not known, so there the token at hand decides.
    pub fn could_pull(&self, caller: &Authenticated, repository: &str) -> bool {
        match self.rules() {
            Some(rules) if !self.is_elsewhere() => {
                rules.allow(&caller.identity, repository, Access::Pull)
            }
            _ => self.allows(caller, repository, Access::Pull),
        }
    }

    /// That part of the scopes asked for that the rules allow.
    pub fn grant(&self, identity: &Identity, scope: &str) -> Vec<Grant> {
        let mut granted = Vec::new();
        let Some(rules) = self.rules() else {
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
        match &self.method {
            Method::OwnTokens {
                signer, seconds, ..
            } => Ok((signer.sign(user, granted, now, *seconds)?, *seconds)),
            Method::Passwords { .. } | Method::TokenServer { .. } => Ok((String::new(), 0)),
        }
    }
}

/// Whether a token is for the list of all repositories.
fn lists_all(grant: &Grant) -> bool {
    (grant.kind.as_str(), grant.name.as_str()) == ("registry", "catalog")
        && grant.actions.iter().any(|action| action == "*")
}
