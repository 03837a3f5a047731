//! What `run` and `create` have in common.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use oci::Platform;

use super::devices::DeviceFlags;
use super::health::HealthFlags;
use super::namespaces::NamespaceFlags;
use super::network_flags::NetworkFlags;
use super::rare_flags::RareFlags;
use crate::flags::boolean;

/// What a container is made with. `-h` is the host name's: help has its long name alone.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct MakeFlags {
    /// Assign a name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Keep standard input open
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub interactive: bool,

    /// Give it a terminal
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub tty: bool,

    /// Take part in these streams: stdin, stdout or stderr; may be repeated
    #[arg(short, long, value_name = "STREAM")]
    pub attach: Vec<String>,

    /// Remove it when it has ended
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub rm: bool,

    /// Set a variable; without a value it is taken from here; may be repeated
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,

    /// Read variables from a file; may be repeated
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,

    /// Set the working directory
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,

    /// Set the user, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,

    /// Run this in place of the image's entry point
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Option<String>,

    /// Mount a path of this machine, a volume, or with a target alone a volume without a name; may
    /// be repeated
    #[arg(short, long = "volume", value_name = "[SOURCE:]TARGET[:OPTIONS]")]
    pub volumes: Vec<String>,

    /// Mount all that another container has mounted; may be repeated
    #[arg(long, value_name = "CONTAINER[:ro]")]
    pub volumes_from: Vec<String>,

    /// How volumes are made: local
    #[arg(long, value_name = "DRIVER")]
    pub volume_driver: Option<String>,

    /// Mount a path of this machine, a volume, memory or an image
    /// (type=bind|volume|tmpfs|image,source=…,target=…,readonly,…); may be repeated
    #[arg(long = "mount", value_name = "MOUNT")]
    pub mounts: Vec<String>,

    /// Mount memory; may be repeated
    #[arg(long, value_name = "TARGET[:OPTIONS]")]
    pub tmpfs: Vec<String>,

    /// Forbid writing to the root file system
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub read_only: bool,

    /// Add a capability, or ALL; may be repeated
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_add: Vec<String>,

    /// Drop a capability, or ALL; may be repeated
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_drop: Vec<String>,

    /// Confine it as little as possible: it can do to this machine whatever root can
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub privileged: bool,

    /// no-new-privileges, seccomp=unconfined, seccomp=PROFILE.json, systempaths=unconfined or
    /// writable-cgroups=true; may be repeated
    #[arg(long, value_name = "OPTION")]
    pub security_opt: Vec<String>,

    /// Give it a device of this machine; may be repeated
    #[arg(long = "device", value_name = "HOST[:CONTAINER[:PERMISSIONS]]")]
    pub devices: Vec<String>,

    /// Add groups, by number or by name in the image; may be repeated
    #[arg(long, value_name = "GROUP")]
    pub group_add: Vec<String>,

    /// Write the container's ID to a file
    #[arg(long, value_name = "FILE")]
    pub cidfile: Option<PathBuf>,

    /// Set the host name
    #[arg(short = 'h', long, value_name = "NAME")]
    pub hostname: Option<String>,

    /// Set the domain
    #[arg(long, value_name = "NAME")]
    pub domainname: Option<String>,

    /// Set a label; may be repeated
    #[arg(short, long = "label", value_name = "KEY[=VALUE]")]
    pub labels: Vec<String>,

    /// Read labels from a file; may be repeated
    #[arg(long = "label-file", value_name = "FILE")]
    pub label_files: Vec<PathBuf>,

    /// Pull the image: always, missing or never
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pub pull: String,

    /// Print nothing of the pull
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub quiet: bool,

    /// The image for this platform
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<Platform>,

    /// What is done when it ends: no, always, unless-stopped or on-failure[:TIMES]
    #[arg(long, value_name = "POLICY", default_value = "no")]
    pub restart: String,

    /// The signal that asks it to end
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,

    /// Seconds until it is killed after that
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub stop_timeout: Option<i64>,

    /// Have a first process that passes signals on and reaps orphans
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub init: bool,

    /// How output is kept: json-file or none
    #[arg(long, value_name = "DRIVER")]
    pub log_driver: Option<String>,

    /// max-size=SIZE, max-file=NUMBER or compress=BOOL; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub log_opt: Vec<String>,

    #[command(flatten)]
    pub networks: NetworkFlags,

    #[command(flatten)]
    pub limits: LimitFlags,

    #[command(flatten)]
    pub device_limits: DeviceFlags,

    #[command(flatten)]
    pub health: HealthFlags,

    #[command(flatten)]
    pub namespaces: NamespaceFlags,

    #[command(flatten)]
    pub rare: RareFlags,

    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,

    /// The image, the command to run in place of the image's, and its arguments
    #[arg(value_names = ["IMAGE", "COMMAND"], required = true, num_args = 1.., trailing_var_arg = true)]
    pub words: Vec<String>,
}

/// What a container may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitFlags {
    /// Memory, such as 64m
    #[arg(short, long, value_name = "SIZE")]
    pub memory: Option<String>,

    /// Memory and swap together; -1 for any swap
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory_swap: Option<String>,

    /// Memory that is taken from it last when this machine has none left
    #[arg(long, value_name = "SIZE")]
    pub memory_reservation: Option<String>,

    /// Accepted, and without effect, as docker has it
    #[arg(long, value_name = "SIZE", hide = true)]
    pub kernel_memory: Option<String>,

    /// CPUs, such as 1.5
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub cpus: Option<String>,

    /// Its share of the CPUs beside others' 1024
    #[arg(short, long, value_name = "NUMBER")]
    pub cpu_shares: Option<i64>,

    /// Microseconds of a period
    #[arg(long, value_name = "NUMBER")]
    pub cpu_period: Option<i64>,

    /// Microseconds of each period that it gets
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub cpu_quota: Option<i64>,

    /// Microseconds of a period of real-time scheduling
    #[arg(long, value_name = "NUMBER")]
    pub cpu_rt_period: Option<u64>,

    /// Microseconds of real-time scheduling in each of those
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub cpu_rt_runtime: Option<i64>,

    /// Its share of block devices beside others: 10 to 1000
    #[arg(long, value_name = "NUMBER")]
    pub blkio_weight: Option<u16>,

    /// The CPUs that it may use, such as 0-1
    #[arg(long, value_name = "SET")]
    pub cpuset_cpus: Option<String>,

    /// The memory nodes that it may use
    #[arg(long, value_name = "SET")]
    pub cpuset_mems: Option<String>,

    /// Processes and threads at once; -1 for any number
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub pids_limit: Option<i64>,

    /// Limit each process; may be repeated
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub ulimit: Vec<String>,

    /// The size of /dev/shm
    #[arg(long, value_name = "SIZE")]
    pub shm_size: Option<String>,

    /// The control group that holds the container's
    #[arg(long, value_name = "PATH")]
    pub cgroup_parent: Option<String>,
}

impl LimitFlags {
    /// Whether one of them is given.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}
