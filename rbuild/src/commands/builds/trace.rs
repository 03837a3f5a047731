//! `rbuild builds trace`

use std::path::PathBuf;

use builder::record::spans::events;
use clap::Args;

use super::find::{Which, kept, one};
use crate::app::App;
use crate::commands::build::write_whole;
use crate::failure::Outcome;

/// `rbuild builds trace`
#[derive(Debug, Args)]
#[command(after_help = "\
The file is in the format of Chrome's trace events: open it in ui.perfetto.dev or about:tracing.")]
pub struct TraceArgs {
    /// The build: its number, latest, or ^1 for the one before
    #[arg(value_name = "BUILD", default_value = "latest")]
    pub build: Which,

    /// Write to this file in place of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(app: &App, args: TraceArgs) -> Outcome {
    let store = app.store_to_read().await?;
    let record = one(kept(&store), args.build).await?;
    let mut text = serde_json::to_vec(&events(&record))?;
    text.push(b'\n');
    match &args.output {
        Some(path) => write_whole(path, text).await,
        None => {
            app.printer.write_out(&text);
            Ok(())
        }
    }
}
