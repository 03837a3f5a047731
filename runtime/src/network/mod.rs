//! The network of a build: a bridge on the host that translates addresses, and one network
//! namespace a build with an address on it.
//!
//! The namespace exists only as a descriptor: it vanishes with the process, and its link to the
//! bridge with it. Addresses are leased by locking files, which the kernel unlocks likewise. The
//! bridge and its nftables table, named like it, stay for the next build.

mod firewall;
mod link;
mod netlink;
mod subnet;

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::sys;
use netlink::Socket;
use subnet::Subnet;

/// Name of the interface in the namespace.
const INTERFACE: &str = "eth0";
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// How a build network is made.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory of the address leases. Every process that uses the same bridge must use the
    /// same directory, whatever its store is: `/run/rbuild` for the system's.
    pub state_dir: PathBuf,
    /// Name of the bridge, at most 15 bytes.
    pub bridge: String,
}

impl Default for Config {
    /// The bridge `rbuild0` and `/run/rbuild`.
    fn default() -> Self {
        Self {
            state_dir: PathBuf::from("/run/rbuild"),
            bridge: "rbuild0".to_owned(),
        }
    }
}

/// A network namespace with a way out, for the steps of one build.
#[derive(Debug)]
pub struct Sandbox {
    namespace: OwnedFd,
    address: Ipv4Addr,
    gateway: Ipv4Addr,
    /// Locked as long as the address is ours.
    _lease: File,
}

impl Sandbox {
    /// Makes the namespace, and the bridge when there is none.
    ///
    /// # Errors
    /// [`Error::Network`] says which step failed and why; [`Error::NotPermitted`] without root.
    pub fn create(config: &Config) -> Result<Self> {
        if config.bridge.is_empty()
            || config.bridge.len() > 15
            || config.bridge.contains(['/', '-'])
        {
            return Err(Error::InvalidSpec(format!(
                "bridge name {:?}",
                config.bridge
            )));
        }
        let dir = &config.state_dir;
        fs::create_dir_all(dir).map_err(step(format!("make {}", dir.display())))?;
        let mut host = Socket::route().map_err(step("open a netlink socket"))?;
        let lock = open_lock(&dir.join(format!("{}.lock", config.bridge)))?;
        lock.lock().map_err(step("lock the bridge"))?;
        let bridge = Bridge::ensure(&mut host, &config.bridge)?;
        let (address, lease) = lease(dir, &config.bridge, &bridge)?;
        drop(lock);
        let (namespace, inside) = new_namespace()?;
        let sandbox = Self {
            namespace,
            address,
            gateway: bridge.address,
            _lease: lease,
        };
        sandbox.connect(&mut host, inside, &bridge)?;
        Ok(sandbox)
    }

    /// The network namespace.
    pub fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// Address of the namespace on the bridge.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Address of the host on the bridge.
    pub fn gateway(&self) -> Ipv4Addr {
        self.gateway
    }

    fn connect(&self, host: &mut Socket, mut inside: Socket, bridge: &Bridge) -> Result<()> {
        let name = format!("vrb{:08x}", u32::from(self.address));
        // The lease is ours: a link of this name is what a dying namespace has not dropped yet.
        link::remove(host, &name).map_err(step("remove a stale veth link"))?;
        link::make_pair(
            host,
            &name,
            bridge.link,
            bridge.mtu,
            INTERFACE,
            self.namespace.as_fd(),
        )
        .map_err(step("make a veth pair (kernel module veth)"))?;
        let eth0 = link::by_name(&mut inside, INTERFACE).map_err(step("find eth0"))?;
        link::add_address(&mut inside, eth0.index, self.address, bridge.subnet)
            .and_then(|()| link::raise(&mut inside, eth0.index))
            .and_then(|()| link::add_default_route(&mut inside, eth0.index, bridge.address))
            .map_err(step("configure eth0"))
    }
}

