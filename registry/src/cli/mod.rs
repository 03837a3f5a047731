//! The command line: `rregistry serve` and its helpers.

mod backup;
mod completions;
mod config;
mod export;
mod failure;
mod followed;
mod fsck;
mod gc;
mod health;
mod import;
mod import_distribution;
mod imported;
mod inspect;
mod ls;
mod migrate;
mod opened;
mod operate;
mod replicate;
mod restore;
mod rm;
mod serve;
mod settings;
mod stopped;
mod table;
mod tokens;
mod undelete;
mod usage;
mod user;
mod version;
mod warm;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use oci::causes::with_causes;

use failure::err;

/// An OCI and Docker image registry.
///
/// Start it, push to it:
///
///   rregistry serve
///   docker tag app:v1 localhost:5000/app:v1
///   docker push localhost:5000/app:v1
///   curl localhost:5000/v2/_catalog
#[derive(Debug, Parser)]
#[command(
    name = "rregistry",
    version,
    verbatim_doc_comment,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Gc(gc::Gc),
    Fsck(fsck::Fsck),
    Usage(usage::Usage),
    Ls(ls::Ls),
    Tags(ls::Tags),
    Inspect(inspect::Inspect),
    Rm(rm::Rm),
    Export(export::Export),
    Import(import::Import),
    Backup(backup::Backup),
    Restore(restore::Restore),
    ImportDistribution(import_distribution::ImportDistribution),
    Migrate(migrate::Migrate),
    Warm(warm::Warm),
    Replicate(replicate::Replicate),
    Config(config::Config),
    Health(health::Health),
    Version(version::Version),
    #[command(subcommand)]
    User(user::User),
    Completions(completions::Completions),
    /// What fits for a word of a command line.
    #[command(name = "__complete", hide = true)]
    Complete(completions::Complete),
    /// Manual pages, for packages.
    #[command(name = "__man", hide = true)]
    Man {
        /// The folder that gets them.
        folder: std::path::PathBuf,
    },
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Serve(options) => serve::run(options),
        Command::Gc(options) => gc::run(options),
        Command::ImportDistribution(options) => import_distribution::run(options),
        Command::Fsck(options) => fsck::run(options),
        Command::Migrate(options) => migrate::run(options),
        Command::Usage(options) => usage::run(options),
        Command::Ls(options) => ls::run(options),
        Command::Tags(options) => ls::run_tags(options),
        Command::Inspect(options) => inspect::run(options),
        Command::Rm(options) => rm::run(options),
        Command::Export(options) => export::run(options),
        Command::Import(options) => import::run(options),
        Command::Warm(options) => warm::run(options),
        Command::Replicate(options) => replicate::run(options),
        Command::Backup(options) => backup::run(options),
        Command::Restore(options) => restore::run(options),
        Command::Config(options) => config::run(&options),
        Command::Health(options) => health::run(options),
        Command::Version(options) => version::run(&options),
        Command::User(command) => user::run(command),
        Command::Completions(options) => completions::run(&options, Cli::command()),
        Command::Complete(options) => completions::run_complete(options, Cli::command()),
        Command::Man { folder } => {
            clap_mangen::generate_to(Cli::command(), folder).map_err(Into::into)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            err(&format!("rregistry: {}\n", with_causes(&*e)));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
