//! `rbuild volume create`

use std::collections::BTreeMap;

use clap::Args;
use containers::engine::CreateVolume;

use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::flags::label;

/// `rbuild volume create`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild volume create data
  rbuild volume create -o type=tmpfs -o device=tmpfs -o o=size=100m scratch
  rbuild volume create -o type=nfs -o device=:/export -o o=addr=10.0.0.2,rw shared")]
pub struct CreateArgs {
    /// How it is made: local
    #[arg(short, long, value_name = "DRIVER", default_value = "local")]
    pub driver: String,

    /// Set a label; may be repeated
    #[arg(long = "label", value_name = "KEY[=VALUE]", value_parser = label)]
    pub labels: Vec<String>,

    /// Mount something else than a folder of its own: type=TYPE, device=SOURCE and o=OPTIONS, as
    /// mount(8) has them; may be repeated
    #[arg(short, long = "opt", value_name = "KEY=VALUE")]
    pub options: Vec<String>,

    /// Its name, in docker's older form
    #[arg(long = "name", value_name = "NAME", hide = true)]
    pub older_name: Option<String>,

    /// Its name [default: one of 64 digits]
    #[arg(value_name = "VOLUME")]
    pub name: Option<String>,
}

/// Runs the command.
pub async fn run(app: &App, args: CreateArgs) -> Outcome {
    if args.older_name.is_some() && args.name.is_some() {
        return Err(Failure::new(
            "conflicting options: cannot specify a volume-name through both --name and as a \
             positional arg",
        ));
    }
    let containers = app.containers().await?;
    let request = CreateVolume {
        name: args
            .name
            .or(args.older_name)
            .filter(|name| !name.is_empty()),
        driver: args.driver,
        labels: pairs(&args.labels),
        options: pairs(&args.options),
    };
    let name = containers.create_volume(request).await?;
    app.printer.line(name);
    Ok(())
}

fn pairs(texts: &[String]) -> BTreeMap<String, String> {
    let pairs = texts.iter().map(|text| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (key.to_owned(), value.to_owned())
    });
    pairs.collect()
}
