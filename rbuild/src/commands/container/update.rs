//! `rbuild update`

use clap::Args;
use containers::record::HostConfig;

use super::each;
use super::flags::LimitFlags;
use super::options;
use crate::app::App;
use crate::failure::{Failure, Outcome};

/// `rbuild update`
#[derive(Debug, Args)]
pub struct UpdateArgs {
    #[command(flatten)]
    pub limits: LimitFlags,

    /// What is done when it ends: no, always, unless-stopped or on-failure[:TIMES]
    #[arg(long, value_name = "POLICY")]
    pub restart: Option<String>,

    /// Names, IDs or beginnings of IDs
    #[arg(value_name = "CONTAINER", required = true)]
    pub containers: Vec<String>,
}

/// Runs the command.
pub async fn run(app: &App, args: UpdateArgs) -> Outcome {
    let restart = args.restart.as_deref().map(options::restart).transpose();
    let restart = restart.map_err(|error| Failure::with_code(error, 125))?;
    let mut asked = HostConfig::default();
    options::limit(&args.limits, &mut asked).map_err(|error| Failure::with_code(error, 125))?;
    if restart.is_none() && !args.limits.any() {
        let text = "you must provide one or more flags when using this command";
        return Err(Failure::new(text));
    }
    let containers = app.containers().await?;
    let (all, restart, limits, asked) = (&containers, &restart, &args.limits, &asked);
    each::named(app, &args.containers, |name| async move {
        let container = all.find(&name).await?;
        let mut host = container.record.host.clone();
        options::limit(limits, &mut host).map_err(containers::Error::Invalid)?;
        if let Some(restart) = restart {
            host.restart_policy = restart.clone();
        }
        for warning in all.update(&container, host, asked).await? {
            app.printer.warning(warning);
        }
        Ok::<(), containers::Error>(())
    })
    .await
}
