//! `rregistry fsck`

use clap::Args;

use super::{Failure, Settings, data_dir, out};
use crate::service::{CheckOptions, Checked, Problem, Registry};

/// Check that the disk holds what the database says, and nothing else.
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
}

pub(super) fn run(options: Fsck) -> Result<(), Failure> {
    let config = options.settings.read()?.check()?;
    let data_dir = data_dir(&config)?;
    if !data_dir.join("registry.db").exists() {
        return Err(format!("{} holds no registry; say --data-dir", data_dir.display()).into());
    }
    let check = CheckOptions {
        deep: options.deep,
        repair: options.repair,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let checked = runtime.block_on(async {
        let registry = Registry::open(&data_dir).await?;
        let checked = registry.check(check).await?;
        registry.close().await;
        Ok::<_, Failure>(checked)
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

fn report(checked: &Checked, deep: bool) -> String {
    let mut text = String::new();
    for problem in &checked.problems {
        let (line, manifests) = match problem {
            Problem::Database(what) => (format!("database: {what}"), &[][..]),
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
