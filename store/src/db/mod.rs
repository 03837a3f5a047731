//! The database: all SQL of the store, and nothing else.
//!
//! The submodules hold one function a statement, on whatever connection or transaction they are
//! given; which of them belong together in a transaction the store's modules decide.

pub(crate) mod cache;
pub(crate) mod check;
pub(crate) mod collect;
pub(crate) mod containers;
mod failure;
pub(crate) mod images;
pub(crate) mod indexes;
pub(crate) mod layers;
pub(crate) mod meta;
pub(crate) mod networks;
pub(crate) mod schema;
pub(crate) mod snapshots;
pub(crate) mod sqlite;
pub(crate) mod volumes;

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Sqlite, Transaction};
use tokio::sync::{Mutex, MutexGuard};

use crate::error::{BUSY_SECONDS, Error, Result};

/// What a commit guarantees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Seen by every process at once; a power cut may undo it. Costs no fsync.
    Lazy,
    /// On disk when the commit returns, and everything committed before with it.
    Full,
}

/// The one connection of a store handle.
#[derive(Debug)]
pub(crate) struct Db {
    connection: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    connection: SqliteConnection,
    durability: Durability,
}

/// The connection, for reading and for single statements.
pub(crate) struct Reader<'a>(MutexGuard<'a, Inner>);

impl Deref for Reader<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.0.connection
    }
}

impl DerefMut for Reader<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.0.connection
    }
}

impl Reader<'_> {
    /// Starts a write transaction; dropped without commit it is rolled back.
    pub async fn begin(&mut self, durability: Durability) -> Result<Transaction<'_, Sqlite>> {
        let inner = &mut *self.0;
        if inner.durability != durability {
            let sql = match durability {
                Durability::Lazy => "PRAGMA synchronous = NORMAL",
                Durability::Full => "PRAGMA synchronous = FULL",
            };
            sqlx::raw_sql(sql).execute(&mut inner.connection).await?;
            inner.durability = durability;
        }
        Ok(inner.connection.begin_with("BEGIN IMMEDIATE").await?)
    }
}

impl Db {
    /// Opens the database, making the file if it is missing.
    pub async fn open(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .busy_timeout(Duration::from_secs(BUSY_SECONDS))
            .pragma("synchronous", "NORMAL")
            .disable_statement_logging();
        Ok(Self {
            connection: Mutex::new(Inner {
                connection: options.connect().await?,
                durability: Durability::Lazy,
            }),
        })
    }

    /// Opens a database that cannot be written. `settled` says that there is no log beside it:
    /// then it can be read without any other file.
    pub async fn open_read_only(path: &Path, settled: bool) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .immutable(settled)
            .busy_timeout(Duration::from_secs(BUSY_SECONDS))
            .disable_statement_logging();
        Ok(Self {
            connection: Mutex::new(Inner {
                connection: options.connect().await?,
                durability: Durability::Lazy,
            }),
        })
    }

    /// The connection, once no other task of this handle uses it.
    pub async fn lock(&self) -> Reader<'_> {
        Reader(self.connection.lock().await)
    }
}

/// Parses a column that we wrote ourselves.
pub(crate) fn parse<T: FromStr>(text: &str) -> Result<T>
where
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|e| Error::corrupt(format!("unexpected value {text:?}: {e}")))
}

/// The same for a column that may be NULL.
pub(crate) fn parse_opt<T: FromStr>(text: Option<&str>) -> Result<Option<T>>
where
    T::Err: std::fmt::Display,
{
    text.map(parse).transpose()
}

/// A JSON array, for `IN (SELECT value FROM json_each(?))`.
pub(crate) fn json_list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items
        .into_iter()
        .map(|item| serde_json::Value::String(item.to_string()))
        .collect();
    serde_json::Value::Array(items).to_string()
}

/// SQLite has no unsigned integers; sizes and counts never reach 2^63.
pub(crate) fn to_i64(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// The way back.
pub(crate) fn to_u64(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}
