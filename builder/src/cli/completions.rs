//! `rbuild completions`

use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};

use super::Outcome;
use super::app::App;
use super::args::Cli;

/// `rbuild completions`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild completions bash > /etc/bash_completion.d/rbuild
  rbuild completions zsh > \"${fpath[1]}/_rbuild\"
  rbuild completions fish > ~/.config/fish/completions/rbuild.fish")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Runs the command.
pub fn run(app: &App, args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "rbuild", &mut script);
    app.printer.write_out(&script);
    Ok(())
}
