//! Network namespaces: made empty, with `lo` up.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::config::step;
use super::expression::Header;
use super::link;
use super::netlink::{APPEND, Message, Socket};
use super::nft::{Family, Hook, transaction};
use super::sockets::Counters;
use crate::error::Result;
use crate::sys;

/// The table that redirects questions for names.
const TABLE: &str = "rbuild";

/// A network namespace. It exists as a descriptor: it vanishes with the last process in it, once
/// this is gone.
#[derive(Debug)]
pub struct Namespace {
    fd: OwnedFd,
    /// Where the kernel is asked for the sockets in it.
    counters: Counters,
    /// For links in it.
    links: Mutex<Socket>,
}

impl Namespace {
    /// Makes one. Without `ipv6` its interfaces have no addresses of that kind, but for `lo`.
    ///
    /// # Errors
    /// [`crate::Error::Network`]; [`crate::Error::NotPermitted`] without root.
    pub fn create(ipv6: bool) -> Result<Self> {
        let make = || -> io::Result<Self> {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
            let namespace = File::open("/proc/thread-self/ns/net")?;
            sys::raise_loopback()?;
            if !ipv6 {
                // Whether the kernel has IPv6 at all or not.
                let _ = std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
            }
            Ok(Self {
                fd: namespace.into(),
                counters: Counters::here()?,
                links: Mutex::new(Socket::route()?),
            })
        };
        in_a_thread(make).map_err(step("make a network namespace"))
    }

    /// It, for whoever joins it.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Runs something that is done in it: what it opens belongs to it.
    ///
    /// # Errors
    /// [`crate::Error::Network`] when it cannot be done.
    pub fn enter<T: Send>(
        &self,
        what: &str,
        work: impl FnOnce() -> io::Result<T> + Send,
    ) -> Result<T> {
        let enter = || {
            nix::sched::setns(&self.fd, nix::sched::CloneFlags::CLONE_NEWNET)?;
            work()
        };
        in_a_thread(enter).map_err(step(what.to_owned()))
    }

    pub(super) fn links(&self) -> MutexGuard<'_, Socket> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether who comes next finds nothing of the last, once its processes have ended: no
    /// connection is left of which the kernel still knows.
    pub(super) fn is_clean(&self) -> bool {
        let left = self.counters.any_connection();
        // Where the kernel does not say it may be anything.
        matches!(left, Ok(false))
    }

    /// Sends what goes nowhere else out by an interface, through a gateway where one is needed;
    /// nowhere without an interface.
    ///
    /// # Errors
    /// [`crate::Error::Network`] when there is no such interface.
    pub fn route_by(&self, way: Option<(&str, Option<Ipv4Addr>)>) -> Result<()> {
        let mut links = self.links();
        let done = match way {
            Some((interface, gateway)) => link::by_name(&mut links, interface)
                .and_then(|link| link::set_default_route(&mut links, link.index, gateway)),
            None => link::remove_default_route(&mut links),
        };
        done.map_err(step("set the default route"))
    }

    /// The same for IPv6.
    ///
    /// # Errors
    /// [`crate::Error::Network`] when there is no such interface.
    pub fn route6_by(&self, way: Option<(&str, Option<Ipv6Addr>)>) -> Result<()> {
        let mut links = self.links();
        let done = match way {
            Some((interface, gateway)) => link::by_name(&mut links, interface)
                .and_then(|link| link::set_default_route6(&mut links, link.index, gateway)),
            None => link::remove_default_route6(&mut links),
        };
        done.map_err(step("set the default route of IPv6"))
    }

    /// Has questions for names, which are asked at `server`, answered at these ports of it, by UDP
    /// and by TCP: programs in the namespace may have port 53 for themselves.
    ///
    /// # Errors
    /// [`crate::Error::Network`] without nftables' address translation.
    pub fn redirect_names(&self, server: Ipv4Addr, (udp, tcp): (u16, u16)) -> Result<()> {
        const OUTPUT: Hook = Hook {
            number: 3,
            priority: -100,
        };
        const QUESTIONS: u16 = 53;
        let family = Family::Ipv4;
        let mut messages = Vec::from(family.fresh_table(TABLE));
        messages.push(family.base_chain(TABLE, "output", "nat", OUTPUT));
        let mut redirect = |protocol, port| {
            let fill = |list: Message| {
                list.load(1, Header::Network, 16, 4)
                    .equals(&server.octets())
                    .speaking(protocol)
                    .load(1, Header::Transport, 2, 2)
                    .equals(&QUESTIONS.to_be_bytes())
                    .redirect_to(server.octets(), port)
            };
            messages.push(family.rule(TABLE, "output", APPEND, "names", fill));
        };
        redirect(17, udp);
        redirect(6, tcp);
        self.enter("redirect questions for names", || {
            transaction(&mut Socket::netfilter()?, messages)
        })
    }
}

/// A thread of its own: it is the one that changes namespaces, and ends right after.
fn in_a_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}
