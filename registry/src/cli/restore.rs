//! `rregistry restore`

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::failure::Failure;
use super::imported::report;
use super::settings::{Settings, data_dir};
use crate::control::request_restore;
use crate::service::{Registry, RestoreOptions};

/// Put back what a backup has.
///
/// Where there is no registry yet it becomes what it was. Where there is one,
/// running or not, repositories of the backup come back into it: a tag points to what it did, and
/// whatever the backup does not have stays. Every blob is verified.
#[derive(Debug, Args)]
pub(super) struct Restore {
    #[command(flatten)]
    settings: Settings,

    /// The backup.
    #[arg(long, value_name = "DIR|FILE.tar")]
    from: PathBuf,

    /// Only these repositories.
    #[arg(value_name = "REPOSITORY")]
    repositories: Vec<String>,
}

pub(super) fn run(options: Restore) -> Result<(), Failure> {
    let config = options.settings.read()?.check()?;
    let data_dir = data_dir(&config)?;
    let restore = RestoreOptions {
        from: std::path::absolute(&options.from)?,
        repositories: options.repositories,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let imported = runtime.block_on(async {
        if let Some(imported) = request_restore(&data_dir, &restore).await? {
            return Ok::<_, Failure>(imported);
        }
        let database = data_dir.join("registry.db");
        let empty = std::fs::metadata(database).map_or(0, |found| found.len()) == 0;
        if empty && restore.repositories.is_empty() {
            return Ok(Registry::restore_whole(&data_dir, &restore.from).await?);
        }
        let registry = Arc::new(Registry::with_policy(&data_dir, config.policy.clone()).await?);
        let imported = registry.restore(&restore).await?;
        registry.close().await;
        Ok(imported)
    })?;
    report(&imported)
}
