//! The settings that every command reads.

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use crate::config::{self, Config};

/// Where settings come from, and the one that every command needs.
#[derive(Clone, Debug, Args)]
pub(super) struct Settings {
    /// The file of settings; see `rregistry config --explain`.
    #[arg(long, env = "RREGISTRY_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Where content and metadata are kept [default: /var/lib/rregistry, or
    /// $XDG_DATA_HOME/rregistry for users other than root].
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
}

impl Settings {
    /// The file, then the environment, then the command line.
    pub(super) fn read(&self) -> Result<config::Settings, Failure> {
        let mut settings = match &self.config {
            Some(path) => config::Settings::from_file(path)?,
            None => config::Settings::default(),
        };
        strange_variables()?;
        settings.override_from(|name| std::env::var(name).ok());
        if let Some(dir) = &self.data_dir {
            settings.set("data_dir", dir.to_string_lossy().into_owned());
        }
        Ok(settings)
    }
}

/// Variables that are named like settings and are like none.
pub(super) fn strange_variables() -> Result<Vec<String>, Failure> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    Ok(config::Settings::check_names(names)?)
}

/// The data directory: said, or the user's own.
pub(super) fn data_dir(config: &Config) -> Result<PathBuf, Failure> {
    if let Some(dir) = &config.data_dir {
        return Ok(dir.clone());
    }
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/rregistry".into());
    }
    let base = std::env::var_os("XDG_DATA_HOME")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share")));
    match base {
        Some(base) => Ok(base.join("rregistry")),
        None => Err("neither XDG_DATA_HOME nor HOME is set: say --data-dir DIR".into()),
    }
}
