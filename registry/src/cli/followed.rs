//! What `rregistry serve` takes up while it runs.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oci::causes::with_causes;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinHandle};

use super::failure::Failure;
use crate::auth::{Auth, Change};
use crate::config::Settings;
use crate::events::Noted;
use crate::reload::{Read, Source, follow};
use crate::service::Registry;
use crate::sync::{blocking, lock};
use crate::tls::Reloading;

/// Settings that count at once when their file changes, beside those of `auth`.
const AT_ONCE: [&str; 6] = [
    "access",
    "groups",
    "oidc",
    "immutable",
    "retention",
    "storage.read_only",
];

/// How settings are read.
pub(super) type ReadSettings = Arc<dyn Fn() -> Result<Settings, Failure> + Send + Sync>;

/// What is followed.
pub(super) struct Followed {
    /// The file of settings, and how it is read with all that overrides it.
    pub(super) file: Option<PathBuf>,
    pub(super) read: ReadSettings,
    /// The settings of the start.
    pub(super) settings: Settings,
    pub(super) auth: Option<Arc<Auth>>,
    pub(super) tls: Option<Reloading>,
    pub(super) read_only: Arc<AtomicBool>,
    pub(super) registry: Arc<Registry>,
}

/// What a task failed with, in words.
struct Failed(String);

impl From<JoinError> for Failed {
    fn from(e: JoinError) -> Self {
        Self(e.to_string())
    }
}

impl Followed {
    /// Follows all of it: every `interval` where there is one, and on SIGHUP.
    pub(super) fn follow(self, interval: Option<Duration>) -> Result<[JoinHandle<()>; 2], Failure> {
        let mut hangup = signal(SignalKind::hangup())?;
        let all = Arc::<Notify>::default();
        let told = Arc::clone(&all);
        let signals = tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                told.notify_one();
            }
        });
        Ok([follow(self.sources(), interval, all), signals])
    }

    fn sources(self) -> Vec<Source> {
        let mut sources = Vec::new();
        if let Some(tls) = self.tls {
            let files = tls.files();
            let read = move || certificates(tls.clone());
            sources.push(Source::new("certificates", move || files.clone(), read));
        }
        if let Some(auth) = self.auth.clone() {
            let again = Arc::clone(&auth);
            // They are followed by whoever looks for a user.
            let read = move || passwords(Arc::clone(&again));
            sources.push(Source::new("passwords", Vec::new, read));
            let again = Arc::clone(&auth);
            let read = move || keys(Arc::clone(&again));
            sources.push(Source::new("keys for tokens", move || auth.files(), read));
        }
        if let Some(auth) = self.auth.clone() {
            let (again, registry) = (Arc::clone(&auth), Arc::clone(&self.registry));
            let read = move || {
                let (auth, registry) = (Arc::clone(&again), Arc::clone(&registry));
                async move {
                    note_people(&auth, &registry).await;
                    Ok(None)
                }
            };
            sources.push(Source::new("people", move || auth.people_files(), read));
        }
        if let Some(file) = self.file {
            let settings = Arc::new(Changing {
                read: self.read,
                now: Mutex::new(self.settings),
                auth: self.auth.clone(),
                read_only: self.read_only,
                registry: Arc::clone(&self.registry),
            });
            let read = move || {
                let settings = Arc::clone(&settings);
                async move { settings.take_up().await }
            };
            sources.push(Source::new("settings", move || vec![file.clone()], read));
        }
        sources
    }
}

async fn certificates(tls: Reloading) -> Read {
    let read = blocking(move || tls.reload().map_err(|e| Failed(e.to_string())));
    read.await.map_err(|Failed(why)| why)?;
    Ok(Some("tls.cert, tls.key".to_owned()))
}

async fn passwords(auth: Arc<Auth>) -> Read {
    let read = blocking(move || auth.reload_passwords().map_err(|e| Failed(e.to_string())));
    let any = read.await.map_err(|Failed(why)| why)?;
    Ok(any.then(|| "auth.htpasswd".to_owned()))
}

/// Notes who came and went, by whatever program: users of the file, and personal tokens.
pub(super) async fn note_people(auth: &Arc<Auth>, registry: &Registry) {
    let changes = auth.changed_people().await;
    let noted: Vec<Noted> = changes.into_iter().map(noted).collect();
    registry.note(&None, &noted).await;
    if let Err(e) = auth.keep_people().await {
        tracing::warn!(error = %e, "people.json is not written: users that change while the registry is stopped will not be noted");
    }
}

fn noted(change: Change) -> Noted {
    let of = |action, user: String| Noted::new(action).with("of", user);
    match change {
        Change::UserAdded(user) => of("user.add", user),
        Change::UserRemoved(user) => of("user.remove", user),
        Change::PasswordChanged(user) => of("user.password", user),
        Change::TokenMade(id, user) => of("token.make", user).with("token", id),
        Change::TokenRevoked(id, user) => of("token.revoke", user).with("token", id),
    }
}

async fn keys(auth: Arc<Auth>) -> Read {
    if auth.follows_keys() {
        auth.read_again().await.map_err(|e| e.to_string())?;
        return Ok(Some("the key for tokens, or a token server's".to_owned()));
    }
    Ok(None)
}

/// The file of settings while it changes.
struct Changing {
    read: ReadSettings,
    now: Mutex<Settings>,
    auth: Option<Arc<Auth>>,
    read_only: Arc<AtomicBool>,
    registry: Arc<Registry>,
}

impl Changing {
    async fn take_up(self: Arc<Self>) -> Read {
        let registry = Arc::clone(&self.registry);
        let done = blocking(move || self.change().map_err(|e| Failed(with_causes(&*e))));
        let done = done.await.map_err(|Failed(why)| why)?;
        if let Some(what) = &done {
            let noted = Noted::new("settings.reload").with("settings", what.as_str());
            registry.note(&None, &[noted]).await;
        }
        Ok(done)
    }

    /// Takes up what counts at once, and says what else was changed.
    fn change(&self) -> Result<Option<String>, Failure> {
        let settings = (self.read)()?;
        let config = settings.clone().check()?;
        let changed = lock(&self.now).differences(&settings);
        if changed.is_empty() {
            return Ok(None);
        }
        let policy = config.policy;
        let rules = self.registry.policy();
        let rules = rules.with_rules(policy.immutable, policy.retention)?;
        if let Some(auth) = &self.auth {
            auth.change(&config.auth)?;
        }
        self.registry.take_rules(rules);
        self.read_only.store(config.read_only, Relaxed);
        *lock(&self.now) = settings;
        let logs_in = self.auth.is_some();
        let (at_once, later): (Vec<&str>, Vec<&str>) = changed
            .into_iter()
            .partition(|name| AT_ONCE.contains(name) || logs_in && name.starts_with("auth."));
        if !later.is_empty() {
            tracing::warn!(
                settings = later.join(", "),
                "settings were changed that need a restart"
            );
        }
        Ok((!at_once.is_empty()).then(|| at_once.join(", ")))
    }
}
