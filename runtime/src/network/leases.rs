//! Who uses the bridge: a locked file an address, which the kernel unlocks when its holder ends,
//! however it ends. The file says what was set up for its holder.
//!
//! All of it lies in a directory of the network namespace, and is read and changed only by who
//! holds the namespace's lock: so what nobody needs any more can be deleted.

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{FileExt as _, MetadataExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::config::{Addresses6, Config, step};
use super::hardware::Mac;
use super::publish::Mapping;
use super::subnet::Subnet;
use crate::error::{Error, Result};

/// What is known of one bridge in one network namespace.
#[derive(Debug)]
pub(super) struct State {
    dir: PathBuf,
    bridge: String,
    /// Addresses that nobody gets.
    reserved: Vec<IpAddr>,
    /// Locked as long as this exists.
    _lock: File,
}

/// What the file of an address says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Says {
    pub(super) mac: Mac,
    pub(super) published: Vec<Mapping>,
    /// Its IPv6 address, where it has one.
    #[serde(default)]
    pub(super) address6: Option<Ipv6Addr>,
    /// Its addresses that count on the bridge alone.
    #[serde(default)]
    pub(super) link_local: Vec<IpAddr>,
    /// What its holder wants others to know.
    pub(super) note: String,
}

/// One that has an address.
#[derive(Debug, Clone)]
pub(super) struct Tenant {
    pub(super) address: Ipv4Addr,
    pub(super) says: Says,
}

/// An address that is ours as long as this exists.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) address: Ipv4Addr,
    file: File,
    path: PathBuf,
    /// Everybody on the bridge holds a share of it.
    users: File,
    six: Option<Lease6>,
}

/// An IPv6 address that is ours as long as this exists. Its file says the holder's other address.
#[derive(Debug)]
pub(super) struct Lease6 {
    pub(super) address: Ipv6Addr,
    file: File,
    path: PathBuf,
}

impl Lease {
    /// Writes down what is set up for its holder. Others may read it at any moment: it is never
    /// empty or cut off in between, but may have blanks at its end.
    pub(super) fn say(&self, says: &Says) -> Result<()> {
        let write = || {
            let mut text = serde_json::to_vec(says)?;
            let before = usize::try_from(self.file.metadata()?.len()).unwrap_or(0);
            text.resize(text.len().max(before), b' ');
            self.file.write_all_at(&text, 0)
        };
        write().map_err(step("write an address lease"))
    }

    /// Gives the address back; for who holds the bridge's state.
    pub(super) fn end(&self) {
        if let Some(six) = &self.six {
            let _ = fs::remove_file(&six.path);
        }
        let _ = fs::remove_file(&self.path);
        self.let_go();
    }

    /// Its holder is as one that was killed: nobody sees it any more, and what was set up for it is
    /// still to be taken back.
    pub(super) fn let_go(&self) {
        if let Some(six) = &self.six {
            let _ = six.file.unlock();
        }
        let _ = self.file.unlock();
        let _ = self.users.unlock();
    }
}

impl Lease {
    /// Its IPv6 address, where it has one.
    pub(super) fn address6(&self) -> Option<Ipv6Addr> {
        self.six.as_ref().map(|six| six.address)
    }

    /// Has an IPv6 address, too.
    pub(super) fn with(mut self, six: Lease6) -> Self {
        self.six = Some(six);
        self
    }
}

impl State {
    /// Waits until nobody else holds it.
    pub(super) fn lock(config: &Config) -> Result<Self> {
        let dir = directory(&config.state_dir)?;
        fs::create_dir_all(&dir).map_err(step(format!("make {}", dir.display())))?;
        let lock = open(&dir.join(format!("{}.lock", config.bridge)))?;
        lock.lock().map_err(step("lock the bridge"))?;
        Ok(Self {
            dir,
            bridge: config.bridge.clone(),
            reserved: config.reserved.clone(),
            _lock: lock,
        })
    }

    /// The same where somebody has been before; else there is nothing to look at.
    pub(super) fn lock_existing(config: &Config) -> Result<Option<Self>> {
        let dir = directory(&config.state_dir)?;
        let lock = dir.join(format!("{}.lock", config.bridge));
        lock.exists().then(|| Self::lock(config)).transpose()
    }

    fn path(&self, of: &str) -> PathBuf {
        self.dir.join(format!("{}{of}", self.bridge))
    }

