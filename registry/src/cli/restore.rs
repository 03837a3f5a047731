//! `rregistry restore`

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::imported::report;
use super::operate::Format;
use super::settings::{Settings, data_dir};
use super::stopped::Stopped;
use super::undelete::{self, Undelete};
use crate::control::request_restore;
use crate::events::Noted;
use crate::meta::Meta;
use crate::service::{Registry, RestoreOptions};

/// Put back what was deleted or, with --from, what a backup has.
///
/// Without a backup, REPOSITORY:TAG points where it did before it was deleted or moved,
/// REPOSITORY:TAG@DIGEST to that manifest, and of REPOSITORY alone all deleted tags come back. Ten
/// places of each tag are known, for thirty days; what was collected as garbage since cannot come
/// back.
///
/// From a backup: where there is no registry yet it becomes what it was. Where there is one,
/// running or not, repositories of the backup come back into it: a tag points to what it did, and
/// whatever the backup does not have stays. Every blob is verified.
#[derive(Debug, Args)]
pub(super) struct Restore {
    #[command(flatten)]
    settings: Settings,

    /// The backup.
    #[arg(long, value_name = "DIR|FILE.tar")]
    from: Option<PathBuf>,

    /// Only list where tags pointed before.
    #[arg(long, conflicts_with = "from")]
    list: bool,

    /// How to show what came back.
    #[arg(long, value_enum, default_value_t = Format::Table, conflicts_with = "from")]
    format: Format,

    /// What to put back; of a backup, only these repositories.
    #[arg(value_name = "IMAGE", required_unless_present = "from")]
    images: Vec<String>,
}

pub(super) fn run(options: Restore) -> Result<(), Failure> {
    let Some(from) = options.from else {
        let images = options.images.iter().map(|image| Undelete {
            image,
            list: options.list,
            format: options.format,
        });
        return undelete::run(options.settings, &images.collect::<Vec<_>>());
    };
    let config = options.settings.read()?.check()?;
    let data_dir = data_dir(&config)?;
    let restore = RestoreOptions {
        from: std::path::absolute(&from)?,
        repositories: options.images,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let imported = runtime.block_on(async {
        if let Some(imported) = request_restore(&data_dir, &restore).await? {
            return Ok::<_, Failure>(imported);
        }
        let place = config.place(&data_dir);
        let empty = Meta::is_empty(&place).await?;
        let noted = Noted::new("restore").with("from", restore.from.display().to_string());
        if empty && restore.repositories.is_empty() {
            let imported =
                Registry::restore_whole(&data_dir, &restore.from, &config.backend, &place).await?;
            let stopped = Stopped::open(&config, &data_dir).await?;
            return stopped.noting(Ok::<_, Failure>(imported), noted).await;
        }
        let stopped = Stopped::open(&config, &data_dir).await?;
        let imported = stopped.registry.restore(&restore).await;
        stopped.noting(imported, noted).await
    })?;
    report(&imported)
}
