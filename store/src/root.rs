//! Where the store is, and how its directory is laid out.
//!
//! ```text
//! <root>/                     mode 0700: unpacked layers hold set-user-ID programs
//!   lock                      the gate between leases and removal
//!   store.db                  SQLite in WAL mode: everything but content
//!   blobs/ staging/           configs, manifests, layer tars (oci::blob::DiskBlobs)
//!   snapshots/<n>/fs          one unpacked layer each
//!   snapshots/staging/<name>/ being made: fs and work, the directory flocked by its owner
//!   leases/<name>             flocked by the processes that use the store
//!   containers/<id>/          a container each: fs and work, and what has become of it
//!   volumes/<name>/_data      a volume each, flocked by whoever fills or removes it
//!   claims/<key>              flocked by the process that does what the key stands for
//!   build/                    derived data, which can be made again
//!   mounts/<name>-<n>/fs      directories of cache mounts, flocked by the steps that use them
//!   trash/                    renamed away, being deleted
//!   reserve                   space put aside for removing on a full disk
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The environment variable that overrides [`default_root`].
const ROOT_VARIABLE: &str = "RBUILD_ROOT";

const SYSTEM_ROOT: &str = "/var/lib/rbuild";

/// The root when no `--root` is given: `RBUILD_ROOT`, else `/var/lib/rbuild` for root and
/// `$XDG_DATA_HOME/rbuild` (or `~/.local/share/rbuild`) for users.
///
/// # Errors
/// [`Error::NoHome`].
pub fn default_root() -> Result<PathBuf> {
    choose(rustix::process::geteuid().is_root(), |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    })
}

fn choose(superuser: bool, variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf> {
    if let Some(root) = variable(ROOT_VARIABLE) {
        return Ok(root);
    }
    if superuser {
        return Ok(SYSTEM_ROOT.into());
    }
    // A relative XDG_DATA_HOME is to be ignored (XDG base directory specification).
    if let Some(data) = variable("XDG_DATA_HOME").filter(|dir| dir.is_absolute()) {
        return Ok(data.join("rbuild"));
    }
    match variable("HOME") {
        Some(home) => Ok(home.join(".local/share/rbuild")),
        None => Err(Error::NoHome),
    }
}

/// The paths under a root.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub root: PathBuf,
    pub lock: PathBuf,
    pub database: PathBuf,
    pub snapshots: PathBuf,
    pub staging: PathBuf,
    pub leases: PathBuf,
    pub claims: PathBuf,
    pub trash: PathBuf,
    pub derived: PathBuf,
    pub reserve: PathBuf,
    pub mounts: PathBuf,
    pub containers: PathBuf,
    pub volumes: PathBuf,
}

/// What may be in the root of a store that is only half made.
const KNOWN: [&str; 16] = [
    "containers",
    "volumes",
    "lock",
    "store.db",
    "store.db-wal",
    "store.db-shm",
    "blobs",
    "staging",
    "snapshots",
    "leases",
    "claims",
    "trash",
    "build",
    "mounts",
    "reserve",
    "lost+found",
];

impl Layout {
    pub fn new(root: &Path) -> io::Result<Self> {
        let root = std::path::absolute(root)?;
        Ok(Self {
            lock: root.join("lock"),
            database: root.join("store.db"),
            snapshots: root.join("snapshots"),
            staging: root.join("snapshots/staging"),
            leases: root.join("leases"),
            claims: root.join("claims"),
            trash: root.join("trash"),
            derived: root.join("build"),
            reserve: root.join("reserve"),
            mounts: root.join("mounts"),
            containers: root.join("containers"),
            volumes: root.join("volumes"),
            root,
        })
    }

    /// The directory of a snapshot.
    pub fn snapshot(&self, id: i64) -> PathBuf {
        self.snapshots.join(id.to_string())
    }

    /// The directory of a container.
    pub fn container(&self, id: &str) -> PathBuf {
        self.containers.join(id)
    }

    /// The directory of a volume.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.volumes.join(name)
    }

    /// Makes what is missing; an existing root is only taken when it is empty or a store.
    pub fn create(&self) -> Result<()> {
        let not_writable = |cause| Error::NotWritable {
            root: self.root.clone(),
            cause,
        };
        let existed = self.root.is_dir();
        if existed {
            for entry in fs::read_dir(&self.root).map_err(not_writable)? {
                let name = entry.map_err(not_writable)?.file_name();
                if !KNOWN.iter().any(|known| name == *known) {
                    return Err(Error::NotAStore {
                        root: self.root.clone(),
                        found: name.to_string_lossy().into_owned(),
                    });
                }
            }
            self.close_to_others().map_err(not_writable)?;
        }
        for dir in [&self.root, &self.staging, &self.leases, &self.trash] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .map_err(not_writable)?;
        }
        // SQLite gives its other files the mode of this one, and takes an empty one for new.
        let database = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&self.database);
        database.map_err(not_writable)?;
        self.close_to_others().map_err(not_writable)?;
        for dir in self.root.ancestors().take(2) {
            fs::File::open(dir)
                .and_then(|dir| dir.sync_all())
                .map_err(Error::io("syncing", dir))?;
        }
        Ok(())
    }

    /// Makes the root 0700 and the database 0600 where they are not: a directory that somebody
    /// made beforehand, or a store of an earlier version.
    pub fn close_to_others(&self) -> io::Result<()> {
        let with = |suffix: &str| {
            let mut name = self.database.clone().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        };
        let files = [self.lock.clone(), with(""), with("-wal"), with("-shm")];
        let closed = files.into_iter().map(|path| (path, 0o600));
        for (path, mode) in std::iter::once((self.root.clone(), 0o700)).chain(closed) {
            match fs::metadata(&path) {
                Ok(there) if there.permissions().mode() & 0o077 == 0 => {}
                Ok(_) => fs::set_permissions(&path, fs::Permissions::from_mode(mode))?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_follows_the_environment() {
        let choose_with = |superuser, pairs: &[(&str, &str)]| {
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), PathBuf::from(v)))
                .collect();
            choose(superuser, |name| {
                pairs
                    .iter()
                    .find(|(k, _)| k == name)
                    .map(|(_, v)| v.clone())
            })
        };
        for (superuser, environment, expected) in [
            (true, &[][..], "/var/lib/rbuild"),
            (true, &[("RBUILD_ROOT", "/x")], "/x"),
            (false, &[("RBUILD_ROOT", "/x"), ("HOME", "/h")], "/x"),
            (false, &[("HOME", "/h")], "/h/.local/share/rbuild"),
            (
                false,
                &[("XDG_DATA_HOME", "/d"), ("HOME", "/h")],
                "/d/rbuild",
            ),
            (
                false,
                &[("XDG_DATA_HOME", "d"), ("HOME", "/h")],
                "/h/.local/share/rbuild",
            ),
        ] {
            let root = choose_with(superuser, environment).unwrap();
            assert_eq!(root, Path::new(expected), "{environment:?}");
        }
        assert!(matches!(choose_with(false, &[]), Err(Error::NoHome)));
    }

    #[test]
    fn a_directory_of_something_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.txt"), b"x").unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        assert!(matches!(layout.create(), Err(Error::NotAStore { .. })));
        assert!(!layout.snapshots.exists());
    }
}
