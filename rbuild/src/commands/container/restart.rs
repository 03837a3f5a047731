//! `rbuild restart`

use containers::Error;

use super::each;
use super::stop::{self, StopArgs};
use crate::app::App;
use crate::failure::Outcome;

/// Runs the command.
pub async fn run(app: &App, args: StopArgs) -> Outcome {
    let containers = app.containers().await?;
    let all = &containers;
    each::named(app, &args.containers, |name| {
        let signal = args.signal.clone();
        async move {
            let container = all.find(&name).await?;
            let cannot = || format!("Cannot restart container {name}");
            stop::check(&container, signal.as_deref(), cannot)?;
            let restarted = all.restart(&container, signal, args.timeout).await;
            restarted.map_err(|error| match error {
                Error::NotStarted { message, code } => Error::NotStarted {
                    message: format!("{}: {message}", cannot()),
                    code,
                },
                other => other,
            })
        }
    })
    .await
}
