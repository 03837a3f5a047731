//! What a monitor is told when it is started: all that it needs for as long as it lives.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use runtime::network::Parent;
use runtime::{Dns, Inhabitant, Spec};
use serde::{Deserialize, Serialize};

use crate::events::Actor;
use crate::health::Probe;
use crate::log::LogSettings;
use crate::network::ports::Wanted;

/// How a container is run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Launch {
    /// The container's ID.
    pub id: String,
    /// How events tell of it.
    pub actor: Actor,
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// The store's root, for whoever removes the container when it has ended.
    pub root: PathBuf,
    /// Its process; network and the files of /etc are still to come.
    pub spec: Spec,
    /// Its network.
    pub network: NetworkPlan,
    /// The network that is no bridge, as events tell of it.
    pub other_network: Option<Actor>,
    /// Whose shared memory it has.
    pub memory_of: Option<Inhabitant>,
    /// Its volumes, as events tell of them.
    pub volumes: Vec<Actor>,
    /// How failures to mount its volumes are told: what the runtime says it was doing, and docker's
    /// words for it.
    #[serde(default)]
    pub told: Vec<(String, String)>,
    /// What its files of /etc say.
    pub etc: Etc,
    /// Where its output goes.
    pub log: LogSettings,
    /// It has a terminal.
    pub tty: bool,
    /// Its standard input can be written to.
    pub open_stdin: bool,
    /// Its standard input ends when the first that is attached ends theirs.
    pub stdin_once: bool,
    /// What is done when it ends.
    pub restart: RestartPolicy,
    /// The signal that asks it to end, and the seconds until it is killed after that; below 0 for
    /// ever.
    pub stop: (i32, i64),
    /// How it is found out whether it is well.
    pub health: Option<Probe>,
    /// It is removed when it has ended.
    pub auto_remove: bool,
    /// Who starts it takes part in these streams.
    pub attach: Streams,
    /// How often it has been started again before.
    pub restart_count: u32,
}

/// Which of the standard streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

impl Streams {
    /// Whether there is one at all.
    pub fn any(self) -> bool {
        self.stdin || self.stdout || self.stderr
    }
}

/// The network of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkPlan {
    /// Nothing but `lo`.
    None,
    /// This machine's.
    Host,
    /// Another container's.
    Container {
        /// Its first process.
        pid: i32,
        /// When that was started, in clock ticks since boot.
        started: u64,
        /// Its folder, whose files of /etc it shares.
        folder: PathBuf,
    },
    /// Bridges of this machine, any number of them.
    Bridges {
        /// Its places on them, in the order of its interfaces.
        places: Vec<PlacePlan>,
        /// What is published of it, on the one that is its way out.
        ports: Vec<Wanted>,
    },
}

/// A container's place on a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacePlan {
    /// The network's name.
    pub network: String,
    /// The network's ID.
    pub network_id: String,
    /// The ID of the place.
    pub endpoint_id: String,
    /// It is the bridge that all share, which knows no names.
    pub is_default: bool,
    /// The name of the bridge.
    pub bridge: String,
    /// The link of this machine that takes its place.
    #[serde(default)]
    pub parent: Option<Parent>,
    /// Subnet, this machine's address and the range to choose from; nothing for free ones.
    pub addresses: Option<(String, Ipv4Addr, String)>,
    /// No interface has one of those.
    pub without_ipv4: bool,
    /// The same of IPv6; nothing where the network has none.
    pub addresses6: Option<(String, Ipv6Addr, String)>,
    /// Nobody on it reaches other networks.
    pub internal: bool,
    /// Those on it do not reach each other.
    pub apart: bool,
    /// Other networks see their addresses.
    pub untranslated: bool,
    /// The longest packet in bytes.
    pub mtu: Option<u32>,
    /// Where ports are published that say nothing else.
    pub published_at: Option<Ipv4Addr>,
    /// An address of its own.
    pub address: Option<Ipv4Addr>,
    /// An IPv6 address of its own.
    pub address6: Option<Ipv6Addr>,
    /// Addresses that count on the bridge alone.
    pub link_local: Vec<IpAddr>,
    /// What its interface's name begins with; empty for `eth`.
    pub interfaces: String,
    /// What the bridge is called, too.
    pub also: Option<String>,
    /// What its interface is called; nothing for a number behind that.
    pub interface: Option<String>,
    /// Addresses of the network that nobody gets.
    pub reserved: Vec<IpAddr>,
    /// A hardware address of its own.
    pub mac: Option<String>,
    /// What it is called there.
    pub names: Vec<String>,
    /// Names that it alone knows, and whom they mean.
    pub links: Vec<(String, String)>,
    /// The network with the highest is the way out.
    pub priority: i64,
}

