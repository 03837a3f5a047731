//! `rregistry fsck`

use std::path::Path;

use clap::Args;

use super::failure::{Failure, out};
use super::opened::{nothing, require};
use super::settings::{Settings, data_dir};
use super::stopped::Stopped;
use crate::config::Config;
use crate::events::Noted;
use crate::name::RepositoryName;
use crate::service::{CheckOptions, Checked, Problem, Registry};
use crate::storage::Backend;

/// Check that the disk, or the object store, holds what the database says, and nothing else.
///
/// The registry must not be running. Exits with 1 when something is wrong that was not mended.
#[derive(Debug, Args)]
pub(super) struct Fsck {
    #[command(flatten)]
    settings: Settings,

    /// Read every blob and compare its digest.
    #[arg(long)]
    deep: bool,

    /// Mend it: no longer show what is lost, so that clients push it again, and remove files that
    /// nobody knows.
    #[arg(long)]
    repair: bool,

    /// Make a new database from the blobs, when registry.db is lost or damaged. It is moved aside,
    /// never deleted. Repositories and tags come from what is still readable of it, and from its
    /// last copy (backup.interval). A database of PostgreSQL is filled
    /// where it is empty.
    #[arg(long, conflicts_with_all = ["deep", "repair"])]
    rebuild: bool,

    /// With --rebuild, where manifests go whose repository is not known.
    #[arg(
        long,
        value_name = "REPOSITORY",
        default_value = "recovered",
        requires = "rebuild"
    )]
    unnamed: RepositoryName,
}

pub(super) fn run(options: Fsck) -> Result<(), Failure> {
    let config = options.settings.read()?.check()?;
    let data_dir = data_dir(&config)?;
    if options.rebuild {
        return rebuild(&config, &data_dir, &options.unnamed);
    }
    if !data_dir.join("blobs").exists() {
        require(&config, &data_dir)?;
    }
    let check = CheckOptions {
        deep: options.deep,
        repair: options.repair,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let checked = runtime.block_on(async {
        let stopped = Stopped::open(&config, &data_dir).await?;
        let checked = stopped.registry.check(check).await;
        let found = checked.as_ref().map_or(0, |checked| checked.problems.len());
        if !options.repair || found == 0 {
            stopped.close().await;
            return Ok::<_, Failure>(checked?);
        }
        let noted = Noted::new("repair").with("problems", found);
        stopped.noting(checked, noted).await
    })?;
    out(&report(&checked, options.deep))?;
    let open = checked
        .problems
        .iter()
        .filter(|p| !options.repair || matches!(p, Problem::Database(_)))
        .count();
    match open {
        0 => Ok(()),
        1 => Err("1 problem; --repair mends what can be mended".into()),
        n => Err(format!("{n} problems; --repair mends what can be mended").into()),
    }
}

fn rebuild(config: &Config, data_dir: &Path, unnamed: &RepositoryName) -> Result<(), Failure> {
    if config.backend == Backend::Disk && !data_dir.join("blobs").exists() {
        return Err(nothing(data_dir));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let place = config.place(data_dir);
    let rebuilt = runtime.block_on(async {
        let rebuilt = Registry::rebuild(data_dir, unnamed, &config.backend, &place).await?;
        let noted = Noted::new("rebuild").with("repositories", rebuilt.repositories);
        let stopped = Stopped::open(config, data_dir).await?;
        stopped.noting(Ok::<_, Failure>(rebuilt), noted).await
    })?;
    let mut text: String = rebuilt
        .lost
        .iter()
        .map(|l| format!("lost: {l}\n"))
        .collect();
    if let Some(moved) = &rebuilt.moved {
        text.push_str(&format!(
            "the damaged database is {} now\n",
            moved.display()
        ));
    }
    text.push_str(&format!(
        "rebuilt {} repositories, {} tags, {} manifests from {} blobs",
        rebuilt.repositories, rebuilt.tags, rebuilt.manifests, rebuilt.blobs
    ));
    if rebuilt.unnamed > 0 {
        let n = rebuilt.unnamed;
        text.push_str(&format!(
            "; {n} manifests of unknown repositories are in {unnamed}"
        ));
    }
    text.push('\n');
    out(&text)?;
    match rebuilt.lost.len() {
        0 => Ok(()),
        n => Err(format!("{n} lost").into()),
    }
}

fn report(checked: &Checked, deep: bool) -> String {
    let mut text = String::new();
    for problem in &checked.problems {
        let (line, manifests) = match problem {
            Problem::Database(what) => (
                format!("database: {what} (--rebuild makes a new one)"),
                &[][..],
            ),
            Problem::Missing { digest, manifests } => {
                (format!("{digest}: the file is missing"), &manifests[..])
            }
            Problem::Damaged {
                digest,
                why,
                manifests,
            } => (format!("{digest}: {why}"), &manifests[..]),
            Problem::Usage(wrong) => {
                let whose = wrong.repository.as_deref().unwrap_or("everything");
                let (recorded, actual) = (wrong.recorded, wrong.actual);
                let line = format!("usage of {whose}: {recorded} bytes noted instead of {actual}");
                (line, &[][..])
            }
            Problem::List(wrong) => {
                let whose = wrong.repository.as_deref().unwrap_or_default();
                let line = format!("{}: {whose} {}", wrong.table, wrong.what);
                (line.replace(":  ", ": "), &[][..])
            }
            Problem::Orphan { digest, size } => (
                format!("{digest}: nobody knows this file of {size} bytes"),
                &[][..],
            ),
        };
        text.push_str(&line);
        text.push('\n');
        for manifest in manifests {
            text.push_str(&format!("  needed by {manifest}\n"));
        }
    }
    let (blobs, bytes, problems) = (checked.blobs, checked.bytes, checked.problems.len());
    let how = if deep {
        "read and checked"
    } else {
        "counted, contents not read (--deep)"
    };
    text.push_str(&format!(
        "{blobs} blobs, {bytes} bytes {how}; {problems} problems\n"
    ));
    text
}
