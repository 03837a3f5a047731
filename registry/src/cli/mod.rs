//! The command line: `rregistry serve` and its helpers.

mod config;
mod export;
mod fsck;
mod gc;
mod import;
mod import_layout;
mod serve;
mod usage;
mod user;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::causes::with_causes;

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
    Import(import_layout::ImportLayout),
    ImportDistribution(import::Import),
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
        Command::ImportDistribution(options) => import::run(options),
        Command::Fsck(options) => fsck::run(options),
        Command::Usage(options) => usage::run(options),
        Command::Export(options) => export::run(options),
        Command::Import(options) => import_layout::run(options),
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

/// Where settings come from, and the one that every command needs.
#[derive(Debug, Args)]
struct Settings {
    /// The file of settings; see `rregistry config --explain`.
    #[arg(long, env = "RREGISTRY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where content and metadata are kept [default: /var/lib/rregistry, or
    /// $XDG_DATA_HOME/rregistry for users other than root].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Settings {
    /// The file, then the environment, then the command line.
    fn read(self) -> Result<config::Raw, Failure> {
        let mut settings = match &self.config {
            Some(path) => config::Raw::from_file(path)?,
            None => config::Raw::default(),
        };
        settings.override_from(|name| std::env::var(name).ok());
        if let Some(dir) = self.data_dir {
            settings.set("data_dir", dir.to_string_lossy().into_owned());
        }
        Ok(settings)
    }
}

/// The data directory: said, or the user's own.
fn data_dir(config: &crate::config::Config) -> Result<PathBuf, Failure> {
    if let Some(dir) = &config.data_dir {
        return Ok(dir.clone());
    }
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/rregistry".into());
    }
    let base = std::env::var_os("XDG_DATA_HOME")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share")));
    match base {
        Some(base) => Ok(base.join("rregistry")),
        None => Err("neither XDG_DATA_HOME nor HOME is set: say --data-dir DIR".into()),
    }
}

/// What ends a command, in words for its user.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The way to standard output. A reader that has seen enough is no error.
fn out(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

/// The way to standard error; when that is closed there is nobody left to tell.
fn err(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
