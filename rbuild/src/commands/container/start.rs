//! `rbuild start`

use clap::Args;
use containers::Streams;
use containers::engine::Containers;

use super::streams::{self, Part};
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::term::terminal;

/// `rbuild start`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild start -ai box
  rbuild start --restart-policy       what a service does when this machine has booted")]
pub struct StartArgs {
    /// Take part in its output, and end with its exit code
    #[arg(short, long)]
    pub attach: bool,

    /// Take part in its input
    #[arg(short, long)]
    pub interactive: bool,

    /// The keys that leave it running [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    pub detach_keys: Option<String>,

    /// Start all that do not run and that --restart wants to, as after a boot
    #[arg(long, conflicts_with_all = ["attach", "interactive", "containers"])]
    pub restart_policy: bool,

    /// Names, IDs or beginnings of IDs
    #[arg(value_name = "CONTAINER", required_unless_present = "restart_policy")]
    pub containers: Vec<String>,
}

/// Runs the command.
pub async fn run(app: &App, args: StartArgs) -> Outcome {
    let containers = app.containers().await?;
    if args.restart_policy {
        let wanted = containers.wanted_again().await?;
        let names: Vec<String> = wanted.into_iter().map(|one| one.name).collect();
        return all(app, &containers, &names).await;
    }
    if !args.attach && !args.interactive {
        return all(app, &containers, &args.containers).await;
    }
    match args.containers.as_slice() {
        [only] => attached(&containers, only, &args).await,
        _ => Err(Failure::new(
            "you cannot start and attach multiple containers at once",
        )),
    }
}

/// Starts several, and lists those that could not be started.
async fn all(app: &App, containers: &Containers, names: &[String]) -> Outcome {
    let mut failed: Vec<&str> = Vec::new();
    for name in names {
        let started = async {
            let container = containers.find(name).await?;
            containers.start(&container, Streams::default()).await
        };
        match started.await {
            Ok(_) => app.printer.line(name),
            Err(error) => {
                app.printer.error(error);
                failed.push(name);
            }
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => {
            let names = failed.join(" ");
            Err(Failure::new(format!("failed to start containers: {names}")))
        }
    }
}

async fn attached(containers: &Containers, name: &str, args: &StartArgs) -> Outcome {
    let keys = streams::keys(args.detach_keys.as_deref())?;
    let container = containers.find(name).await?;
    let config = &container.record.config;
    let stdin = args.interactive && config.open_stdin;
    if config.tty && stdin && !terminal::is_interactive() {
        return Err(Failure::new("the input device is not a TTY"));
    }
    let streams = Streams {
        stdin,
        stdout: true,
        stderr: true,
    };
    let started = containers.start(&container, streams).await;
    let started = started?;
    let stream = match started {
        Some(started) => started.stream,
        // It runs already.
        None => {
            containers
                .join(&containers.find(name).await?, streams)
                .await?
        }
    };
    let part = Part {
        streams,
        tty: config.tty,
        keys,
        passes_signals: true,
    };
    let code = streams::take_part(containers, &container, stream, part).await?;
    if code.is_some() && container.record.host.auto_remove {
        let container = containers.find(name).await?;
        let _ = containers.remove_with_volumes(&container, true).await;
    }
    streams::outcome(code)
}
