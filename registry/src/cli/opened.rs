//! A data directory, and the database that belongs to it.

use std::path::Path;

use super::failure::Failure;
use crate::config::Config;
use crate::meta::Place;
use crate::service::Registry;

/// Opens a directory, and the database that the settings say, both of which nobody may serve.
pub(super) async fn opened(config: &Config, data_dir: &Path) -> Result<Registry, Failure> {
    let (policy, place) = (config.policy.clone(), config.place(data_dir));
    Ok(Registry::alone(data_dir, policy, &config.backend, &place).await?)
}

/// Refuses a directory that no registry has ever been in.
pub(super) fn require(config: &Config, data_dir: &Path) -> Result<(), Failure> {
    // Where the database is elsewhere, this is what whoever had the directory left.
    let left = match config.place(data_dir) {
        Place::File(file) => file,
        Place::Server(_) => data_dir.join("lock"),
    };
    match left.exists() {
        true => Ok(()),
        false => Err(nothing(data_dir)),
    }
}

/// There is no registry.
pub(super) fn nothing(data_dir: &Path) -> Failure {
    format!("{} holds no registry; say --data-dir", data_dir.display()).into()
}
