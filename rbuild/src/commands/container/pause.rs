//! `rbuild pause`

use clap::Args;

use super::each;
use crate::app::App;
use crate::failure::Outcome;

/// `rbuild pause`
#[derive(Debug, Args)]
pub struct PauseArgs {
    /// Names, IDs or beginnings of IDs
    #[arg(value_name = "CONTAINER", required = true)]
    pub containers: Vec<String>,
}

/// Runs the command.
pub async fn run(app: &App, args: PauseArgs) -> Outcome {
    let containers = app.containers().await?;
    let all = &containers;
    each::named(app, &args.containers, |name| async move {
        all.pause(&all.find(&name).await?).await
    })
    .await
}
