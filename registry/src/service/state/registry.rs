//! One registry: its directory, and all that is done with it.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use super::cached::{Blob, StoredManifest};
use super::gap::Gap;
use super::leases::Leases;
use super::ledger::SharedLedger;
use super::looking::Looking;
use super::mending::recover;
use super::open_uploads::OpenUploads;
use super::pulls::Pulls;
use super::stop::Stop;
use crate::cache::Cache;
use crate::events::Subscribers;
use crate::meta::{Company, Meta, Place};
use crate::policy::Policy;
use crate::service::error::ServiceError;
use crate::storage::{
    Backend, Blobs, Context, Identity, LISTINGS, Standing, StorageError, Uploads, create,
    keep_private, make_dir,
};
use crate::sync::{blocking, read, write};

/// The database's file.
pub(in crate::service) const DATABASE: &str = "registry.db";

/// Bytes of manifests kept in memory.
const MANIFEST_CACHE: usize = 12 << 20;
/// Bytes of small blobs, and of what is known about others, kept in memory.
const BLOB_CACHE: usize = 12 << 20;

/// How long a client that was told that a blob is there may take to push what needs it.
const LEASE: Duration = Duration::from_secs(24 * 3600);

/// One registry: its directory, and all that is done with it.
#[derive(Debug)]
pub struct Registry {
    pub(in crate::service) meta: Meta,
    pub(in crate::service) blobs: Blobs,
    pub(in crate::service) uploads: Uploads,
    pub(in crate::service) open_uploads: OpenUploads,
    pub(in crate::service) manifest_cache: Arc<Cache<Arc<StoredManifest>>>,
    pub(in crate::service) blob_cache: Arc<Cache<Arc<Blob>>>,
    pub(in crate::service) leases: Arc<Leases>,
    /// Layers that are looked into.
    pub(in crate::service) looking: Looking,
    pub(in crate::service) collecting: tokio::sync::Mutex<()>,
    /// Which directories the next regular collection sweeps.
    pub(in crate::service) turn: AtomicUsize,
    /// Between the newest blob that the database knew when it was opened and that moment.
    pub(in crate::service) gap: Gap,
    pub(in crate::service) pulls: Pulls,
    /// The rules; those about tags may change.
    rules: RwLock<Arc<Policy>>,
    /// Held by whoever makes the files of small content durable.
    pub(super) settling: tokio::sync::Mutex<()>,
    pub(in crate::service) stop: Stop,
    pub(in crate::service) subscribers: Option<Arc<Subscribers>>,
    /// Only where something is limited.
    pub(in crate::service) ledger: Option<SharedLedger>,
    pub(in crate::service) data_dir: Box<Path>,
    /// Commits that the last backup has.
    pub(in crate::service) backed_up: tokio::sync::Mutex<Option<u64>>,
    /// Held for as long as this process serves the directory.
    _lock: File,
}

