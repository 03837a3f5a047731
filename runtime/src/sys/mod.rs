//! System calls: the only unsafe code of the crate, and the trait that lets the init be tested
//! without privileges.

mod bpf;
#[cfg(test)]
pub(crate) mod fake;
mod iptables;
mod linux;
mod process;
mod raw;
mod syscall;

pub(crate) use bpf::attach_device_filter;
pub(crate) use iptables::filter_table;
pub(crate) use linux::{Linux, open_in};
pub(crate) use process::{
    Child, clone_process, close_from, close_inherited, inherited, signal_descriptor, wait_child,
};
pub(crate) use raw::{allow_devices, mount_setattr, raise_loopback, send_signal, sync_file_range};
pub(crate) use syscall::{Attrs, FsType, Syscall};