impl PlacePlan {
    /// The container is called otherwise.
    pub(crate) fn rename(&mut self, before: &str, name: &str) {
        for own in self.names.iter_mut().filter(|own| *own == before) {
            name.clone_into(own);
        }
    }
}

/// What the files of /etc say that a container has of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Etc {
    /// The host name.
    pub hostname: String,
    /// The domain.
    pub domain: String,
    /// Further hosts.
    pub hosts: Vec<(String, HostAddress)>,
    /// Other containers on the bridge that all share.
    pub links: Vec<Link>,
    /// Name servers and their kin.
    pub dns: Dns,
}

/// Another container on the bridge that all share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its ID.
    pub container: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// What it is called, with blanks between.
    pub names: String,
}

/// What `--add-host` gives a name to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostAddress {
    /// An address.
    Ip(IpAddr),
    /// This machine, as the container reaches it.
    Gateway,
}

/// What is done when a container ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Nothing.
    #[default]
    No,
    /// It is started again.
    Always,
    /// It is started again unless somebody has stopped it.
    UnlessStopped,
    /// It is started again when it has failed, so many times; 0 is any number.
    OnFailure(u32),
}

impl RestartPolicy {
    /// Whether it is started again when this machine has been down. `by_hand` says that somebody
    /// had stopped it before.
    pub fn wants_after_boot(self, exit_code: i32, by_hand: bool) -> bool {
        match self {
            Self::No => false,
            // Docker's rule: whoever wants it always wants it then, too.
            Self::Always => true,
            Self::UnlessStopped => !by_hand,
            Self::OnFailure(_) => exit_code != 0 && !by_hand,
        }
    }

    /// Whether it is started again. `by_hand` says that somebody has stopped it, `restarts` how
    /// often that was done.
    pub fn wants(self, exit_code: i32, by_hand: bool, restarts: u32) -> bool {
        match self {
            _ if by_hand => false,
            Self::No => false,
            Self::Always | Self::UnlessStopped => true,
            Self::OnFailure(most) => exit_code != 0 && (most == 0 || restarts < most),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_bring_back_what_ran_before_the_machine_went_down() {
        for (policy, code, by_hand, wanted) in [
            (RestartPolicy::No, 137, false, false),
            (RestartPolicy::Always, 0, false, true),
            (RestartPolicy::Always, 137, true, true),
            (RestartPolicy::UnlessStopped, 137, false, true),
            (RestartPolicy::UnlessStopped, 137, true, false),
            (RestartPolicy::OnFailure(3), 137, false, true),
            (RestartPolicy::OnFailure(3), 0, false, false),
        ] {
            let found = policy.wants_after_boot(code, by_hand);
            assert_eq!(found, wanted, "{policy:?} {code} {by_hand}");
        }
    }

    #[test]
    fn policies_restart_as_dockers() {
        for (policy, code, by_hand, restarts, wanted) in [
            (RestartPolicy::No, 1, false, 0, false),
            (RestartPolicy::Always, 0, false, 9, true),
            (RestartPolicy::Always, 137, true, 0, false),
            (RestartPolicy::UnlessStopped, 0, false, 0, true),
            (RestartPolicy::OnFailure(0), 1, false, 99, true),
            (RestartPolicy::OnFailure(0), 0, false, 0, false),
            (RestartPolicy::OnFailure(2), 1, false, 1, true),
            (RestartPolicy::OnFailure(2), 1, false, 2, false),
        ] {
            let found = policy.wants(code, by_hand, restarts);
            assert_eq!(found, wanted, "{policy:?} {code} {by_hand} {restarts}");
        }
    }
}
