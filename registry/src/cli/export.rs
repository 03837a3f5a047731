//! `rregistry export`

use std::path::PathBuf;

use clap::Args;

use super::failure::{Failure, out};
use super::opened::{opened, require};
use super::settings::{Settings, data_dir};
use crate::control::request_export;
use crate::service::{ExportOptions, Exported, Selection};

/// Write repositories, or single images, as an OCI image layout.
///
/// Whatever belongs to them goes along: every platform of an index, signatures and other
/// referrers. skopeo, buildah and docker read it, and so does `rregistry import`. Every blob is
/// verified, also those that are there already; a damaged one ends it with an error. A running
/// registry writes it itself, while it goes on serving.
#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    settings: Settings,

    /// What to export.
    #[arg(required = true, value_name = "REPOSITORY[:TAG|@DIGEST]")]
    what: Vec<Selection>,

    /// Where to: a directory, or a file whose name ends with .tar. What a layout there holds
    /// already stays in it, unless its name is taken.
    #[arg(long, short, value_name = "DIR|FILE.tar")]
    output: PathBuf,

    /// Make files in a directory hard links to the registry's own where possible, so that they take
    /// no space. Whoever writes into such a file damages the registry: only for directories that
    /// nobody changes.
    #[arg(long)]
    link: bool,
}

pub(super) fn run(options: Export) -> Result<(), Failure> {
    let config = options.settings.read()?.check()?;
    let data_dir = data_dir(&config)?;
    let export = ExportOptions {
        what: options.what.iter().map(ToString::to_string).collect(),
        // The running registry may have been started elsewhere.
        output: std::path::absolute(&options.output)?,
        link: options.link,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let exported = runtime.block_on(async {
        if let Some(exported) = request_export(&data_dir, &export).await? {
            return Ok::<_, Failure>(exported);
        }
        require(&config, &data_dir)?;
        let registry = opened(&config, &data_dir).await?;
        let exported = registry.export(&export).await?;
        registry.close().await;
        Ok(exported)
    })?;
    let Exported {
        tags,
        manifests,
        blobs,
        bytes,
    } = exported;
    out(&format!(
        "exported {tags} tags, {manifests} manifests; {blobs} blobs, {bytes} bytes\n"
    ))
}
