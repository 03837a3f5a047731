//! Leases, and the gate between them and removal.
//!
//! A lease is a file that its process holds an `flock` on. It dies with the process, however
//! that ends, in whatever PID namespace it ran, and after a reboot nothing is left to expire: no
//! row could do that. What a lease protects is told by time, so that using the store writes
//! nothing: lookups keep `last_used` at most `TOUCH_SECONDS` old, hence whatever a process has
//! used or added since it took its lease has `last_used >= lease start - TOUCH_SECONDS`, and
//! removal spares all that for the oldest lease alive.
//!
//! The gate closes the window in between: a lease is taken with the gate held shared, removal
//! looks for leases and deletes rows with the gate held exclusively. A process that gets its
//! lease afterwards finds the rows gone.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rustix::fs::{FlockOperation, flock};

use crate::error::{Error, Result};
use crate::root::Layout;

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

    fn shared(layout: &Layout) -> Result<Self> {
        Self::take(layout, FlockOperation::LockShared)
    }

    /// Seconds since the epoch: what was used at or after this may be in use by a living lease,
    /// and must stay. `i64::MAX` when there is none. Files of dead leases are removed.
    pub fn horizon(&self, layout: &Layout) -> Result<i64> {
        let mut horizon = i64::MAX;
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
            // A name that we cannot read protects everything.
            let since = path
                .file_name()
                .and_then(|name| name.to_str()?.split_once('-')?.0.parse::<i64>().ok());
            let since = since.map_or(i64::MIN, |s| s - TOUCH_SECONDS - SLACK_SECONDS);
            horizon = horizon.min(since);
        }
        Ok(horizon)
    }
}

/// Protects what this process uses and adds from removal by others, until dropped or until the
/// process ends. Take it before the first lookup whose result must stay. Removal by the holder
/// itself is held back too, so commands that remove take none.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    #[allow(dead_code, reason = "held for its lock")]
    file: File,
    held: Arc<AtomicUsize>,
}

impl Lease {
    pub(crate) fn take(layout: &Layout, now: i64, held: Arc<AtomicUsize>) -> Result<Self> {
        let _gate = Gate::shared(layout)?;
        loop {
            let path = layout.leases.join(format!("{now}-{}", unique_name()));
            let file = OpenOptions::new()
                .create_new(true)
                .write(true)
                .open(&path)
                .map_err(Error::io("creating", &path))?;
            if lock_own(&file, &path).map_err(Error::io("locking", &path))? {
                held.fetch_add(1, Ordering::SeqCst);
                return Ok(Self { path, file, held });
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.held.fetch_sub(1, Ordering::SeqCst);
        if let Err(e) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), error = %e, "a lease file stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_horizon_is_the_oldest_living_lease() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(&dir.path().join("store")).unwrap();
        layout.create().unwrap();
        let held = Arc::new(AtomicUsize::new(0));
        let horizon = || Gate::exclusive(&layout).unwrap().horizon(&layout).unwrap();
        assert_eq!(horizon(), i64::MAX);
        let old = Lease::take(&layout, 1000, held.clone()).unwrap();
        let new = Lease::take(&layout, 2000, held.clone()).unwrap();
        assert_eq!(horizon(), 1000 - TOUCH_SECONDS - SLACK_SECONDS);
        drop(old);
        assert_eq!(horizon(), 2000 - TOUCH_SECONDS - SLACK_SECONDS);
        drop(new);
        assert_eq!(held.load(Ordering::SeqCst), 0);
        // The file of a process that was killed.
        fs::write(layout.leases.join("5-1-0"), b"").unwrap();
        assert_eq!(horizon(), i64::MAX);
        assert_eq!(fs::read_dir(&layout.leases).unwrap().count(), 0);
    }
}
