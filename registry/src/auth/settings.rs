//! How clients log in, as the configuration says: only what goes together can be said.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::directory::Directory;
use super::federation::Federation;
use super::rules::Rules;

/// How clients log in, and what they are shown when they must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The realm that clients are shown.
    pub realm: String,
    /// How they prove who they are.
    pub login: Login,
}

/// How clients prove who they are, and who says what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// They do not: everybody may do everything.
    Open,
    /// With a password in every request.
    Passwords(Users),
    /// With a token of ours, which they get for a password.
    OwnTokens {
        /// Those who can get one.
        users: Users,
        /// What tokens are for, as they say (`aud`).
        service: String,
        /// How long each is good for: a second or more.
        lifetime: Duration,
        /// Where clients get them, when it is not where they ask.
        url: Option<String>,
        /// Passwords are asked for all the same, where that is no way to keep out who has none.
        passwords: bool,
    },
    /// With a token of a token server elsewhere.
    TokenServer {
        /// The token server.
        issuer: Issuer,
        /// What tokens are for, as they say (`aud`).
        service: String,
        /// Where clients get them.
        url: String,
        /// What must allow it too; without them the tokens alone say who may do what.
        rules: Option<Rules>,
    },
}

/// Who can log in here, and what they may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// The file of users and passwords.
    pub htpasswd: Option<PathBuf>,
    /// The file of personal tokens, when it is not in the data directory.
    pub tokens: Option<PathBuf>,
    /// A directory that knows users.
    pub directory: Option<Directory>,
    /// Providers that vouch for users.
    pub federations: Vec<Federation>,
    /// What each may do.
    pub rules: Rules,
}

impl Users {
    /// The files with providers' keys, and with certificates to trust.
    pub fn key_files(&self) -> Vec<PathBuf> {
        let of_one = |federation: &Federation| {
            let keys = federation.jwks.clone().filter(|jwks| !jwks.contains("://"));
            keys.map(PathBuf::from)
                .into_iter()
                .chain(federation.ca.clone())
        };
        self.federations.iter().flat_map(of_one).collect()
    }

    /// The file of personal tokens.
    pub fn token_file(&self, data_dir: &Path) -> PathBuf {
        let own = || data_dir.join("tokens.json");
        self.tokens.clone().unwrap_or_else(own)
    }
}

/// A token server elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// Its name, as its tokens have it (`iss`).
    pub name: String,
    /// Its public keys.
    pub jwks: Jwks,
    /// Certificates in PEM that are trusted beside the system's where its keys are.
    pub ca: Option<PathBuf>,
}

/// Where public keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Jwks {
    /// In a file.
    File(PathBuf),
    /// At a URL.
    Url(String),
    /// Where the issuer says, whose name is a URL.
    Discovered,
}
