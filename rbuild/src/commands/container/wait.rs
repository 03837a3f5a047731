//! `rbuild wait`

use clap::Args;

use super::each;
use crate::app::App;
use crate::failure::Outcome;

/// `rbuild wait`
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Names, IDs or beginnings of IDs
    #[arg(value_name = "CONTAINER", required = true)]
    pub containers: Vec<String>,
}

/// Runs the command.
pub async fn run(app: &App, args: WaitArgs) -> Outcome {
    let containers = app.containers().await?;
    let mut failed = false;
    for name in &args.containers {
        let waited = async { containers.wait(&containers.find(name).await?).await };
        match waited.await {
            Ok(code) => app.printer.line(code),
            Err(error) => {
                app.printer.error(error);
                failed = true;
            }
        }
    }
    each::told(failed)
}
