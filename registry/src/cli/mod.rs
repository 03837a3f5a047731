//! The command line: `rregistry serve` and its helpers.

mod config;
mod export;
mod failure;
mod fsck;
mod gc;
mod import;
mod import_distribution;
mod imported;
mod serve;
mod settings;
mod usage;
mod user;
mod warm;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use oci::causes::with_causes;

use failure::{err, out};

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
    Export(export::Export),
    Import(import::Import),
    ImportDistribution(import_distribution::ImportDistribution),
    Warm(warm::Warm),
    Config(config::Config),
    #[command(subcommand)]
    User(user::User),
    /// Print a script that completes rregistry's words in a shell.
    ///
    /// For bash: source <(rregistry completions bash)
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
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
        Command::Usage(options) => usage::run(options),
        Command::Export(options) => export::run(options),
        Command::Import(options) => import::run(options),
        Command::Warm(options) => warm::run(options),
        Command::Config(options) => config::run(&options),
        Command::User(command) => user::run(command),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "rregistry", &mut script);
            out(&String::from_utf8_lossy(&script))
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
