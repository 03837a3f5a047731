//! One process in a container: overlay root file system, namespaces, capabilities, system call
//! filter, control groups and a network, without any other program.
//!
//! A program that uses this crate calls [`init_hook`] first thing in `main`. Then:
//!
//! ```no_run
//! use runtime::{Container, Overlay, Rootfs, Spec, Stdio};
//!
//! # fn main() -> runtime::Result<()> {
//! runtime::init_hook();
//! let overlay = Overlay {
//!     lowers: vec!["/layers/2".into(), "/layers/1".into()],
//!     stub: Some("/layers/stub".into()),
//!     upper: "/run/step/upper".into(),
//!     work: "/run/step/work".into(),
//! };
//! let spec = Spec::new(Rootfs::Overlay(overlay), ["/bin/sh", "-c", "echo hello"]);
//! let status = Container::spawn(&spec, Stdio::default())?.wait()?;
//! assert!(status.success(), "{status}");
//! # Ok(())
//! # }
//! ```
//!
//! The stages: `prepare` mounts the overlay (nowhere: it is a descriptor), resolves the user and
//! the mount points; `plan` turns that into an ordered list of operations (pure); `spawner`
//! starts this program again as the `init`, which applies the plan and becomes the command;
//! `container` waits for it. `guard` cleans up when this process is killed.
//!
//! Needs Linux 5.12 or newer.

pub mod binfmt;
pub mod caps;
mod cgroup;
mod container;
mod cpus;
pub mod dns;
mod enter;
mod entry;
mod error;
mod guard;
mod hidden;
mod inhabitant;
mod init;
mod limits;
mod line;
mod memory;
mod mount;
mod mountpoints;
pub mod network;
mod node;
pub mod overlay;
mod plan;
mod prepare;
mod processes;
mod seccomp;
mod self_exe;
mod share;
mod source;
mod spawner;
mod spec;
mod sweep;
mod sync;
#[expect(
    unsafe_code,
    reason = "the one place for it; every block says why it is sound"
)]
mod sys;
mod terminations;
pub mod users;
pub mod view;
mod window;
pub mod writeback;

pub use cgroup::{Group, Sizes, Supported, supported, sweep_groups};
pub use container::{Container, ExitStatus, Killer, Running, Stdio};
pub use cpus::check_sets;
pub use enter::{Entered, enter};
pub use entry::Entry;
pub use error::{Error, Result};
pub use hidden::Hidden;
pub use inhabitant::Inhabitant;
pub use init::init_hook;
pub use limits::{
    CgroupParent, Counted, Device, DeviceLimits, Limits, Pids, Rate, Resource, Ulimit,
};
pub use memory::shared_memory;
pub use mount::{BindOptions, Mount, MountFlags, MountKind, Propagation};
pub use node::{Access, DeviceRule, Node};
pub use prepare::hidden_paths;
pub use processes::close_inherited;
pub use seccomp::SeccompProfile;
pub use share::{CgroupView, IpcSpace, PidSpace, Shared};
pub use spec::{Dns, NetworkMode, Overlay, Rootfs, Spec};
pub use sweep::sweep;
pub use terminations::terminations;
pub use window::WindowSize;
