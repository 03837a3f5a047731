//! All rows of a database: from a server into a file, as backups are, and back.
//!
//! A file is a whole database, with the schema of this version. Rows say what triggers made of
//! them already, so that these rest meanwhile. Both directions are one transaction.

use std::path::Path;
use std::sync::Arc;

use futures_util::TryStreamExt;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow};
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Arguments, AssertSqlSafe, ConnectOptions, Connection, Error, Row};

use super::database::Meta;
use super::engine::{Connection as Either, query_scalar};
use super::error::MetaError;
use super::place::{Company, Place, Server};
use super::{file, server};
use crate::sync::waiting;

/// What goes into one statement, at most: rows, and bytes.
const BATCH: (usize, usize) = (256, 4 << 20);

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Integer,
    Text,
    /// Text in which only PostgreSQL minds the case of letters.
    Small,
    Bytes,
}

/// One value of each kind.
#[derive(Debug)]
enum Cell {
    Integer(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// A table, with the columns that both databases have.
#[derive(Debug)]
struct Table {
    name: &'static str,
    columns: Vec<(String, Kind)>,
}

/// All tables; those that others refer to first.
const TABLES: [&str; 21] = [
    "repositories",
    "blobs",
    "repository_blobs",
    "manifests",
    "manifest_blobs",
    "manifest_children",
    "tags",
    "push_order",
    "stored_bytes",
    "webhook_events",
    "repository_list",
    "tag_list",
    SEARCH,
    "tag_past",
    "list_fill",
    "replication_rules",
    "replication_changes",
    "replication_jobs",
    "replication_done",
    "activity",
    "unsettled",
];

/// The table that is an index in SQLite.
const SEARCH: &str = "repository_search";

impl Meta {
    /// Whether there is nothing at `place` that could be lost.
    ///
    /// # Errors
    /// [`MetaError::Unreachable`], [`MetaError::Unfit`], [`MetaError::Sql`].
    pub async fn is_empty(place: &Place) -> Result<bool, MetaError> {
        let missing = Self::is_missing(place).await?;
        let Place::Server(server) = place else {
            return Ok(missing);
        };
        if missing {
            return Ok(true);
        }
        let (mut connection, _) = server.connect().await?;
        let empty = query_scalar(
            "SELECT NOT EXISTS (SELECT 1 FROM repositories) AND NOT EXISTS (SELECT 1 FROM blobs)",
        );
        let empty = empty.fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(empty)
    }
}

impl Server {
    /// Puts all that a database's file has in the place of all that is here, tables included. The
    /// file is brought up to date before: it may be of an older version.
    ///
    /// # Errors
    /// [`MetaError`]; what was here is here then.
    pub async fn fill(&self, file: &Path) -> Result<(), MetaError> {
        let (server, file) = (self.patient(), file.to_owned());
        apart(|| async move {
            let (mut connection, _) = server.hold(Company::Alone, None).await?;
            if let Either::Postgres(connection) = &mut connection {
                from_file(connection, &file).await?;
            }
            Ok(connection.close().await?)
        })
        .await
    }

    /// The same where nobody is to be told of statements that take long.
    fn patient(&self) -> Self {
        let mut server = self.clone();
        let options = PgConnectOptions::clone(&server.options);
        server.options = Arc::new(options.disable_statement_logging());
        server
    }

    /// Writes all that is here, as it is at one moment, into a file that is empty or not there.
    ///
    /// # Errors
    /// [`MetaError`].
    pub(super) async fn copy_to(&self, file: &Path) -> Result<(), MetaError> {
        let (server, file) = (self.patient(), file.to_owned());
        apart(|| async move {
            let (mut connection, _) = server.connect().await?;
            if let Either::Postgres(connection) = &mut connection {
                to_file(connection, &file).await?;
            }
            Ok(connection.close().await?)
        })
        .await
    }
}

/// Does work that is long and busy on a thread of its own.
async fn apart<F>(work: impl FnOnce() -> F + Send + 'static) -> Result<(), MetaError>
where
    F: Future<Output = Result<(), MetaError>>,
{
    let done = tokio::task::spawn_blocking(move || waiting(work())).await;
    done.map_err(|_| MetaError::Closed)?
}

async fn to_file(server: &mut PgConnection, path: &Path) -> Result<(), MetaError> {
    let mut file = opened(path).await?;
    let triggers: Vec<(String, String)> =
        sqlx::query_as("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
            .fetch_all(&mut file)
            .await?;
    // However long it takes: nobody waits for it.
    sqlx::raw_sql(
        "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL statement_timeout = 0",
    )
    .execute(&mut *server)
    .await?;
    let mut all = file.begin().await?;
    for (name, _) in &triggers {
        run(&mut all, format!("DROP TRIGGER {name}")).await?;
    }
    for name in TABLES {
        let table = Table::of(&mut all, name).await?;
        run(&mut all, format!("DELETE FROM {}", table.name)).await?;
        let sql = table.select();
        let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(&mut *server);
        let mut batch = Batch::default();
        while let Some(row) = rows.try_next().await? {
            batch.push(table.of_server(&row)?);
            if batch.is_full() {
                table.put_into_file(&mut all, batch.take()).await?;
            }
        }
        table.put_into_file(&mut all, batch.take()).await?;
    }
    for (_, sql) in triggers {
        run(&mut all, sql).await?;
    }
    all.commit().await?;
    sqlx::raw_sql("COMMIT").execute(server).await?;
    Ok(file.close().await?)
}

async fn from_file(server: &mut PgConnection, path: &Path) -> Result<(), MetaError> {
    let mut file = opened(path).await?;
    let mut all = server.begin().await?;
    sqlx::raw_sql("SET LOCAL statement_timeout = 0")
        .execute(&mut *all)
        .await?;
    // In the same transaction: a database with empty tables would be taken for a registry that has
    // nothing, to which all blobs are garbage.
    let migrated = server::MIGRATIONS.run(&mut *all).await;
    migrated.map_err(|e| MetaError::of_migration(e, &server::MIGRATIONS))?;
    let sql = format!("TRUNCATE {}, store", TABLES.join(", "));
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *all).await?;
    for name in TABLES {
        let table = Table::of(&mut file, name).await?;
        let sql = format!("ALTER TABLE {name} DISABLE TRIGGER USER");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *all).await?;
        let mut rows = sqlx::query(AssertSqlSafe(table.select())).fetch(&mut file);
        let mut batch = Batch::default();
        while let Some(row) = rows.try_next().await? {
            batch.push(table.of_file(&row)?);
            if batch.is_full() {
                table.put_into_server(&mut all, batch.take()).await?;
            }
        }
        table.put_into_server(&mut all, batch.take()).await?;
        let sql = format!("ALTER TABLE {name} ENABLE TRIGGER USER");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *all).await?;
        if table.columns.iter().any(|(column, _)| column == "id") {
            let sql = format!(
                "SELECT setval(numbers, (SELECT coalesce(max(id), 0) + 1 FROM {name}), false)
                 FROM pg_get_serial_sequence('{name}', 'id') numbers WHERE numbers IS NOT NULL"
            );
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *all).await?;
        }
    }
    // Else the first queries would be planned for empty tables.
    sqlx::raw_sql("ANALYZE").execute(&mut *all).await?;
    all.commit().await?;
    Ok(file.close().await?)
}