    /// Leases the first address of `range` that nobody has, or the one that is wished for.
    pub(super) fn lease(
        &self,
        (subnet, range): (Subnet, Subnet),
        own: Ipv4Addr,
        wish: Option<Ipv4Addr>,
    ) -> Result<Lease> {
        let files = self.files().map_err(step("read the address leases"))?;
        let mut taken: Vec<Ipv4Addr> = files.into_iter().map(|(address, _)| address).collect();
        taken.extend(self.reserved.iter().filter_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        }));
        taken.sort_unstable();
        let is_free = |address: &Ipv4Addr| taken.binary_search(address).is_err();
        let address = match wish {
            Some(address) => Some(address).filter(|address| is_free(address) && *address != own),
            None => subnet.hosts(range, own).find(is_free),
        };
        let address = match (address, wish) {
            (Some(address), _) => address,
            (None, Some(address)) => return Err(Error::AddressTaken(address.into())),
            (None, None) => return Err(Error::NoAddress(range.to_string())),
        };
        let path = self.file_of(address);
        let file = open(&path)?;
        file.lock().map_err(step("lock an address"))?;
        let users = open(&self.path(".users"))?;
        users.lock_shared().map_err(step("use the bridge"))?;
        Ok(Lease {
            address,
            file,
            path,
            users,
            six: None,
        })
    }

    /// Leases the first IPv6 address that nobody has, or the one that is wished for, to who has
    /// another.
    pub(super) fn lease6(
        &self,
        all: &Addresses6,
        other: Ipv4Addr,
        wish: Option<Ipv6Addr>,
    ) -> Result<Lease6> {
        let files = files(&self.dir, &self.bridge, ".lease6");
        let files = files.map_err(step("read the address leases"))?;
        let mut there: Vec<Ipv6Addr> = files.into_iter().map(|(address, _)| address).collect();
        let is_reserved = |own: &Ipv6Addr| self.reserved.contains(&IpAddr::V6(*own));
        there.extend(self.reserved.iter().filter_map(|address| match address {
            IpAddr::V6(address) => Some(*address),
            IpAddr::V4(_) => None,
        }));
        there.sort_unstable();
        let chosen = match wish {
            Some(address) => Some(address).filter(|own| *own != all.gateway && !is_reserved(own)),
            None => all
                .subnet
                .hosts(all.range, all.gateway)
                .find(|address| there.binary_search(address).is_err()),
        };
        let address = match (chosen, wish) {
            (Some(address), _) => address,
            (None, Some(address)) => return Err(Error::AddressTaken(address.into())),
            (None, None) => return Err(Error::NoAddress(all.range.to_string())),
        };
        let path = self.file_of6(address);
        let file = open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            // Who had it was killed otherwise.
            Err(TryLockError::WouldBlock) => return Err(Error::AddressTaken(address.into())),
            Err(TryLockError::Error(error)) => return Err(step("lock an address")(error)),
        }
        file.set_len(0)
            .and_then(|()| file.write_all_at(other.to_string().as_bytes(), 0))
            .map_err(step("write an address lease"))?;
        Ok(Lease6 {
            address,
            file,
            path,
        })
    }

    fn file_of6(&self, address: Ipv6Addr) -> PathBuf {
        self.path(&format!("-{address}.lease6"))
    }

    fn file_of(&self, address: Ipv4Addr) -> PathBuf {
        self.path(&format!("-{address}.lease"))
    }

    /// Those that have an address, and those that have ended without giving it back.
    pub(super) fn tenants(&self) -> Result<(Vec<Tenant>, Vec<Tenant>)> {
        let files = self.files().map_err(step("read the address leases"))?;
        let (mut live, mut gone) = (Vec::new(), Vec::new());
        for (address, path) in files {
            let Some((says, is_held)) = read(&path, address) else {
                continue;
            };
            let list = if is_held { &mut live } else { &mut gone };
            list.push(Tenant { address, says });
        }
        live.sort_by_key(|tenant| tenant.address);
        Ok((live, gone))
    }

    /// Forgets one that has ended.
    pub(super) fn forget(&self, tenant: &Tenant) {
        let _ = fs::remove_file(self.file_of(tenant.address));
        if let Some(address) = tenant.says.address6 {
            let path = self.file_of6(address);
            // Somebody may have it by now.
            if File::open(&path).is_ok_and(|file| file.try_lock_shared().is_ok()) {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Whether nobody may come any more.
    pub(super) fn is_removed(&self) -> bool {
        self.path(".removed").exists()
    }

    /// Nobody may come any more; of all that was kept only this stays.
    pub(super) fn remove(&self) -> Result<()> {
        let _ = fs::remove_file(self.path(".users"));
        let path = self.path(".removed");
        fs::write(&path, "").map_err(step(format!("write {}", path.display())))
    }

    /// The link that was made for those of this name to stand on.
    pub(super) fn made(&self) -> Option<String> {
        fs::read_to_string(self.path(".made")).ok()
    }

    /// Notes that a link is about to be made.
    pub(super) fn note_made(&self, link: &str) -> Result<()> {
        let path = self.path(".made");
        fs::write(&path, link).map_err(step(format!("write {}", path.display())))
    }

    /// It is gone.
    pub(super) fn forget_made(&self) {
        let _ = fs::remove_file(self.path(".made"));
    }

    /// Whether nobody has an address.
    pub(super) fn is_unused(&self) -> bool {
        let users = open(&self.path(".users"));
        users.is_ok_and(|users| users.try_lock().is_ok())
    }

    fn files(&self) -> io::Result<Vec<(Ipv4Addr, PathBuf)>> {
        files(&self.dir, &self.bridge, ".lease")
    }

    /// Whether somebody uses the bridge, or has ended without taking back what was changed.
    pub(super) fn has_traces(&self) -> bool {
        self.has_switched_forwarding(Forwarding::Ipv4)
            || self.has_switched_forwarding(Forwarding::Ipv6)
            || self.files().is_ok_and(|files| !files.is_empty())
    }

    /// Deletes the files of addresses; for when nobody has one.
    pub(super) fn forget_leases(&self) {
        let six: Vec<(Ipv6Addr, PathBuf)> =
            files(&self.dir, &self.bridge, ".lease6").unwrap_or_default();
        let four = self.files().unwrap_or_default().into_iter();
        let six = six.into_iter().map(|(_, file)| file);
        for file in four.map(|(_, file)| file).chain(six) {
            let _ = fs::remove_file(file);
        }
    }

    /// Whether it was us who made this host forward packets.
    pub(super) fn has_switched_forwarding(&self, kind: Forwarding) -> bool {
        self.path(kind.note()).exists()
    }

    /// Notes that it was, or forgets it.
    pub(super) fn switched_forwarding(&self, kind: Forwarding, by_us: bool) -> Result<()> {
        let path = self.path(kind.note());
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

/// A switch of this host that makes it a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forwarding {
    Ipv4,
    Ipv6,
}

impl Forwarding {
    fn note(self) -> &'static str {
        match self {
            Self::Ipv4 => ".forwarding",
            Self::Ipv6 => ".forwarding6",
        }
    }

    /// Where the kernel has it.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Ipv4 => "/proc/sys/net/ipv4/ip_forward",
            Self::Ipv6 => "/proc/sys/net/ipv6/conf/all/forwarding",
        }
    }
}

