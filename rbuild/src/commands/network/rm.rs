//! `rbuild network rm`

use clap::Args;

use crate::app::App;
use crate::commands::container::each;
use crate::failure::Outcome;

/// `rbuild network rm`
#[derive(Debug, Args)]
pub struct RmArgs {
    /// Those that are missing are no error
    #[arg(short, long)]
    pub force: bool,

    /// Names, IDs or beginnings of IDs
    #[arg(value_name = "NETWORK", required = true)]
    pub networks: Vec<String>,
}

/// Runs the command.
pub async fn run(app: &App, args: RmArgs) -> Outcome {
    let containers = app.containers_to_remove().await?;
    let mut failed = false;
    for name in &args.networks {
        let removed = async {
            let network = containers.find_network(name).await?;
            containers.remove_network(&network).await
        };
        match removed.await {
            Ok(()) => app.printer.line(name),
            Err(containers::Error::Store(store::Error::NoSuchNetwork(_))) if args.force => {}
            Err(error) => {
                app.printer.error(error);
                failed = true;
            }
        }
    }
    each::told(failed)
}
