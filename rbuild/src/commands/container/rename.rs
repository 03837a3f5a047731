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
    #[arg(value_name = "NEW_NAME")]
    pub name: String,
}

/// Runs the command.
pub async fn run(app: &App, args: RenameArgs) -> Outcome {
    if args.container.trim().is_empty() || args.name.trim().is_empty() {
        return Err(Failure::new("Neither old nor new names may be empty"));
    }
    let containers = app.containers().await?;
    let renamed = async {
        let container = containers.find(&args.container).await?;
        containers.rename(&container, &args.name).await
    };
    if let Err(error) = renamed.await {
        app.printer.error(error);
        let text = format!("failed to rename container named {}", args.container);
        return Err(Failure::new(text));
    }
    Ok(())
}
