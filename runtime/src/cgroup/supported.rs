//! Which limits this host knows, beyond those that every host has.

use super::host::{BLKIO, Hierarchies, Version};
use crate::error::Result;

/// Which limits there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Supported {
    /// Memory.
    pub memory: bool,
    /// Shares and quotas of processors.
    pub cpu: bool,
    /// Which processors.
    pub cpuset: bool,
    /// How many processes.
    pub pids: bool,
    /// Memory that is taken last.
    pub memory_reservation: bool,
    /// Memory and swap together.
    pub swap: bool,
    /// How readily memory is moved to swap.
    pub memory_swappiness: bool,
    /// Not killing for want of memory.
    pub oom_kill_disable: bool,
    /// Real-time scheduling.
    pub realtime: bool,
    /// Weights of block devices.
    pub weight: bool,
    /// The weight on one device.
    pub weight_device: bool,
    /// What a device may do in a second.
    pub rates: bool,
}

/// What this host has, found where docker looks for it.
///
/// # Errors
/// [`crate::Error::Setup`] when /proc is not there.
pub fn supported() -> Result<Supported> {
    let host = Hierarchies::of_this_host()?;
    let place = |controller: &str| host.place_of(controller);
    let is_two = |controller: &str| place(controller).is_some_and(|p| p.version == Version::Two);
    let has = |controller: &str, file: &str| {
        let one = place(controller).filter(|place| place.version == Version::One);
        one.is_some_and(|place| place.mount.join(file).exists())
    };
    let io = is_two(BLKIO);
    Ok(Supported {
        memory: place("memory").is_some(),
        cpu: place("cpu").is_some(),
        cpuset: place("cpuset").is_some(),
        pids: place("pids").is_some(),
        memory_reservation: is_two("memory") || has("memory", "memory.soft_limit_in_bytes"),
        swap: is_two("memory") || has("memory", "memory.memsw.limit_in_bytes"),
        memory_swappiness: has("memory", "memory.swappiness"),
        oom_kill_disable: has("memory", "memory.oom_control"),
        realtime: has("cpu", "cpu.rt_period_us"),
        weight: io || has(BLKIO, "blkio.weight"),
        weight_device: io || has(BLKIO, "blkio.weight_device"),
        rates: io || has(BLKIO, "blkio.throttle.read_bps_device"),
    })
}
