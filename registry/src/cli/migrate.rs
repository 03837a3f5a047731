//! `rregistry migrate`

use std::path::PathBuf;

use clap::Args;

use super::failure::{Failure, out};
use super::opened::require;
use super::settings::{Settings, data_dir};
use super::stopped::Stopped;
use crate::config;
use crate::events::Noted;
use crate::service::Registry;

/// Copy what is known about content into another database.
///
/// From the database that the settings say (database.url) into an empty one. Blobs stay where they
/// are, and what is copied stays too: afterwards the settings have to say the new one. The registry
/// must not be running.
#[derive(Debug, Args)]
pub(super) struct Migrate {
    #[command(flatten)]
    settings: Settings,

    /// The new database, as database.url says it: sqlite, or postgres://USER@HOST:PORT/DATABASE.
    #[arg(long, value_name = "URL")]
    to: String,

    /// A file with the password of the new one.
    #[arg(long, value_name = "FILE")]
    to_password_file: Option<PathBuf>,
}

pub(super) fn run(options: Migrate) -> Result<(), Failure> {
    let config = options.settings.read()?.check()?;
    let data_dir = data_dir(&config)?;
    let mut other = config::Settings::default();
    other.set("database.url", options.to.clone());
    if let Some(file) = &options.to_password_file {
        let file = file.to_string_lossy().into_owned();
        other.set("database.password_file", file);
    }
    let mut new = config.clone();
    new.database = other.check()?.database;
    let (from, to) = (config.place(&data_dir), new.place(&data_dir));
    if from.to_string() == to.to_string() {
        return Err(format!("{to} is what the settings say: --to names another database").into());
    }
    require(&config, &data_dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let migrated = runtime.block_on(async {
        let migrated = Registry::migrate(&data_dir, &from, &to).await?;
        let noted = Noted::new("migrate").with("to", to.to_string());
        let stopped = Stopped::open(&new, &data_dir).await?;
        stopped.noting(Ok::<_, Failure>(migrated), noted).await
    })?;
    out(&format!(
        "copied {} repositories, {} tags, {} manifests to {to}: let database.url say so now\n",
        migrated.repositories, migrated.tags, migrated.manifests
    ))
}
