//! The commands about containers: one module each, named as it is typed.

pub mod attach;
pub mod commit;
pub mod cp;
pub mod create;
pub mod devices;
pub mod diff;
pub mod each;
pub mod exec;
pub mod flags;
pub mod health;
mod image;
pub mod kill;
pub mod logs;
mod mount_flags;
pub mod namespaces;
pub mod network_flags;
mod networking;
pub mod options;
pub mod pause;
pub mod port;
mod ports;
pub mod prune;
pub mod ps;
mod rare_flags;
pub mod rename;
pub mod restart;
pub mod rm;
mod rows;
pub mod run;
pub mod start;
pub mod stats;
pub mod stop;
mod streams;
pub mod top;
pub mod unpause;
pub mod update;
pub mod wait;

use clap::Subcommand;

use crate::app::App;
use crate::commands::{export, inspect};
use crate::failure::Outcome;

pub use ps::image_names;
pub use rows::{has_label, row as container_row};

/// `rbuild container`
#[derive(Debug, Subcommand)]
pub enum ContainerCommand {
    /// Take part in the streams of a container
    Attach(attach::AttachArgs),
    /// Make an image of a container
    Commit(commit::CommitArgs),
    /// Copy files between a container and this machine
    Cp(cp::CpArgs),
    /// Make a container
    Create(Box<create::CreateArgs>),
    /// Show what has changed in a container since it was made
    Diff(diff::DiffArgs),
    /// Run a command in a container
    Exec(exec::ExecArgs),
    /// Write the files of a container to a tar archive
    Export(export::ExportArgs),
    /// Show all that is known about containers
    Inspect(inspect::InspectArgs),
    /// Send containers a signal
    Kill(kill::KillArgs),
    /// Show what a container has said
    Logs(logs::LogsArgs),
    /// List containers
    #[command(visible_aliases = ["list", "ps"])]
    Ls(ps::PsArgs),
    /// Stop all processes of containers where they are
    Pause(pause::PauseArgs),
    /// Show which ports of this machine lead to a container
    Port(port::PortArgs),
    /// Remove all containers that do not run
    Prune(prune::ContainerPruneArgs),
    /// Give a container another name
    Rename(rename::RenameArgs),
    /// Stop containers and start them
    Restart(stop::StopArgs),
    /// Remove containers
    #[command(visible_alias = "remove")]
    Rm(rm::RmArgs),
    /// Make a container and start it
    Run(Box<run::RunArgs>),
    /// Start containers
    Start(start::StartArgs),
    /// Show what containers use
    Stats(stats::StatsArgs),
    /// Ask containers to end
    Stop(stop::StopArgs),
    /// Show the processes of a container
    Top(top::TopArgs),
    /// Let paused containers go on
    Unpause(unpause::UnpauseArgs),
    /// Change what containers may use
    Update(Box<update::UpdateArgs>),
    /// Wait until containers have ended, and print their exit codes
    Wait(wait::WaitArgs),
}

/// Runs a command of the group.
pub async fn run(app: &App, command: ContainerCommand) -> Outcome {
    match command {
        ContainerCommand::Attach(args) => attach::run(app, args).await,
        ContainerCommand::Commit(args) => commit::run(app, args).await,
        ContainerCommand::Cp(args) => cp::run(app, args).await,
        ContainerCommand::Create(args) => create::run(app, *args).await,
        ContainerCommand::Diff(args) => diff::run(app, args).await,
        ContainerCommand::Exec(args) => exec::run(app, args).await,
        ContainerCommand::Export(args) => export::run(app, args).await,
        ContainerCommand::Inspect(args) => inspect::run_containers(app, args).await,
        ContainerCommand::Kill(args) => kill::run(app, args).await,
        ContainerCommand::Logs(args) => logs::run(app, args).await,
        ContainerCommand::Ls(args) => ps::run(app, args).await,
        ContainerCommand::Pause(args) => pause::run(app, args).await,
        ContainerCommand::Port(args) => port::run(app, args).await,
        ContainerCommand::Prune(args) => prune::run(app, args).await,
        ContainerCommand::Rename(args) => rename::run(app, args).await,
        ContainerCommand::Restart(args) => restart::run(app, args).await,
        ContainerCommand::Rm(args) => rm::run(app, args).await,
        ContainerCommand::Run(args) => run::run(app, *args).await,
        ContainerCommand::Start(args) => start::run(app, args).await,
        ContainerCommand::Stats(args) => stats::run(app, args).await,
        ContainerCommand::Top(args) => top::run(app, args).await,
        ContainerCommand::Update(args) => update::run(app, *args).await,
        ContainerCommand::Stop(args) => stop::run(app, args).await,
        ContainerCommand::Unpause(args) => unpause::run(app, args).await,
        ContainerCommand::Wait(args) => wait::run(app, args).await,
    }
}
