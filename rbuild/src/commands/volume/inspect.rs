//! `rbuild volume inspect`

use clap::Args;

use crate::app::App;
use crate::commands::inspect;
use crate::failure::Outcome;

/// `rbuild volume inspect`
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A Go template, or `json` for JSON without line breaks
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<String>,

    /// Names
    #[arg(value_name = "VOLUME", required = true)]
    pub names: Vec<String>,
}

/// Runs the command.
pub async fn run(app: &App, args: InspectArgs) -> Outcome {
    inspect::run_volumes(app, args.names, args.format).await
}