/// A file with the schema of this version. Whoever wants it durable syncs it.
async fn opened(path: &Path) -> Result<SqliteConnection, MetaError> {
    let mut file = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Memory)
        .synchronous(SqliteSynchronous::Off)
        .connect()
        .await?;
    let migrated = file::MIGRATIONS.run(&mut file).await;
    migrated.map_err(|e| MetaError::of_migration(e, &file::MIGRATIONS))?;
    Ok(file)
}

async fn run(file: &mut SqliteConnection, sql: String) -> Result<(), Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(file).await?;
    Ok(())
}

/// Rows on their way.
#[derive(Debug, Default)]
struct Batch {
    rows: Vec<Vec<Cell>>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, row: Vec<Cell>) {
        self.bytes += row.iter().map(Cell::bytes).sum::<usize>();
        self.rows.push(row);
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= BATCH.0 || self.bytes >= BATCH.1
    }

    fn take(&mut self) -> Vec<Vec<Cell>> {
        self.bytes = 0;
        std::mem::take(&mut self.rows)
    }
}

impl Cell {
    fn bytes(&self) -> usize {
        match self {
            Self::Integer(_) => 8,
            Self::Text(text) => text.as_ref().map_or(0, String::len),
            Self::Bytes(bytes) => bytes.as_ref().map_or(0, Vec::len),
        }
    }
}

impl Table {
    /// As a file has it.
    async fn of(file: &mut SqliteConnection, name: &'static str) -> Result<Self, Error> {
        let sql = "SELECT name, type FROM pragma_table_info(?) ORDER BY cid";
        let found: Vec<(String, String)> = sqlx::query_as(sql).bind(name).fetch_all(file).await?;
        let mut columns: Vec<(String, Kind)> = found
            .into_iter()
            .map(|(column, kind)| {
                let kind = match kind.as_str() {
                    "INTEGER" => Kind::Integer,
                    "BLOB" => Kind::Bytes,
                    "TEXT" => Kind::Text,
                    _ => Kind::Small,
                };
                (column, kind)
            })
            .collect();
        if name == SEARCH {
            columns.push(("rowid".to_owned(), Kind::Integer));
        }
        Ok(Self { name, columns })
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        names.join(", ")
    }

