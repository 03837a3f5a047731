//! `rbuild run`

use clap::{ArgAction, Args};
use containers::engine::{Containers, Created};

use super::create;
use super::flags::MakeFlags;
use super::streams::{self, Part};
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::flags::boolean;
use crate::term::terminal;

/// `rbuild run`
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    after_help = "\
Examples:
  rbuild run --rm debian:bookworm echo hello
  rbuild run -it --rm debian:bookworm bash        Ctrl-P Ctrl-Q leaves it running
  rbuild run -d --name web -v $PWD:/srv:ro app:v1
  rbuild run --rm -m 64m --cpus 0.5 app:v1 make test

The exit code is the command's own; 125 when the container could not be made, 126 when the command
cannot be executed, 127 when there is none of that name, and 128 and its number for a signal."
)]
pub struct RunArgs {
    /// Run in the background and print the ID
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub detach: bool,

    /// Pass signals on to the command
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true, hide_default_value = true, value_parser = boolean, action = ArgAction::Set, value_name = "BOOL")]
    pub sig_proxy: bool,

    /// The keys that leave it running [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    pub detach_keys: Option<String>,

    #[command(flatten)]
    pub make: MakeFlags,
}

/// Runs the command.
pub async fn run(app: &App, args: RunArgs) -> Outcome {
    let mut made = create::read(&args.make)?;
    let streams = create::attached(&args.make, args.detach)?;
    let keys = streams::keys(args.detach_keys.as_deref())?;
    if made.config.tty && streams.stdin && !terminal::is_interactive() {
        return Err(Failure::new("the input device is not a TTY"));
    }
    create::settle(&mut made, streams);
    let tty = made.config.tty;
    let (containers, created) = create::make(app, &args.make, made).await?;
    let started = match containers.start(&created.container, streams).await {
        Ok(started) => started,
        Err(error) => {
            if args.make.rm && !error.is_of_making() {
                let _ = containers
                    .remove_with_volumes(&created.container, true)
                    .await;
            }
            let code = u8::try_from(error.exit_code()).unwrap_or(125);
            if error.is_of_making() {
                // docker finds it out before there is a container.
                let _ = containers
                    .remove_with_volumes(&created.container, true)
                    .await;
            } else if !streams.any() {
                app.printer.line(&created.container.id);
            }
            return Err(Failure::with_code(error, code));
        }
    };
    if !streams.any() {
        app.printer.line(&created.container.id);
        return Ok(());
    }
    let Some(started) = started else {
        return Ok(());
    };
    let part = Part {
        streams,
        tty,
        keys,
        passes_signals: args.sig_proxy,
    };
    let code = streams::take_part(&containers, &created.container, started.stream, part).await?;
    if args.make.rm && code.is_some() {
        remove(&containers, &created).await?;
    }
    streams::outcome(code)
}

async fn remove(containers: &Containers, created: &Created) -> Outcome {
    let container = match containers.find(&created.container.id).await {
        Ok(container) => container,
        Err(containers::Error::Store(store::Error::NoSuchContainer(_))) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    Ok(containers.remove_with_volumes(&container, true).await?)
}