/// The files of the addresses of a bridge, of one kind.
fn files<A: FromStr>(dir: &Path, bridge: &str, kind: &str) -> io::Result<Vec<(A, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let address = name.to_str().and_then(|name| {
            let rest = name.strip_prefix(bridge)?.strip_prefix('-')?;
            rest.strip_suffix(kind)?.parse().ok()
        });
        files.extend(address.map(|address| (address, entry.path())));
    }
    Ok(files)
}

/// What a file says, and whether its address is held; nothing when the file is gone.
fn read(path: &Path, address: Ipv4Addr) -> Option<(Says, bool)> {
    let file = File::open(path).ok()?;
    let is_held = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    let text = io::read_to_string(&file).ok()?;
    // A lease whose holder was killed before it could say anything, or of an earlier version.
    let says = serde_json::from_str(&text).unwrap_or(Says {
        mac: Mac::of(address),
        published: Vec::new(),
        address6: None,
        link_local: Vec::new(),
        note: String::new(),
    });
    Some((says, is_held))
}

/// What the holder of an address of a bridge wants others to know; nothing when nobody has it.
pub(super) fn note_of(dir: &Path, bridge: &str, address: Ipv4Addr) -> Option<String> {
    let path = dir.join(format!("{bridge}-{address}.lease"));
    let (says, is_held) = read(&path, address)?;
    is_held.then_some(says.note)
}

/// The same of an IPv6 address.
pub(super) fn note_of6(dir: &Path, bridge: &str, address: Ipv6Addr) -> Option<String> {
    let path = dir.join(format!("{bridge}-{address}.lease6"));
    let other = fs::read_to_string(path).ok()?.parse().ok()?;
    let (says, is_held) = read(&dir.join(format!("{bridge}-{other}.lease")), other)?;
    (is_held && says.address6 == Some(address)).then_some(says.note)
}

/// What all that have an address of a bridge want others to know.
pub(super) fn notes(dir: &Path, bridge: &str) -> Vec<(Ipv4Addr, String)> {
    let mut files: Vec<(Ipv4Addr, PathBuf)> = files(dir, bridge, ".lease").unwrap_or_default();
    files.sort();
    let note = |(address, path): &(Ipv4Addr, PathBuf)| {
        let (says, is_held) = read(path, *address)?;
        is_held.then_some((*address, says.note))
    };
    files.iter().filter_map(note).collect()
}

/// The ports of this host that lead to somebody on any bridge.
pub(super) fn published(dir: &Path) -> impl Iterator<Item = Mapping> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let leases = entries.filter(|e| e.file_name().to_string_lossy().ends_with(".lease"));
    leases
        .filter_map(|entry| read(&entry.path(), Ipv4Addr::UNSPECIFIED))
        .filter(|(_, is_held)| *is_held)
        .flat_map(|(says, _)| says.published)
}

/// Those in another network namespace use other links, whatever the names are.
pub(super) fn directory(state_dir: &Path) -> Result<PathBuf> {
    let namespace = fs::metadata("/proc/thread-self/ns/net")
        .map_err(step("look at the network namespace (is /proc mounted?)"))?;
    Ok(state_dir.join(format!("net-{}", namespace.ino())))
}

fn open(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(step(format!("open {}", path.display())))
}
