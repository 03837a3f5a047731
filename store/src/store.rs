//! The handle, and how a store is opened.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use oci::blob::DiskBlobs;
use rustix::fs::{Access, AtFlags, CWD};

use crate::db::{self, Db, Durability};
use crate::error::{Error, Result};
use crate::lock::{Gate, Lease, SLACK_SECONDS};
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
        // A store that is there costs a few `stat` calls, less than another thread would.
        let gate = if fs::metadata(&layout.database).map_or(0, |m| m.len()) == 0 {
            let layout = layout.clone();
            Some(blocking(move || create(&layout)).await?)
        } else {
            check_writable(&layout)?;
            None
        };
        let blobs = DiskBlobs::open(&layout.root)?;
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
        let checked = store.check(gate).await;
        checked.map_err(|e| located(&store.0.layout, e))?;
        Ok(store)
    }

    async fn check(&self, gate: Option<Gate>) -> Result<()> {
        let layout = &self.0.layout;
        let mut db = self.0.db.lock().await;
        // What holds nearly always is found out in one query.
        let current = (db::schema::VERSION, self.0.boot_id.clone());
        match db::meta::state(&mut db).await {
            Ok(state) if state == current => return Ok(()),
            Ok((version, _)) => db::schema::check(&layout.database, version)?,
            // There is no such table yet, or the database is damaged, which shows below.
            Err(_) => {}
        }
        let gate = match gate {
            Some(gate) => gate,
            None => self.gate().await?,
        };
        db::schema::migrate(&mut db, &layout.database).await?;
        self.check_boot(&mut db, gate).await
    }

    /// After a reboot: snapshots that were not on disk when the machine went down are dropped,
    /// and what was left lying about is removed.
    async fn check_boot(&self, db: &mut db::Reader<'_>, gate: Gate) -> Result<()> {
        let boot_id = &self.0.boot_id;
        let since = self.since();
        let mut tx = db.begin(Durability::Full).await?;
        if db::meta::boot_id(&mut tx).await?.as_deref() == Some(boot_id) {
            return Ok(());
        }
        let lost = db::snapshots::drop_not_durable(&mut tx, boot_id).await?;
        if !lost.is_empty() {
            tracing::info!(
                count = lost.len(),
                "dropped layers that a crash may have damaged"
            );
        }
        let live = db::snapshots::ids(&mut tx).await?;
        db::meta::set_boot_id(&mut tx, boot_id).await?;
        tx.commit().await?;
        let shared = self.0.clone();
        blocking(move || {
            let _gate = gate;
            for id in lost {
                trash::discard(&shared.layout, &shared.layout.snapshot(id))?;
            }
            discard_orphans(&shared.layout, &live, since)
        })
        .await
    }

    pub(crate) async fn gate(&self) -> Result<Gate> {
        let shared = self.0.clone();
        blocking(move || Gate::exclusive(&shared.layout)).await
    }

    /// The store's root, absolute.
    pub fn root(&self) -> &Path {
        &self.0.layout.root
    }

    /// A directory for data that can be made again, made when it is first asked for.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn derived_dir(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.layout.derived.join(name);
        blocking(move || {
            fs::create_dir_all(&path).map_err(Error::io("making", &path))?;
            Ok(path)
        })
        .await
    }

    /// A directory for temporary files.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn scratch_dir(&self) -> Result<PathBuf> {
        self.derived_dir("tmp").await
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

    /// For [`discard_orphans`]; to be taken before the rows are read.
    pub(crate) fn since(&self) -> Since {
        Since(self.now() - SLACK_SECONDS)
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

/// Makes the directories. The gate is kept while a database is made in them: a new one is put
/// into WAL mode, which does not wait for other connections but fails.
fn create(layout: &Layout) -> Result<Gate> {
    layout.create()?;
    Gate::exclusive(layout)
}

/// SQLite would silently open a database read-only that it may not write.
fn check_writable(layout: &Layout) -> Result<()> {
    for path in [&layout.root, &layout.database] {
        rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).map_err(|e| {
            Error::NotWritable {
                root: layout.root.clone(),
                cause: e.into(),
            }
        })?;
    }
    Ok(())
}

/// "unable to open database file" says neither which nor what to do.
fn unwritable(layout: &Layout, error: Error) -> Error {
    match error {
        Error::Database(e) => Error::NotWritable {
            root: layout.root.clone(),
            cause: io::Error::other(e),
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

/// Moves into the trash what has no row: directories of snapshots, except those put in place
/// after `since`, when the IDs that are `live` were not read yet; and left-over staging.
pub(crate) fn discard_orphans(layout: &Layout, live: &HashSet<i64>, since: Since) -> Result<()> {
    let failed = || Error::io("reading", &layout.snapshots);
    for entry in fs::read_dir(&layout.snapshots).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let id = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i64>().ok());
        if id.is_none_or(|id| live.contains(&id)) {
            continue;
        }
        match entry.metadata() {
            // A rename sets the time of change.
            Ok(metadata) if metadata.ctime() < since.0 => {
                trash::discard(layout, &entry.path())?;
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("reading", entry.path())(e)),
        }
    }
    trash::collect_staging(layout)
}

/// Seconds since the epoch, some of them taken off for the coarser clock of file times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since(i64);

#[cfg(test)]
impl Since {
    /// Later than any file.
    pub const END: Self = Self(i64::MAX);
}
