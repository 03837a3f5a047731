//! `rbuild logout`

use clap::Args;
use client::{Client, Config};

use crate::app::App;
use crate::commands::login;
use crate::failure::Outcome;

/// `rbuild logout`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rbuild logout registry.example.com")]
pub struct LogoutArgs {
    /// The registry [default: docker.io]
    #[arg(value_name = "SERVER")]
    pub server: Option<String>,
}

/// Runs the command.
pub async fn run(app: &App, args: LogoutArgs) -> Outcome {
    let server = login::server(args.server.as_deref());
    let client = Client::new(Config::from_env()?);
    if client.logout(&server).await? {
        app.printer
            .line(format!("Removing login credentials for {server}"));
    } else {
        app.printer.line(format!("Not logged in to {server}"));
    }
    Ok(())
}
