//! Cache mounts: directories that outlive the builds that fill them.
//!
//! ```text
//! mounts/<name>-<n>/fs      what a step sees; <n> counts those that are in use at the same time
//!                  /about   when and for what it was made, JSON
//!                  /uses    how often it was used; its time is that of the last use
//! mounts/.new-…  .old-…     being filled; taken out of use while a step still has it
//! ```
//!
//! Whoever uses one holds an `flock` on its directory: shared, or exclusively. Removal takes the
//! lock first, so that nothing is removed that somebody uses, and the kernel gives it back however
//! a process ends. There are no rows: what is there is there, and a crash leaves nothing to mend.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use oci::Digest;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;
use serde_json::{Value, json};

use crate::db::to_i64;
use crate::error::{Error, Result};
use crate::lock::{try_lock, unique_name};
use crate::record::{CacheRecord, RecordKind};
use crate::root::Layout;
use crate::store::{Shared, Store, blocking};
use crate::trash;

const FS: &str = "fs";
const ABOUT: &str = "about";
const USES: &str = "uses";
const NEW: &str = ".new-";
const OLD: &str = ".old-";

/// What other steps may do with a cache mount while one uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheSharing {
    /// Use it too.
    Shared,
    /// Use another one.
    Private,
    /// Wait.
    Locked,
}

/// What tells cache mounts apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheName(String);

impl CacheName {
    /// The cache of an ID that, when it is new, begins with what `origin` names.
    pub fn new(id: &str, origin: Option<&str>) -> Self {
        let text = format!("{}\0{id}\0{}", id.len(), origin.unwrap_or_default());
        let digest = Digest::sha256(text.as_bytes());
        Self(digest.hex().chars().take(32).collect())
    }
}

/// What there is for a step that asks for a cache mount.
#[derive(Debug)]
pub enum CacheOffer {
    /// One that was used before.
    Kept(CacheDir),
    /// One that is to be filled.
    New(NewCacheDir),
    /// Another step has it, and it is not to be shared: ask again.
    Busy,
}

/// A cache mount in use, until dropped.
#[derive(Debug)]
pub struct CacheDir {
    fs: PathBuf,
    #[allow(dead_code, reason = "held for its lock")]
    lock: File,
}

impl CacheDir {
    /// The directory that the step sees.
    pub fn path(&self) -> &Path {
        &self.fs
    }
}

/// A cache mount that is being filled; dropped unpublished it goes away.
#[derive(Debug)]
pub struct NewCacheDir {
    shared: Arc<Shared>,
    lock: File,
    staged: PathBuf,
    place: PathBuf,
    sharing: CacheSharing,
    published: bool,
}

impl NewCacheDir {
    /// Where it is made: an empty directory, in which `fs` is to be made.
    pub fn parent(&self) -> &Path {
        &self.staged
    }

    /// The file or directory to make, which the step will see.
    pub fn path(&self) -> PathBuf {
        self.staged.join(FS)
    }

    /// Gives it its place, with `description` for those who look at it there. `None` when another
    /// step was first: ask again.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::DiskFull`].
    pub async fn publish(mut self, id: &str, description: &str) -> Result<Option<CacheDir>> {
        let now = Store(Arc::clone(&self.shared)).now();
        let about = json!({"id": id, "description": description, "created": now});
        blocking(move || {
            let failed = || Error::io("writing", &self.staged);
            fs::write(self.staged.join(ABOUT), about.to_string()).map_err(failed())?;
            used(&self.staged).map_err(failed())?;
            let flags = RenameFlags::NOREPLACE;
            match renameat_with(CWD, &self.staged, CWD, &self.place, flags) {
                Ok(()) => self.published = true,
                Err(Errno::EXIST | Errno::NOTEMPTY) => return Ok(None),
                Err(e) => return Err(Error::io("renaming", &self.staged)(e.into())),
            }
            if self.sharing == CacheSharing::Shared {
                flock(&self.lock, FlockOperation::LockShared)
                    .map_err(|e| Error::io("locking", &self.place)(e.into()))?;
            }
            let lock = self
                .lock
                .try_clone()
                .map_err(Error::io("opening", &self.place))?;
            Ok(Some(CacheDir {
                fs: self.place.join(FS),
                lock,
            }))
        })
        .await
    }
}

