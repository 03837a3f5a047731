//! People: who logs in with a browser, and the personal tokens that they make.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::census::{Change, Seen};
use super::gate::Auth;
use super::identity::{Proof, User};
use super::logins::Begun;
use super::people::People;
use super::personal::{Personal, PersonalError, Wanted};
use super::provider::{LoginError, Provider};
use crate::clock::now;
use crate::sync::blocking;
use crate::units::rfc3339;

/// A personal token as its user sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct OwnToken {
    /// Its ID.
    pub(crate) id: String,
    /// Whom it stands for.
    pub(crate) user: String,
    /// What it is for.
    pub(crate) note: String,
    /// When it was made.
    #[serde(with = "rfc3339")]
    pub(crate) created: Option<i64>,
    /// When it ends, if ever.
    #[serde(with = "rfc3339")]
    pub(crate) expires: Option<i64>,
}

/// Why there is no token, or none less.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokensError {
    /// It cannot be written, or not be had in this form.
    #[error(transparent)]
    Personal(#[from] PersonalError),
    /// Users are not known here.
    #[error("personal tokens are for users who are known here; there are none")]
    Nobody,
    /// Whoever asks came with a token themselves, or with nothing.
    #[error("a personal token is made by a person: with a password, or a browser")]
    Program,
}

impl OwnToken {
    fn of(id: &str, token: &Personal) -> Self {
        Self {
            id: id.to_owned(),
            user: token.user.clone(),
            note: token.note.clone(),
            created: Some(token.created),
            expires: token.expires,
        }
    }
}

impl Auth {
    fn people(&self) -> Option<Arc<People>> {
        self.state().method.people().cloned()
    }

    /// Whether those who log in have a password that we can look at.
    pub(crate) fn has_passwords(&self) -> bool {
        self.people()
            .is_some_and(|people| people.users.is_some() || people.directory.is_some())
    }

    /// Where people log in with a browser: names, and what people call them.
    pub(crate) fn providers(&self) -> Vec<(String, String)> {
        self.people()
            .map_or_else(Vec::new, |people| people.federations.providers())
    }

    /// What the password of a user of the file is, hashed once more: it changes with it.
    pub(crate) fn password_stamp(&self, user: &User) -> Option<[u8; 32]> {
        let people = self.people()?;
        let users = people.users.as_ref()?;
        let own = *user.proof() == Proof::Password;
        users
            .with(|users| Some(Sha256::digest(users.hash(user)?).into()))
            .filter(|_| own)
    }

    /// Whether somebody may stay who logged in with a browser, and who they are now: `password`
    /// is what [`Auth::password_stamp`] was then.
    pub(crate) async fn may_stay(&self, user: &User, password: Option<[u8; 32]>) -> Option<User> {
        let people = self.people()?;
        match user.proof() {
            Proof::Password => {
                people.users.as_ref()?.follow().await;
                let same = password.is_some() && self.password_stamp(user) == password;
                same.then(|| user.clone())
            }
            Proof::Directory => match people.directory.as_ref()?.lookup(user).await {
                Ok(found) => found,
                // While it does not answer nobody is logged out.
                Err(_) => Some(user.clone()),
            },
            Proof::Browser(name) => {
                people.federations.provider(name)?;
                Some(user.clone())
            }
            Proof::Token(_) | Proof::Federation(_) => None,
        }
    }

    fn provider(&self, name: &str) -> Result<Arc<Provider>, LoginError> {
        let found = self.people().and_then(|p| p.federations.provider(name));
        found.ok_or(LoginError::Unknown)
    }

    /// Where a browser goes to log in, and comes back from to `back`.
    ///
    /// # Errors
    /// [`LoginError`].
    pub(crate) async fn leave(&self, begun: &Begun, back: &str) -> Result<String, LoginError> {
        self.provider(&begun.provider)?.leave(begun, back).await
    }

    /// Who came back with a code.
    ///
    /// # Errors
    /// [`LoginError`].
    pub(crate) async fn arrive(
        &self,
        begun: &Begun,
        code: &str,
        back: &str,
    ) -> Result<User, LoginError> {
        let provider = self.provider(&begun.provider)?;
        let user = provider.arrive(begun, code, back).await?;
        self.regroup(&begun.provider, &user).await;
        Ok(user)
    }

