//! Snapshots: unpacked layers, and making them durable.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::fs::{self, DirBuilder, File};
use std::hash::BuildHasher;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use oci::{ChainId, DiffId};
use rustix::fs::IFlags;

use crate::db::Durability;
use crate::db::snapshots::{self as table, NewSnapshot, SnapshotRow};
use crate::db::sqlite::Connection;
use crate::error::{Error, Result};
use crate::lock::{Gate, TOUCH_SECONDS, lock_own, unique_name};
use crate::mounts;
use crate::reserve;
use crate::store::{Shared, Store, blocking};
use crate::{claim, trash};

const FS: &str = "fs";
const WORK: &str = "work";
/// Bytes of a snapshot that take a disk long enough for somebody to lose patience.
const LARGE: i64 = 256 << 20;

/// One unpacked layer, ready to be an overlay's lower directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The stack of layers of which this one is the top.
    pub chain_id: ChainId,
    /// The layer itself.
    pub diff_id: DiffId,
    /// The directory: an overlay upper directory as it was committed, whiteouts and all.
    pub fs_path: PathBuf,
    /// Bytes of the layer's tar; 0 when that was never made.
    pub size_tar: u64,
    /// Bytes of the files in it.
    pub size_disk: u64,
    /// The time, in seconds since the epoch, that later times in the layer's tar are clamped to.
    /// Making the tar again needs it to come to the same diff ID.
    pub clamp_mtime: Option<i64>,
}

impl Store {
    pub(crate) fn to_snapshot(&self, row: &SnapshotRow) -> Result<Snapshot> {
        Ok(Snapshot {
            chain_id: row.chain_id()?,
            diff_id: row.diff_id()?,
            fs_path: self.0.layout.snapshot(row.owner()).join(FS),
            size_tar: row.size_tar(),
            size_disk: row.size_disk(),
            clamp_mtime: row.clamp_mtime,
        })
    }

    /// Makes an empty directory for a layer. It goes away when dropped uncommitted; should the
    /// process be killed, a later one removes it.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::DiskFull`].
    pub async fn begin_snapshot(&self) -> Result<StagedSnapshot> {
        if !self.0.tidied.swap(true, Ordering::SeqCst) {
            spread(&self.0.layout.staging);
            let shared = self.0.clone();
            // Nobody waits for this one.
            drop(tokio::task::spawn_blocking(move || tidy(&shared)));
        }
        let store = self.clone();
        blocking(move || stage(store)).await
    }

