//! The users of a password file, and the passwords that were right lately.
//!
//! bcrypt is slow on purpose. So passwords are looked at by few at once, one of each address, and
//! the rest of the registry goes on; and after some wrong ones not at all for a while.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::backoff::{Backoff, Guesser};
use super::header::basic;
use super::htpasswd::{Htpasswd, HtpasswdError};
use super::identity::{BadCredentials, Identity};
use crate::stamp::Stamp;
use crate::sync::{blocking, lock, read, write};

/// Passwords that were right lately, so that bcrypt's deliberate slowness is paid once.
const REMEMBERED: usize = 1024;
/// The file is not looked at again sooner than this.
const LOOK: Duration = Duration::from_millis(20);

/// The users, as their file has them.
#[derive(Debug)]
pub(super) struct Users {
    path: PathBuf,
    known: RwLock<Htpasswd>,
    /// Hashes of credentials that were right; forgotten when the file is read again.
    remembered: RwLock<HashMap<[u8; 32], Arc<str>>>,
    seen: Mutex<Seen>,
    /// One password of each address is looked at, the others wait their turn.
    turns: Mutex<HashMap<IpAddr, Arc<tokio::sync::Mutex<()>>>>,
    /// How many are looked at altogether.
    lookers: Semaphore,
    backoff: Mutex<Backoff>,
}

/// When the file was last looked at, and what it was then.
#[derive(Debug)]
struct Seen {
    at: Instant,
    stamp: Option<Stamp>,
}

impl Users {
    /// Reads the file.
    ///
    /// # Errors
    /// [`HtpasswdError`].
    pub(super) fn open(path: &Path) -> Result<Self, HtpasswdError> {
        // Taken before it is read: what changes meanwhile is read again.
        let stamp = Stamp::of(path);
        // Half of the processors are for everything else.
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            path: path.to_owned(),
            known: RwLock::new(read_users(path)?),
            remembered: RwLock::default(),
            seen: Mutex::new(Seen {
                at: Instant::now(),
                stamp,
            }),
            turns: Mutex::default(),
            lookers: Semaphore::new((processors / 2).max(1)),
            backoff: Mutex::default(),
        })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file again.
    ///
    /// # Errors
    /// [`HtpasswdError`]; the users stay as they were.
    pub(super) fn reload(&self) -> Result<(), HtpasswdError> {
        let fresh = read_users(&self.path)?;
        *write(&self.known) = fresh;
        write(&self.remembered).clear();
        Ok(())
    }

    /// Reads the file again if it was changed since.
    pub(super) async fn follow(self: &Arc<Self>) {
        let now = Instant::now();
        {
            let mut seen = lock(&self.seen);
            if now.saturating_duration_since(seen.at) < LOOK {
                return;
            }
            seen.at = now;
        }
        let this = Arc::clone(self);
        let looked = blocking(move || {
            let fresh = Stamp::of(&this.path);
            let changed = lock(&this.seen).stamp != fresh;
            if changed {
                match this.reload() {
                    Ok(()) => tracing::info!("passwords read again: their file was changed"),
                    Err(e) => tracing::error!(error = %e, "passwords stay as they were"),
                }
                // Also when it could not be read: once is enough to say that.
                lock(&this.seen).stamp = fresh;
            }
            Ok::<_, tokio::task::JoinError>(())
        });
        if let Err(e) = looked.await {
            tracing::error!(error = %e, "the password file could not be looked at");
        }
    }

    /// Whether this `Authorization` header holds a password that was right lately.
    pub(super) fn remembers(&self, header: &str) -> bool {
        self.recall(&fingerprint(header)).is_some()
    }

    fn recall(&self, fingerprint: &[u8; 32]) -> Option<Arc<str>> {
        read(&self.remembered).get(fingerprint).cloned()
    }

    /// Whether there is a user of this name now.
    pub(super) fn has(&self, user: &str) -> bool {
        read(&self.known).hash(user).is_some()
    }

    /// Whose password this `Authorization` header holds, which came from an address.
    ///
    /// # Errors
    /// [`BadCredentials`].
    pub(super) async fn login(
        self: &Arc<Self>,
        header: &str,
        address: IpAddr,
    ) -> Result<Identity, BadCredentials> {
        self.follow().await;
        let fingerprint = fingerprint(header);
        if let Some(user) = self.recall(&fingerprint) {
            return Ok(Identity::User(user.into()));
        }
        let (user, password) = basic(header).ok_or(BadCredentials::Wrong)?;
        let turn = self.turn(address);
        let known = {
            let _turn = turn.lock().await;
            self.look(user, password, fingerprint, address).await
        };
        drop(turn);
        self.forget_turn(address);
        known
    }

    /// Looks at a password, once it is its turn.
    async fn look(
        self: &Arc<Self>,
        user: String,
        password: String,
        fingerprint: [u8; 32],
        address: IpAddr,
    ) -> Result<Identity, BadCredentials> {
        // The one before may have been the same.
        if let Some(user) = self.recall(&fingerprint) {
            return Ok(Identity::User(user.into()));
        }
        let guessers = [Guesser::Address(address), Guesser::User(user.clone())];
        let wait = lock(&self.backoff).wait(&guessers, Instant::now());
        if !wait.is_zero() {
            return Err(BadCredentials::Wait(wait));
        }
        let looker = self.lookers.acquire().await;
        let looker = looker.map_err(|_| BadCredentials::Wrong)?;
        let this = Arc::clone(self);
        let looked = blocking(move || {
            // Not the lock for as long as that takes: others read their users meanwhile.
            let known = read(&this.known).clone();
            if !known.verify(&user, &password) {
                return Err(BadCredentials::Wrong);
            }
            let user: Arc<str> = user.into();
            let mut remembered = write(&this.remembered);
            // Who was removed meanwhile is not remembered.
            if *read(&this.known) == known {
                if remembered.len() >= REMEMBERED {
                    remembered.clear();
                }
                remembered.insert(fingerprint, Arc::clone(&user));
            }
            Ok(Identity::User(user.into()))
        })
        .await;
        drop(looker);
        let mut backoff = lock(&self.backoff);
        match &looked {
            Ok(_) => backoff.right(&guessers),
            Err(_) => backoff.wrong(&guessers, Instant::now()),
        }
        looked
    }

    fn turn(&self, address: IpAddr) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(lock(&self.turns).entry(address).or_default())
    }

    /// Forgets the turns of an address where nobody waits.
    fn forget_turn(&self, address: IpAddr) {
        let mut turns = lock(&self.turns);
        let idle = turns
            .get(&address)
            .is_some_and(|t| Arc::strong_count(t) == 1);
        if idle {
            turns.remove(&address);
        }
    }

    /// What `work` makes of the users as they are now.
    pub(super) fn with<T>(&self, work: impl FnOnce(&Htpasswd) -> T) -> T {
        work(&read(&self.known))
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
