//! Leases, and the gate between them and removal.
//!
//! A lease is a file that its process holds an `flock` on. It dies with the process, however
//! that ends, in whatever PID namespace it ran, and after a reboot nothing is left to expire: no
//! row could do that. In it stands what the process uses and makes, a digest a line: chain IDs,
//! image IDs and blobs. Removal spares that and nothing else; only of blobs that no row ever
//! knew does it spare whatever is younger than the oldest lease, since a download may have put
//! them there. Appending a line is no write to the database and is not synced.
//!
//! The gate closes the window between looking something up and having said so: whoever holds a
//! lease looks things up with the gate held shared, removal reads leases and deletes rows with
//! the gate held exclusively. What is only being made is announced before its row is written,
//! and removal reads the leases after it has begun its transaction.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, flock};

use crate::error::{Error, Result};
use crate::root::Layout;

/// Names of leases begin so. Earlier versions announced nothing, and named theirs otherwise:
/// neither takes the other's for one that protects little.
const PREFIX: &str = "uses";
/// How stale `last_used` may get before a use is written down, in seconds.
pub(crate) const TOUCH_SECONDS: i64 = 60;
/// Allowance for the coarser clock of file times, in seconds.
pub(crate) const SLACK_SECONDS: i64 = 5;

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A name that no other process or thread makes.
pub(crate) fn unique_name() -> String {
    let n = COUNTER.fetch_add(1, Ordering::Relaxed);
    // The PID alone would clash between PID namespaces.
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos());
    format!("{}-{nanos:x}-{n}", std::process::id())
}

/// Takes an exclusive lock if nobody has it.
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Locks what was just made at `path`; false when somebody else has removed it meanwhile, taking
/// it for left over.
pub(crate) fn lock_own(file: &File, path: &Path) -> io::Result<bool> {
    flock(file, FlockOperation::LockExclusive)?;
    match fs::symlink_metadata(path) {
        Ok(there) => {
            let ours = file.metadata()?;
            Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino()))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// The gate, held until dropped.
#[derive(Debug)]
pub(crate) struct Gate(#[allow(dead_code, reason = "held for its lock")] File);

impl Gate {
    fn take(layout: &Layout, how: FlockOperation) -> Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&layout.lock)
            .map_err(|cause| Error::NotWritable {
                root: layout.root.clone(),
                cause,
            })?;
        flock(&file, how).map_err(|e| Error::io("locking", &layout.lock)(e.into()))?;
        Ok(Self(file))
    }

    /// For removal, and for changing the schema: no lease is taken meanwhile.
    pub fn exclusive(layout: &Layout) -> Result<Self> {
        Self::take(layout, FlockOperation::LockExclusive)
    }

    /// For looking up what is to stay: nothing is removed meanwhile.
    pub fn shared(layout: &Layout) -> Result<Self> {
        Self::take(layout, FlockOperation::LockShared)
    }

    /// What living leases protect. Files of dead leases are removed.
    pub fn in_use(&self, layout: &Layout) -> Result<InUse> {
        let mut found = InUse::default();
        let failed = || Error::io("reading", &layout.leases);
        for entry in fs::read_dir(&layout.leases).map_err(failed())? {
            let path = entry.map_err(failed())?.path();
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(Error::io("opening", &path)(e)),
            };
            if try_lock(&file).map_err(Error::io("locking", &path))? {
                // Its process is gone, or is just removing it itself.
                let _ = fs::remove_file(&path);
                continue;
            }
            let name = path.file_name().and_then(|name| name.to_str());
            match name.and_then(Named::parse) {
                Some(named) => {
                    let text = fs::read_to_string(&path).map_err(Error::io("reading", &path))?;
                    found.digests.extend(text.lines().map(str::to_owned));
                    found.since = found.since.min(named.since - SLACK_SECONDS);
                    found.processes.insert(named.process);
                }
                None => found.everything = true,
            }
        }
        Ok(found)
    }
}

/// What the name of a lease tells.
struct Named {
    since: i64,
    process: u32,
}

impl Named {
    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.strip_prefix('-')?.split('-');
        Some(Self {
            since: parts.next()?.parse().ok()?,
            process: parts.next()?.parse().ok()?,
        })
    }
}

/// What living leases protect.
#[derive(Clone, Debug)]
pub(crate) struct InUse {
    /// Chain IDs, image IDs and blobs that are used or being made.
    pub digests: HashSet<String>,
    /// Seconds since the epoch: when the oldest lease was taken, `i64::MAX` without one.
    pub since: i64,
    /// Whose leases they are, as they know themselves.
    pub processes: BTreeSet<u32>,
    /// There is a lease of which nobody can tell what it protects.
    pub everything: bool,
}

impl Default for InUse {
    fn default() -> Self {
        Self {
            digests: HashSet::new(),
            since: i64::MAX,
            processes: BTreeSet::new(),
            everything: false,
        }
    }
}