    /// The snapshot of a chain ID, if it is there.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn snapshot(&self, chain_id: &ChainId) -> Result<Option<Snapshot>> {
        let _gate = self.looking_for(chain_id).await?;
        let mut db = self.0.db.lock().await;
        let row = table::get(&mut db, chain_id).await?;
        let Some(row) = row else {
            return Ok(None);
        };
        if self.is_gone(&mut db, &row).await? || !self.used(&mut db, &row).await? {
            return Ok(None);
        }
        self.to_snapshot(&row).map(Some)
    }

    /// Which of these snapshots are there, as [`snapshot`](Self::snapshot) would say of each.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn snapshots_here(&self, chain_ids: &[ChainId]) -> Result<HashSet<ChainId>> {
        let mut here = HashSet::with_capacity(chain_ids.len());
        if chain_ids.is_empty() {
            return Ok(here);
        }
        let _gate = self.looking().await?;
        let mut db = self.0.db.lock().await;
        let (mut due, now) = (Vec::new(), self.now());
        for row in table::get_many(&mut db, chain_ids).await? {
            if self.is_gone(&mut db, &row).await? {
                // Those above it went with it: each is looked for when it is needed.
                return Ok(HashSet::new());
            }
            if !self.0.read_only && row.last_used + TOUCH_SECONDS <= now {
                due.push(row.id);
            }
            here.insert(row.chain_id()?);
        }
        self.announce(&here)?;
        if !due.is_empty() {
            table::touch_many(&mut db, &due, now).await?;
        }
        Ok(here)
    }

    /// The snapshots of a whole stack, topmost first, as an overlay's lower directories are
    /// given. Empty when the topmost is not there; below a snapshot nothing is ever missing, and
    /// where files were taken away behind our back, all that stood on them is forgotten.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn chain(&self, chain_id: &ChainId) -> Result<Vec<Snapshot>> {
        let _gate = self.looking_for(chain_id).await?;
        let mut db = self.0.db.lock().await;
        let rows = table::chain(&mut db, chain_id).await?;
        for row in &rows {
            if self.is_gone(&mut db, row).await? {
                return Ok(Vec::new());
            }
        }
        match rows.first() {
            Some(top) if self.used(&mut db, top).await? => {
                rows.iter().map(|row| self.to_snapshot(row)).collect()
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Whether a snapshot's files are gone. Then it is forgotten, with the snapshots above it and
    /// the cache records that lead to them, so that all of them are made again.
    async fn is_gone(&self, db: &mut Connection, row: &SnapshotRow) -> Result<bool> {
        let path = self.0.layout.snapshot(row.owner()).join(FS);
        match fs::symlink_metadata(&path) {
            Ok(there) if there.is_dir() => return Ok(false),
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("reading", &path)(e));
            }
            _ => {}
        }
        tracing::warn!(layer = %row.chain_id()?, "a layer's files are gone; it is made again");
        if !self.0.read_only {
            table::delete(db, &[row.owner()]).await?;
        }
        Ok(true)
    }

    /// The gate for looking up a snapshot that was not announced yet.
    async fn looking_for(&self, chain_id: &ChainId) -> Result<Option<Gate>> {
        match self.0.leases.knows(chain_id) {
            true => Ok(None),
            false => self.looking().await,
        }
    }

    /// Writes down a use if that is due; false when the row has gone meanwhile.
    async fn used(&self, db: &mut Connection, row: &SnapshotRow) -> Result<bool> {
        self.announce([row.chain_id()?])?;
        let now = self.now();
        if self.0.read_only || row.last_used + TOUCH_SECONDS > now {
            return Ok(true);
        }
        Ok(table::touch(db, row.id, now).await?)
    }

    /// The directories of large snapshots that [`make_durable`](Self::make_durable) would have to
    /// wait for. Nothing in it ends that wait; what is written before need not be waited for.
    ///
    /// # Errors
    /// The database's.
    pub async fn large_not_durable(&self) -> Result<Vec<PathBuf>> {
        let db = &mut *self.0.db.lock().await;
        let ids = table::large_not_durable(db, LARGE).await?;
        let paths = ids.iter().map(|id| self.0.layout.snapshot(*id).join(FS));
        Ok(paths.collect())
    }

    /// Puts all snapshots committed so far on disk: one `syncfs`, one durable commit, whatever
    /// their number; nothing when there is nothing to do. Whatever is to be acknowledged to the
    /// user comes after this; [`put_image`](Self::put_image) does it by itself.
    ///
    /// # Errors
    /// [`Error::Io`] when the file system reports that data were lost.
    pub async fn make_durable(&self) -> Result<()> {
        let ids = table::not_durable(&mut *self.0.db.lock().await).await?;
        if ids.is_empty() {
            return Ok(());
        }
        let shared = self.0.clone();
        blocking(move || {
            let path = &shared.layout.snapshots;
            let dir = File::open(path).map_err(Error::io("opening", path))?;
            rustix::fs::syncfs(&dir).map_err(|e| Error::io("syncing", path)(e.into()))
        })
        .await?;
        let mut db = self.0.db.lock().await;
        let mut tx = db.begin(Durability::Full).await?;
        table::mark_durable(&mut tx, &ids).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Asks ext4 to begin each tree that is made in `dir` in a part of the disk of its own, as it does
/// for the directories of a file system's root. Otherwise a tree begins beside the last one, where
/// inodes that were just deleted have to be passed over one by one. Other file systems have no such
/// flag, and are none the worse for it.
fn spread(dir: &Path) {
    let flag = || {
        let dir = File::open(dir)?;
        let flags = rustix::fs::ioctl_getflags(&dir)?;
        match flags.contains(IFlags::TOPDIR) {
            true => Ok(()),
            false => Ok::<(), io::Error>(rustix::fs::ioctl_setflags(&dir, flags | IFlags::TOPDIR)?),
        }
    };
    if let Err(e) = flag() {
        tracing::debug!(error = %e, "new trees lie beside the old ones");
    }
}

fn tidy(shared: &Shared) {
    reserve::keep(&shared.layout);
    let result = trash::collect_staging(&shared.layout)
        .and_then(|()| claim::tidy(&shared.layout))
        .and_then(|()| mounts::tidy(&shared.layout))
        .and_then(|()| trash::empty(&shared.layout));
    if let Err(e) = result {
        tracing::warn!(error = %e, "left-over files could not be removed");
    }
}

fn stage(store: Store) -> Result<StagedSnapshot> {
    let staging = &store.0.layout.staging;
    loop {
        let path = staging.join(unique_name());
        let make = |path: &Path, mode| {
            DirBuilder::new()
                .mode(mode)
                .create(path)
                .map_err(Error::io("creating", path))
        };
        make(&path, 0o700)?;
        let dir = match File::open(&path) {
            Ok(dir) => dir,
            // Taken for a left-over before it could be locked.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(Error::io("opening", &path)(e)),
        };
        if !lock_own(&dir, &path).map_err(Error::io("locking", &path))? {
            continue;
        }
        let staged = StagedSnapshot {
            upper: path.join(FS),
            work: path.join(WORK),
            place: Some(Place { path, dir }),
            shared: store.0.clone(),
        };
        make(&staged.upper, 0o755)?;
        // The mode asked for is subject to the umask; this one becomes the image's `/`.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&staged.upper, mode)
            .map_err(Error::io("setting the mode of", &staged.upper))?;
        make(&staged.work, 0o700)?;
        return Ok(staged);
    }
}

/// A layer being made.
#[derive(Debug)]
pub struct StagedSnapshot {
    upper: PathBuf,
    work: PathBuf,
    place: Option<Place>,
    shared: Arc<Shared>,
}

/// The staging directory, and the lock on it by which others see that its owner lives.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    #[allow(dead_code, reason = "held for its lock")]
    dir: File,
}