impl Registry {
    /// The steps that SQLite took until now.
    #[cfg(test)]
    pub(crate) fn steps(&self) -> u64 {
        self.meta.steps.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Opens the registry in `data_dir`, made when needed.
    ///
    /// # Errors
    /// [`ServiceError::Storage`], [`StorageError::Locked`] in it when another process serves the
    /// directory; [`ServiceError::DatabaseMissing`], [`ServiceError::Meta`].
    pub async fn open(data_dir: &Path) -> Result<Self, ServiceError> {
        Self::with_policy(data_dir, Policy::default()).await
    }

    /// The same, with rules for its tags and for how much it may store.
    ///
    /// # Errors
    /// As [`Registry::open`].
    pub async fn with_policy(data_dir: &Path, policy: Policy) -> Result<Self, ServiceError> {
        Self::with_backend(data_dir, policy, &Backend::Disk).await
    }

    /// The same, with its blobs wherever they are.
    ///
    /// # Errors
    /// As [`Registry::open`]; [`StorageError::Elsewhere`] when the directory and the object store
    /// do not belong together, [`StorageError::Store`] when that does not answer.
    pub async fn with_backend(
        data_dir: &Path,
        policy: Policy,
        backend: &Backend,
    ) -> Result<Self, ServiceError> {
        let database = Place::File(data_dir.join(DATABASE));
        Self::with_database(data_dir, policy, backend, &database).await
    }

    /// The same, with its metadata wherever that is. Where both are on servers, other processes may
    /// serve them too.
    ///
    /// # Errors
    /// As [`Registry::with_backend`].
    pub async fn with_database(
        data_dir: &Path,
        policy: Policy,
        backend: &Backend,
        database: &Place,
    ) -> Result<Self, ServiceError> {
        let company = match backend {
            Backend::Disk => Company::Alone,
            Backend::Objects(_) => Company::Shared,
        };
        Self::in_company(data_dir, policy, backend, (database, company)).await
    }

    /// The same, with nobody else at work.
    ///
    /// # Errors
    /// As [`Registry::with_backend`]; [`ServiceError::Meta`] when somebody is.
    pub async fn alone(
        data_dir: &Path,
        policy: Policy,
        backend: &Backend,
        database: &Place,
    ) -> Result<Self, ServiceError> {
        Self::in_company(data_dir, policy, backend, (database, Company::Alone)).await
    }

    async fn in_company(
        data_dir: &Path,
        policy: Policy,
        backend: &Backend,
        (database, company): (&Place, Company),
    ) -> Result<Self, ServiceError> {
        let dir = data_dir.to_owned();
        let lock = blocking(move || {
            make_dir(&dir)?;
            lock(&dir)
        })
        .await?;
        let missing = Meta::is_missing(database).await?;
        let blobs = Blobs::open(data_dir, backend).await?;
        if missing && blobs.are_any(data_dir).await? {
            // An empty one would make garbage of everything.
            return Err(ServiceError::DatabaseMissing(database.to_string()));
        }
        let standing = match Meta::is_empty(database).await? {
            true => Standing::Fresh,
            false => Standing::Known,
        };
        let known = Meta::store_at(database).await?.map(Identity::from);
        let identity = blobs.claim(data_dir, known, standing).await?;
        let place = (database, company);
        let registry = Self::open_locked(data_dir, place, policy, lock, blobs).await?;
        if let Some(identity) = identity {
            registry.keep_identity(identity).await?;
        }
        registry.beat().await?;
        Ok(registry)
    }

    /// Has the database know whose object store has the blobs. Who opens it at the same time may
    /// have been first: then it is that one's, and both are the same registry.
    async fn keep_identity(&self, identity: Identity) -> Result<(), ServiceError> {
        let own = (identity.id.clone(), identity.root.clone());
        let kept = Identity::from(self.meta.keep_store(own).await?);
        if kept.id != identity.id {
            self.blobs
                .claim(&self.data_dir, Some(kept), Standing::Agreed)
                .await?;
        }
        Ok(())
    }

    /// The same for a directory that this process has locked, with its database anywhere.
    ///
    /// # Errors
    /// As [`Registry::open`].
    pub(in crate::service) async fn open_locked(
        data_dir: &Path,
        (database, company): (&Place, Company),
        policy: Policy,
        lock: File,
        blobs: Blobs,
    ) -> Result<Self, ServiceError> {
        let uploads = Uploads::of(&blobs, data_dir).await?;
        if let Place::File(file) = database {
            let file = file.clone();
            // SQLite gives what it keeps beside a database the mode of the database.
            blocking(move || create(&file).context("create", &file)).await?;
        }
        let ledger = SharedLedger::new(&policy.quotas);
        let watch = ledger.as_ref().map(SharedLedger::watch);
        let meta = Meta::open(database, company, watch).await?;
        let uploads = match meta.is_shared() {
            true => uploads.share(),
            false => uploads,
        };
        recover(&meta, &blobs).await?;
        let there = uploads.unfinished().await?;
        let open_uploads = OpenUploads::default();
        open_uploads.found(there.iter().map(|upload| upload.id));
        if let Some(ledger) = &ledger {
            ledger.found(there);
        }
        let gap = Gap::of(&meta).await?;
        let manifest_cache = Arc::new(Cache::new(MANIFEST_CACHE));
        let blob_cache = Arc::new(Cache::new(BLOB_CACHE));
        let (manifests, small) = (Arc::clone(&manifest_cache), Arc::clone(&blob_cache));
        meta.on_doubt(Box::new(move || {
            manifests.clear();
            small.clear();
        }));
        Ok(Self {
            meta,
            gap,
            blobs,
            uploads,
            open_uploads,
            manifest_cache,
            blob_cache,
            leases: Arc::new(Leases::new(LEASE)),
            looking: Looking::default(),
            collecting: tokio::sync::Mutex::default(),
            // Not always the first one: a process may not live through all turns.
            turn: AtomicUsize::new(usize::try_from(crate::clock::now()).unwrap_or(0)),
            pulls: Pulls::default(),
            rules: RwLock::new(Arc::new(policy)),
            settling: tokio::sync::Mutex::default(),
            stop: Stop::new(),
            subscribers: None,
            ledger,
            data_dir: data_dir.into(),
            backed_up: tokio::sync::Mutex::default(),
            _lock: lock,
        })
    }

    /// The rules, as they are now.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&read(&self.rules))
    }

