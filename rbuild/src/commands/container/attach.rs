//! `rbuild attach`

use clap::{ArgAction, Args};
use containers::Streams;
use containers::status::Status;

use super::streams::{self, Part};
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::flags::boolean;
use crate::term::terminal;

/// `rbuild attach`
#[derive(Debug, Args)]
pub struct AttachArgs {
    /// The keys that leave it running [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    pub detach_keys: Option<String>,

    /// Leave standard input alone
    #[arg(long)]
    pub no_stdin: bool,

    /// Pass signals on to the command
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub sig_proxy: bool,

    /// The container
    #[arg(value_name = "CONTAINER")]
    pub container: String,
}

/// Runs the command.
pub async fn run(app: &App, args: AttachArgs) -> Outcome {
    let keys = streams::keys(args.detach_keys.as_deref())?;
    let containers = app.containers_to_read().await?;
    let container = containers.find(&args.container).await?;
    match container.state.status {
        Status::Paused => {
            return Err(Failure::new(
                "You cannot attach to a paused container, unpause it first",
            ));
        }
        Status::Restarting => {
            return Err(Failure::new(
                "You cannot attach to a restarting container, wait until it is running",
            ));
        }
        Status::Running => {}
        _ => {
            return Err(Failure::new(
                "You cannot attach to a stopped container, start it first",
            ));
        }
    }
    let config = &container.record.config;
    let stdin = config.open_stdin && !args.no_stdin;
    if config.tty && stdin && !terminal::is_interactive() {
        return Err(Failure::new("the input device is not a TTY"));
    }
    let streams = Streams {
        stdin,
        stdout: true,
        stderr: true,
    };
    let part = Part {
        streams,
        tty: config.tty,
        keys,
        passes_signals: args.sig_proxy,
    };
    let stream = containers.join(&container, streams).await?;
    if part.tty {
        streams::redraw(&containers, &container).await;
    }
    let code = streams::take_part(&containers, &container, stream, part).await?;
    streams::outcome_of_visit(code)
}
