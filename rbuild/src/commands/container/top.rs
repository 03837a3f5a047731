//! `rbuild top`

use clap::Args;

use crate::app::App;
use crate::failure::Outcome;
use crate::term::table::align_by;

/// `rbuild top`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild top web
  rbuild top web -o pid,cmd     any options of ps, as long as it shows PID")]
pub struct TopArgs {
    /// The container, and options for this machine's ps
    #[arg(value_names = ["CONTAINER", "ps OPTIONS"], required = true, num_args = 1.., trailing_var_arg = true)]
    pub words: Vec<String>,
}

/// docker's widths.
const MIN_WIDTH: usize = 20;
const PADDING: usize = 3;

/// Runs the command.
pub async fn run(app: &App, args: TopArgs) -> Outcome {
    let (name, options) = args
        .words
        .split_first()
        .map_or(("", &[][..]), |(name, rest)| (name.as_str(), rest));
    let containers = app.containers_to_read().await?;
    let container = containers.find(name).await?;
    let found = containers.top(&container, options.to_vec()).await?;
    let lines = std::iter::once(&found.titles).chain(&found.rows);
    let text: String = lines.map(|row| row.join("\t") + "\n").collect();
    app.printer
        .write_out(align_by(&text, MIN_WIDTH, PADDING).as_bytes());
    Ok(())
}