impl Drop for NewCacheDir {
    fn drop(&mut self) {
        if !self.published {
            let _ = trash::discard(&self.shared.layout, &self.staged);
        }
    }
}

impl Store {
    /// The cache mount of a name, for as long as the answer is held.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::DiskFull`].
    pub async fn cache_mount(&self, name: &CacheName, sharing: CacheSharing) -> Result<CacheOffer> {
        let (shared, name) = (Arc::clone(&self.0), name.clone());
        blocking(move || offer(shared, &name, sharing)).await
    }

    /// Lets the cache mounts of a name begin empty. Steps that have them keep them until they end.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn forget_cache_mounts(&self, name: &CacheName) -> Result<()> {
        let (shared, name) = (Arc::clone(&self.0), name.clone());
        blocking(move || {
            for place in places(&shared.layout)? {
                let its = place.file_name().and_then(|text| text.to_str());
                if its
                    .and_then(|text| text.rsplit_once('-'))
                    .is_some_and(|(n, _)| n == name.0)
                {
                    retire(&shared.layout, &place)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// All cache mounts as cache records, the least recently used first. Their sizes are measured.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn cache_mounts(&self) -> Result<Vec<CacheRecord>> {
        let shared = Arc::clone(&self.0);
        blocking(move || list(&shared.layout)).await
    }
}

fn offer(shared: Arc<Shared>, name: &CacheName, sharing: CacheSharing) -> Result<CacheOffer> {
    let layout = &shared.layout;
    make_private(&layout.mounts)?;
    let how = match sharing {
        CacheSharing::Shared => FlockOperation::NonBlockingLockShared,
        CacheSharing::Private | CacheSharing::Locked => FlockOperation::NonBlockingLockExclusive,
    };
    let mut number = 0u32;
    loop {
        let place = layout.mounts.join(format!("{}-{number}", name.0));
        let lock = match File::open(&place) {
            Ok(lock) => lock,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let made = stage(Arc::clone(&shared), place, sharing)?;
                return Ok(CacheOffer::New(made));
            }
            Err(e) => return Err(Error::io("opening", &place)(e)),
        };
        match flock(&lock, how) {
            Ok(()) if is_at(&lock, &place) => {
                // A use that is not written down only makes it look older.
                let _ = used(&place);
                let fs = place.join(FS);
                return Ok(CacheOffer::Kept(CacheDir { fs, lock }));
            }
            // Removed since it was opened: what has its place now counts.
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) if sharing == CacheSharing::Locked => {
                return Ok(CacheOffer::Busy);
            }
            Err(Errno::WOULDBLOCK) => number += 1,
            Err(e) => return Err(Error::io("locking", &place)(e.into())),
        }
    }
}

fn stage(shared: Arc<Shared>, place: PathBuf, sharing: CacheSharing) -> Result<NewCacheDir> {
    loop {
        let staged = shared.layout.mounts.join(format!("{NEW}{}", unique_name()));
        make_private(&staged)?;
        let lock = match File::open(&staged) {
            Ok(lock) => lock,
            // Taken for a left-over before it could be locked.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(Error::io("opening", &staged)(e)),
        };
        flock(&lock, FlockOperation::LockExclusive)
            .map_err(|e| Error::io("locking", &staged)(e.into()))?;
        if is_at(&lock, &staged) {
            return Ok(NewCacheDir {
                shared,
                lock,
                staged,
                place,
                sharing,
                published: false,
            });
        }
    }
}

fn make_private(dir: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(Error::io("making", dir)(e)),
        _ => Ok(()),
    }
}

/// Whether what is open is what is at `path`.
fn is_at(open: &File, path: &Path) -> bool {
    let same = |a: &fs::Metadata, b: &fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    match (open.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(there)) => same(&open, &there),
        _ => false,
    }
}

/// Counts a use.
fn used(dir: &Path) -> io::Result<()> {
    let file = dir.join(USES);
    let before = count(&file);
    fs::write(&file, (before + 1).to_string())?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))
}

