//! The two schemas: whatever is done to their tables has the same effects in both.

use std::collections::BTreeMap;
use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, SqliteConnection};

use crate::postgres;

/// What is compared of each table, and in which order. Numbers that a database gives are not.
const TABLES: [(&str, &str, &str); 20] = [
    ("repositories", "id, name, created_at, bytes, emptied", "id"),
    ("blobs", "id, digest, size, created_at, stored", "id"),
    ("repository_blobs", "repository_id, blob_id, linked_at", "1"),
    (
        "manifests",
        "id, repository_id, blob_id, digest, media_type, size, artifact_type, subject, annotations,
         pushed_at, pulled_at, untagged_at, platforms, content_bytes, created_at",
        "id",
    ),
    ("manifest_blobs", "manifest_id, blob_id, repository_id", "1"),
    (
        "manifest_children",
        "manifest_id, child_digest, repository_id",
        "1",
    ),
    (
        "tags",
        "repository_id, name, manifest_id, updated_at, sequence, actor",
        "1",
    ),
    ("push_order", "id, last", "1"),
    ("stored_bytes", "id, bytes", "1"),
    ("webhook_events", "webhook, event", "1"),
    (
        "repository_list",
        "repository_id, name, tags, bytes, pushed_at, pulled_at, description",
        "1",
    ),
    ("tag_list", "repository_id, name, sequence, bytes", "1"),
    ("repository_search", "rowid, name, words", "1"),
    (
        "tag_past",
        "repository, tag, digest, media_type, since, until, actor, deleted_by, gone",
        "repository, tag, id",
    ),
    ("list_fill", "step, kind, repository_id, name", "1"),
    (
        "replication_rules",
        "name, fingerprint, on_event, compared_at, succeeded_at, failed_at, error",
        "1",
    ),
    ("replication_changes", "repository, reference", "1"),
    (
        "replication_jobs",
        "rule, repository, reference, generation, attempts, due, error",
        "1",
    ),
    ("replication_done", "rule, repository, tag, digest", "1"),
    ("activity", "id, action, actor, repository, line", "1"),
];

/// Later than any time that is written here: the time at which it ran.
const NOW: i64 = 1_000_000_000;

/// Numbers that only look random (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len() as u64) as usize]
    }
}

/// Statements that both databases understand, of which many refuse or do nothing.
struct Script {
    chance: Chance,
    /// Rows' numbers and times.
    clock: i64,
}

const REPOSITORIES: [&str; 3] = ["a", "b/c", "b/d"];
const LAYERS: [&str; 4] = ["l0", "l1", "l2", "l3"];
const IMAGES: [&str; 4] = ["m0", "m1", "m2", "m3"];
const INDEXES: [&str; 2] = ["x0", "x1"];
const REFERRERS: [&str; 2] = ["s0", "s1"];
const MANIFESTS: [&str; 8] = ["m0", "m1", "m2", "m3", "x0", "x1", "s0", "s1"];
const TAGS: [&str; 4] = ["latest", "v1", "v2", "Z"];
const RULES: [&str; 2] = ["there", "here"];

impl Script {
    fn of(&self, repository: &str) -> String {
        format!("(SELECT id FROM repositories WHERE name = '{repository}')")
    }

