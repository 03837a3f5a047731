//! `rregistry gc`

use std::time::Duration;

use clap::Args;

use super::failure::{Failure, out};
use super::operate::{Format, show_json};
use super::settings::{Settings, data_dir};
use super::stopped::Stopped;
use crate::control::{self, here, request_gc};
use crate::metrics::Metrics;
use crate::service::{CollectOptions, Collected};
use crate::units::duration;

/// Remove blobs that no manifest needs any more.
///
/// A running registry does it itself while it goes on serving; otherwise it is done here. A
/// running registry also does it regularly (gc.interval).
#[derive(Debug, Args)]
pub(super) struct Gc {
    #[command(flatten)]
    settings: Settings,

    /// Only say what would go.
    #[arg(long)]
    dry_run: bool,

    /// How long what nothing needs is kept, such as 24h [default: gc.grace].
    #[arg(long, value_parser = parse_duration)]
    grace: Option<Duration>,

    /// How to show what went.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    duration(text).ok_or_else(|| "a number and a unit, such as 30s, 15m, 24h or 7d".into())
}

pub(super) fn run(options: Gc) -> Result<(), Failure> {
    let config = options.settings.read()?.check()?;
    let data_dir = data_dir(&config)?;
    let collect = CollectOptions {
        grace: options.grace.unwrap_or(config.gc_grace),
        dry_run: options.dry_run,
        every_file: true,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let collected = runtime.block_on(async {
        if let Some(collected) = request_gc(&data_dir, collect).await? {
            return Ok::<_, Failure>(collected);
        }
        let stopped = Stopped::existing(&config, &data_dir).await?;
        let counted = Metrics::default();
        let collected = control::collect(&stopped.registry, &counted, collect, &here()).await;
        stopped.close().await;
        Ok(collected?)
    })?;
    match options.format {
        Format::Table => out(&report(&collected, options.dry_run))?,
        Format::Json => show_json(&collected)?,
    }
    if collected.stopped {
        return Err("the registry is closing: what is left goes the next time".into());
    }
    Ok(())
}

fn report(collected: &Collected, dry_run: bool) -> String {
    let mut text = String::new();
    let verb = if dry_run { "would remove" } else { "removed" };
    for tag in &collected.tags {
        text.push_str(&format!("{verb} {tag}: no retention rule keeps it\n"));
    }
    for manifest in &collected.manifests {
        text.push_str(&format!(
            "{verb} {manifest}: no tag, index or subject keeps it\n"
        ));
    }
    for link in &collected.links {
        text.push_str(&format!("would remove {link}: no manifest needs it\n"));
    }
    let (links, blobs, bytes) = (collected.link_count, collected.blob_count, collected.bytes);
    let (orphans, orphan_bytes) = (collected.orphan_count, collected.orphan_bytes);
    if orphans > 0 {
        text.push_str(&format!(
            "{verb} {orphans} files that belong to no blob ({orphan_bytes} bytes)\n"
        ));
    }
    if collected.suspect_count > 0 {
        text.push_str(&format!(
            "kept {} files that belong to no blob and are newer than what the database knew when \
             it was opened: if it is an older copy, stop the registry and run `rregistry fsck \
             --rebuild`, which finds their images again; what a crash left goes after the next \
             start\n",
            collected.suspect_count
        ));
    }
    if dry_run {
        text.push_str(&format!(
            "would remove {links} blobs from their repositories and {} empty repositories; would \
             free {blobs} blobs, {bytes} bytes\n",
            collected.repository_count
        ));
    } else {
        text.push_str(&format!(
            "removed {links} blobs from their repositories and {} empty repositories; freed \
             {blobs} blobs, {bytes} bytes\n",
            collected.repository_count
        ));
    }
    text
}
