//! `rregistry version`

use clap::{Args, ValueEnum};
use serde_json::json;

use super::failure::{Failure, out};

/// How a version is shown.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A line for people.
    Text,
    /// An object for programs.
    Json,
}

/// Print the version of this program, and what it was built for.
#[derive(Debug, Args)]
pub(super) struct Version {
    /// How to show it.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(options: &Version) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let (os, machine) = (std::env::consts::OS, std::env::consts::ARCH);
    match options.format {
        Format::Text => out(&format!("rregistry {version} ({os}, {machine})\n")),
        Format::Json => {
            let version = json!({"version": version, "os": os, "machine": machine});
            out(&format!("{version}\n"))
        }
    }
}