    fn next(&mut self) -> Vec<String> {
        self.clock += 1;
        let now = self.clock;
        let repository = self.chance.one(&REPOSITORIES);
        let of = self.of(repository);
        let layer = self.chance.one(&LAYERS);
        let manifest = self.chance.one(&MANIFESTS);
        let tag = self.chance.one(&TAGS);
        let rule = self.chance.one(&RULES);
        let size = 1 + self.chance.below(1000);
        match self.chance.below(29) {
            0..=3 => vec![
                self.repository(repository),
                self.blob(layer, size),
                format!(
                    "INSERT INTO repository_blobs (repository_id, blob_id, linked_at)
                     SELECT {of}, id, {now} FROM blobs WHERE digest IN ('{layer}', '{manifest}')
                     ON CONFLICT (repository_id, blob_id)
                     DO UPDATE SET linked_at = excluded.linked_at"
                ),
            ],
            4..=8 => self.manifest(repository, manifest, size),
            9..=13 => vec![
                "UPDATE push_order SET last = last + 1".to_owned(),
                format!(
                    "INSERT INTO tags (repository_id, name, manifest_id, updated_at, sequence)
                     SELECT {of}, '{tag}', m.id, {now}, o.last FROM push_order o, manifests m
                     WHERE m.repository_id = {of} AND m.digest = '{manifest}'
                     ON CONFLICT (repository_id, name)
                     DO UPDATE SET manifest_id = excluded.manifest_id,
                         updated_at = excluded.updated_at, sequence = excluded.sequence"
                ),
            ],
            14 => vec![format!(
                "UPDATE tags SET actor = 'ann' WHERE repository_id = {of} AND name = '{tag}'"
            )],
            15 => vec![format!(
                "DELETE FROM tags WHERE repository_id = {of} AND name >= '{tag}'"
            )],
            16 => vec![format!(
                "DELETE FROM tags WHERE name = '{tag}' AND repository_id = {of}"
            )],
            17..=18 => vec![format!(
                "DELETE FROM manifests WHERE repository_id = {of} AND digest = '{manifest}'"
            )],
            // What refers to something goes alone: in one statement the one that goes first would
            // tell the other, and the order is the database's.
            19 => vec![format!(
                "DELETE FROM manifests WHERE repository_id = {of} AND digest >= '{manifest}'
                   AND subject IS NULL"
            )],
            20 => vec![format!(
                "DELETE FROM repository_blobs WHERE repository_id = {of} AND blob_id IN (
                     SELECT id FROM blobs WHERE digest <= '{layer}')"
            )],
            21 => vec![
                format!(
                    "UPDATE blobs SET stored = 0 WHERE digest IN ('{layer}', '{manifest}')
                       AND NOT EXISTS (SELECT 1 FROM repository_blobs WHERE blob_id = blobs.id)
                       AND NOT EXISTS (SELECT 1 FROM manifests WHERE blob_id = blobs.id)"
                ),
                "DELETE FROM blobs WHERE stored = 0 AND NOT EXISTS (
                     SELECT 1 FROM manifest_blobs WHERE blob_id = blobs.id)"
                    .to_owned(),
            ],
            // Often refused, for manifests need it.
            22 => vec![format!("DELETE FROM blobs WHERE digest = '{layer}'")],
            23 => match self.chance.below(4) {
                0 => vec![format!("UPDATE repositories SET bytes = 1 WHERE id = {of}")],
                1 => vec![format!("DELETE FROM manifests WHERE repository_id = {of}")],
                2 => vec![
                    format!("DELETE FROM manifests WHERE repository_id = {of}"),
                    format!("DELETE FROM repositories WHERE id = {of}"),
                ],
                _ => vec![
                    // Which never had a manifest.
                    self.repository("empty"),
                    format!("DELETE FROM repositories WHERE id = {of} OR name = 'empty'"),
                ],
            },
            24 => self.replication(rule, repository, tag),
            25 => vec![format!(
                "INSERT INTO activity (id, action, actor, repository, line)
                 VALUES ({}, 'push', 'ann', '{repository}', '{{}}')",
                now * 1500
            )],
            26 => vec![format!(
                "UPDATE manifests SET pulled_at = {now}, content_bytes = {size}, pushed_at = {now}
                 WHERE digest >= '{manifest}'"
            )],
            27 => vec![format!(
                "INSERT INTO tag_past (repository, tag, digest, media_type, since, until)
                 VALUES ('{repository}', '{tag}', '{manifest}', 't', 1, {})",
                match self.chance.below(3) {
                    0 => now,
                    _ => 9_000_000_000 + now,
                }
            )],
            _ => vec![format!(
                "INSERT INTO tags (repository_id, name, manifest_id, updated_at)
                 VALUES ({of}, 'none', {now}, {now})"
            )],
        }
    }

    fn repository(&self, name: &str) -> String {
        let now = self.clock;
        format!(
            "INSERT INTO repositories (id, name, created_at) VALUES ({now}, '{name}', {now})
             ON CONFLICT DO NOTHING"
        )
    }

    fn blob(&self, digest: &str, size: u64) -> String {
        let now = self.clock;
        let id = now * 10 + i64::from(digest.starts_with('l'));
        format!(
            "INSERT INTO blobs (id, digest, size, created_at) VALUES ({id}, '{digest}', {size}, {now})
             ON CONFLICT (digest) DO UPDATE SET size = excluded.size, stored = 1"
        )
    }

    fn manifest(&mut self, repository: &str, digest: &str, size: u64) -> Vec<String> {
        let now = self.clock;
        let of = self.of(repository);
        let subject = match REFERRERS.contains(&digest) {
            true => format!("'{}'", self.chance.one(&MANIFESTS[..6])),
            false => "NULL".to_owned(),
        };
        let mut all = vec![
            self.repository(repository),
            // The bytes of a manifest never change.
            self.blob(digest, 100),
            format!(
                "INSERT INTO manifests (id, repository_id, blob_id, digest, media_type, size,
                     subject, pushed_at, untagged_at, content_bytes)
                 SELECT {now}, {of}, id, digest, 't', size, {subject}, {now}, {now}, {size}
                 FROM blobs WHERE digest = '{digest}'
                 ON CONFLICT (repository_id, digest) DO UPDATE SET
                     pushed_at = excluded.pushed_at, untagged_at = excluded.untagged_at,
                     content_bytes = excluded.content_bytes"
            ),
        ];
        if INDEXES.contains(&digest) {
            for child in [self.chance.one(&IMAGES), self.chance.one(&IMAGES)] {
                all.push(format!(
                    "INSERT INTO manifest_children (manifest_id, child_digest, repository_id)
                     SELECT id, '{child}', repository_id FROM manifests
                     WHERE repository_id = {of} AND digest = '{digest}' ON CONFLICT DO NOTHING"
                ));
            }
        } else {
            let layer = self.chance.one(&LAYERS);
            all.push(format!(
                "INSERT INTO manifest_blobs (manifest_id, blob_id, repository_id)
                 SELECT m.id, rb.blob_id, m.repository_id FROM manifests m
                 JOIN repository_blobs rb ON rb.repository_id = m.repository_id
                 JOIN blobs b ON b.id = rb.blob_id AND b.digest >= '{layer}'
                 WHERE m.repository_id = {of} AND m.digest = '{digest}' ON CONFLICT DO NOTHING"
            ));
        }
        all
    }

    fn replication(&mut self, rule: &str, repository: &str, tag: &str) -> Vec<String> {
        let on_event = self.chance.below(2);
        match self.chance.below(4) {
            0 => vec![format!(
                "DELETE FROM replication_rules WHERE name = '{rule}'"
            )],
            1 => vec![format!(
                "INSERT INTO replication_jobs (rule, repository, reference)
                 VALUES ('{rule}', '{repository}', '{tag}')
                 ON CONFLICT (rule, repository, reference)
                 DO UPDATE SET generation = replication_jobs.generation + 1"
            )],
            _ => vec![format!(
                "INSERT INTO replication_rules (name, fingerprint, on_event)
                 VALUES ('{rule}', 'f', {on_event})
                 ON CONFLICT (name) DO UPDATE SET on_event = excluded.on_event"
            )],
        }
    }
}