    fn select(&self) -> String {
        format!("SELECT {} FROM {}", self.names(), self.name)
    }

    fn of_server(&self, row: &PgRow) -> Result<Vec<Cell>, Error> {
        let cell = |(at, (_, kind)): (usize, &(String, Kind))| {
            Ok(match kind {
                Kind::Integer => Cell::Integer(row.try_get(at)?),
                Kind::Text | Kind::Small => Cell::Text(row.try_get(at)?),
                Kind::Bytes => Cell::Bytes(row.try_get(at)?),
            })
        };
        self.columns.iter().enumerate().map(cell).collect()
    }

    fn of_file(&self, row: &SqliteRow) -> Result<Vec<Cell>, Error> {
        let cell = |(at, (_, kind)): (usize, &(String, Kind))| {
            // PostgreSQL's text has no character 0.
            let text = |text: String| text.replace('\0', "\u{fffd}");
            Ok(match kind {
                Kind::Integer => Cell::Integer(row.try_get(at)?),
                Kind::Text => Cell::Text(row.try_get::<Option<String>, _>(at)?.map(text)),
                Kind::Small => {
                    let found = row.try_get::<Option<String>, _>(at)?;
                    Cell::Text(found.map(|found| text(found).to_lowercase()))
                }
                Kind::Bytes => Cell::Bytes(row.try_get(at)?),
            })
        };
        self.columns.iter().enumerate().map(cell).collect()
    }

    async fn put_into_file(
        &self,
        file: &mut SqliteConnection,
        rows: Vec<Vec<Cell>>,
    ) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let places = vec!["?"; self.columns.len()].join(", ");
        let places = vec![format!("({places})"); rows.len()].join(", ");
        let sql = format!(
            "INSERT INTO {} ({}) VALUES {places}",
            self.name,
            self.names()
        );
        let mut values = SqliteArguments::default();
        for cell in rows.into_iter().flatten() {
            match cell {
                Cell::Integer(number) => values.add(number),
                Cell::Text(text) => values.add(text),
                Cell::Bytes(bytes) => values.add(bytes),
            }
            .map_err(Error::Encode)?;
        }
        sqlx::query_with(AssertSqlSafe(sql), values)
            .execute(file)
            .await?;
        Ok(())
    }

    async fn put_into_server(
        &self,
        server: &mut PgConnection,
        rows: Vec<Vec<Cell>>,
    ) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let lists = self.columns.iter().enumerate().map(|(at, (_, kind))| {
            let kind = match kind {
                Kind::Integer => "bigint",
                Kind::Text | Kind::Small => "text",
                Kind::Bytes => "bytea",
            };
            format!("${}::{kind}[]", at + 1)
        });
        let sql = format!(
            "INSERT INTO {} ({}) SELECT * FROM unnest({})",
            self.name,
            self.names(),
            lists.collect::<Vec<_>>().join(", ")
        );
        // A list for each column.
        let mut rows: Vec<_> = rows.into_iter().map(Vec::into_iter).collect();
        let mut values = PgArguments::default();
        for (_, kind) in &self.columns {
            let column = rows.iter_mut().filter_map(Iterator::next);
            match kind {
                Kind::Integer => values.add(column.map(Cell::integer).collect::<Vec<_>>()),
                Kind::Text | Kind::Small => values.add(column.map(Cell::text).collect::<Vec<_>>()),
                Kind::Bytes => values.add(column.map(Cell::content).collect::<Vec<_>>()),
            }
            .map_err(Error::Encode)?;
        }
        sqlx::query_with(AssertSqlSafe(sql), values)
            .execute(server)
            .await?;
        Ok(())
    }
}

impl Cell {
    fn integer(self) -> Option<i64> {
        match self {
            Self::Integer(number) => number,
            _ => None,
        }
    }

    fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => text,
            _ => None,
        }
    }

    fn content(self) -> Option<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => bytes,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table that is added to the schema has to be added here.
    #[tokio::test]
    async fn every_table_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = opened(&dir.path().join("a.db")).await.unwrap();
        let there: Vec<String> = sqlx::query_scalar(
            "SELECT name FROM pragma_table_list
             WHERE schema = 'main' AND type IN ('table', 'virtual')
               AND name NOT IN ('_sqlx_migrations', 'sqlite_schema', 'sqlite_sequence')
             ORDER BY name",
        )
        .fetch_all(&mut file)
        .await
        .unwrap();
        let mut copied = TABLES;
        copied.sort_unstable();
        assert_eq!(copied, *there);
    }
}
