//! `rregistry import`

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::imported::report;
use super::settings::{Settings, data_dir};
use super::stopped::Stopped;
use crate::control::request_import;
use crate::events::Noted;
use crate::name::RepositoryName;
use crate::service::ImportOptions;

/// Take images from an OCI image layout or a docker archive.
///
/// From what `rregistry export`, skopeo, buildah, podman, docker or rbuild write: a directory or a
/// tar, compressed or not. Docker archives have no manifests; they are made then. Every blob is
/// verified. An import that was interrupted can be started again. A running registry does it
/// itself, while it goes on serving.
#[derive(Debug, Args)]
pub(super) struct Import {
    #[command(flatten)]
    settings: Settings,

    /// The layout or archive.
    layout: PathBuf,

    /// The repository that everything goes to [default: what names in the layout say].
    repository: Option<RepositoryName>,

    /// Take files of a directory over as hard links where possible, so that they take no space.
    /// Whoever writes into such a file afterwards damages the registry.
    #[arg(long)]
    link: bool,
}

pub(super) fn run(options: Import) -> Result<(), Failure> {
    let config = options.settings.read()?.check()?;
    let data_dir = data_dir(&config)?;
    let import = ImportOptions {
        layout: std::path::absolute(&options.layout)?,
        repository: options.repository.map(|name| name.to_string()),
        link: options.link,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let imported = runtime.block_on(async {
        if let Some(imported) = request_import(&data_dir, &import).await? {
            return Ok::<_, Failure>(imported);
        }
        let stopped = Stopped::open(&config, &data_dir).await?;
        let imported = stopped.registry.import_layout(&import).await;
        let noted = Noted::new("import").with("from", import.layout.display().to_string());
        stopped.noting(imported, noted).await
    })?;
    report(&imported)
}
