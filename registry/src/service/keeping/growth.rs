//! How the work grows with what is stored: SQLite's steps are counted, for time would depend on the
//! machine.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use oci::Digest;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::{CollectOptions, Collected};
use crate::name::RepositoryName;
use crate::policy::{Policy, Retention};
use crate::service::Registry;

const SMALL: u64 = 1000;
const LARGE: u64 = 4 * SMALL;

async fn execute(dir: &Path, sql: &str) {
    let mut connection = SqliteConnectOptions::new()
        .filename(dir.join("registry.db"))
        .foreign_keys(true)
        .connect()
        .await
        .unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

/// A registry of so many images, after `sql`.
async fn filled(images: u64, policy: Policy, sql: &str) -> (tempfile::TempDir, Registry) {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::with_policy(dir.path(), policy).await.unwrap();
    let fill = include_str!("../../../tests/growth.sql").replace("$N", &images.to_string());
    execute(dir.path(), &fill).await;
    execute(dir.path(), sql).await;
    (dir, registry)
}

fn options(dry_run: bool) -> CollectOptions {
    CollectOptions {
        grace: Duration::ZERO,
        dry_run,
        every_file: true,
    }
}

fn keep(newest: usize) -> Policy {
    Policy {
        retention: vec![Retention {
            repository: "**".into(),
            keep_newest: Some(newest),
            delete_untagged_after: Some(Duration::ZERO),
            ..Retention::default()
        }],
        ..Policy::default()
    }
}

/// The steps that `work` takes.
async fn steps<T>(registry: &Registry, work: impl Future<Output = T>) -> (T, u64) {
    let before = registry.meta.steps.load(Relaxed);
    let done = work.await;
    (done, registry.meta.steps.load(Relaxed) - before)
}

/// Manifests and blobs.
type Expected = (u64, u64);

/// A name, a policy, a state, and what a collection of so many images takes.
type Case<'c> = (&'c str, Policy, String, &'c dyn Fn(u64) -> Expected);

/// Four times as many images may take five times the steps, never sixteen.
#[track_caller]
fn is_linear(what: &str, small: u64, large: u64) {
    assert!(small > 0, "{what} was not counted");
    assert!(large <= 5 * small, "{what}: {small} steps, then {large}");
}

#[tokio::test]
async fn collections_grow_with_what_there_is() {
    let untag = "DELETE FROM tags";
    // One repository for all, and the same base in each of many.
    let together = "UPDATE tags SET repository_id = 1; UPDATE manifests SET repository_id = 1;
        UPDATE manifest_blobs SET repository_id = 1;
        INSERT OR IGNORE INTO repository_blobs SELECT 1, blob_id, 0 FROM repository_blobs;
        DELETE FROM repository_blobs WHERE repository_id <> 1";
    let nothing = |_: u64| (0, 0);
    let everything = |n: u64| (n, n + n / 10 + 1);
    let cases: [Case<'_>; 6] = [
        ("nothing", Policy::default(), String::new(), &nothing),
        (
            "nothing, in one repository",
            Policy::default(),
            together.into(),
            &nothing,
        ),
        ("no tags", keep(1), untag.into(), &everything),
        (
            "no tags, in one repository",
            keep(1),
            format!("{together}; {untag}"),
            &|n| (n, n + 1),
        ),
        ("tags that expire", keep(0), String::new(), &everything),
        (
            "links without manifests",
            Policy::default(),
            "DELETE FROM manifests".into(),
            &|n| (0, n + n / 10 + 1),
        ),
    ];
    for (what, policy, sql, expected) in cases {
        let mut counted = [0; 2];
        for (images, counted) in [SMALL, LARGE].into_iter().zip(&mut counted) {
            let (_dir, registry) = filled(images, policy.clone(), &sql).await;
            let trial = registry.collect(options(true));
            let (trial, trial_steps) = steps(&registry, trial).await;
            let (done, done_steps) = steps(&registry, registry.collect(options(false))).await;
            let (trial, done) = (trial.unwrap(), done.unwrap());
            let (manifests, links) = expected(images);
            assert_eq!(done.manifests.len() as u64, manifests, "{what}");
            assert_eq!(done.link_count, links, "{what}");
            assert_eq!(
                Collected {
                    links: Vec::new(),
                    ..trial
                },
                done,
                "{what}"
            );
            *counted = trial_steps + done_steps;
            registry.close().await;
        }
        is_linear(what, counted[0], counted[1]);
    }
}

/// A chain in which each refers to the one before, and nothing keeps the first.
#[tokio::test]
async fn long_chains_of_referrers_are_linear() {
    let chain = "DELETE FROM tags;
        UPDATE manifests SET repository_id = 1, subject = (
            SELECT p.digest FROM manifests p WHERE p.id = manifests.id - 1)";
    let mut counted = [0; 2];
    // Every link of the chain is a transaction: fewer of them.
    for (images, counted) in [100, 400].into_iter().zip(&mut counted) {
        let (_dir, registry) = filled(images, keep(1), chain).await;
        let (done, steps) = steps(&registry, registry.collect(options(false))).await;
        assert_eq!(done.unwrap().manifests.len() as u64, images);
        *counted = steps;
    }
    is_linear("a chain", counted[0], counted[1]);
}

/// What answers a request takes as many steps whatever else there is.
#[tokio::test]
async fn pages_and_questions_do_not_grow() {
    let name: RepositoryName = "team/r000005".parse().unwrap();
    let base: Digest = format!("sha256:{:064}", 0).parse().unwrap();
    let mut counted = Vec::new();
    for images in [SMALL, LARGE] {
        let (_dir, registry) = filled(images, keep(1), "").await;
        let (meta, signed) = (&registry.meta, images + 42);
        let signed = format!("sha256:{:02x}{signed:062x}", 42).parse().unwrap();
        let mut all = Vec::new();
        let (page, count) = steps(
            &registry,
            meta.repositories(50, "team/r000003", "team/", "team/~"),
        )
        .await;
        assert_eq!(page.unwrap().names.len(), 50);
        all.push(("repositories", count));
        let (page, count) = steps(&registry, meta.tags(&name, 5, "v000042")).await;
        assert_eq!(page.unwrap().unwrap().names.len(), 5);
        all.push(("tags", count));
        let (found, count) = steps(&registry, meta.referrers(&name, &signed, None, 10, "")).await;
        assert_eq!(found.unwrap().0.len(), 1);
        all.push(("referrers", count));
        let needs = [base.clone()];
        let (missing, count) = steps(&registry, meta.missing(&name, &needs, &[])).await;
        assert_eq!(missing.unwrap(), []);
        all.push(("missing", count));
        let (need, count) = steps(&registry, meta.need(&name, &base, 1_000_000)).await;
        assert_eq!(need.unwrap().repository, 0);
        all.push(("need", count));
        let (size, count) = steps(&registry, meta.blob_size(&name, &base)).await;
        assert_eq!(size.unwrap(), Some(1_000_000));
        all.push(("blob size", count));
        counted.push(all);
    }
    for (small, large) in counted[0].iter().zip(&counted[1]) {
        assert!(
            large.1 <= small.1 + small.1 / 4 + 20,
            "{small:?}, then {large:?}"
        );
    }
}

#[tokio::test]
async fn checks_grow_with_what_there_is() {
    let mut counted = Vec::new();
    for images in [SMALL, LARGE] {
        let (_dir, registry) = filled(images, keep(1), "").await;
        let meta = &registry.meta;
        let mut all = Vec::new();
        let (found, count) = steps(&registry, meta.integrity()).await;
        assert_eq!(found.unwrap(), Vec::<String>::new());
        all.push(("integrity", count));
        let (wrong, count) = steps(&registry, meta.wrong_usage()).await;
        assert_eq!(wrong.unwrap(), []);
        all.push(("sums", count));
        let (usage, count) = steps(&registry, registry.usage_report()).await;
        assert_eq!(usage.unwrap().repositories.len() as u64, images / 10 + 1);
        all.push(("usage", count));
        let (_, count) = steps(&registry, registry.check(Default::default())).await;
        all.push(("fsck", count));
        counted.push(all);
    }
    for (small, large) in counted[0].iter().zip(&counted[1]) {
        is_linear(small.0, small.1, large.1);
    }
}

/// A push gets its turn between the slices of a collection, and one that was told to stop leaves
/// the rest for the next.
#[tokio::test]
async fn pushes_get_their_turn_and_stops_are_heard() {
    let (dir, registry) = filled(LARGE, Policy::default(), "DELETE FROM manifests").await;
    let registry = std::sync::Arc::new(registry);
    let text = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json",
        "manifests":[]}"#;
    let push = async {
        // Not before the collection is at work.
        while registry.meta.commits() == 0 {
            tokio::task::yield_now().await;
        }
        let push = crate::service::Push {
            bytes: text.as_slice().into(),
            ..Default::default()
        };
        let name = "team/r000001".parse().unwrap();
        let reference = crate::name::ManifestRef::Tag("late".parse().unwrap());
        let pushed = registry.put_manifest(&name, &reference, push, &None).await;
        pushed.unwrap();
        registry.stop_collecting();
    };
    let (collected, ()) = tokio::join!(registry.collect(options(false)), push);
    let first = collected.unwrap();
    assert!(first.stopped, "the push waited for all of it: {first:?}");
    assert!(first.link_count < LARGE, "{first:?}");
    // Nor does another begin before the registry closes.
    let none = registry.collect(options(false)).await.unwrap();
    assert_eq!(
        none,
        Collected {
            stopped: true,
            ..Collected::default()
        }
    );
    registry.close().await;
    drop(registry);

    let again = loop {
        // A last blocking task may hold the lock for a moment.
        match Registry::open(dir.path()).await {
            Ok(registry) => break registry,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let second = again.collect(options(false)).await.unwrap();
    assert!(!second.stopped);
    assert_eq!(first.link_count + second.link_count, LARGE + LARGE / 10 + 1);
    assert_eq!(first.blob_count + second.blob_count, 2 * LARGE + 1);
}

/// A page of a described list takes as many steps whatever the list holds, wherever the page is.
#[tokio::test]
async fn described_pages_do_not_grow() {
    use crate::meta::{Cursor, ListQuery, Sort};
    let together = "UPDATE manifests SET repository_id = 1, content_bytes = id * 7919 % 1000003;
        UPDATE tags SET repository_id = 1; DELETE FROM tag_list;
        INSERT INTO tag_list SELECT repository_id, name, sequence, sequence * 7919 % 1000003
        FROM tags;
        UPDATE repository_list SET pushed_at = 1 + repository_id, bytes = repository_id * 7919";
    let name: RepositoryName = "team/r000000".parse().unwrap();
    let mut counted = Vec::new();
    for images in [SMALL, LARGE] {
        let (_dir, registry) = filled(images, Policy::default(), together).await;
        let name = match registry.tags(&name, 1, "").await {
            Ok(_) => name.clone(),
            Err(_) => "team/r000001".parse().unwrap(),
        };
        let mut all = Vec::new();
        // Far into each, and with a full page behind.
        let (row, tag) = (images as i64 * 7 / 100, images as i64 * 9 / 10);
        let middles = [
            (Sort::Name, 0, 0),
            (Sort::Time, row, tag),
            (Sort::Size, row * 7919, 900_000),
        ];
        for (sort, repository, place) in middles {
            for descending in [false, true] {
                for middle in [false, true] {
                    let after = middle.then(|| Cursor {
                        key: repository,
                        name: format!("team/r{row:06}"),
                    });
                    let mut query = ListQuery {
                        sort,
                        descending,
                        after,
                        n: 20,
                        ..ListQuery::default()
                    };
                    let page = registry.repository_entries(&query, "team/", "team/~");
                    let (page, count) = steps(&registry, page).await;
                    assert!(!page.unwrap().entries.is_empty());
                    all.push((format!("repositories: {query:?}"), count));
                    if let Some(after) = &mut query.after {
                        after.name = format!("v{tag:06}");
                        after.key = place;
                    }
                    let page = registry.tag_entries(&name, &query);
                    let (page, count) = steps(&registry, page).await;
                    assert_eq!(page.unwrap().entries.len(), 20, "{query:?}");
                    all.push((format!("tags: {query:?}"), count));
                }
            }
        }
        // All of them have the word, and in the name.
        let (found, count) = steps(&registry, registry.search("team", 5, |_| true)).await;
        assert_eq!(found.unwrap().len(), 5);
        // A page of two hundred, and not all of them.
        assert!(count > 0 && count <= 4000, "a search takes {count} steps");
        counted.push(all);
    }
    for ((what, small), (_, large)) in counted[0].iter().zip(&counted[1]) {
        assert!(*small > 0, "{what} was not counted");
        assert!(
            *large <= small + small / 4 + 40,
            "{what}: {small}, then {large}"
        );
    }
}
