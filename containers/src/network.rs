//! Which network a container gets.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::launch::NetworkPlan;

/// The bridge that containers share unless told otherwise.
const BRIDGE: &str = "rbuild1";
/// Where every process of this machine leases addresses of it, whatever its store is.
const LEASES: &str = "/run/rbuild";

/// Reads `--network`.
pub(crate) fn plan(mode: &str) -> Result<NetworkPlan> {
    match mode {
        "" | "default" | "bridge" => Ok(NetworkPlan::Bridge {
            bridge: BRIDGE.to_owned(),
            leases: PathBuf::from(LEASES),
        }),
        "host" => Ok(NetworkPlan::Host),
        "none" => Ok(NetworkPlan::None),
        other => Err(Error::Invalid(format!("network {other} not found"))),
    }
}

/// Takes back what containers that were killed have left of the bridge.
pub(crate) fn sweep() {
    let _ = runtime::network::sweep(&runtime::network::Config {
        state_dir: PathBuf::from(LEASES),
        bridge: BRIDGE.to_owned(),
        between: runtime::network::Between::Everything,
    });
}
