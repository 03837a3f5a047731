//! How long collections, lists and checks take as a registry grows, as a table in Markdown; for
//! `docs/benchmarks.md`.
//!
//! Usage: growth [IMAGES …]
//!
//! Without arguments 1000, 10000 and 100000 images: ten in each repository, all on one base layer,
//! each with a configuration of its own. Everything is in a temporary directory, which goes at the
//! end. No image has files but those pushed here: what is measured is the database.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use registry::name::{ManifestRef, RepositoryName};
use registry::policy::{Policy, Retention};
use registry::service::{CheckOptions, CollectOptions, Collected, Push, Registry};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

type Failure = Box<dyn Error + Send + Sync>;
/// A case and its milliseconds for each size.
type Table = Vec<(&'static str, Vec<f64>)>;

const EMPTY_INDEX: &[u8] = br#"{"schemaVersion":2,
"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// A directory of this process that goes when it is dropped.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn execute(dir: &Path, sql: &str) -> Result<(), Failure> {
    let file = dir.join("registry.db");
    let options = SqliteConnectOptions::new().filename(file);
    let mut connection = options.connect().await?;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut connection)
        .await?;
    Ok(connection.close().await?)
}

/// A registry of so many images, after `sql`.
async fn filled(
    images: u64,
    rules: bool,
    sql: &str,
) -> Result<(Directory, Arc<Registry>), Failure> {
    let mut policy = Policy::default();
    if rules {
        policy.retention.push(Retention {
            repository: "team/**".into(),
            keep_newest: Some(1),
            delete_untagged_after: Some(Duration::ZERO),
            ..Retention::default()
        });
    }
    static MADE: AtomicU32 = AtomicU32::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let name = format!("rregistry-growth-{}-{number}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    let dir = Directory(dir);
    let registry = Registry::with_policy(&dir.0, policy).await?;
    let fill = include_str!("../tests/growth.sql").replace("$N", &images.to_string());
    execute(&dir.0, &fill).await?;
    execute(&dir.0, sql).await?;
    Ok((dir, Arc::new(registry)))
}

fn ms(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1000.0
}

/// Milliseconds that something takes: the median of nine times.
async fn median<T, F: Future<Output = T>>(work: impl Fn() -> F) -> f64 {
    let mut times = Vec::new();
    for _ in 0..9 {
        let begun = Instant::now();
        work().await;
        times.push(ms(begun));
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

async fn push(registry: &Arc<Registry>, tag: usize) -> Result<(), Failure> {
    let push = Push {
        bytes: EMPTY_INDEX.into(),
        ..Push::default()
    };
    let reference = ManifestRef::Tag(format!("push{tag}").parse()?);
    registry
        .put_manifest(&"pushes".parse()?, &reference, push, &None)
        .await?;
    Ok(())
}

/// A collection, alone or with pushes beside it, one after the other: its milliseconds, and the
/// longest push.
async fn collect(
    registry: &Arc<Registry>,
    dry_run: bool,
    pushes: bool,
) -> Result<(Collected, f64, f64), Failure> {
    let options = CollectOptions {
        grace: Duration::ZERO,
        dry_run,
        every_file: true,
    };
    push(registry, 0).await?;
    let other = Arc::clone(registry);
    let begun = Instant::now();
    let collection = tokio::spawn(async move { other.collect(options).await });
    let (mut longest, mut tag) = (0.0_f64, 0);
    while pushes && !collection.is_finished() {
        tag = (tag + 1) % 100;
        let begun = Instant::now();
        push(registry, tag).await?;
        longest = longest.max(ms(begun));
    }
    let collected = collection.await??;
    Ok((collected, ms(begun), longest))
}

async fn lists(images: u64, add: &mut impl FnMut(&'static str, f64)) -> Result<(), Failure> {
    let (_dir, registry) = filled(images, false, "").await?;
    let name: RepositoryName = "team/r000005".parse()?;
    let signed = images + 42;
    let signed = format!("sha256:{:02x}{signed:062x}", 42).parse()?;
    let (last, end) = ("team/r000003", "team/r~");
    add(
        "100 repositories listed",
        median(|| registry.catalog(100, last, "", end)).await,
    );
    add(
        "the list for who may see one repository",
        median(|| registry.catalog(101, "", name.as_str(), name.as_str())).await,
    );
    add(
        "tags listed",
        median(|| registry.tags(&name, 100, "")).await,
    );
    add(
        "referrers listed",
        median(|| registry.referrers(&name, &signed, None, "")).await,
    );
    add("a manifest pushed", median(|| push(&registry, 1)).await);
    add(
        "usage of every repository",
        median(|| registry.usage_report()).await,
    );
    add("counts for metrics", median(|| registry.usage()).await);
    let begun = Instant::now();
    let checked = registry.check(CheckOptions::default()).await?;
    add("fsck, with every file missing", ms(begun));
    if checked.problems.is_empty() {
        return Err("fsck found nothing wrong".into());
    }
    registry.close().await;
    Ok(())
}

async fn collections(images: u64, add: &mut impl FnMut(&'static str, f64)) -> Result<(), Failure> {
    for (rules, sql, trial, case, beside, longest) in [
        (
            false,
            "",
            "gc --dry-run with nothing to take",
            "gc with nothing to take",
            "the same with pushes beside it",
            "the longest of them",
        ),
        (
            true,
            "",
            "gc --dry-run that takes nine of ten images by rule",
            "gc of that",
            "the same with pushes beside it",
            "the longest of them",
        ),
        (
            false,
            "DELETE FROM manifests",
            "gc --dry-run after all manifests were deleted",
            "gc of that",
            "the same with pushes beside it",
            "the longest of them",
        ),
    ] {
        let (_dir, registry) = filled(images, rules, sql).await?;
        let (said, time, _) = collect(&registry, true, false).await?;
        add(trial, time);
        let (took, time, _) = collect(&registry, false, false).await?;
        add(case, time);
        if (said.manifests, said.blob_count) != (took.manifests, took.blob_count) {
            return Err(format!("{case}: the dry run said something else").into());
        }
        registry.close().await;
        let (_dir, registry) = filled(images, rules, sql).await?;
        let (_, time, push) = collect(&registry, false, true).await?;
        add(beside, time);
        add(longest, push);
        registry.close().await;
    }
    Ok(())
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let mut sizes = std::env::args()
        .skip(1)
        .map(|arg| arg.parse())
        .collect::<Result<Vec<u64>, _>>()?;
    if sizes.is_empty() {
        sizes = vec![1000, 10_000, 100_000];
    }
    let mut table = Table::new();
    for (column, images) in sizes.iter().enumerate() {
        let mut row = 0;
        let mut add = |case: &'static str, value: f64| {
            if column == 0 {
                table.push((case, Vec::new()));
            }
            table[row].1.push(value);
            row += 1;
        };
        collections(*images, &mut add).await?;
        lists(*images, &mut add).await?;
    }
    let heads: Vec<String> = sizes.iter().map(|n| format!("{n} images")).collect();
    println!("| Milliseconds | {} |", heads.join(" | "));
    println!("|---|{}", "---:|".repeat(sizes.len()));
    for (case, values) in table {
        let values: Vec<String> = values.iter().map(|value| format!("{value:.1}")).collect();
        println!("| {case} | {} |", values.join(" | "));
    }
    Ok(())
}
