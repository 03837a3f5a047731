//! `rbuild volume prune`

use clap::Args;
use containers::engine::Containers;

use super::ls;
use crate::app::App;
use crate::commands::container::has_label;
use crate::failure::{Failure, Outcome};
use crate::filter::Filters;
use crate::happened;
use crate::term::{prompt, style};

/// `rbuild volume prune`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild volume prune -f                      those that nobody has named
  rbuild volume prune -af --filter label!=keep")]
pub struct PruneArgs {
    /// Those too that have a name
    #[arg(short, long)]
    pub all: bool,

    /// Only volumes for which it holds: label=KEY[=VALUE], label!=KEY[=VALUE] or all=BOOL; may be
    /// repeated
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    pub filters: Vec<String>,

    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
}

/// Runs the command.
pub async fn run(app: &App, args: PruneArgs) -> Outcome {
    let filters = ls::read(&args.filters, &["all", "label", "label!"])?;
    let all = args.all || filters.boolean("all")? == Some(true);
    let warning = match all {
        true => "WARNING! This will remove all local volumes not used by at least one container.",
        false => {
            "WARNING! This will remove anonymous local volumes not used by at least one container."
        }
    };
    if !args.force && !prompt::confirm(&app.printer, warning).await? {
        return Ok(());
    }
    let containers = app.containers_to_remove().await?;
    let (removed, space) = prune(&containers, &filters, all, false).await?;
    happened::tell_of_prune(containers.store(), "volume", space);
    if !removed.is_empty() {
        app.printer.line("Deleted Volumes:");
        removed.iter().for_each(|name| app.printer.line(name));
        app.printer.line("");
    }
    app.printer
        .line(format!("Total reclaimed space: {}", style::sum(space)));
    Ok(())
}

/// Removes the volumes that no container uses, those with a name only when `all` are meant;
/// returns their names, and how many bytes they had. With `dry_run` they stay.
///
/// # Errors
/// Those of the store.
pub async fn prune(
    containers: &Containers,
    filters: &Filters,
    all: bool,
    dry_run: bool,
) -> Result<(Vec<String>, u64), Failure> {
    let mut removed = Vec::new();
    let mut space = 0;
    for volume in containers.volumes().await? {
        let wanted = filters
            .all("label")
            .all(|text| has_label(&volume.labels, text));
        let spared = filters
            .all("label!")
            .any(|text| has_label(&volume.labels, text));
        // As docker: what is mounted from somewhere else stays until it is removed by its name.
        let is_own = volume.options.is_empty();
        let free = is_own && volume.users.is_empty() && (all || volume.is_anonymous());
        if !free || !wanted || spared {
            continue;
        }
        let size = containers.volume_size(&volume).await?;
        let done = match dry_run {
            true => Ok(()),
            false => containers.remove_volume(&volume.name).await,
        };
        match done {
            // Somebody has begun to use it, or was quicker.
            Err(containers::Error::Store(
                store::Error::VolumeInUse { .. } | store::Error::NoSuchVolume(_),
            )) => continue,
            removed => removed?,
        }
        space += size;
        removed.push(volume.name);
    }
    Ok((removed, space))
}
