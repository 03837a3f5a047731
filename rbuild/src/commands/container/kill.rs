//! `rbuild kill`

use clap::Args;

use super::each;
use crate::app::App;
use crate::failure::Outcome;

/// `rbuild kill`
#[derive(Debug, Args)]
pub struct KillArgs {
    /// The signal, by name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    pub signal: String,

    /// Names, IDs or beginnings of IDs
    #[arg(value_name = "CONTAINER", required = true)]
    pub containers: Vec<String>,
}

/// Runs the command.
pub async fn run(app: &App, args: KillArgs) -> Outcome {
    let containers = app.containers().await?;
    let all = &containers;
    each::named(app, &args.containers, |name| {
        let signal = args.signal.clone();
        async move { all.kill(&all.find(&name).await?, &name, &signal).await }
    })
    .await
}
