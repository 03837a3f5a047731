//! System calls: the only unsafe code of the crate, and the trait that lets the init be tested
//! without privileges.

#[cfg(test)]
pub(crate) mod fake;
mod linux;
mod process;
mod raw;
mod syscall;

pub(crate) use linux::Linux;
pub(crate) use process::{Child, clone_process, close_from, inherited, wait_child};
pub(crate) use raw::{mount_setattr, raise_loopback};
pub(crate) use syscall::{Attrs, FsType, Syscall};
