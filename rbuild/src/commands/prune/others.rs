//! What `system prune` removes beside images: containers that do not run, networks, and volumes.

use containers::engine::Containers;

use crate::commands::container::prune as ended;
use crate::commands::{network, volume};
use crate::failure::Failure;
use crate::filter::Filters;

/// What was removed.
#[derive(Debug, Default)]
pub(super) struct Removed {
    containers: Vec<String>,
    networks: Vec<String>,
    volumes: Vec<String>,
    /// Bytes of all.
    pub(super) space: u64,
}

/// Removes containers that do not run, networks that nobody is on, and where they are asked for the
/// volumes without a name that no container uses.
pub(super) async fn remove(
    containers: &Containers,
    filters: &Filters,
    volumes: bool,
    dry_run: bool,
) -> Result<Removed, Failure> {
    let (gone, space) = ended::remove_ended(containers, filters, dry_run).await?;
    let mut removed = Removed {
        containers: gone,
        networks: network::remove_unused(containers, filters, dry_run).await?,
        volumes: Vec::new(),
        space,
    };
    if volumes {
        let (gone, space) = volume::remove_unused(containers, filters, false, dry_run).await?;
        removed.volumes = gone;
        removed.space += space;
    }
    Ok(removed)
}

/// Tells of it, as docker does.
pub(super) fn told(removed: &Removed, dry_run: bool) -> String {
    let mut out = String::new();
    for (what, names) in [
        ("Containers", &removed.containers),
        ("Networks", &removed.networks),
        ("Volumes", &removed.volumes),
    ] {
        if !names.is_empty() {
            let done = match dry_run {
                true => format!("Would delete {}", what.to_lowercase()),
                false => format!("Deleted {what}"),
            };
            out.push_str(&format!("{done}:\n{}\n\n", names.join("\n")));
        }
    }
    out
}
