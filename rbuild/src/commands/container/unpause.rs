//! `rbuild unpause`

use clap::Args;

use super::each;
use crate::app::App;
use crate::failure::Outcome;

/// `rbuild unpause`
#[derive(Debug, Args)]
pub struct UnpauseArgs {
    /// Names, IDs or beginnings of IDs
    #[arg(value_name = "CONTAINER", required = true)]
    pub containers: Vec<String>,
}

/// Runs the command.
pub async fn run(app: &App, args: UnpauseArgs) -> Outcome {
    let containers = app.containers().await?;
    let all = &containers;
    each::named(app, &args.containers, |name| async move {
        all.unpause(&all.find(&name).await?).await
    })
    .await
}