impl InUse {
    /// Whether this must stay.
    pub fn holds(&self, digest: &impl ToString) -> bool {
        self.everything || self.digests.contains(&digest.to_string())
    }
}

/// The leases that one store handle has given out, and what was announced in them.
#[derive(Debug, Default)]
pub(crate) struct Leases(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    /// By a number of this handle's own.
    files: Vec<(u64, File)>,
    announced: HashSet<String>,
}

impl Leases {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is one.
    pub fn any(&self) -> bool {
        !self.held().files.is_empty()
    }

    /// Whether this needs no announcing: it was, or there is nothing to announce it in.
    pub fn knows(&self, digest: &impl ToString) -> bool {
        let held = self.held();
        held.files.is_empty() || held.announced.contains(&digest.to_string())
    }

    /// Writes down that these are used.
    pub fn announce(&self, digests: impl IntoIterator<Item = String>) -> io::Result<()> {
        let mut held = self.held();
        if held.files.is_empty() {
            return Ok(());
        }
        let held = &mut *held;
        let new: Vec<String> = digests
            .into_iter()
            .filter(|digest| !held.announced.contains(digest))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let lines: String = new.iter().map(|digest| format!("{digest}\n")).collect();
        for (_, file) in &held.files {
            let mut file = file;
            file.write_all(lines.as_bytes())?;
        }
        held.announced.extend(new);
        Ok(())
    }

    fn add(&self, number: u64, file: File) {
        let mut held = self.held();
        held.files.push((number, file));
        // What was announced stands in the older ones alone.
        held.announced.clear();
    }

    fn drop_one(&self, number: u64) {
        self.held().files.retain(|(n, _)| *n != number);
    }
}

/// Protects what this process uses and adds from removal by others, until dropped or until the
/// process ends. Take it before the first lookup whose result must stay. Removal by the holder
/// itself is held back too, so commands that remove take none.
#[derive(Debug)]
pub struct Lease(Option<(PathBuf, u64, Arc<Leases>)>);

impl Lease {
    pub(crate) fn take(layout: &Layout, now: i64, leases: Arc<Leases>) -> Result<Self> {
        let _gate = Gate::shared(layout)?;
        loop {
            let path = layout
                .leases
                .join(format!("{PREFIX}-{now}-{}", unique_name()));
            let file = OpenOptions::new()
                .create_new(true)
                .append(true)
                .mode(0o600)
                .open(&path)
                .map_err(Error::io("creating", &path))?;
            if lock_own(&file, &path).map_err(Error::io("locking", &path))? {
                let number = COUNTER.fetch_add(1, Ordering::Relaxed);
                leases.add(number, file);
                return Ok(Self(Some((path, number, leases))));
            }
        }
    }

    /// On a file system where nothing can be removed, nothing needs protection.
    pub(crate) fn not_needed() -> Self {
        Self(None)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some((path, number, leases)) = self.0.take() else {
            return;
        };
        if let Err(e) = fs::remove_file(&path) {
            tracing::debug!(path = %path.display(), error = %e, "a lease file stays");
        }
        leases.drop_one(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_living_leases_say_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(&dir.path().join("store")).unwrap();
        layout.create().unwrap();
        let (first, second) = (Arc::new(Leases::default()), Arc::new(Leases::default()));
        let in_use = || Gate::exclusive(&layout).unwrap().in_use(&layout).unwrap();
        assert_eq!(in_use().since, i64::MAX);
        first.announce(["nowhere".to_owned()]).unwrap();
        let old = Lease::take(&layout, 1000, first.clone()).unwrap();
        let new = Lease::take(&layout, 2000, second.clone()).unwrap();
        first.announce(["a".to_owned(), "b".to_owned()]).unwrap();
        first.announce(["a".to_owned()]).unwrap();
        second.announce(["c".to_owned()]).unwrap();
        let found = in_use();
        assert_eq!(found.since, 1000 - SLACK_SECONDS);
        assert_eq!(found.digests.len(), 3);
        assert_eq!(found.processes, [std::process::id()].into());
        // A second lease of one handle outlives the first, with what is announced from then on.
        let third = Lease::take(&layout, 3000, first.clone()).unwrap();
        first.announce(["a".to_owned()]).unwrap();
        drop(old);
        assert!(in_use().holds(&"a") && !in_use().holds(&"b"));
        drop((new, third));
        assert!(!first.any() && !in_use().holds(&"a"));
        // The file of a process that was killed, and one that an earlier version holds.
        fs::write(layout.leases.join("uses-5-1-0"), b"a\n").unwrap();
        let earlier = File::create(layout.leases.join("5-1-0")).unwrap();
        assert!(try_lock(&earlier).unwrap());
        assert!(in_use().everything);
        drop(earlier);
        assert!(!in_use().holds(&"a"));
        assert_eq!(fs::read_dir(&layout.leases).unwrap().count(), 0);
    }
}
