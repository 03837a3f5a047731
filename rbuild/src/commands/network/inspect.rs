//! `rbuild network inspect`

use clap::Args;
use golang::template::Types;
use serde_json::Value;

use crate::app::App;
use crate::commands::inspect::{indented, parsed};
use crate::failure::{Failure, Outcome};

/// `rbuild network inspect`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild network inspect app
  rbuild network inspect -f '{{range .Containers}}{{println .Name .IPv4Address}}{{end}}' app")]
pub struct InspectArgs {
    /// A Go template, or `json` for JSON without line breaks
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<String>,

    /// Accepted as docker's; changes nothing
    #[arg(short, long)]
    pub verbose: bool,

    /// Names, IDs or beginnings of IDs
    #[arg(value_name = "NETWORK", required = true)]
    pub networks: Vec<String>,
}

const TYPES: Types = Types {
    maps: &["Containers", "Labels", "Options"],
    lists: &["Config"],
    durations: &[],
    texts: &[],
    pointers: &[],
};

/// Runs the command.
pub async fn run(app: &App, args: InspectArgs) -> Outcome {
    let template = match args.format.as_deref() {
        None => None,
        Some("json") => Some(parsed("{{json .}}")?),
        Some(text) => Some(parsed(text)?),
    };
    let containers = app.containers().await?;
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for name in &args.networks {
        let shown = async {
            let network = containers.find_network(name).await?;
            containers.inspect_network(&network).await
        };
        match shown.await {
            Ok(shown) => found.push(shown),
            Err(error) => wrong.push(error),
        }
    }
    match &template {
        Some(template) => {
            for network in &found {
                app.printer.line(template.render(network, &TYPES)?);
            }
        }
        None => app.printer.line(indented(&Value::Array(found))?),
    }
    wrong.iter().for_each(|error| app.printer.error(error));
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Failure::with_code("", 1)),
    }
}
