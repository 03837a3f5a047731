//! `rbuild kill`

use clap::Args;
use oci::causes::with_causes;

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
        // docker takes nothing for its default.
        let signal = match args.signal.as_str() {
            "" => "KILL".to_owned(),
            signal => signal.to_owned(),
        };
        async move {
            let found = all.find(&name).await;
            let found = found.map_err(|error| format!("cannot kill container: {name}: {error}"))?;
            let killed = all.kill(&found, &name, &signal).await;
            killed.map_err(|error| with_causes(&error))
        }
    })
    .await
}