impl StagedSnapshot {
    /// The directory that gets the layer's files: an overlay's upper directory, or the target of
    /// unpacking. Mode 0755 at first.
    pub fn upper(&self) -> &Path {
        &self.upper
    }

    /// An empty directory on the same file system, for an overlay to work in.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Makes it a snapshot on top of `parent`. Nothing may have the directory mounted any more.
    /// It can be used at once; only [`Store::make_durable`] has it outlive a power cut. When the
    /// chain ID is there already, that snapshot is kept and returned and this one is dropped.
    ///
    /// `size_tar` and `size_disk` are bytes, `clamp_mtime` seconds; see [`Snapshot`].
    ///
    /// # Errors
    /// [`Error::NoSuchSnapshot`] when `parent` is gone; those of the file system and database.
    pub async fn commit(
        mut self,
        parent: Option<&ChainId>,
        diff_id: DiffId,
        size_tar: u64,
        size_disk: u64,
        clamp_mtime: Option<i64>,
    ) -> Result<Snapshot> {
        let store = Store(self.shared.clone());
        let chain_id = ChainId::extend(parent, &diff_id);
        store.announce([&chain_id])?;
        let mut db = store.0.db.lock().await;
        let mut tx = db.begin(Durability::Lazy).await?;
        if let Some(row) = table::get(&mut tx, &chain_id).await? {
            let target = store.0.layout.snapshot(row.owner());
            if target.join(FS).is_dir() {
                table::touch(&mut tx, row.id, store.now()).await?;
            } else {
                // Taken away behind our back: what was made now takes its place.
                table::renew(&mut tx, row.owner(), &store.0.boot_id, store.now()).await?;
                let shared = store.0.clone();
                blocking(move || {
                    trash::discard(&shared.layout, &target)?;
                    self.put_at(&shared, &target)
                })
                .await?;
            }
            tx.commit().await?;
            return store.to_snapshot(&row);
        }
        let parent = match parent {
            None => None,
            Some(parent) => match table::get(&mut tx, parent).await? {
                Some(row) => Some(row.id),
                None => return Err(Error::NoSuchSnapshot(parent.clone())),
            },
        };
        let new = NewSnapshot {
            id: random_id(),
            chain_id: &chain_id,
            parent,
            source: None,
            diff_id: &diff_id,
            size_tar,
            size_disk,
            clamp_mtime,
            boot_id: &store.0.boot_id,
            now: store.now(),
        };
        table::insert(&mut tx, &new).await?;
        let target = store.0.layout.snapshot(new.id);
        let shared = store.0.clone();
        // The rename goes before the row. Without its row the directory is an orphan, which the
        // next collection removes.
        let target = blocking(move || {
            self.put_at(&shared, &target)?;
            Ok(target)
        })
        .await?;
        if let Err(e) = tx.commit().await {
            // As when the disk is full: what has no row must not take the rest of it.
            drop(db);
            store.discard_now(target).await;
            return Err(e.into());
        }
        Ok(Snapshot {
            chain_id,
            diff_id,
            fs_path: target.join(FS),
            size_tar,
            size_disk,
            clamp_mtime,
        })
    }
}

