//! The commands about volumes: one module each, named as it is typed.

mod create;
mod inspect;
mod ls;
mod prune;
mod rm;
mod update;

use clap::Subcommand;

use crate::app::App;
use crate::failure::Outcome;

pub use prune::prune as remove_unused;

/// `rbuild volume`
#[derive(Debug, Subcommand)]
pub enum VolumeCommand {
    /// Make a volume
    Create(create::CreateArgs),
    /// Show all that is known about volumes
    Inspect(inspect::InspectArgs),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(ls::LsArgs),
    /// Remove volumes that no container uses
    Prune(prune::PruneArgs),
    /// Remove volumes
    #[command(visible_alias = "remove")]
    Rm(rm::RmArgs),
    /// Change a volume of a cluster, of which there are none here
    #[command(hide = true)]
    Update(update::UpdateArgs),
}

/// Runs a command of the group.
pub async fn run(app: &App, command: VolumeCommand) -> Outcome {
    match command {
        VolumeCommand::Create(args) => create::run(app, args).await,
        VolumeCommand::Inspect(args) => inspect::run(app, args).await,
        VolumeCommand::Ls(args) => ls::run(app, args).await,
        VolumeCommand::Prune(args) => prune::run(app, args).await,
        VolumeCommand::Rm(args) => rm::run(app, args).await,
        VolumeCommand::Update(args) => update::run(&args),
    }
}