/// Removes a bridge and its nftables table: what [`Sandbox::create`] leaves for the next build.
///
/// # Errors
/// [`Error::Network`] when one of them exists but cannot be removed.
pub fn remove_bridge(name: &str) -> Result<()> {
    let mut route = Socket::route().map_err(step("open a netlink socket"))?;
    link::remove(&mut route, name).map_err(step(format!("remove bridge {name}")))?;
    let mut netfilter = Socket::netfilter().map_err(step("open a netfilter socket"))?;
    match firewall::remove(&mut netfilter, name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(step(format!("remove nftables table {name}"))(error))
        }
        _ => Ok(()),
    }
}

fn step<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Error {
    move |error| {
        let (what, cause): (String, io::Error) = (what.into(), error.into());
        if cause.kind() == io::ErrorKind::PermissionDenied {
            return Error::NotPermitted {
                what: format!("the build network ({what}; --network host needs no bridge)"),
            };
        }
        Error::Network { step: what, cause }
    }
}

struct Bridge {
    link: link::Link,
    address: Ipv4Addr,
    subnet: Subnet,
    /// What the host's way out carries: a packet that fits the bridge must fit there.
    mtu: Option<u32>,
}

impl Bridge {
    /// Finds or makes the bridge, with an address, forwarding and address translation.
    fn ensure(socket: &mut Socket, name: &str) -> Result<Self> {
        let routes = link::routes(socket).map_err(step("read routes"))?;
        let uplink = routes
            .iter()
            .find_map(|(to, link)| link.filter(|_| to.is_none()));
        let mtu = uplink.and_then(|index| link::by_index(socket, index).ok()?.mtu);
        let link = link::make_bridge(socket, name)
            .map_err(step(format!("make bridge {name} (kernel module bridge)")))?;
        let addresses = link::addresses(socket).map_err(step("read addresses"))?;
        let own = addresses.iter().find(|(index, ..)| *index == link.index);
        let (address, subnet) = match own {
            Some((_, address, subnet)) => (*address, *subnet),
            None => {
                let routed = routes.iter().filter_map(|(to, _)| *to);
                let used: Vec<Subnet> = routed
                    .chain(addresses.iter().map(|(_, _, subnet)| *subnet))
                    .collect();
                let subnet = subnet::choose(&used).ok_or(Error::NoSubnet)?;
                link::add_address(socket, link.index, subnet.gateway(), subnet)
                    .map_err(step(format!("give bridge {name} an address")))?;
                (subnet.gateway(), subnet)
            }
        };
        if fs::read_to_string(FORWARDING)
            .map_err(step(FORWARDING))?
            .trim()
            != "1"
        {
            fs::write(FORWARDING, "1").map_err(step(format!("write 1 to {FORWARDING}")))?;
        }
        let mut netfilter = Socket::netfilter()
            .map_err(step("open a netfilter socket (kernel module nf_tables)"))?;
        firewall::masquerade(&mut netfilter, name, subnet).map_err(step(
            "set up address translation (kernel modules nf_tables, nft_masq)",
        ))?;
        firewall::accept_forwarding(&mut netfilter, name)
            .map_err(step("let the bridge's traffic pass the FORWARD chain"))?;
        Ok(Self {
            link,
            address,
            subnet,
            mtu,
        })
    }
}

fn open_lock(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(step(format!("open {}", path.display())))
}

/// The first address nobody holds.
fn lease(dir: &Path, name: &str, bridge: &Bridge) -> Result<(Ipv4Addr, File)> {
    for address in bridge.subnet.hosts(bridge.address) {
        let file = open_lock(&dir.join(format!("{name}-{address}.lease")))?;
        match file.try_lock() {
            Ok(()) => return Ok((address, file)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(step("lock an address")(error)),
        }
    }
    Err(Error::NoAddress(bridge.subnet.to_string()))
}

/// A network namespace with `lo` up, and a netlink socket in it.
fn new_namespace() -> Result<(OwnedFd, Socket)> {
    let make = || -> io::Result<(OwnedFd, Socket)> {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
        let namespace = File::open("/proc/thread-self/ns/net")?;
        sys::raise_loopback()?;
        Ok((namespace.into(), Socket::route()?))
    };
    // A thread of its own: it is the one that changes namespaces, and ends right after.
    std::thread::scope(|scope| scope.spawn(make).join())
        .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
        .map_err(step("make a network namespace"))
}
