//! The command line: `rregistry serve` and its helpers.

mod serve;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

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
        Command::Serve(options) => serve::run(&options),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "rregistry", &mut script);
            out(&String::from_utf8_lossy(&script))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            err(&format!("rregistry: {e}\n"));
            ExitCode::FAILURE
        }
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
