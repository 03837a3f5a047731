//! `rbuild volume rm`

use clap::Args;

use crate::app::App;
use crate::commands::container::each;
use crate::failure::Outcome;

/// `rbuild volume rm`
#[derive(Debug, Args)]
pub struct RmArgs {
    /// Those that are missing are no error
    #[arg(short, long)]
    pub force: bool,

    /// Names
    #[arg(value_name = "VOLUME", required = true)]
    pub names: Vec<String>,
}

/// Runs the command.
pub async fn run(app: &App, args: RmArgs) -> Outcome {
    let containers = app.containers_to_remove().await?;
    let mut failed = false;
    for name in &args.names {
        match containers.remove_volume(name).await {
            Ok(()) => app.printer.line(name),
            Err(containers::Error::Store(store::Error::NoSuchVolume(_))) if args.force => {
                app.printer.line(name);
            }
            Err(error) => {
                app.printer.error(error);
                failed = true;
            }
        }
    }
    each::told(failed)
}
