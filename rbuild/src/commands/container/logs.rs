//! `rbuild logs`

use std::io::{self, Write as _};

use clap::Args;
use containers::log::entry::{Entry, Stream};
use containers::log::reader::Wanted;
use jiff::Timestamp;

use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::when;

/// `rbuild logs`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild logs -f web               what it has said, and what it says
  rbuild logs --tail 20 -t web     the last lines, with their times
  rbuild logs --since 10m web")]
pub struct LogsArgs {
    /// Go on with what comes, until it has ended
    #[arg(short, long)]
    pub follow: bool,

    /// Only so many of the last lines, or `all`
    #[arg(
        short = 'n',
        long,
        value_name = "LINES",
        default_value = "all",
        allow_hyphen_values = true
    )]
    pub tail: String,

    /// Show times
    #[arg(short, long)]
    pub timestamps: bool,

    /// Only lines since a time, such as 10m or 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,

    /// Only lines before a time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,

    /// Show what is kept with lines: nothing but a blank before each, as docker has it for logs
    /// that keep nothing
    #[arg(long)]
    pub details: bool,

    /// The container
    #[arg(value_name = "CONTAINER")]
    pub container: String,
}

/// Runs the command.
pub async fn run(app: &App, args: LogsArgs) -> Outcome {
    let time = |flag: &str, text: &Option<String>| -> Result<Option<Timestamp>, Failure> {
        let seconds = text.as_deref().map(when::until).transpose();
        let seconds =
            seconds.map_err(|why| Failure::new(format!("invalid value for \"{flag}\": {why}")))?;
        Ok(seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()))
    };
    let wanted = Wanted {
        // As docker: what is no number means all.
        tail: args.tail.parse::<usize>().ok(),
        since: time("since", &args.since)?,
        until: time("until", &args.until)?,
    };
    let containers = app.containers_to_read().await?;
    let container = containers.find(&args.container).await?;
    let printer = app.printer.clone();
    let (tty, timestamps) = (container.record.config.tty, args.timestamps);
    let blank = if args.details { " " } else { "" };
    let each = move |entry: Entry| {
        let time = match timestamps {
            true => format!("{} ", nanoseconds(&entry.time)),
            false => String::new(),
        };
        let text = format!("{time}{blank}{}", entry.log);
        match entry.stream {
            // What a terminal was told is for a terminal.
            Stream::Stdout if tty => write(text.as_bytes()),
            Stream::Stdout => {
                printer.write_out(text.as_bytes());
                Ok(())
            }
            Stream::Stderr => {
                printer.write_err(text.as_bytes());
                Ok(())
            }
        }
    };
    let done = containers.logs(&container, wanted, args.follow, each).await;
    match done {
        Err(containers::Error::Io { cause, .. }) if cause.kind() == io::ErrorKind::BrokenPipe => {
            Err(Failure::closed_pipe())
        }
        other => Ok(other?),
    }
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// A time with all nine digits of its second, as docker shows it.
fn nanoseconds(time: &str) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string(),
        Err(_) => time.to_owned(),
    }
}
