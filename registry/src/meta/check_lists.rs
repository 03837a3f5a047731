//! Tables that say again what others say, for lists, searches and rules: whether they are right.

use sqlx::AssertSqlSafe;

use super::database::Meta;
use super::engine::{Connection, query, query_as};
use super::error::MetaError;

/// Wrong rows of each kind that are told at most.
const MOST: u32 = 1000;

/// Something that a table says and is not so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongList {
    /// The table.
    pub table: String,
    /// The repository that it is about, if it is about one.
    pub repository: Option<String>,
    /// What is wrong, in words for people.
    pub what: String,
    /// The repository's row, for mending.
    id: Option<i64>,
}

/// What is wrong with lists: table, row of the repository, its name, what.
const LISTS: [&str; 4] = [
    "SELECT 'repository_list', r.id, r.name, CASE
         WHEN l.repository_id IS NULL THEN 'is not listed'
         WHEN r.emptied = 1 THEN 'is listed although it is empty'
         ELSE 'its name, tags, size or time are not listed as they are' END
     FROM repositories r LEFT JOIN repository_list l ON l.repository_id = r.id
     WHERE (r.emptied = 1) = (l.repository_id IS NOT NULL)
        OR l.name <> r.name OR l.bytes <> r.bytes
        OR l.tags <> (SELECT count(*) FROM tags t WHERE t.repository_id = r.id)
        OR l.pushed_at < (SELECT max(m.pushed_at) FROM manifests m WHERE m.repository_id = r.id)",
    "SELECT 'repository_list', l.repository_id, l.name, 'is listed and is not there'
     FROM repository_list l LEFT JOIN repositories r ON r.id = l.repository_id
     WHERE r.id IS NULL",
    "SELECT 'tag_list', r.id, r.name, coalesce(w.name, '') || CASE
         WHEN w.gone = 1 THEN ' is listed and is not there' ELSE ' is not listed as it is' END
     FROM (SELECT t.repository_id AS id, t.name, 0 AS gone
           FROM tags t JOIN manifests m ON m.id = t.manifest_id
           LEFT JOIN tag_list l ON l.repository_id = t.repository_id AND l.name = t.name
           WHERE l.name IS NULL OR l.sequence <> t.sequence OR l.bytes <> m.content_bytes
           UNION ALL
           SELECT l.repository_id, l.name, 1
           FROM tag_list l LEFT JOIN tags t
               ON t.repository_id = l.repository_id AND t.name = l.name
           WHERE t.name IS NULL) w
     LEFT JOIN repositories r ON r.id = w.id",
    "SELECT 'repository_search', coalesce(l.repository_id, s.rowid), coalesce(l.name, s.name),
         CASE WHEN s.rowid IS NULL THEN 'is not found' ELSE 'is found by another name' END
     FROM repository_list l FULL JOIN repository_search s ON s.rowid = l.repository_id
     WHERE l.repository_id IS NULL OR s.rowid IS NULL OR s.name <> '/' || l.name || '/'",
];

/// Something that rules and people go by: which rows are wrong, what is said of them, what mends
/// them.
struct Other {
    table: &'static str,
    /// Where wrong rows are looked for.
    rows: &'static str,
    wrong: &'static str,
    /// An expression over the wrong rows.
    told: &'static str,
    /// `WRONG` in it stands for the condition.
    mend: &'static str,
}

const OTHERS: [Other; 5] = [
    Other {
        table: "manifest_blobs",
        rows: "manifest_blobs",
        wrong: OF_ANOTHER,
        told: "count(*) || ' blobs are needed by another repository'",
        mend: "UPDATE manifest_blobs SET repository_id =
                   (SELECT m.repository_id FROM manifests m WHERE m.id = manifest_id) WHERE WRONG",
    },
    Other {
        table: "manifest_children",
        rows: "manifest_children",
        wrong: OF_ANOTHER,
        told: "count(*) || ' children are listed in another repository'",
        mend: "UPDATE manifest_children SET repository_id =
                   (SELECT m.repository_id FROM manifests m WHERE m.id = manifest_id) WHERE WRONG",
    },
    Other {
        table: "push_order",
        rows: "(SELECT 1) AS one",
        wrong: "coalesce((SELECT last FROM push_order), -1)
                    < coalesce((SELECT max(sequence) FROM tags), 0)",
        told: "max(CAST('the next push would not be the last one' AS TEXT))",
        mend: "INSERT INTO push_order (id, last)
               SELECT 1, coalesce(max(sequence), 0) FROM tags WHERE true
               ON CONFLICT (id) DO UPDATE SET last = max(push_order.last, excluded.last)",
    },
    Other {
        table: "activity",
        rows: "activity",
        wrong: "CASE json_valid(line) WHEN 1 THEN
                    coalesce(line ->> 'action', '') <> action
                    OR coalesce(line ->> 'user', '') <> actor
                    OR coalesce(line ->> 'repository', '') <> repository ELSE true END",
        told: "count(*) || ' lines are not what they are found by'",
        mend: "DELETE FROM activity WHERE WRONG",
    },
    Other {
        table: "activity",
        rows: "activity",
        wrong: "id NOT IN (SELECT id FROM activity ORDER BY id DESC LIMIT 20000)",
        told: "(20000 + count(*)) || ' lines are more than 20000'",
        mend: "DELETE FROM activity WHERE WRONG",
    },
];

