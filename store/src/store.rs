//! The handle, and how a store is opened.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oci::blob::DiskBlobs;
use rustix::fs::{Access, AtFlags, CWD};
use tokio::task::JoinHandle;

use crate::db::sqlite::Connection;
use crate::db::{self, Db, Durability};
use crate::error::{Error, MAX_ROOT, Result};
use crate::lock::{Gate, Lease, Leases};
use crate::reserve::{self, Purpose};
use crate::root::Layout;
use crate::{read_only, trash};

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
    /// The leases that this handle has given out.
    pub leases: Arc<Leases>,
    /// Nothing can be written, not even that something is used.
    pub read_only: bool,
    /// Deletions that nobody has waited for.
    dropped: Mutex<Vec<JoinHandle<()>>>,
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
    /// [`Error::Busy`], [`Error::DiskFull`], [`Error::PathTooLong`].
    pub async fn open(root: impl AsRef<Path>) -> Result<Self> {
        Self::open_for(root.as_ref(), Purpose::Write).await
    }

    /// [`open`](Self::open) for looking only: works on a full disk, and where nothing can be
    /// written. There every write is [`Error::ReadOnly`].
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_to_read(root: impl AsRef<Path>) -> Result<Self> {
        Self::open_for(root.as_ref(), Purpose::Read).await
    }

    /// [`open`](Self::open) for removing: on a full disk the space that is put aside is used.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_to_remove(root: impl AsRef<Path>) -> Result<Self> {
        Self::open_for(root.as_ref(), Purpose::Remove).await
    }

    async fn open_for(root: &Path, purpose: Purpose) -> Result<Self> {
        let boot_id = fs::read_to_string(BOOT_ID).map_err(Error::io("reading", BOOT_ID))?;
        Self::open_in(root, boot_id.trim(), purpose).await
    }

    /// [`open`](Self::open) in a boot of the caller's choosing, so that tests can have a reboot.
    #[cfg(test)]
    pub(crate) async fn open_in_boot(root: &Path, boot_id: &str) -> Result<Self> {
        Self::open_in(root, boot_id, Purpose::Write).await
    }

    async fn open_in(root: &Path, boot_id: &str, purpose: Purpose) -> Result<Self> {
        let layout = Layout::new(root).map_err(Error::io("finding", root))?;
        let length = layout.root.as_os_str().len();
        if length > MAX_ROOT {
            return Err(Error::PathTooLong { length });
        }
        // A store that is there costs a few `stat` calls, less than another thread would.
        let there = fs::metadata(&layout.database).map_or(0, |m| m.len()) > 0;
        if there && purpose == Purpose::Read && read_only::is_so(&layout) {
            let db = read_only::open(&layout).await;
            let db = db.map_err(|e| located(&layout, e))?;
            let blobs = DiskBlobs::open_existing(&layout.root);
            return Ok(Self::with(layout, db, blobs, boot_id, true));
        }
        let gate = if there {
            check_writable(&layout)?;
            if let Err(e) = layout.close_to_others() {
                tracing::warn!(error = %e, "the store is open to other users");
            }
            if reserve::is_short(&layout) {
                // It writes to the disk, and may have to wait for it.
                let room = layout.clone();
                blocking(move || reserve::make_room(&room, purpose)).await?;
            }
            None
        } else {
            let layout = layout.clone();
            Some(blocking(move || create(&layout)).await?)
        };
        let blobs = DiskBlobs::open(&layout.root)?;
        // It allocates, and may have to wait for another process.
        let room = layout.clone();
        let held = blocking(move || reserve::hold(&room)).await?;
        let db = Db::open(&layout.database)
            .await
            .map_err(|e| unwritable(&layout, e))?;
        let store = Self::with(layout, db, blobs, boot_id, false);
        let checked = store.check(gate).await;
        checked.map_err(|e| located(&store.0.layout, e))?;
        // It has been read: SQLite holds its memory itself.
        drop(held);
        Ok(store)
    }

    fn with(layout: Layout, db: Db, blobs: DiskBlobs, boot_id: &str, read_only: bool) -> Self {
        Self(Arc::new(Shared {
            layout,
            db,
            blobs: Arc::new(blobs),
            boot_id: boot_id.to_owned(),
            leases: Arc::default(),
            read_only,
            dropped: Mutex::default(),
            tidied: AtomicBool::new(false),
            clock: AtomicI64::new(0),
        }))
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
        db::meta::set_boot_id(&mut tx, boot_id).await?;
        let shared = self.0.clone();
        // Nothing gets its place or its row while we hold the transaction.
        let known = Known::read(&mut tx).await?;
        let left = blocking(move || orphans(&shared.layout, &known)).await?;
        tx.commit().await?;
        let shared = self.0.clone();
        blocking(move || {
            let _gate = gate;
            for path in left {
                trash::discard(&shared.layout, &path)?;
            }
            trash::collect_staging(&shared.layout)
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
        if self.0.read_only {
            return Ok(Lease::not_needed());
        }
        let shared = self.0.clone();
        let now = self.now();
        blocking(move || Lease::take(&shared.layout, now, shared.leases.clone())).await
    }

    pub(crate) fn has_lease(&self) -> bool {
        self.0.leases.any()
    }

    /// With a lease held, keeps removal out between looking something up and
    /// [announcing](Self::announce) it. To be taken before the database is.
    pub(crate) async fn looking(&self) -> Result<Option<Gate>> {
        if !self.has_lease() {
            return Ok(None);
        }
        let shared = self.0.clone();
        blocking(move || Gate::shared(&shared.layout))
            .await
            .map(Some)
    }

    /// With a lease held, writes down that these are used or being made.
    pub(crate) fn announce<D: ToString>(&self, digests: impl IntoIterator<Item = D>) -> Result<()> {
        let digests = digests.into_iter().map(|digest| digest.to_string());
        let leases = &self.0.layout.leases;
        let written = self.0.leases.announce(digests);
        written.map_err(Error::io("writing", leases))
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
    reserve::keep(layout);
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

/// What the database knows of directories.
#[derive(Debug)]
pub(crate) struct Known {
    /// Snapshots.
    snapshots: HashSet<i64>,
    /// Containers, by ID.
    containers: HashSet<String>,
    /// Volumes, by name.
    volumes: HashSet<String>,
}

impl Known {
    /// Asks the database.
    pub(crate) async fn read(db: &mut Connection) -> Result<Self> {
        Ok(Self {
            snapshots: db::snapshots::ids(db).await?,
            containers: db::containers::ids(db).await?,
            volumes: db::volumes::names(db).await?,
        })
    }
}

/// Directories of snapshots, containers and volumes that are not `known`; to be asked with a write
/// transaction held, so that none is between its place and its row.
pub(crate) fn orphans(layout: &Layout, known: &Known) -> Result<Vec<PathBuf>> {
    let snapshots = others(&layout.snapshots, |name| {
        let id = name.parse::<i64>().ok();
        id.is_none_or(|id| known.snapshots.contains(&id))
    })?;
    let containers = others(&layout.containers, |name| known.containers.contains(name))?;
    let volumes = others(&layout.volumes, |name| known.volumes.contains(name))?;
    Ok([snapshots, containers, volumes].concat())
}

/// What is in a directory besides what is `known`.
fn others(dir: &Path, known: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let failed = || Error::io("reading", dir);
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed())?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed())?;
        if entry.file_name().to_str().is_some_and(|name| !known(name)) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

impl Shared {
    pub(crate) fn dropped(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
