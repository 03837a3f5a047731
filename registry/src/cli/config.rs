//! `rregistry config`

use clap::Args;

use super::failure::{Failure, out};
use super::settings::Settings;
use crate::config;

/// Check or explain the settings.
///
/// Without options, reads the file given by --config and the environment, and says whether they
/// can be used.
#[derive(Debug, Args)]
pub(super) struct Config {
    #[command(flatten)]
    settings: Settings,

    /// Print every setting with its default, its environment variable and its meaning: a file to
    /// begin with.
    #[arg(long)]
    explain: bool,
}

pub(super) fn run(options: &Config) -> Result<(), Failure> {
    if options.explain {
        return out(&config::explain());
    }
    options.settings.read()?.check()?;
    out("the settings can be used\n")
}
