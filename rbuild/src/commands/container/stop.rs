//! `rbuild stop`

use clap::Args;
use containers::engine::Container;

use super::each;
use crate::app::App;
use crate::failure::Outcome;

/// How containers are ended: `rbuild stop`, and `rbuild restart` before it starts them again.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// The signal that asks it to end [default: what the image or `run --stop-signal` says]
    #[arg(short, long, value_name = "SIGNAL")]
    pub signal: Option<String>,

    /// Seconds until it is killed; below 0 for ever [default: 10]
    #[arg(
        short = 't',
        long = "timeout",
        alias = "time",
        value_name = "SECONDS",
        allow_hyphen_values = true
    )]
    pub timeout: Option<i64>,

    /// Names, IDs or beginnings of IDs
    #[arg(value_name = "CONTAINER", required = true)]
    pub containers: Vec<String>,
}

/// Runs the command.
pub async fn run(app: &App, args: StopArgs) -> Outcome {
    let containers = app.containers().await?;
    let all = &containers;
    each::named(app, &args.containers, |name| {
        let signal = args.signal.clone();
        async move {
            let container = all.find(&name).await?;
            check(&container, signal.as_deref(), || {
                format!("cannot stop container: {name}")
            })?;
            all.stop(&container, signal, args.timeout).await
        }
    })
    .await
}

/// Refuses what is no signal for a container that could be sent it, in docker's words.
pub(super) fn check(
    container: &Container,
    signal: Option<&str>,
    what: impl Fn() -> String,
) -> containers::Result<()> {
    let Some(signal) = signal.filter(|_| container.state.status.is_alive()) else {
        return Ok(());
    };
    match containers::engine::signal(signal) {
        Ok(_) => Ok(()),
        Err(cause) => Err(containers::Error::Invalid(format!("{}: {cause}", what()))),
    }
}
