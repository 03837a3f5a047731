//! `rbuild explain`: why each step of a build ran.

use builder::record::build::{BuildRecord, Ended, StepOutcome, StepRecord};
use clap::Args;

use super::builds::find::{Which, kept, length, of_image, one};
use super::builds::show::counts;
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::term::safe::escape;
use crate::when;

/// `rbuild explain`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild explain              why the steps of the last build ran
  rbuild explain 7            those of build 7, as `rbuild builds` lists it
  rbuild explain app:v1       those of the build that made this image
  rbuild explain --no-trunc   every file that changed")]
pub struct ExplainArgs {
    /// A build (its number, latest, or ^1 for the one before), or an image: a name or ID
    #[arg(value_name = "IMAGE|BUILD", default_value = "latest")]
    pub of: String,

    /// Name all files, and not only the first 20 of a step
    #[arg(long)]
    pub no_trunc: bool,

    /// `text`, or `json` for programs
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: String,
}

/// So many files of a step are named.
const FILES: usize = 20;

/// So many letters of an ID are listed.
const ID: usize = 12;

/// Runs the command.
pub async fn run(app: &App, args: ExplainArgs) -> Outcome {
    if !["text", "json"].contains(&args.format.as_str()) {
        let text = format!("--format {:?}: write text or json", args.format);
        return Err(Failure::with_code(text, 125));
    }
    let store = app.store_to_read().await?;
    let record = match args.of.parse::<Which>() {
        Ok(which) => {
            let found = one(kept(&store), which).await;
            match found {
                // An ID as it is listed may have no letters in it.
                Err(failure) if args.of.len() >= ID => {
                    match of_image(app, &store, &args.of).await {
                        Ok(record) => record,
                        Err(_) => return Err(failure),
                    }
                }
                found => found?,
            }
        }
        Err(_) => of_image(app, &store, &args.of).await?,
    };
    let files = if args.no_trunc { usize::MAX } else { FILES };
    let text = match args.format.as_str() {
        "json" => {
            let steps: Vec<&StepRecord> = record.ran().collect();
            format!("{}\n", serde_json::to_string_pretty(&steps)?)
        }
        _ => explained(&record, files),
    };
    app.printer.write_out(text.as_bytes());
    Ok(())
}

/// The explanation, in words.
fn explained(record: &BuildRecord, files: usize) -> String {
    let number = record.number;
    let ago = when::ago(Some(&record.started), when::now());
    let took = length(record.duration);
    let name = match record.asked.tags.first() {
        Some(tag) => tag.clone(),
        None => record.name(),
    };
    let mut text = escape(&format!(
        "Build {number} of {name}, {ago}, took {took}: {}.\n",
        counts(record)
    ));
    match &record.ended {
        Ended::Completed => {}
        Ended::Error { error } => text.push_str(&escape(&format!("It failed: {error}\n"))),
        Ended::Canceled => text.push_str("It was interrupted.\n"),
    }
    let failed = |step: &&StepRecord| matches!(step.outcome, StepOutcome::Failed { .. });
    let told = |step: &&StepRecord| step.reason.is_some() || failed(step);
    for step in record.steps.iter().filter(told) {
        text.push('\n');
        if let Some(line) = step.line {
            text.push_str(&escape(&format!("{}:{line} ", record.asked.dockerfile)));
        }
        let name = step.name.lines().next().unwrap_or_default();
        text.push_str(&format!("{} ({})\n", escape(name), length(step.duration)));
        let reason = step.reason.iter();
        for sentence in reason.flat_map(|reason| reason.sentences(files)) {
            text.push_str(&format!("  {}\n", escape(&sentence)));
        }
        match &step.outcome {
            StepOutcome::Failed { error } => {
                text.push_str(&format!("  It failed: {}\n", escape(error)));
            }
            StepOutcome::Canceled => text.push_str("  It did not come to an end.\n"),
            StepOutcome::Cached => text.push_str("  Another build did it meanwhile.\n"),
            StepOutcome::Done => {}
        }
    }
    text
}
