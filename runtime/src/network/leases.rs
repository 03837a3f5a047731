//! Who uses the bridge: a locked file an address, which the kernel unlocks when its holder ends,
//! however it ends.
//!
//! All of it lies in a directory of the network namespace, and is read and changed only by who
//! holds the namespace's lock: so what nobody needs any more can be deleted.

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::config::{Config, step};
use super::subnet::Subnet;
use crate::error::{Error, Result};

/// What is known of one bridge in one network namespace.
#[derive(Debug)]
pub(super) struct State {
    dir: PathBuf,
    bridge: String,
    /// Locked as long as this exists.
    _lock: File,
}

/// An address that is ours as long as this exists.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) address: Ipv4Addr,
    file: File,
}

impl Lease {
    /// Gives the address back at once.
    pub(super) fn end(&self) {
        let _ = self.file.unlock();
    }
}

impl State {
    /// Waits until nobody else holds it.
    pub(super) fn lock(config: &Config) -> Result<Self> {
        let dir = directory(config)?;
        fs::create_dir_all(&dir).map_err(step(format!("make {}", dir.display())))?;
        let lock = open(&dir.join(format!("{}.lock", config.bridge)))?;
        lock.lock().map_err(step("lock the bridge"))?;
        Ok(Self {
            dir,
            bridge: config.bridge.clone(),
            _lock: lock,
        })
    }

    /// The same where a build has been before; else there is nothing to look at.
    pub(super) fn lock_existing(config: &Config) -> Result<Option<Self>> {
        let dir = directory(config)?;
        let lock = dir.join(format!("{}.lock", config.bridge));
        lock.exists().then(|| Self::lock(config)).transpose()
    }

    fn path(&self, of: &str) -> PathBuf {
        self.dir.join(format!("{}{of}", self.bridge))
    }

    /// Leases the first address nobody holds.
    pub(super) fn lease(&self, subnet: Subnet, own: Ipv4Addr) -> Result<Lease> {
        for address in subnet.hosts(own) {
            let file = open(&self.path(&format!("-{address}.lease")))?;
            match file.try_lock() {
                Ok(()) => return Ok(Lease { address, file }),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(step("lock an address")(error)),
            }
        }
        Err(Error::NoAddress(subnet.to_string()))
    }

    /// The addresses that somebody holds.
    pub(super) fn leased(&self) -> Result<Vec<Ipv4Addr>> {
        let files = self.files().map_err(step("read the address leases"))?;
        let held = |file: &Path| {
            let opened = File::open(file);
            opened.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
        };
        let mut addresses: Vec<Ipv4Addr> = files
            .into_iter()
            .filter(|(_, file)| held(file))
            .map(|(address, _)| address)
            .collect();
        addresses.sort();
        Ok(addresses)
    }

    fn files(&self) -> io::Result<Vec<(Ipv4Addr, PathBuf)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let address = name.to_str().and_then(|name| {
                let rest = name.strip_prefix(&self.bridge)?.strip_prefix('-')?;
                rest.strip_suffix(".lease")?.parse().ok()
            });
            files.extend(address.map(|address| (address, entry.path())));
        }
        Ok(files)
    }

    /// Whether somebody uses the bridge, or has ended without taking back what was changed.
    pub(super) fn has_traces(&self) -> bool {
        self.has_switched_forwarding() || self.files().is_ok_and(|files| !files.is_empty())
    }

    /// Deletes the files of addresses; for when nobody holds one.
    pub(super) fn forget_leases(&self) {
        for (_, file) in self.files().unwrap_or_default() {
            let _ = fs::remove_file(file);
        }
    }

    /// Whether it was us who made this host forward packets.
    pub(super) fn has_switched_forwarding(&self) -> bool {
        self.path(".forwarding").exists()
    }

    /// Notes that it was, or forgets it.
    pub(super) fn switched_forwarding(&self, by_us: bool) -> Result<()> {
        let path = self.path(".forwarding");
        let done = match by_us {
            true => fs::write(&path, ""),
            false => fs::remove_file(&path),
        };
        match done {
            Err(error) if by_us || error.kind() != io::ErrorKind::NotFound => {
                Err(step(format!("change {}", path.display()))(error))
            }
            _ => Ok(()),
        }
    }
}

/// Builds in another network namespace use other links, whatever the names are.
fn directory(config: &Config) -> Result<PathBuf> {
    let namespace = fs::metadata("/proc/thread-self/ns/net")
        .map_err(step("look at the network namespace (is /proc mounted?)"))?;
    Ok(config.state_dir.join(format!("net-{}", namespace.ino())))
}

fn open(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(step(format!("open {}", path.display())))
}
