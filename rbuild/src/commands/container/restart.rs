//! `rbuild restart`

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
            stop::check(&container, signal.as_deref(), || {
                format!("Cannot restart container {name}")
            })?;
            all.restart(&container, signal, args.timeout).await
        }
    })
    .await
}