/// Rows that say another repository than their manifest's.
const OF_ANOTHER: &str =
    "repository_id <> (SELECT m.repository_id FROM manifests m WHERE m.id = manifest_id)";

impl Other {
    /// Finds out whether there is any, in the form of [`LISTS`].
    fn found(&self) -> String {
        let Self {
            table,
            rows,
            wrong,
            told,
            ..
        } = self;
        format!(
            "SELECT '{table}', NULL, NULL, {told} FROM {rows} WHERE {wrong} HAVING count(*) > 0"
        )
    }

    fn mended(&self) -> String {
        self.mend.replace("WRONG", self.wrong)
    }
}

/// Lists one repository anew, from what is known of it.
const AGAIN: [&str; 6] = [
    "DELETE FROM tag_list WHERE repository_id = ?",
    "DELETE FROM repository_list WHERE repository_id = ?",
    "DELETE FROM repository_search WHERE rowid = ?",
    "INSERT INTO repository_list (repository_id, name, bytes, pushed_at, pulled_at)
     SELECT r.id, r.name, r.bytes, coalesce(max(m.pushed_at), 0), coalesce(max(m.pulled_at), 0)
     FROM repositories r LEFT JOIN manifests m ON m.repository_id = r.id
     WHERE r.id = ? AND r.emptied = 0 GROUP BY r.id",
    "INSERT INTO tag_list (repository_id, name, sequence, bytes)
     SELECT t.repository_id, t.name, t.sequence, m.content_bytes
     FROM tags t JOIN manifests m ON m.id = t.manifest_id WHERE t.repository_id = ?",
    // The words of its newest image have to be read.
    "INSERT INTO list_fill (step, kind, repository_id) VALUES (4, 'words', ? - 1)
     ON CONFLICT (step) DO UPDATE
         SET repository_id = min(list_fill.repository_id, excluded.repository_id)",
];

type Row = (String, Option<i64>, Option<String>, String);

impl Meta {
    /// What is wrong with lists, and with what rules and people go by. Lists that an upgrade has
    /// not filled yet are not looked at.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn wrong_lists(&self) -> Result<Vec<WrongList>, MetaError> {
        let filled = self.next_fill().await?.is_none();
        let lists = LISTS.iter().filter(|_| filled).map(ToString::to_string);
        let mut wrong = Vec::new();
        for sql in lists.chain(OTHERS.iter().map(Other::found)) {
            let limited = format!("{sql} LIMIT {MOST}");
            let rows: Vec<Row> = query_as(AssertSqlSafe(limited))
                .fetch_all(&self.readers)
                .await?;
            let told = rows
                .into_iter()
                .map(|(table, id, repository, what)| WrongList {
                    table,
                    repository,
                    what,
                    id,
                });
            wrong.extend(told);
        }
        Ok(wrong)
    }

    /// Makes wrong lists again; what their repositories are found by is to be read then.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn mend_lists(&self, wrong: &[WrongList]) -> Result<(), MetaError> {
        let mut repositories: Vec<i64> = wrong.iter().filter_map(|wrong| wrong.id).collect();
        repositories.sort_unstable();
        repositories.dedup();
        for id in repositories {
            let again = self
                .writer
                .run(move |c| Box::pin(list_again(c, id)), |()| {});
            again.await?;
        }
        for other in &OTHERS {
            if wrong.iter().any(|wrong| wrong.table == other.table) {
                self.run_once(other.mended()).await?;
            }
        }
        // Of repositories that are not there.
        self.run_once(
            "DELETE FROM tag_list WHERE repository_id NOT IN (SELECT id FROM repositories)".into(),
        )
        .await
    }

    async fn run_once(&self, sql: String) -> Result<(), MetaError> {
        self.writer
            .run(
                move |c| {
                    Box::pin(async move {
                        query(AssertSqlSafe(sql)).execute(c).await?;
                        Ok(())
                    })
                },
                |()| {},
            )
            .await
    }
}

async fn list_again(c: &mut Connection, id: i64) -> Result<(), MetaError> {
    for sql in AGAIN {
        query(sql).bind(id).execute(&mut *c).await?;
    }
    Ok(())
}
