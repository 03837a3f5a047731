//! `rbuild builds`: the last builds, what they did and how long it took.
//!
//! - [`find`]: which build is meant
//! - `list`, `show`, `trace`, `remove`: a module a command

pub mod find;
mod list;
mod remove;
pub mod show;
mod trace;

use clap::{Args, Subcommand};

use crate::app::App;
use crate::failure::Outcome;
use list::ListArgs;
use remove::RemoveArgs;
use show::ShowArgs;
use trace::TraceArgs;

/// `rbuild builds`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  rbuild builds                             the last builds, at most 100
  rbuild builds show                        where the time of the last one went
  rbuild builds trace 7 -o build.json       for a trace viewer, such as ui.perfetto.dev
  rbuild builds -q --filter status=error    those that failed
  rbuild explain 7                          why its steps ran")]
pub struct BuildsArgs {
    #[command(subcommand)]
    pub command: Option<BuildsCommand>,
    #[command(flatten)]
    pub list: ListArgs,
}

/// What can be asked of builds.
#[derive(Debug, Subcommand)]
pub enum BuildsCommand {
    /// List the last builds
    #[command(alias = "list")]
    Ls(ListArgs),
    /// Show what a build did and where its time went
    #[command(visible_alias = "inspect")]
    Show(ShowArgs),
    /// Write a build's steps as Chrome trace events
    Trace(TraceArgs),
    /// Forget builds
    #[command(visible_alias = "remove")]
    Rm(RemoveArgs),
}

/// Runs `rbuild builds`.
pub async fn run(app: &App, args: BuildsArgs) -> Outcome {
    match args.command {
        Some(command) => run_command(app, command).await,
        None => list::run(app, args.list).await,
    }
}

/// Runs one of its commands.
pub async fn run_command(app: &App, command: BuildsCommand) -> Outcome {
    match command {
        BuildsCommand::Ls(args) => list::run(app, args).await,
        BuildsCommand::Show(args) => show::run(app, args).await,
        BuildsCommand::Trace(args) => trace::run(app, args).await,
        BuildsCommand::Rm(args) => remove::run(app, args).await,
    }
}
