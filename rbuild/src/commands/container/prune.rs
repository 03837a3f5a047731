//! `rbuild container prune`

use clap::Args;
use containers::engine::Containers;
use containers::status::Status;

use super::rows::{self, Choice};
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::filter::Filters;
use crate::happened;
use crate::term::{prompt, style};
use crate::when;

/// `rbuild container prune`
#[derive(Debug, Args)]
pub struct ContainerPruneArgs {
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,

    /// Only containers for which it holds: until=TIME, label=KEY[=VALUE] or label!=KEY[=VALUE]; may
    /// be repeated
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    pub filters: Vec<String>,
}

const WARNING: &str = "WARNING! This will remove all stopped containers.";

/// Runs the command.
pub async fn run(app: &App, args: ContainerPruneArgs) -> Outcome {
    let filters = Filters::parse_long(&args.filters, &["until", "label", "label!"])?;
    until(&filters)?;
    let containers = app.containers_to_remove().await?;
    if !args.force && !prompt::confirm(&app.printer, WARNING).await? {
        return Ok(());
    }
    let (removed, space) = remove_ended(&containers, &filters, false).await?;
    happened::tell_of_prune(containers.store(), "container", space);
    if !removed.is_empty() {
        app.printer.line("Deleted Containers:");
        removed.iter().for_each(|id| app.printer.line(id));
        app.printer.line("");
    }
    app.printer
        .line(format!("Total reclaimed space: {}", style::sum(space)));
    Ok(())
}

fn until(filters: &Filters) -> Result<Option<i64>, Failure> {
    let mut until = None;
    for text in filters.all("until") {
        until = Some(when::until(text).map_err(Failure::new)?);
    }
    Ok(until)
}

/// Removes all containers that do not run and that the filters choose; returns their IDs, and how
/// many bytes they had. With `dry_run` they stay.
///
/// # Errors
/// Those of the store, and of filters that cannot be understood.
pub async fn remove_ended(
    containers: &Containers,
    filters: &Filters,
    dry_run: bool,
) -> Result<(Vec<String>, u64), Failure> {
    let until = until(filters)?;
    let all = containers.list().await?;
    let choice = Choice {
        labels: filters.all("label").map(str::to_owned).collect(),
        ..Choice::default()
    };
    let mut removed = Vec::new();
    let mut space = 0;
    for container in all {
        let ended = matches!(container.state.status, Status::Created | Status::Exited);
        let old = until.is_none_or(|until| container.created / 1_000_000_000 < until);
        let mut others = filters.all("label!");
        let labels = &container.record.config.labels;
        let spared = others.any(|wanted| rows::has_label(labels, wanted));
        if !ended || !old || spared || !choice.takes(&container) {
            continue;
        }
        let size = containers
            .sizes(&container)
            .await
            .map_or(0, |sizes| sizes.0);
        if !dry_run {
            containers.remove(&container, false).await?;
        }
        space += size;
        removed.push(container.id);
    }
    if !dry_run {
        // Nobody knows those whose stores were deleted, but by what they have left.
        tokio::task::spawn_blocking(|| {
            let _ = runtime::sweep_groups();
        })
        .await?;
    }
    Ok((removed, space))
}