/// The rows of each table, as text.
pub type Rows = BTreeMap<&'static str, Vec<String>>;

fn select((table, columns, order): &(&str, &str, &str)) -> String {
    let row = columns
        .split(',')
        .map(|column| format!("coalesce(CAST({column} AS TEXT), 'null')"))
        .collect::<Vec<_>>()
        .join(" || '|' || ");
    format!("SELECT {row} FROM {table} ORDER BY {order}")
}

/// Where rows have no order of their own, the order of their texts.
fn sorted(mut rows: Rows) -> Rows {
    for (table, _, order) in &TABLES {
        if let Some(rows) = rows.get_mut(table).filter(|_| *order == "1") {
            rows.sort();
        }
    }
    rows
}

/// All rows of a database of this process's server.
pub async fn rows_of(database: &str) -> Rows {
    let mut connection = postgres::server().connect(database).await;
    let mut rows = Rows::new();
    for table in &TABLES {
        let asked = sqlx::query_scalar(AssertSqlSafe(select(table)));
        rows.insert(table.0, asked.fetch_all(&mut connection).await.unwrap());
    }
    connection.close().await.unwrap();
    sorted(rows)
}

/// All rows of a file of SQLite's.
pub async fn rows_in(file: &Path) -> Rows {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut connection = options.connect().await.unwrap();
    let mut rows = Rows::new();
    for table in &TABLES {
        let asked = sqlx::query_scalar(AssertSqlSafe(select(table)));
        rows.insert(table.0, asked.fetch_all(&mut connection).await.unwrap());
    }
    connection.close().await.unwrap();
    sorted(rows)
}

