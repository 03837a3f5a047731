//! Users of an LDAP directory: found by a search, known by binding as who was found.
//!
//! Right passwords are remembered for a while, so that a push of a hundred requests is one bind.
//! Wrong ones cost a wait, as everywhere; and a directory that does not answer is not taken for
//! a wrong password.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ldap3::{
    Ldap, LdapConnAsync, LdapConnSettings, Scope, SearchEntry, SearchOptions, ldap_escape,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Semaphore;

use super::backoff::{Backoff, Guesser};
use super::identity::{BadCredentials, Proof, User};
use crate::sync::lock;

/// Logins that ask the directory at once.
const AT_ONCE: usize = 8;
/// Passwords that are remembered.
const REMEMBERED: usize = 4096;
/// The result code of a wrong password, and of a name that cannot log in (RFC 4511, appendix A).
const INVALID_CREDENTIALS: u32 = 49;
const INAPPROPRIATE_AUTHENTICATION: u32 = 48;
/// More entries than were asked for.
const SIZE_LIMIT_EXCEEDED: u32 = 4;

/// Where the directory is, and how users are found in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// `ldap://` or `ldaps://`, host and port.
    pub url: String,
    /// Whether a connection in the clear goes on encrypted.
    pub start_tls: bool,
    /// Certificates in PEM that are trusted instead of the system's.
    pub ca: Option<PathBuf>,
    /// Who searches; nobody in particular without.
    pub bind_dn: Option<String>,
    /// The file with that one's password.
    pub bind_password: Option<PathBuf>,
    /// Where users are.
    pub base: String,
    /// What finds a user, `{user}` being the name.
    pub user_filter: String,
    /// Where groups are.
    pub group_base: String,
    /// What finds a user's groups, `{dn}` and `{user}` being theirs; without it they have none.
    pub group_filter: Option<String>,
    /// What a group is called by.
    pub group_attribute: String,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// How long a right password is remembered.
    pub cache: Duration,
}

/// Why the directory did not say who somebody is.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// A file cannot be read.
    #[error("{path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The file of certificates holds none that can be used.
    #[error("{0} holds no certificate in PEM")]
    Certificates(PathBuf),
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    /// It cannot be reached, or does not do what is asked.
    #[error("{doing}: {cause}")]
    Ldap {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        cause: ldap3::LdapError,
    },
    /// It says no to us.
    #[error("{doing}: the directory answers {code}: {text}")]
    Answer {
        /// What was being done.
        doing: &'static str,
        /// Its result code.
        code: u32,
        /// What it says.
        text: String,
    },
    /// It takes too long.
    #[error("it did not answer within {0:?}")]
    Slow(Duration),
}

/// Whether a directory has a user of this name.
///
/// # Errors
/// [`DirectoryError`].
pub async fn has(directory: &Directory, user: &str) -> Result<bool, DirectoryError> {
    Ok(Asked::new(directory).find(user).await?.is_some())
}

/// A directory that is asked.
#[derive(Debug)]
pub(super) struct Asked {
    settings: Directory,
    /// Right passwords of late, by the hash of what was sent.
    remembered: Mutex<HashMap<[u8; 32], (User, Instant)>>,
    /// Who was looked up of late.
    found: Mutex<HashMap<String, (Option<User>, Instant)>>,
    backoff: Mutex<Backoff>,
    turns: Semaphore,
}

impl Asked {
    /// This directory; it is asked when the first user comes.
    pub(super) fn new(settings: &Directory) -> Self {
        Self {
            settings: settings.clone(),
            remembered: Mutex::default(),
            found: Mutex::default(),
            backoff: Mutex::default(),
            turns: Semaphore::new(AT_ONCE),
        }
    }

    /// The settings that it is asked by.
    pub(super) fn settings(&self) -> &Directory {
        &self.settings
    }

    /// Who sent this, if it was right lately.
    pub(super) fn recall(&self, fingerprint: &[u8; 32]) -> Option<User> {
        let remembered = lock(&self.remembered);
        let (user, since) = remembered.get(fingerprint)?;
        (since.elapsed() < self.settings.cache).then(|| user.clone())
    }

