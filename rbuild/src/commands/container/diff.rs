//! `rbuild diff`

use clap::Args;

use crate::app::App;
use crate::failure::Outcome;

/// `rbuild diff`
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub container: String,
}

/// Runs the command.
pub async fn run(app: &App, args: DiffArgs) -> Outcome {
    let containers = app.containers_to_read().await?;
    let container = containers.find(&args.container).await?;
    for (change, path) in containers.diff(&container).await? {
        app.printer.line(format!("{} {path}", change.letter()));
    }
    Ok(())
}
