//! `rbuild builds show`

use builder::record::build::{BuildRecord, Ended, StepOutcome};
use clap::Args;

use super::find::{Which, kept, length, one};
use super::list::status;
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::term::safe::escape;
use crate::term::style;
use crate::term::table::align;
use crate::when;

/// `rbuild builds show`
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The build: its number, latest, or ^1 for the one before
    #[arg(value_name = "BUILD", default_value = "latest")]
    pub build: Which,

    /// `table`, or `json` for all that is known
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: String,
}

/// Runs the command.
pub async fn run(app: &App, args: ShowArgs) -> Outcome {
    if !["table", "json"].contains(&args.format.as_str()) {
        let text = format!("--format {:?}: write table or json", args.format);
        return Err(Failure::with_code(text, 125));
    }
    let store = app.store_to_read().await?;
    let record = one(kept(&store), args.build).await?;
    let text = match args.format.as_str() {
        "json" => format!("{}\n", serde_json::to_string_pretty(&record)?),
        _ => {
            let mut text = head(&record);
            text.push('\n');
            text.push_str(&table(&record));
            text
        }
    };
    app.printer.write_out(text.as_bytes());
    Ok(())
}

/// What the build was.
fn head(record: &BuildRecord) -> String {
    let asked = &record.asked;
    let status = match &record.ended {
        Ended::Error { error } => format!("Error: {error}"),
        _ => status(record).to_owned(),
    };
    let rows = [
        ("Build", record.number.to_string()),
        ("Name", record.name()),
        ("Context", asked.context.clone()),
        ("Dockerfile", asked.dockerfile.clone()),
        ("Target", asked.target.clone()),
        ("Platforms", asked.platforms.join(", ")),
        ("Tags", asked.tags.join(", ")),
        ("Images", record.images.join(", ")),
        ("Created", when::local(Some(&record.started))),
        ("Duration", length(record.duration)),
        ("Status", status),
        ("Steps", counts(record)),
    ];
    let rows = rows.into_iter().filter(|(_, value)| !value.is_empty());
    let lines = rows.map(|(name, value)| format!("{:12}{}\n", format!("{name}:"), escape(&value)));
    lines.collect()
}

/// How many steps there were, in words.
pub fn counts(record: &BuildRecord) -> String {
    let (ran, cached) = (record.ran().count(), record.cached());
    let s = if ran == 1 { "" } else { "s" };
    format!("{ran} step{s} ran, {cached} from the cache")
}

/// Where the time went.
fn table(record: &BuildRecord) -> String {
    let mut text = "STEP\tSTATUS\tSTART\tDURATION\tSHARE\tSIZE\n".to_owned();
    for step in &record.steps {
        let status = match &step.outcome {
            StepOutcome::Cached => "cached".to_owned(),
            StepOutcome::Done => "done".to_owned(),
            StepOutcome::Failed { .. } => "failed".to_owned(),
            StepOutcome::Canceled => match &step.note {
                Some(note) => format!("canceled ({})", escape(note)),
                None => "canceled".to_owned(),
            },
        };
        let share = match record.duration {
            0 => 0.0,
            whole => 100.0 * step.duration as f64 / whole as f64,
        };
        text.push_str(&format!(
            "{}\t{status}\t{}\t{}\t{share:.0}%\t{}\n",
            cell(&step.name),
            seconds(step.started),
            seconds(step.duration),
            step.size.map(style::size).unwrap_or_default(),
        ));
    }
    let text = align(&text);
    let lines = text.lines().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
}

/// A name as one cell of a table.
fn cell(name: &str) -> String {
    const SHOWN: usize = 60;
    let name = escape(name).replace(['\t', '\n'], " ");
    match name.chars().count() > SHOWN {
        true => name.chars().take(SHOWN - 1).chain(['…']).collect(),
        false => name,
    }
}

fn seconds(micros: u64) -> String {
    match micros {
        0..60_000_000 => format!("{:.3}s", micros as f64 / 1e6),
        long => length(long),
    }
}
