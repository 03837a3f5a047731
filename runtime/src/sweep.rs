//! What processes that were killed have left on this host.

use crate::{cgroup, network};

/// Removes control groups of processes that have died, and takes back what the build network has
/// changed on this host when nobody uses it any more. What cannot be removed is left for the next
/// time: it keeps nobody from working.
pub fn sweep(network: &network::Config) {
    let _ = cgroup::sweep();
    let _ = network::sweep(network);
    let _ = network::sweep_ended(&network.state_dir);
}
