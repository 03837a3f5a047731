//! `rbuild network disconnect`

use clap::Args;

use crate::app::App;
use crate::failure::Outcome;

/// `rbuild network disconnect`
#[derive(Debug, Args)]
pub struct DisconnectArgs {
    /// Accepted as docker's; changes nothing
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
    let network = containers.find_network(&args.network).await?;
    Ok(containers.disconnect_network(&network, &container).await?)
}
