//! What killed processes have left of bridges.

use std::fs;
use std::path::Path;

use runtime::network::Config;

use crate::dns::registry;
use crate::network::{self, default_bridge};

/// Takes back what containers that were killed have left of the bridge that all share, and of
/// these.
pub(in crate::engine) fn sweep<'b>(bridges: impl IntoIterator<Item = &'b str>) {
    let _ = runtime::network::sweep(&default_bridge());
    let _ = runtime::network::sweep_ended(Path::new(network::LEASES));
    let Ok(dir) = network::directory() else {
        return;
    };
    for bridge in bridges {
        let _ = runtime::network::sweep(&config(bridge));
        registry::sweep(&dir, bridge);
    }
}

/// As much of a bridge as is needed to take it away.
pub(super) fn config(bridge: &str) -> Config {
    Config {
        bridge: bridge.to_owned(),
        ..default_bridge()
    }
}

/// Notes which store has made a bridge.
pub(super) fn own(dir: &Path, bridge: &str, root: &Path) {
    let _ = fs::create_dir_all(dir);
    let _ = fs::write(owner(dir, bridge), root.as_os_str().as_encoded_bytes());
}

fn owner(dir: &Path, bridge: &str) -> std::path::PathBuf {
    dir.join(format!("{bridge}.owner"))
}

/// Takes a bridge away for good. False when somebody is on it.
pub(super) fn close(dir: &Path, bridge: &str) -> runtime::Result<bool> {
    let closed = runtime::network::close_bridge(&config(bridge))?;
    if closed {
        registry::forget_all(dir, bridge);
        let _ = fs::remove_file(owner(dir, bridge));
    }
    Ok(closed)
}

/// Takes away bridges of this store whose networks are gone: a process was killed that removed one.
pub(super) fn close_orphans(dir: &Path, root: &Path, known: &[String]) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(bridge) = name.to_str().and_then(|name| name.strip_suffix(".owner")) else {
            continue;
        };
        let said = fs::read(entry.path()).unwrap_or_default();
        let is_ours = said == root.as_os_str().as_encoded_bytes();
        if is_ours && !known.iter().any(|known| known == bridge) {
            let _ = close(dir, bridge);
        }
    }
}
