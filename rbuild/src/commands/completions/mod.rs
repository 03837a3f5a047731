//! `rbuild completions`, and the hidden command that its scripts ask for what fits.

mod candidates;

use std::ffi::OsString;

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
  rbuild completions fish > ~/.config/fish/completions/rbuild.fish
  source <(rbuild completions bash)                     in this shell alone")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// `rbuild __complete`
#[derive(Debug, Args)]
pub struct CompleteArgs {
    /// Which of the words is being typed, counted from 0, the program's name
    index: usize,
    /// The command line
    #[arg(last = true)]
    words: Vec<OsString>,
}

/// The scripts of both programs; `PROGRAM` in them is the program's name.
const BASH: &str = include_str!("../../../../packaging/completions/completion.bash");
const ZSH: &str = include_str!("../../../../packaging/completions/completion.zsh");
const FISH: &str = include_str!("../../../../packaging/completions/completion.fish");

/// Runs the command. The scripts of these three shells ask the program for each word, so that
/// names of images are among what fits; others know commands and flags.
pub fn run(app: &App, args: &CompletionsArgs, mut program: Command) -> Outcome {
    let own = |script: &str| script.replace("PROGRAM", "rbuild").into_bytes();
    let script = match args.shell {
        Shell::Bash => own(BASH),
        Shell::Zsh => own(ZSH),
        Shell::Fish => own(FISH),
        shell => {
            let mut script = Vec::new();
            generate(shell, &mut program, "rbuild", &mut script);
            script
        }
    };
    app.printer.write_out(&script);
    Ok(())
}

/// Runs the hidden command: a line for each word that fits, with its help after a tab.
pub async fn complete(app: &App, args: CompleteArgs, program: Command) -> Outcome {
    let names = candidates::names(app, &args.words).await;
    let found = candidates::fitting(program, &app.commands, args.words, args.index, &names)?;
    app.printer.write_out(found.as_bytes());
    Ok(())
}
