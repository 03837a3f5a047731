//! `rbuild network prune`

use clap::Args;
use containers::engine::Containers;

use crate::app::App;
use crate::commands::container::has_label;
use crate::failure::{Failure, Outcome};
use crate::filter::Filters;
use crate::happened;
use crate::term::prompt;
use crate::when;

/// `rbuild network prune`
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,

    /// Only networks for which it holds: until=TIME, label=KEY[=VALUE] or label!=KEY[=VALUE]; may
    /// be repeated
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    pub filters: Vec<String>,
}

const WARNING: &str =
    "WARNING! This will remove all custom networks not used by at least one container.";

/// Runs the command.
pub async fn run(app: &App, args: PruneArgs) -> Outcome {
    let filters = Filters::parse_long(&args.filters, &["until", "label", "label!"])?;
    let containers = app.containers_to_remove().await?;
    if !args.force && !prompt::confirm(&app.printer, WARNING).await? {
        return Ok(());
    }
    let removed = prune(&containers, &filters, false).await?;
    happened::tell_of_prune(containers.store(), "network", 0);
    if !removed.is_empty() {
        app.printer.line("Deleted Networks:");
        removed.iter().for_each(|name| app.printer.line(name));
        app.printer.line("");
    }
    Ok(())
}

/// Removes the networks that nobody is on, or only tells which.
///
/// # Errors
/// Filters that make no sense, and those of removing.
pub async fn prune(
    containers: &Containers,
    filters: &Filters,
    dry_run: bool,
) -> Result<Vec<String>, Failure> {
    let mut until = None;
    for text in filters.all("until") {
        until = Some(when::until(text).map_err(Failure::new)?);
    }
    let mut removed = Vec::new();
    for network in containers.networks().await? {
        let labels = &network.record.labels;
        let old = until.is_none_or(|until| network.created / 1_000_000_000 < until);
        let wanted = filters.all("label").all(|label| has_label(labels, label));
        let spared = filters.all("label!").any(|label| has_label(labels, label));
        if network.is_predefined() || network.record.config_only || !old || !wanted || spared {
            continue;
        }
        if dry_run {
            if !containers.is_network_used(&network).await? {
                removed.push(network.name);
            }
            continue;
        }
        match containers.remove_network(&network).await {
            Ok(()) => removed.push(network.name),
            Err(containers::Error::NetworkUsed { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(removed)
}
