//! Who is let in: users, passwords, tokens and rules put together.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use super::census::Census;
use super::external::KeysError;
use super::gate_error::AuthError;
use super::header::{bearer, is_empty, quoted};
use super::htpasswd::HtpasswdError;
use super::identity::{Authenticated, BadCredentials, Identity, Proof, User};
use super::method::{Method, key_file};
use super::refresh;
use super::rules::{Access, Reach, Rules};
use super::settings::{Jwks, Login, Settings};
use super::token::{self, Grant, Subject};
use crate::clock::now;
use crate::limits::network;
use crate::sync;

/// Why a token is not enough, in words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(pub String);

/// Users, passwords, tokens and rules.
#[derive(Debug)]
pub struct Auth {
    /// Where the key for tokens of ours is.
    data_dir: PathBuf,
    state: RwLock<Arc<State>>,
    /// Who came and went.
    pub(super) census: Census,
}

/// All of it at one moment.
#[derive(Debug)]
pub(super) struct State {
    settings: Settings,
    pub(super) method: Method,
}

impl Auth {
    /// As the settings have it; `None` when nobody logs in. The key for tokens of ours is kept in
    /// `data_dir`.
    ///
    /// # Errors
    /// [`AuthError`].
    pub fn open(settings: &Settings, data_dir: &Path) -> Result<Option<Self>, AuthError> {
        let method = Method::open(&settings.login, data_dir, None)?;
        Ok(method.map(|method| Self {
            data_dir: data_dir.to_owned(),
            state: RwLock::new(Arc::new(State {
                settings: settings.clone(),
                method,
            })),
            census: Census::of(data_dir.join("people.json")),
        }))
    }

    pub(super) fn state(&self) -> Arc<State> {
        Arc::clone(&sync::read(&self.state))
    }

    /// Goes on with other settings; whether they are others. Who is logged in stays so, as far as
    /// the new settings let them.
    ///
    /// # Errors
    /// [`AuthError`]; all stays as it was. What would open the registry to everybody, or to
    /// everybody who is logged in, is refused: half a file of settings says that too.
    pub fn change(&self, settings: &Settings) -> Result<bool, AuthError> {
        let now = self.state();
        if now.settings == *settings {
            return Ok(false);
        }
        let had_rules = now.method.rules().is_some_and(|rules| !rules.are_none());
        let method = Method::open(&settings.login, &self.data_dir, Some(&now.method))?;
        let method = method.ok_or(AuthError::Opened)?;
        if had_rules && method.rules().is_none_or(Rules::are_none) {
            return Err(AuthError::NoRules);
        }
        *sync::write(&self.state) = Arc::new(State {
            settings: settings.clone(),
            method,
        });
        Ok(true)
    }

    /// The files that the settings name and that are read again with [`Auth::read_again`]: keys,
    /// and certificates to trust.
    pub fn files(&self) -> Vec<PathBuf> {
        match &self.state().settings.login {
            Login::Open => Vec::new(),
            Login::Passwords(users) => users.key_files(),
            Login::OwnTokens { users, .. } => {
                let mut files = users.key_files();
                files.push(key_file(&self.data_dir));
                files
            }
            Login::TokenServer { issuer, .. } => {
                let keys = match &issuer.jwks {
                    Jwks::File(path) => Some(path),
                    Jwks::Url(_) | Jwks::Discovered => None,
                };
                keys.into_iter().chain(&issuer.ca).cloned().collect()
            }
        }
    }

    /// Whether there are keys that [`Auth::read_again`] reads.
    pub fn follows_keys(&self) -> bool {
        match &self.state().settings.login {
            Login::Open => false,
            Login::Passwords(users) => !users.federations.is_empty(),
            Login::OwnTokens { .. } | Login::TokenServer { .. } => true,
        }
    }

    /// Reads those files again, and gets a token server's keys.
    ///
    /// # Errors
    /// [`AuthError`]; all stays as it was.
    pub async fn read_again(&self) -> Result<(), AuthError> {
        let now = self.state();
        let (before, data_dir) = (Arc::clone(&now), self.data_dir.clone());
        let method = sync::blocking(move || {
            Method::open(&before.settings.login, &data_dir, Some(&before.method))
        })
        .await?;
        if let Some(Method::TokenServer { verifier, .. }) = &method {
            verifier.refresh().await?;
        }
        if let Some(method) = method {
            *sync::write(&self.state) = Arc::new(State {
                settings: now.settings.clone(),
                method,
            });
        }
        Ok(())
    }