impl StagedSnapshot {
    fn put_at(&mut self, shared: &Shared, target: &Path) -> Result<()> {
        if let Some(place) = &self.place {
            discard_and_rename(shared, &place.path, &self.work, target)?;
        }
        drop(self.place.take());
        Ok(())
    }
}

/// Puts a staged directory in its place. `work` goes; the kernel leaves an entry of mode 0 in it.
fn discard_and_rename(shared: &Shared, staged: &Path, work: &Path, target: &Path) -> Result<()> {
    let inner = work.join(WORK);
    for dir in [&inner, work] {
        match fs::remove_dir(dir) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                trash::discard(&shared.layout, work)?;
                break;
            }
            _ => {}
        }
    }
    fs::rename(staged, target).map_err(Error::io("renaming into place", target))
}

/// A positive number that was never given out before. It stays below 2^53, so that any JSON
/// reader takes it as it is.
pub(crate) fn random_id() -> i64 {
    // Keyed from the kernel's random numbers, and anew each time.
    let random = RandomState::new().hash_one(unique_name());
    i64::try_from(random >> 11).unwrap_or(1).max(1)
}

impl StagedSnapshot {
    /// Removes it, and returns when its space is free again. Dropping it does the same later.
    pub async fn discard(mut self) {
        if let Some(place) = self.place.take() {
            let store = Store(self.shared.clone());
            store.discard_now(place.path.clone()).await;
        }
    }
}

impl Store {
    /// Removes a directory that is to become nothing.
    async fn discard_now(&self, path: PathBuf) {
        let shared = self.0.clone();
        let _ = blocking(move || {
            discard_reporting(&shared, &path);
            Ok(())
        })
        .await;
    }

    /// Waits until what was dropped is deleted, and puts space aside again for removals to come:
    /// the end of a command.
    pub async fn settle(&self) {
        let waiting = std::mem::take(&mut *self.0.dropped());
        for task in waiting {
            let _ = task.await;
        }
        if !self.0.read_only {
            let shared = self.0.clone();
            let _ = blocking(move || {
                reserve::keep(&shared.layout);
                Ok(())
            })
            .await;
        }
    }
}

fn discard_reporting(shared: &Shared, path: &Path) {
    let discarded = trash::discard_staged(&shared.layout, path);
    if let Err(e) = discarded.and_then(|()| trash::empty(&shared.layout)) {
        tracing::warn!(error = %e, "a dropped snapshot could not be removed");
    }
}

impl Drop for StagedSnapshot {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else {
            return;
        };
        let shared = self.shared.clone();
        let work = move || {
            discard_reporting(&shared, &place.path);
            drop(place);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                let task = runtime.spawn_blocking(work);
                self.shared.dropped().push(task);
            }
            Err(_) => work(),
        }
    }
}
