//! The commands about networks: one module each, named as it is typed.

pub mod connect;
pub mod create;
pub mod disconnect;
pub mod inspect;
pub mod ls;
pub mod prune;
pub mod rm;

pub use prune::prune as remove_unused;

use clap::Subcommand;

use crate::app::App;
use crate::failure::Outcome;

/// `rbuild network`
#[derive(Debug, Subcommand)]
pub enum NetworkCommand {
    /// Bring a container to a network
    Connect(connect::ConnectArgs),
    /// Make a network
    Create(create::CreateArgs),
    /// Take a container off a network
    Disconnect(disconnect::DisconnectArgs),
    /// Show all that is known about networks
    Inspect(inspect::InspectArgs),
    /// List networks
    #[command(visible_alias = "list")]
    Ls(ls::LsArgs),
    /// Remove all networks that no container uses
    Prune(prune::PruneArgs),
    /// Remove networks
    #[command(visible_alias = "remove")]
    Rm(rm::RmArgs),
}

/// Runs a command of the group.
pub async fn run(app: &App, command: NetworkCommand) -> Outcome {
    match command {
        NetworkCommand::Connect(args) => connect::run(app, args).await,
        NetworkCommand::Create(args) => create::run(app, args).await,
        NetworkCommand::Disconnect(args) => disconnect::run(app, args).await,
        NetworkCommand::Inspect(args) => inspect::run(app, args).await,
        NetworkCommand::Ls(args) => ls::run(app, args).await,
        NetworkCommand::Prune(args) => prune::run(app, args).await,
        NetworkCommand::Rm(args) => rm::run(app, args).await,
    }
}