/// Runs statements in a file of SQLite's.
pub async fn run_in(file: &Path, sql: &str) {
    let options = SqliteConnectOptions::new().filename(file);
    let mut connection = options.connect().await.unwrap();
    let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    sql.execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

struct Both {
    lite: SqliteConnection,
    postgres: PgConnection,
}

impl Both {
    async fn new(database: &str) -> Self {
        let mut lite = SqliteConnectOptions::new()
            .foreign_keys(true)
            .connect()
            .await
            .unwrap();
        sqlx::migrate!("../migrations/registry")
            .run(&mut lite)
            .await
            .unwrap();
        let mut postgres = postgres::server().connect(database).await;
        sqlx::raw_sql(
            "CREATE TEMP TABLE usage_changes (name text PRIMARY KEY, bytes bigint NOT NULL)",
        )
        .execute(&mut postgres)
        .await
        .unwrap();
        Self { lite, postgres }
    }

    /// Whether both did it; neither may do what the other refuses.
    async fn run(&mut self, sql: &str) -> bool {
        let lite = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let lite = lite.execute(&mut self.lite).await;
        let postgres = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let postgres = postgres.execute(&mut self.postgres).await;
        assert_eq!(
            lite.is_ok(),
            postgres.is_ok(),
            "{sql}\n{lite:?}\n{postgres:?}"
        );
        lite.is_ok()
    }

    /// Both have the same in all tables.
    async fn compare(&mut self, done: &[String]) {
        let mut both = [Rows::new(), Rows::new()];
        for table in &TABLES {
            let sql = || AssertSqlSafe(select(table));
            let lite = sqlx::query_scalar(sql()).fetch_all(&mut self.lite);
            both[0].insert(table.0, lite.await.unwrap());
            let postgres = sqlx::query_scalar(sql()).fetch_all(&mut self.postgres);
            both[1].insert(table.0, postgres.await.unwrap());
        }
        for (table, rows) in both.iter_mut().flatten() {
            for row in rows.iter_mut() {
                let fields = row.split('|').map(|field| match field.parse::<i64>() {
                    Ok(time) if time > NOW && *table != "activity" => "now",
                    _ => field,
                });
                *row = fields.collect::<Vec<_>>().join("|");
            }
        }
        let [lite, postgres] = both.map(sorted);
        assert_eq!(lite, postgres, "after {done:#?}");
    }

    /// What is used, by repository, and all in all.
    async fn used(&mut self) -> BTreeMap<String, i64> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT name, bytes FROM repositories UNION ALL SELECT '', bytes FROM stored_bytes",
        )
        .fetch_all(&mut self.postgres)
        .await
        .unwrap();
        rows.into_iter().collect()
    }

    /// Who asked to be told was told of all that is not as it was, and nothing wrong.
    async fn is_told(&mut self, before: &BTreeMap<String, i64>) -> BTreeMap<String, i64> {
        let told: Vec<(String, i64)> =
            sqlx::query_as("DELETE FROM pg_temp.usage_changes RETURNING name, bytes")
                .fetch_all(&mut self.postgres)
                .await
                .unwrap();
        let told: BTreeMap<String, i64> = told.into_iter().collect();
        let now = self.used().await;
        for (name, bytes) in &told {
            assert_eq!(*bytes, now.get(name).copied().unwrap_or(0), "{name:?}");
        }
        for (name, bytes) in before {
            let is_same = now.get(name).copied().unwrap_or(0) == *bytes;
            assert!(is_same || told.contains_key(name), "{name:?}");
        }
        now
    }
}

#[tokio::test]
async fn whatever_is_done_has_the_same_effects_in_both() {
    if !postgres::is_there() {
        return;
    }
    let (mut done, mut refused) = (0, 0);
    for seed in 1..=3 {
        let dir = tempfile::tempdir().unwrap();
        let database = postgres::server().database(dir.path());
        let mut both = Both::new(&database).await;
        let mut script = Script {
            chance: Chance(seed),
            clock: 0,
        };
        let mut since = Vec::new();
        let mut used = both.used().await;
        for step in 0..200 {
            for sql in script.next() {
                match both.run(&sql).await {
                    true => done += 1,
                    false => refused += 1,
                }
                since.push(sql);
            }
            used = both.is_told(&used).await;
            if step % 4 == 3 {
                both.compare(&since).await;
                since.clear();
            }
        }
        both.postgres.close().await.unwrap();
    }
    assert!(done > 1000 && refused > 20, "{done} {refused}");
}
