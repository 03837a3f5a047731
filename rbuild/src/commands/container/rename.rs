//! `rbuild rename`

use clap::Args;

use crate::app::App;
use crate::failure::{Failure, Outcome};

/// `rbuild rename`
#[derive(Debug, Args)]
pub struct RenameArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub container: String,

    /// Its new name
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// Runs the command.
pub async fn run(app: &App, args: RenameArgs) -> Outcome {
    let containers = app.containers().await?;
    let container = containers.find(&args.container).await?;
    if let Err(error) = containers.rename(&container, &args.name).await {
        app.printer.error(error);
        let text = format!("failed to rename container named {}", args.container);
        return Err(Failure::new(text));
    }
    Ok(())
}
