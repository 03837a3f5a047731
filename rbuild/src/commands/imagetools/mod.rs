//! `rbuild imagetools`: images in registries, joined and looked at without being fetched.

mod create;
mod inspect;
mod missing;

use clap::Subcommand;
use client::{Client, Config};

use crate::app::App;
use crate::failure::Outcome;

/// `rbuild imagetools`
#[derive(Debug, Subcommand)]
pub enum ImagetoolsCommand {
    /// Make an index of images that are in registries
    Create(create::CreateArgs),
    /// Show an image that is in a registry
    Inspect(inspect::InspectArgs),
}

/// Runs the command.
pub async fn run(app: &App, command: ImagetoolsCommand) -> Outcome {
    let client = Client::new(Config::from_env()?);
    match command {
        ImagetoolsCommand::Create(args) => create::run(app, &client, args).await,
        ImagetoolsCommand::Inspect(args) => inspect::run(app, &client, args).await,
    }
}