    /// Goes on with other rules. A collection under way ends with those that it began with.
    pub fn take_rules(&self, policy: Policy) {
        *write(&self.rules) = Arc::new(policy);
    }

    /// Whether the registry can serve.
    ///
    /// # Errors
    /// [`ServiceError::Meta`], [`ServiceError::Storage`].
    pub async fn ready(&self) -> Result<(), ServiceError> {
        self.meta.ping().await?;
        Ok(self.blobs.ping().await?)
    }

    /// Whether this process does what only one has to do, of those that serve together.
    pub fn leads(&self) -> bool {
        self.meta.leads()
    }

    /// Whether other processes may serve the same.
    pub fn is_shared(&self) -> bool {
        self.meta.is_shared()
    }

    /// Writes down when manifests were last pulled.
    ///
    /// # Errors
    /// [`ServiceError::Meta`].
    pub async fn flush_pulls(&self) -> Result<(), ServiceError> {
        let pulls = self.pulls.take();
        if !pulls.is_empty() {
            self.meta.mark_pulled(&pulls).await?;
        }
        Ok(())
    }

    /// Commits what is waiting and closes the database.
    pub async fn close(&self) {
        self.stop.tell();
        if let Err(e) = self.flush_pulls().await {
            tracing::warn!(error = %e, "when manifests were last pulled is not noted");
        }
        if let Err(e) = self.settle().await {
            tracing::warn!(error = %e, "small files are not synced; the next start sees to it");
        }
        self.meta.close().await;
    }
}

/// What a registry keeps in its directory is for its user alone, however the directory was made.
fn close_to_others(data_dir: &Path) {
    keep_private(data_dir);
    for name in [
        "blobs",
        "staging",
        "uploads",
        LISTINGS,
        "lock",
        "storage",
        "token.key",
        "htpasswd",
        "tokens.json",
        "tokens.lock",
    ] {
        keep_private(&data_dir.join(name));
    }
    let entries = std::fs::read_dir(data_dir).into_iter().flatten().flatten();
    for entry in entries {
        // The database, its copy, damaged ones, and what SQLite keeps beside each.
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(b"registry.")
        {
            keep_private(&entry.path());
        }
    }
}

/// Locks a registry's directory for this process, until the file is dropped.
///
/// # Errors
/// [`StorageError::Locked`] when another process has it.
pub(in crate::service) fn lock(data_dir: &Path) -> Result<File, StorageError> {
    let path = data_dir.join("lock");
    let file = create(&path).context("create", &path)?;
    match file.try_lock() {
        Ok(()) => {
            close_to_others(data_dir);
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => Err(StorageError::Locked(data_dir.to_owned())),
        Err(TryLockError::Error(e)) => Err(e).context("lock", &path),
    }
}
