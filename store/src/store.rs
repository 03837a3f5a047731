//! The handle, and how a store is opened.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use oci::blob::DiskBlobs;
use rustix::fs::{Access, AtFlags, CWD};

use crate::db::{self, Db, Durability};
use crate::error::{Error, Result};
use crate::lock::{Gate, Lease};
use crate::root::Layout;
use crate::trash;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The builder's local store. Cheap to clone; several handles, in one process or in many, may
/// use the same directory at once.
#[derive(Clone, Debug)]
pub struct Store(pub(crate) Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub layout: Layout,
    pub db: Db,
    pub blobs: Arc<DiskBlobs>,
    pub boot_id: String,
    /// How many leases this handle has given out.
    pub leases: Arc<AtomicUsize>,
    /// Whether left-over staging directories have been looked for.
    pub tidied: AtomicBool,
    clock: AtomicI64,
}

/// Runs file operations where they may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

impl Store {
    /// Opens the store at `root`, making it if the directory is missing or empty; see
    /// [`default_root`](crate::default_root).
    ///
    /// # Errors
    /// [`Error::NotWritable`], [`Error::NotAStore`], [`Error::NewerSchema`], [`Error::Corrupt`],
    /// [`Error::Busy`], [`Error::DiskFull`].
    pub async fn open(root: impl AsRef<Path>) -> Result<Self> {
        let boot_id = fs::read_to_string(BOOT_ID).map_err(Error::io("reading", BOOT_ID))?;
        Self::open_in_boot(root.as_ref(), boot_id.trim()).await
    }

    /// [`open`](Self::open) in a boot of the caller's choosing, so that tests can have a reboot.
    pub(crate) async fn open_in_boot(root: &Path, boot_id: &str) -> Result<Self> {
        let layout = Layout::new(root).map_err(Error::io("finding", root))?;
        let (layout, blobs, gate) = blocking(move || prepare(layout)).await?;
        let db = Db::open(&layout.database)
            .await
            .map_err(|e| unwritable(&layout, e))?;
        let store = Self(Arc::new(Shared {
            layout,
            db,
            blobs: Arc::new(blobs),
            boot_id: boot_id.to_owned(),
            leases: Arc::default(),
            tidied: AtomicBool::new(false),
            clock: AtomicI64::new(0),
        }));
        let checked = async {
            store.check_schema(gate).await?;
            store.check_boot().await
        };
        let checked = checked.await;
        checked.map_err(|e| located(&store.0.layout, e))?;
        Ok(store)
    }

    async fn check_schema(&self, gate: Option<Gate>) -> Result<()> {
        let layout = &self.0.layout;
        let mut db = self.0.db.lock().await;
        let found = db::schema::version(&mut db).await?;
        db::schema::check(&layout.database, found)?;
        if found < db::schema::VERSION {
            let _gate = match gate {
                Some(gate) => gate,
                None => self.gate().await?,
            };
            db::schema::migrate(&mut db, &layout.database).await?;
        }
        Ok(())
    }

    /// After a reboot: snapshots that were not on disk when the machine went down are dropped,
    /// and what was left lying about is removed.
    async fn check_boot(&self) -> Result<()> {
        let boot_id = &self.0.boot_id;
        let mut db = self.0.db.lock().await;
        if db::meta::boot_id(&mut db).await?.as_deref() == Some(boot_id) {
            return Ok(());
        }
        let _gate = self.gate().await?;
        let mut tx = db.begin(Durability::Full).await?;
        if db::meta::boot_id(&mut tx).await?.as_deref() == Some(boot_id) {
            return Ok(());
        }
        let dropped = db::snapshots::drop_not_durable(&mut tx, boot_id).await?;
        if dropped > 0 {
            tracing::info!(dropped, "dropped snapshots that a crash may have damaged");
        }
        let live = db::snapshots::ids(&mut tx).await?;
        let shared = self.0.clone();
        // Still inside the transaction, in which nobody else can commit a snapshot. A crash here
        // rolls back and the next run does it again: no row is left for what was moved.
        blocking(move || discard_orphans(&shared.layout, &live)).await?;
        db::meta::set_boot_id(&mut tx, boot_id).await?;
        tx.commit().await?;
        Ok(())
    }

    pub(crate) async fn gate(&self) -> Result<Gate> {
        let shared = self.0.clone();
        blocking(move || Gate::exclusive(&shared.layout)).await
    }

    /// The store's root, absolute.
    pub fn root(&self) -> &Path {
        &self.0.layout.root
    }

    /// The content store for configurations, manifests and layer tars.
    pub fn blobs(&self) -> &Arc<DiskBlobs> {
        &self.0.blobs
    }

    /// Protects what this process uses from now on, and what it adds, from removal by other
    /// processes; see [`Lease`].
    ///
    /// # Errors
    /// [`Error::NotWritable`], [`Error::Io`].
    pub async fn lease(&self) -> Result<Lease> {
        let shared = self.0.clone();
        let now = self.now();
        blocking(move || Lease::take(&shared.layout, now, shared.leases.clone())).await
    }

    pub(crate) fn has_lease(&self) -> bool {
        self.0.leases.load(Ordering::SeqCst) > 0
    }

    /// Seconds since the epoch, never going backwards within a handle: a use must not look older
    /// than the lease that protects it when the clock is set back.
    pub(crate) fn now(&self) -> i64 {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| db::to_i64(d.as_secs()));
        self.0.clock.fetch_max(now, Ordering::SeqCst).max(now)
    }
}

/// Makes or checks the directories. When there is no database yet the gate comes along: a new one
/// is put into WAL mode, which does not wait for other connections but fails.
fn prepare(layout: Layout) -> Result<(Layout, DiskBlobs, Option<Gate>)> {
    let not_writable = |source| Error::NotWritable {
        root: layout.root.clone(),
        source,
    };
    let mut gate = None;
    if fs::metadata(&layout.database).map_or(0, |m| m.len()) == 0 {
        layout.create()?;
        gate = Some(Gate::exclusive(&layout)?);
    } else {
        // SQLite would silently open a database read-only that it may not write.
        for path in [&layout.root, &layout.database] {
            rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS)
                .map_err(|e| not_writable(e.into()))?;
        }
    }
    let blobs = DiskBlobs::open(&layout.root)?;
    Ok((layout, blobs, gate))
}

/// "unable to open database file" says neither which nor what to do.
fn unwritable(layout: &Layout, error: Error) -> Error {
    match error {
        Error::Database(e) => Error::NotWritable {
            root: layout.root.clone(),
            source: io::Error::other(e),
        },
        other => located(layout, other),
    }
}

/// Says which database is damaged: that is found out when it is opened, as a rule.
fn located(layout: &Layout, error: Error) -> Error {
    match error {
        Error::Corrupt { message } => {
            Error::corrupt(format!("{}: {message}", layout.database.display()))
        }
        other => other,
    }
}

/// The directories of snapshots that have no row.
pub(crate) fn orphans(layout: &Layout, live: &HashSet<i64>) -> Result<Vec<PathBuf>> {
    let failed = || Error::io("reading", &layout.snapshots);
    let mut found = Vec::new();
    for entry in fs::read_dir(&layout.snapshots).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let id = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i64>().ok());
        if id.is_some_and(|id| !live.contains(&id)) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

pub(crate) fn discard_orphans(layout: &Layout, live: &HashSet<i64>) -> Result<()> {
    for path in orphans(layout, live)? {
        trash::discard(layout, &path)?;
    }
    trash::collect_staging(layout)
}