    /// Gives the tokens of a provider's user the groups that they are in now.
    async fn regroup(&self, provider: &str, user: &User) {
        let Some(people) = self.people() else {
            return;
        };
        people.tokens.follow().await;
        if !people.tokens.all().regroup(provider, user, user.groups()) {
            return;
        }
        let (provider, user) = (provider.to_owned(), user.clone());
        let changed = people.tokens.change(move |tokens| {
            tokens.regroup(&provider, &user, user.groups());
            Ok(())
        });
        if let Err(e) = changed.await {
            tracing::error!(error = %e, "personal tokens keep the groups that they had");
        }
    }

    /// All personal tokens, or those of one user, by ID.
    ///
    /// # Errors
    /// [`TokensError::Nobody`].
    pub(crate) async fn tokens(&self, user: Option<&str>) -> Result<Vec<OwnToken>, TokensError> {
        let people = self.people().ok_or(TokensError::Nobody)?;
        people.tokens.follow().await;
        let all = people.tokens.all();
        let wanted = all
            .all()
            .filter(|(_, token)| user.is_none_or(|user| token.user == user));
        Ok(wanted.map(|(id, token)| OwnToken::of(id, token)).collect())
    }

    /// Makes a personal token for a person: its text, which is not kept, and what is.
    ///
    /// # Errors
    /// [`TokensError`].
    pub(crate) async fn make_token(
        self: &Arc<Self>,
        user: &User,
        note: &str,
        expires: Option<i64>,
    ) -> Result<(String, OwnToken), TokensError> {
        let people = self.people().ok_or(TokensError::Nobody)?;
        if !user.proof().is_personal() {
            return Err(TokensError::Program);
        }
        let (provider, groups) = match user.proof() {
            Proof::Browser(name) => (Some(name.to_string()), user.groups().to_vec()),
            _ => (None, Vec::new()),
        };
        let wanted = Wanted {
            user: user.to_string(),
            expires,
            note: note.to_owned(),
            provider,
            groups,
        };
        let this = Arc::clone(self);
        let made = people.tokens.change(move |tokens| {
            let text = tokens.add(wanted, now())?;
            let made = tokens.find(&text, i64::MIN);
            let (id, token) = made.ok_or(PersonalError::Random)?;
            // Whoever asks for it tells of it.
            this.census.tells(id);
            let made = OwnToken::of(id, token);
            Ok((text, made))
        });
        Ok(made.await?)
    }

    /// Revokes a personal token; only one of `user`, when there is one: others' are as good as
    /// not there.
    ///
    /// # Errors
    /// [`TokensError`].
    pub(crate) async fn revoke_token(
        self: &Arc<Self>,
        id: &str,
        user: Option<&str>,
    ) -> Result<OwnToken, TokensError> {
        let people = self.people().ok_or(TokensError::Nobody)?;
        let (id, user) = (id.to_owned(), user.map(str::to_owned));
        let this = Arc::clone(self);
        let gone = people.tokens.change(move |tokens| {
            let theirs = tokens.all().any(|(known, token)| {
                known == id && user.as_ref().is_none_or(|u| *u == token.user)
            });
            if !theirs {
                return Err(PersonalError::Unknown(id));
            }
            let gone = tokens.revoke(&id)?;
            this.census.tells(&id);
            Ok(OwnToken::of(&id, &gone))
        });
        Ok(gone.await?)
    }

    /// The files that know users and personal tokens.
    pub fn people_files(&self) -> Vec<PathBuf> {
        let Some(people) = self.people() else {
            return Vec::new();
        };
        let users = people.users.as_ref().map(|users| users.path().to_owned());
        let tokens = people.tokens.path().to_owned();
        users.into_iter().chain([tokens]).collect()
    }

    /// Writes down who was there when that was asked last, so that the next process can tell who
    /// came and went since.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn keep_people(self: &Arc<Self>) -> io::Result<()> {
        let this = Arc::clone(self);
        blocking(move || this.census.keep()).await
    }

    /// Who came and went of those since this was asked last, by an earlier process maybe; nobody
    /// where it never was.
    pub async fn changed_people(&self) -> Vec<Change> {
        let Some(people) = self.people() else {
            return self.census.look(Seen::default());
        };
        people.tokens.follow().await;
        let mut seen = Seen::default();
        if let Some(users) = &people.users {
            users.follow().await;
            seen.users = users.with(|users| {
                let stamp = |name: &str| {
                    let password = Sha256::digest(users.hash(name)?).into();
                    Some((name.to_owned(), password))
                };
                users.users().filter_map(stamp).collect()
            });
        }
        let tokens = people.tokens.all();
        let known = tokens.all().map(|(id, t)| (id.to_owned(), t.user.clone()));
        seen.tokens = known.collect();
        self.census.look(seen)
    }
}
