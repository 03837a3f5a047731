//! What has become of a container: a file in its folder, which its monitor writes.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::health::Health;
use crate::network::ports::Published;
use crate::status::Status;

/// The exit code of a container that could not be started.
pub(crate) const NOT_STARTED: i32 = 128;
/// The time that Go writes when there is none.
pub const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// What has become of a container. Times are RFC 3339 with nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// What it is doing.
    pub status: Status,
    /// The number of its first process, 0 when there is none.
    pub pid: i32,
    /// When that was started, in clock ticks since boot.
    pub pid_started: u64,
    /// Of the last run.
    pub exit_code: i32,
    /// A process of it was killed for want of memory.
    pub oom_killed: bool,
    /// Why it could not be started, or what happened to it.
    pub error: String,
    /// When it was started the last time.
    pub started_at: String,
    /// When it ended the last time.
    pub finished_at: String,
    /// How often its monitor has started it again.
    pub restart_count: u32,
    /// It was stopped by somebody, and is not started again by itself.
    pub stopped_by_hand: bool,
    /// What came of its health check, if it has one and was started.
    pub health: Option<Health>,
    /// Its places on networks, while it runs.
    pub places: Vec<Place>,
    /// Its ports that are published, while it runs.
    pub ports: Vec<Published>,
}

/// A place on a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The network's ID.
    pub network_id: String,
    /// The ID of the place.
    pub endpoint_id: String,
    /// Its IPv4 address, where it has one.
    pub address: Option<Ipv4Addr>,
    /// How many bits of it are the network's.
    pub prefix: u8,
    /// This machine's address there; nothing where that leads nowhere.
    pub gateway: Option<Ipv4Addr>,
    /// Its IPv6 address, where it has one.
    #[serde(default)]
    pub address6: Option<Ipv6Addr>,
    /// How many bits of that are the network's.
    #[serde(default)]
    pub prefix6: u8,
    /// This machine's IPv6 address there.
    #[serde(default)]
    pub gateway6: Option<Ipv6Addr>,
    /// Its hardware address.
    pub mac: String,
    /// The bridge.
    pub bridge: String,
    /// It stands on a link of this machine, and there is no bridge.
    #[serde(default)]
    pub is_on_link: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            status: Status::Created,
            pid: 0,
            pid_started: 0,
            exit_code: 0,
            oom_killed: false,
            error: String::new(),
            started_at: NO_TIME.to_owned(),
            finished_at: NO_TIME.to_owned(),
            restart_count: 0,
            stopped_by_hand: false,
            health: None,
            places: Vec::new(),
            ports: Vec::new(),
        }
    }
}

impl State {
    /// Its place on a network.
    pub fn place(&self, network_id: &str) -> Option<&Place> {
        let mut places = self.places.iter();
        places.find(|place| place.network_id == network_id)
    }

    /// Reads the file; a container without one was never started.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    pub fn read(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(e),
        }
    }

    /// Writes the file, whole or not at all. `lasting` puts it on disk.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, path: &Path, lasting: bool) -> io::Result<()> {
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        if lasting {
            file.sync_all()?;
        }
        fs::rename(&new, path)?;
        if let Some(dir) = path.parent().filter(|_| lasting) {
            File::open(dir)?.sync_all()?;
        }
        Ok(())
    }
}

/// The time now.
pub fn now() -> String {
    time_of(jiff::Timestamp::now())
}

/// A time as Go writes it: nanoseconds without trailing zeros.
pub fn time_of(time: jiff::Timestamp) -> String {
    time.to_string()
}

/// A time in seconds since the epoch as `inspect` has it.
pub(crate) fn seconds_of(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| NO_TIME.to_owned(), time_of)
}
