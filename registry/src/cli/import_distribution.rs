//! `rregistry import-distribution`

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::imported::report;
use super::settings::{Settings, data_dir};
use super::stopped::Stopped;
use crate::events::Noted;

/// Take over the volume of Docker's registry (distribution), with every repository and tag.
///
/// The old volume is only read. Files are hard links afterwards where possible, so that no space is
/// needed: they are the files of both then, and whoever writes into the old volume damages this
/// registry. Delete it, keep it read-only, or say --copy. Stop both registries first. An import
/// that was interrupted can be started again. Quotas and immutable tags are as configured.
#[derive(Debug, Args)]
pub(super) struct ImportDistribution {
    #[command(flatten)]
    settings: Settings,

    /// The old registry's volume, which holds docker/registry/v2.
    #[arg(default_value = "/var/lib/registry")]
    volume: PathBuf,

    /// Copy every file, or share its blocks where the file system can, so that the old volume can
    /// be used on.
    #[arg(long)]
    copy: bool,
}

pub(super) fn run(options: ImportDistribution) -> Result<(), Failure> {
    let config = options.settings.read()?.check()?;
    let data_dir = data_dir(&config)?;
    let volume = options.volume;
    if !volume.join("docker/registry/v2/repositories").is_dir() {
        let volume = volume.display();
        return Err(format!("{volume} holds no docker/registry/v2/repositories").into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let imported = runtime.block_on(async {
        let stopped = Stopped::open(&config, &data_dir).await?;
        let done = stopped
            .registry
            .import_distribution(&volume, !options.copy)
            .await;
        let noted = Noted::new("import").with("from", volume.display().to_string());
        stopped.noting(done, noted).await
    })?;
    report(&imported)
}