    /// Reads the password file again; whether there is one.
    ///
    /// # Errors
    /// [`HtpasswdError`]; the users stay as they were.
    pub fn reload_passwords(&self) -> Result<bool, HtpasswdError> {
        let state = self.state();
        match state
            .method
            .people()
            .and_then(|people| people.users.as_ref())
        {
            Some(users) => users.reload().map(|()| true),
            None => Ok(false),
        }
    }

    /// Gets a token server's keys again; how many there are, or `None` without such a server.
    ///
    /// # Errors
    /// [`KeysError`]; the keys stay as they were.
    pub async fn reload_keys(&self) -> Result<Option<usize>, KeysError> {
        match &self.state().method {
            Method::TokenServer { verifier, .. } => verifier.refresh().await.map(Some),
            Method::Passwords { .. } | Method::OwnTokens { .. } => Ok(None),
        }
    }

    /// Whether a token server elsewhere knows who is who.
    fn is_elsewhere(&self) -> bool {
        matches!(self.state().method, Method::TokenServer { .. })
    }

    /// Whether clients get tokens from us.
    pub fn issues(&self) -> bool {
        self.state().method.signer().is_some()
    }

    /// What a client is sent that must send a password.
    pub fn basic_challenge(&self) -> String {
        format!("Basic realm=\"{}\"", quoted(&self.state().settings.realm))
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
        let state = self.state();
        let (url, service) = match &state.method {
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
        let state = self.state();
        let may = state
            .method
            .rules()
            .is_some_and(|rules| rules.allow(&who.identity, name, access));
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
        let state = self.state();
        let (identity, access) = match (&state.method, token) {
            (Method::OwnTokens { signer, people, .. }, Some(token)) => {
                let claims = signer.verify(token, now()).ok_or(BadCredentials::Wrong)?;
                let identity = people.still(&claims).await.ok_or(BadCredentials::Wrong)?;
                (identity, claims.access)
            }
            (Method::TokenServer { verifier, .. }, Some(token)) => {
                let verified = verifier
                    .verify(token, now())
                    .await
                    .ok_or(BadCredentials::Wrong)?;
                let identity = match verified.user.is_empty() {
                    true => Identity::Anonymous,
                    false => Identity::User(verified.user.into()),
                };
                (identity, verified.access)
            }
            _ => {
                return Ok(Authenticated {
                    identity: self.login(header, address).await?,
                    granted: None,
                });
            }
        };
        Ok(Authenticated {
            identity,
            granted: Some(access),
        })
    }

    /// Whether this `Authorization` header holds a password that was not right lately.
    pub fn would_try(&self, header: &str) -> bool {
        let state = self.state();
        let people = state.method.people();
        bearer(header).is_none()
            && !is_empty(header)
            && !people.is_some_and(|people| people.remembers(header))
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
        match (header, self.state().method.people()) {
            (None, _) => Ok(Identity::Anonymous),
            (Some(header), _) if is_empty(header) => Ok(Identity::Anonymous),
            (Some(header), Some(people)) => people.login(header, network(address)).await,
            (Some(_), None) => Err(BadCredentials::Wrong),
        }
    }

    /// Whom a token names that a provider of `[[oidc]]` signed.
    ///
    /// # Errors
    /// [`BadCredentials`], also where we make no tokens.
    pub async fn vouched(&self, token: &str) -> Result<Identity, BadCredentials> {
        let state = self.state();
        let (_, people) = state.method.signer().ok_or(BadCredentials::Wrong)?;
        people.vouched(token).await.map(Identity::User)
    }

    /// A token that stands for a user's password until that changes; `None` when we make no
    /// tokens, or the user came with something else than a password of the file. Nor where
    /// passwords are asked for after all: a client that keeps only such a token, and goes by the
    /// challenge of each answer, would have nothing to say.
    pub fn refresh_token(&self, user: &User) -> Option<String> {
        if *user.proof() != Proof::Password {
            return None;
        }
        let state = self.state();
        if matches!(
            state.method,
            Method::OwnTokens {
                passwords: true,
                ..
            }
        ) {
            return None;
        }
        let (signer, people) = state.method.signer()?;
        let users = people.users.as_ref()?;
        users.with(|users| Some(refresh::make(signer, user, users.hash(user)?)))
    }

    /// Whom such a token stands for.
    ///
    /// # Errors
    /// [`BadCredentials`] when it is none of ours, or of a password that was changed.
    pub async fn refreshed(&self, token: &str) -> Result<Identity, BadCredentials> {
        let state = self.state();
        let (signer, people) = state.method.signer().ok_or(BadCredentials::Wrong)?;
        let users = people.users.as_ref().ok_or(BadCredentials::Wrong)?;
        users.follow().await;
        users
            .with(|users| refresh::user(signer, token, |user| users.hash(user)))
            .map(|user| Identity::User(user.into()))
            .ok_or(BadCredentials::Wrong)
    }

    /// Whether a client that asks for this service means this one.
    pub fn is_service(&self, service: &str) -> bool {
        let state = self.state();
        let signer = state.method.signer();
        signer.is_some_and(|(s, _)| s.service() == service || quoted(s.service()) == service)
    }

    /// Whether the caller may do `access` in a repository: the rules say so, and so does the
    /// token, when there is one. Rules that change make old tokens good for less at once.
    pub fn allows(&self, caller: &Authenticated, repository: &str, access: Access) -> bool {
        let granted = self.grants(caller, repository, access);
        match self.state().method.rules() {
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
        match self.state().method.rules() {
            Some(rules) => rules.allow(&caller.identity, repository, Access::Pull),
            None => {
                let grants = caller.granted.iter().flatten();
                grants.into_iter().any(lists_all) || self.allows(caller, repository, Access::Pull)
            }
        }
    }

    /// Whether somebody is a person, by what they came with.
    pub fn is_person(&self, caller: &Authenticated) -> bool {
        let proven = match &caller.identity {
            Identity::User(user) => user.proof().is_personal(),
            Identity::Anonymous => false,
        };
        proven && caller.granted.is_none()
    }

    /// Whether somebody may do everything everywhere, and proves it by a password.
    pub fn operates(&self, caller: &Authenticated) -> bool {
        let state = self.state();
        let rules = state.method.rules();
        let in_person = match &caller.identity {
            Identity::User(user) => user.proof().is_personal(),
            Identity::Anonymous => true,
        };
        in_person
            && caller.granted.is_none()
            && rules.is_some_and(|rules| rules.operates(&caller.identity))
    }

    /// Where repositories may be that somebody may see; nowhere else.
    pub fn reach(&self, caller: &Authenticated) -> Vec<Reach> {
        if let Some(rules) = self.state().method.rules() {
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
        match self.state().method.rules() {
            Some(rules) if !self.is_elsewhere() => {
                rules.allow(&caller.identity, repository, Access::Pull)
            }
            _ => self.allows(caller, repository, Access::Pull),
        }
    }

    /// That part of the scopes asked for that the rules allow.
    pub fn grant(&self, identity: &Identity, scope: &str) -> Vec<Grant> {
        let mut granted = Vec::new();
        let state = self.state();
        let Some(rules) = state.method.rules() else {
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
        identity: &Identity,
        granted: Vec<Grant>,
        now: i64,
    ) -> Result<(String, i64), serde_json::Error> {
        match &self.state().method {
            Method::OwnTokens {
                signer, seconds, ..
            } => Ok((
                signer.sign_for(subject(identity), granted, now, *seconds)?,
                *seconds,
            )),
            Method::Passwords { .. } | Method::TokenServer { .. } => Ok((String::new(), 0)),
        }
    }
}

/// Whom a token speaks for that is made for somebody.
fn subject(identity: &Identity) -> Subject {
    match identity {
        Identity::Anonymous => Subject::default(),
        Identity::User(user) => Subject {
            user: user.to_string(),
            groups: user.groups().to_vec(),
            by: user.proof().text(),
        },
    }
}

/// Whether a token is for the list of all repositories.
fn lists_all(grant: &Grant) -> bool {
    (grant.kind.as_str(), grant.name.as_str()) == ("registry", "catalog")
        && grant.actions.iter().any(|action| action == "*")
}
