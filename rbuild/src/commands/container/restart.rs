//! `rbuild restart`

use super::each;
use super::stop::StopArgs;
use crate::app::App;
use crate::failure::Outcome;

/// Runs the command.
pub async fn run(app: &App, args: StopArgs) -> Outcome {
    let containers = app.containers().await?;
    let all = &containers;
    each::named(app, &args.containers, |name| {
        let signal = args.signal.clone();
        async move {
            all.restart(&all.find(&name).await?, signal, args.timeout)
                .await
        }
    })
    .await
}
