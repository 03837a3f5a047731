//! The hidden command that writes manual pages.

use std::path::PathBuf;

use clap::{Args, Command};

use crate::failure::{Failure, Outcome};

/// `rbuild __man`
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The folder that gets them
    folder: PathBuf,
}

/// Runs the command: a page for the program and one for each command that is not hidden.
pub fn run(args: &ManArgs, program: Command) -> Outcome {
    clap_mangen::generate_to(program, &args.folder).map_err(|e| {
        let folder = args.folder.display();
        Failure::new(format!("cannot write manual pages to {folder}: {e}"))
    })
}
