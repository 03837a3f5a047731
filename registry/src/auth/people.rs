//! Those who can log in here, by whatever means: the password file, personal tokens, a directory,
//! and providers that vouch for them.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::directory::Asked;
use super::gate_error::AuthError;
use super::header::basic;
use super::identity::{BadCredentials, Identity, Proof, User};
use super::personal::{Personal, is_personal};
use super::settings;
use super::token::Claims;
use super::token_file::TokenFile;
use super::users::Users;
use super::vouching::{Federations, looks_like_one};
use crate::clock::now;

/// Those who can log in here.
#[derive(Debug)]
pub(super) struct People {
    pub(super) users: Option<Arc<Users>>,
    pub(super) tokens: Arc<TokenFile>,
    pub(super) directory: Option<Arc<Asked>>,
    pub(super) federations: Arc<Federations>,
}

impl People {
    /// As the settings have it; what `before` knows of the same files is taken over.
    ///
    /// # Errors
    /// [`AuthError`].
    pub(super) fn open(
        settings: &settings::Users,
        data_dir: &Path,
        before: Option<&Self>,
    ) -> Result<Self, AuthError> {
        let known = before.and_then(|before| before.users.as_ref());
        let users = match (&settings.htpasswd, known) {
            (None, _) => None,
            (Some(file), Some(known)) if known.path() == file => Some(Arc::clone(known)),
            (Some(file), _) => Some(Arc::new(Users::open(file)?)),
        };
        let file = settings.token_file(data_dir);
        let tokens = match before.map(|before| &before.tokens) {
            Some(known) if known.path() == file => Arc::clone(known),
            _ => Arc::new(TokenFile::open(&file)?),
        };
        let asked = before.and_then(|before| before.directory.as_ref());
        let directory = match (&settings.directory, asked) {
            (None, _) => None,
            (Some(directory), Some(asked)) if asked.settings() == directory => {
                Some(Arc::clone(asked))
            }
            (Some(directory), _) => Some(Arc::new(Asked::new(directory))),
        };
        let federations = Federations::new(&settings.federations);
        Ok(Self {
            users,
            tokens,
            directory,
            federations: Arc::new(federations?),
        })
    }

    /// Whether this `Authorization` header holds a password that was right lately.
    pub(super) fn remembers(&self, header: &str) -> bool {
        self.users
            .as_ref()
            .is_some_and(|users| users.remembers(header))
            || self
                .directory
                .as_ref()
                .is_some_and(|d| d.recall(&fingerprint(header)).is_some())
    }

    /// Whose password or token this `Authorization` header holds, which came from an address.
    ///
    /// # Errors
    /// [`BadCredentials`].
    pub(super) async fn login(
        &self,
        header: &str,
        address: IpAddr,
    ) -> Result<Identity, BadCredentials> {
        let (name, password) = basic(header).ok_or(BadCredentials::Wrong)?;
        if let Some((name, token)) = personal_token(&name, &password) {
            return self.by_token(&name, token).await.map(Identity::User);
        }
        if !self.federations.are_none() && looks_like_one(&password) {
            return self.vouched(&password).await.map(Identity::User);
        }
        if let Some(users) = &self.users {
            users.follow().await;
            // Who is in the file is known by it alone.
            if self.directory.is_none() || users.has(&name) {
                return users.login(header, address).await;
            }
        }
        let directory = self.directory.as_ref().ok_or(BadCredentials::Wrong)?;
        let user = directory
            .login(&name, &password, fingerprint(header), address)
            .await?;
        Ok(Identity::User(user))
    }

    /// Whom a provider's token names.
    ///
    /// # Errors
    /// [`BadCredentials::Wrong`].
    pub(super) async fn vouched(&self, token: &str) -> Result<User, BadCredentials> {
        let user = self.federations.identify(token, now()).await;
        user.ok_or(BadCredentials::Wrong)
    }

    async fn by_token(&self, name: &str, token: &str) -> Result<User, BadCredentials> {
        self.tokens.follow().await;
        let found = match self.tokens.find(token) {
            Some(found) => found,
            // It may have been made since the file was looked at.
            None => {
                self.tokens.follow_at_once().await;
                self.tokens.find(token).ok_or(BadCredentials::Wrong)?
            }
        };
        let (id, token) = found;
        if token.user != name {
            return Err(BadCredentials::Wrong);
        }
        let groups = self.groups_with(&token).await?;
        Ok(User::new(token.user, groups, Proof::Token(id.into())))
    }

    /// The groups of whoever has a token, who can still log in.
    async fn groups_with(&self, token: &Personal) -> Result<Vec<String>, BadCredentials> {
        match &token.provider {
            None => self.groups_of(&token.user).await,
            // What the provider said last; it is not asked without the user.
            Some(name) if self.federations.provider(name).is_some() => Ok(token.groups.clone()),
            Some(_) => Err(BadCredentials::Wrong),
        }
    }

    /// The groups that the directory knows of a user who can still log in.
    ///
    /// # Errors
    /// [`BadCredentials`], when the user is gone or nobody can tell.
    async fn groups_of(&self, user: &str) -> Result<Vec<String>, BadCredentials> {
        if let Some(users) = &self.users {
            users.follow().await;
            if users.has(user) {
                return Ok(Vec::new());
            }
        }
        let directory = self.directory.as_ref().ok_or(BadCredentials::Wrong)?;
        let found = directory.lookup(user).await?.ok_or(BadCredentials::Wrong)?;
        Ok(found.groups().to_vec())
    }

    /// Whom a token of ours speaks for, if that one can still log in: who was removed is out at
    /// once, whatever is left of the token's time.
    pub(super) async fn still(&self, claims: &Claims) -> Option<Identity> {
        if claims.sub.is_empty() {
            return Some(Identity::Anonymous);
        }
        let proof = Proof::read(&claims.by)?;
        let there = match &proof {
            Proof::Password => match &self.users {
                Some(users) => {
                    users.follow().await;
                    users.has(&claims.sub)
                }
                None => false,
            },
            Proof::Token(id) => {
                self.tokens.follow().await;
                match self.tokens.get(id) {
                    Some(token) if token.user == claims.sub => {
                        self.groups_with(&token).await.is_ok()
                    }
                    _ => false,
                }
            }
            Proof::Directory => match &self.directory {
                // While it does not answer, a token is good for what is left of its time.
                Some(directory) => !matches!(directory.lookup(&claims.sub).await, Ok(None)),
                None => false,
            },
            Proof::Federation(name) => self.federations.knows(name),
            Proof::Browser(name) => self.federations.provider(name).is_some(),
        };
        let user = || User::new(claims.sub.clone(), claims.groups.clone(), proof);
        there.then(|| Identity::User(user()))
    }
}

/// The user and the personal token that a name and a password are. A name with a colon in it, as
/// providers' users have one, comes as two: what is before it, and the rest with the password.
fn personal_token<'p>(name: &str, password: &'p str) -> Option<(String, &'p str)> {
    if is_personal(password) {
        return Some((name.to_owned(), password));
    }
    let (rest, token) = password.rsplit_once(':')?;
    let whole = || (format!("{name}:{rest}"), token);
    is_personal(token).then(whole)
}

fn fingerprint(header: &str) -> [u8; 32] {
    Sha256::digest(header).into()
}
