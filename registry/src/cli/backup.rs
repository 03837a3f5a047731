//! `rregistry backup`

use std::path::PathBuf;

use clap::Args;

use super::failure::{Failure, out};
use super::settings::{Settings, data_dir};
use super::stopped::Stopped;
use crate::control::request_backup;
use crate::events::Noted;
use crate::service::BackupOptions;

/// Copy everything that a registry has, as it is at this moment.
///
/// A directory gets only what it does not have yet, and is a registry's own: `rregistry serve
/// --data-dir` could serve it. Every blob is verified when it is copied. A running registry makes
/// the backup itself, and goes on serving meanwhile. Keep it as safe as the registry: passwords'
/// hashes and keys for tokens are in it.
///
///   rregistry backup /mnt/backup/registry
///   rregistry restore --from /mnt/backup/registry --data-dir /var/lib/rregistry
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Backup {
    #[command(flatten)]
    settings: Settings,

    /// Where to: a directory, or a file whose name ends with .tar.
    #[arg(value_name = "DIR|FILE.tar")]
    output: PathBuf,

    /// Remove blobs from the directory that the registry no longer has.
    #[arg(long)]
    prune: bool,
}

pub(super) fn run(options: Backup) -> Result<(), Failure> {
    let config = options.settings.read()?.check()?;
    let data_dir = data_dir(&config)?;
    let backup = BackupOptions {
        // The running registry may have been started elsewhere.
        output: std::path::absolute(&options.output)?,
        prune: options.prune,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(async {
        if let Some(done) = request_backup(&data_dir, &backup).await? {
            return Ok::<_, Failure>(done);
        }
        let stopped = Stopped::existing(&config, &data_dir).await?;
        let done = stopped.registry.back_up_to(&backup).await;
        let noted = Noted::new("backup").with("to", backup.output.display().to_string());
        stopped.noting(done, noted).await
    })?;
    let mut text: String = done
        .damaged
        .iter()
        .map(|line| format!("left out {line}\n"))
        .collect();
    text.push_str(&format!(
        "backed up {} repositories; {} blobs, {} bytes; of these new {}, {} bytes; removed {}\n",
        done.repositories, done.blobs, done.bytes, done.new_blobs, done.new_bytes, done.removed
    ));
    out(&text)?;
    match done.damaged.len() {
        0 => Ok(()),
        n => Err(format!("{n} blobs are damaged or missing: see `rregistry fsck`").into()),
    }
}
