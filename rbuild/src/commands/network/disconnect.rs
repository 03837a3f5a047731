//! `rbuild network disconnect`

use clap::Args;

use crate::app::App;
use crate::failure::Outcome;

/// `rbuild network disconnect`
#[derive(Debug, Args)]
pub struct DisconnectArgs {
    /// Also off a network that is gone, while the container runs
    #[arg(short, long)]
    pub force: bool,

    /// The network: its name, ID or the beginning of its ID
    #[arg(value_name = "NETWORK")]
    pub network: String,

    /// The container: its name, ID or the beginning of its ID
    #[arg(value_name = "CONTAINER")]
    pub container: String,
}

/// Runs the command.
pub async fn run(app: &App, args: DisconnectArgs) -> Outcome {
    let containers = app.containers().await?;
    let container = containers.find(&args.container).await?;
    match containers.find_network(&args.network).await {
        Ok(network) => containers.disconnect_network(&network, &container).await?,
        Err(containers::Error::Store(store::Error::NoSuchNetwork(name))) => {
            containers
                .forget_network(&name, &container, args.force)
                .await?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