    /// Whose password this is, which came from an address.
    ///
    /// # Errors
    /// [`BadCredentials`].
    pub(super) async fn login(
        &self,
        user: &str,
        password: &str,
        fingerprint: [u8; 32],
        address: IpAddr,
    ) -> Result<User, BadCredentials> {
        if let Some(user) = self.recall(&fingerprint) {
            return Ok(user);
        }
        // Without a password a bind is nobody's, and succeeds (RFC 4513, section 5.1.2).
        if user.is_empty() || password.is_empty() {
            return Err(BadCredentials::Wrong);
        }
        let guessers = [Guesser::Address(address), Guesser::User(user.to_owned())];
        let wait = lock(&self.backoff).wait(&guessers, Instant::now());
        if !wait.is_zero() {
            return Err(BadCredentials::Wait(wait));
        }
        let turn = self
            .turns
            .acquire()
            .await
            .map_err(|_| BadCredentials::Wrong)?;
        let limit = self.settings.timeout.saturating_mul(3);
        let asked = tokio::time::timeout(limit, self.ask(user, password)).await;
        drop(turn);
        match asked.unwrap_or(Err(DirectoryError::Slow(limit))) {
            Ok(Some(user)) => {
                lock(&self.backoff).right(&guessers);
                let mut remembered = lock(&self.remembered);
                if remembered.len() >= REMEMBERED {
                    remembered.retain(|_, (_, since)| since.elapsed() < self.settings.cache);
                }
                if remembered.len() < REMEMBERED {
                    remembered.insert(fingerprint, (user.clone(), Instant::now()));
                }
                Ok(user)
            }
            Ok(None) => {
                lock(&self.backoff).wrong(&guessers, Instant::now());
                Err(BadCredentials::Wrong)
            }
            Err(e) => Err(self.failed(&e)),
        }
    }

    /// The user of a name, with their groups, whatever they prove it by; `None` when the
    /// directory has none, or has no more.
    ///
    /// # Errors
    /// [`BadCredentials::Unavailable`].
    pub(super) async fn lookup(&self, user: &str) -> Result<Option<User>, BadCredentials> {
        if user.is_empty() {
            return Ok(None);
        }
        if let Some((found, since)) = lock(&self.found).get(user)
            && since.elapsed() < self.settings.cache
        {
            return Ok(found.clone());
        }
        let turn = self
            .turns
            .acquire()
            .await
            .map_err(|_| BadCredentials::Wrong)?;
        let limit = self.settings.timeout.saturating_mul(3);
        let asked = tokio::time::timeout(limit, self.find(user)).await;
        drop(turn);
        let found = asked.unwrap_or(Err(DirectoryError::Slow(limit)));
        let found = found.map_err(|e| self.failed(&e))?.map(|(_, user)| user);
        let mut known = lock(&self.found);
        if known.len() >= REMEMBERED {
            known.retain(|_, (_, since)| since.elapsed() < self.settings.cache);
        }
        if known.len() < REMEMBERED {
            known.insert(user.to_owned(), (found.clone(), Instant::now()));
        }
        Ok(found)
    }

    fn failed(&self, e: &DirectoryError) -> BadCredentials {
        tracing::error!(error = %e, url = self.settings.url, "the directory fails");
        BadCredentials::Unavailable
    }

    /// Whose password this is, with their groups; nobody's, when it is wrong.
    async fn ask(&self, user: &str, password: &str) -> Result<Option<User>, DirectoryError> {
        let Some((dn, found)) = self.find(user).await? else {
            return Ok(None);
        };
        let (timeout, doing) = (self.settings.timeout, "logging in as the user");
        let mut own = self.connect().await?;
        let known = bound(&mut own, timeout, &dn, password, doing).await?;
        let _ = own.unbind().await;
        Ok(known.then_some(found))
    }

