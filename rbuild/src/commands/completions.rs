//! `rbuild completions`

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use crate::app::App;
use crate::failure::Outcome;

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
pub fn run(app: &App, args: &CompletionsArgs, mut program: Command) -> Outcome {
    let mut script = Vec::new();
    generate(args.shell, &mut program, "rbuild", &mut script);
    app.printer.write_out(&script);
    Ok(())
}