fn count(file: &Path) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// The directories of cache mounts that are in use or can be, in no order.
fn places(layout: &Layout) -> Result<Vec<PathBuf>> {
    entries(layout, |name| !name.starts_with('.'))
}

fn entries(layout: &Layout, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let failed = || Error::io("reading", &layout.mounts);
    let dir = match fs::read_dir(&layout.mounts) {
        Ok(dir) => dir,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed()(e)),
    };
    let mut found = Vec::new();
    for entry in dir {
        let entry = entry.map_err(failed())?;
        if entry.file_name().to_str().is_some_and(&wanted) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn list(layout: &Layout) -> Result<Vec<CacheRecord>> {
    let mut records: Vec<CacheRecord> = places(layout)?.iter().filter_map(|p| record(p)).collect();
    records.sort_by(|a, b| (a.last_used, &a.key).cmp(&(b.last_used, &b.key)));
    Ok(records)
}

/// `None` when it has gone meanwhile.
fn record(place: &Path) -> Option<CacheRecord> {
    let uses = place.join(USES);
    let last_used = fs::metadata(&uses).ok()?.modified().ok()?;
    let last_used = last_used.duration_since(UNIX_EPOCH).ok()?.as_secs();
    let about = fs::read(place.join(ABOUT)).unwrap_or_default();
    let about: Value = serde_json::from_slice(&about).unwrap_or_default();
    let text = |key: &str| about.get(key).and_then(Value::as_str).unwrap_or_default();
    Some(CacheRecord {
        key: key_of(place)?,
        chain_id: None,
        diff_id: None,
        created: String::new(),
        description: text("description").to_owned(),
        size: trash::measure(&place.join(FS)),
        created_at: about.get("created").and_then(Value::as_i64).unwrap_or(0),
        last_used: to_i64(last_used),
        uses: count(&uses),
        kind: RecordKind::CacheMount,
    })
}

fn key_of(place: &Path) -> Option<Digest> {
    let name = place.file_name()?.to_str()?;
    Some(Digest::sha256(name.as_bytes()))
}

/// Takes a cache mount out of use.
fn retire(layout: &Layout, place: &Path) -> Result<()> {
    let Ok(lock) = File::open(place) else {
        return Ok(());
    };
    if try_lock(&lock).map_err(Error::io("locking", place))? {
        if is_at(&lock, place) {
            trash::discard(layout, place)?;
        }
        return Ok(());
    }
    let aside = layout.mounts.join(format!("{OLD}{}", unique_name()));
    match fs::rename(place, &aside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("renaming", place)(e)),
        _ => Ok(()),
    }
}

/// Removes those of these records that nobody uses, unless this is a `trial`; returns which they
/// are.
pub(crate) fn remove(layout: &Layout, chosen: &[CacheRecord], trial: bool) -> Result<Vec<Digest>> {
    let mut removed = Vec::new();
    for place in places(layout)? {
        let Some(key) = key_of(&place).filter(|key| chosen.iter().any(|r| r.key == *key)) else {
            continue;
        };
        let Ok(lock) = File::open(&place) else {
            continue;
        };
        let free = try_lock(&lock).map_err(Error::io("locking", &place))? && is_at(&lock, &place);
        if free {
            if !trial {
                trash::discard(layout, &place)?;
            }
            removed.push(key);
        }
    }
    Ok(removed)
}

/// How many are in use.
pub(crate) fn in_use(layout: &Layout) -> Result<usize> {
    let mut used = 0;
    for place in places(layout)? {
        if let Ok(lock) = File::open(&place) {
            used += usize::from(!try_lock(&lock).map_err(Error::io("locking", &place))?);
        }
    }
    Ok(used)
}

/// Moves what steps that are over have left into the trash.
pub(crate) fn tidy(layout: &Layout) -> Result<()> {
    for left in entries(layout, |name| {
        name.starts_with(NEW) || name.starts_with(OLD)
    })? {
        if let Ok(lock) = File::open(&left)
            && try_lock(&lock).map_err(Error::io("locking", &left))?
        {
            trash::discard(layout, &left)?;
        }
    }
    Ok(())
}
