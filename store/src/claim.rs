//! Claims: of all processes that are about to do the same, one does it and the others wait.
//!
//! A claim is a file named by what is done, which its process holds an `flock` on: it ends with
//! the process, however that ends. Whoever ends orderly takes the file away.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use oci::Digest;

use crate::error::{Error, Result};
use crate::lock::try_lock;
use crate::root::Layout;
use crate::store::{Store, blocking};

/// The right to do what a key stands for, until dropped or until the process ends.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    #[allow(dead_code, reason = "held for its lock")]
    file: File,
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Before the lock ends: what is locked under this name afterwards is another file.
        if let Err(e) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), error = %e, "a claim's file stays");
        }
    }
}

impl Store {
    /// The right to do what `key` stands for; `None` while somebody else has it.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::DiskFull`].
    pub async fn claim(&self, key: &Digest) -> Result<Option<Claim>> {
        let dir = self.0.layout.claims.clone();
        let path = dir.join(key.hex());
        blocking(move || {
            fs::create_dir_all(&dir).map_err(Error::io("making", &dir))?;
            take(path)
        })
        .await
    }
}

fn take(path: PathBuf) -> Result<Option<Claim>> {
    loop {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(Error::io("creating", &path))?;
        if !try_lock(&file).map_err(Error::io("locking", &path))? {
            return Ok(None);
        }
        if is_at(&file, &path).map_err(Error::io("reading", &path))? {
            return Ok(Some(Claim { path, file }));
        }
        // It was taken away between being opened and being locked.
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Takes away the files of processes that were killed.
pub(crate) fn tidy(layout: &Layout) -> Result<()> {
    let failed = || Error::io("reading", &layout.claims);
    let entries = match fs::read_dir(&layout.claims) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed())?,
    };
    for entry in entries {
        let path = entry.map_err(failed())?.path();
        // Whatever cannot be opened was just taken away.
        let Ok(file) = File::open(&path) else {
            continue;
        };
        if try_lock(&file).map_err(Error::io("locking", &path))? {
            drop(Claim { path, file });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (
            Store::open(dir.path()).await.unwrap(),
            Store::open(dir.path()).await.unwrap(),
        );
        let (key, other) = (Digest::sha256(b"key"), Digest::sha256(b"other"));
        let claim = first.claim(&key).await.unwrap();
        assert!(claim.is_some());
        assert!(second.claim(&key).await.unwrap().is_none());
        assert!(second.claim(&other).await.unwrap().is_some());
        drop(claim);
        let claim = second.claim(&key).await.unwrap();
        assert!(claim.is_some());
        drop(claim);
        assert_eq!(fs::read_dir(dir.path().join("claims")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_a_killed_process_left_is_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let claim = store.claim(&Digest::sha256(b"held")).await.unwrap();
        let left = dir.path().join("claims").join("left");
        fs::write(&left, "").unwrap();
        tidy(&store.0.layout).unwrap();
        assert!(!left.exists());
        assert!(claim.is_some_and(|claim| claim.path.exists()));
    }
}
