//! The network of a build.
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
/// A network namespace shared by the steps of a build.
#[derive(Debug)]
pub struct Sandbox {
    netns: OwnedFd,
    address: Ipv4Addr,
}
impl Sandbox {
    /// The namespace.
    pub fn namespace(&self) -> BorrowedFd<'_> {
        self.netns.as_fd()
    }
    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }
}