    /// The entry of a user, and who that is.
    async fn find(&self, user: &str) -> Result<Option<(String, User)>, DirectoryError> {
        let settings = &self.settings;
        let mut searcher = self.connect().await?;
        if let Some(dn) = &settings.bind_dn {
            let doing = "logging in with auth.ldap.bind_dn";
            let secret = self.secret().await?;
            if !bound(&mut searcher, settings.timeout, dn, &secret, doing).await? {
                return Err(DirectoryError::Answer {
                    doing,
                    code: INVALID_CREDENTIALS,
                    text: "wrong name or password (auth.ldap.bind_password_file)".to_owned(),
                });
            }
        }
        let filter = settings.user_filter.replace("{user}", &ldap_escape(user));
        let found = search(&mut searcher, settings, &settings.base, &filter, "1.1", 2).await?;
        // Two of one name are nobody: which of them it is cannot be told.
        let [entry] = found.as_slice() else {
            return Ok(None);
        };
        let mut groups = Vec::new();
        if let Some(filter) = &settings.group_filter {
            let filter = filter.replace("{dn}", &ldap_escape(&*entry.dn));
            let filter = filter.replace("{user}", &ldap_escape(user));
            let (base, attribute) = (&settings.group_base, &settings.group_attribute);
            for group in search(&mut searcher, settings, base, &filter, attribute, 1000).await? {
                let named = group.attrs.into_iter();
                let named = named.filter(|(name, _)| name.eq_ignore_ascii_case(attribute));
                groups.extend(named.flat_map(|(_, values)| values));
            }
        }
        let _ = searcher.unbind().await;
        let who = User::new(user.to_owned(), groups, Proof::Directory);
        Ok(Some((entry.dn.clone(), who)))
    }

    async fn secret(&self) -> Result<String, DirectoryError> {
        let Some(path) = &self.settings.bind_password else {
            return Ok(String::new());
        };
        // Read each time: it may be changed at any.
        let text = tokio::fs::read_to_string(path).await;
        let text = text.map_err(|cause| DirectoryError::Read {
            path: path.clone(),
            cause,
        })?;
        Ok(text.trim_end_matches(['\n', '\r']).to_owned())
    }

    async fn connect(&self) -> Result<Ldap, DirectoryError> {
        let settings = &self.settings;
        let mut connection = LdapConnSettings::new()
            .set_conn_timeout(settings.timeout)
            .set_starttls(settings.start_tls);
        if let Some(path) = &settings.ca {
            let pem = tokio::fs::read(path)
                .await
                .map_err(|cause| DirectoryError::Read {
                    path: path.clone(),
                    cause,
                })?;
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate =
                    certificate.map_err(|_| DirectoryError::Certificates(path.clone()))?;
                roots.add(certificate).map_err(DirectoryError::Tls)?;
            }
            if roots.is_empty() {
                return Err(DirectoryError::Certificates(path.clone()));
            }
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(DirectoryError::Tls)?
                .with_root_certificates(roots)
                .with_no_client_auth();
            connection = connection.set_config(Arc::new(config));
        }
        let doing = "connecting";
        let (driver, ldap) = LdapConnAsync::with_settings(connection, &settings.url)
            .await
            .map_err(|cause| DirectoryError::Ldap { doing, cause })?;
        // It ends with the connection.
        tokio::spawn(async move {
            if let Err(e) = driver.drive().await {
                tracing::debug!(error = %e, "a connection to the directory ended");
            }
        });
        Ok(ldap)
    }
}

/// Logs in on a connection; whether the password is right.
async fn bound(
    ldap: &mut Ldap,
    timeout: Duration,
    dn: &str,
    password: &str,
    doing: &'static str,
) -> Result<bool, DirectoryError> {
    let bind = ldap.with_timeout(timeout).simple_bind(dn, password).await;
    let answer = bind.map_err(|cause| DirectoryError::Ldap { doing, cause })?;
    match answer.rc {
        0 => Ok(true),
        INVALID_CREDENTIALS | INAPPROPRIATE_AUTHENTICATION => Ok(false),
        code => Err(DirectoryError::Answer {
            doing,
            code,
            text: answer.text,
        }),
    }
}

/// Entries below `base` that a filter finds, `limit` at most, with one attribute.
async fn search(
    ldap: &mut Ldap,
    settings: &Directory,
    base: &str,
    filter: &str,
    attribute: &str,
    limit: i32,
) -> Result<Vec<SearchEntry>, DirectoryError> {
    let doing = "searching";
    let found = ldap
        .with_search_options(SearchOptions::new().sizelimit(limit))
        .with_timeout(settings.timeout)
        .search(base, Scope::Subtree, filter, vec![attribute])
        .await
        .map_err(|cause| DirectoryError::Ldap { doing, cause })?;
    let ldap3::SearchResult(entries, answer) = found;
    match answer.rc {
        0 | SIZE_LIMIT_EXCEEDED => {
            let entries = entries.into_iter().filter(|entry| !entry.is_ref());
            Ok(entries.map(SearchEntry::construct).collect())
        }
        code => Err(DirectoryError::Answer {
            doing,
            code,
            text: answer.text,
        }),
    }
}
