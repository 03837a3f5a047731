//! The pool of readers.

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqliteTypeInfo;
use sqlx::sqlite::{Sqlite, SqlitePool, SqliteQueryResult, SqliteRow, SqliteStatement};
use sqlx::{Describe, Either, Error, Execute, Executor, SqlStr};

use super::damage::Damage;

/// A pool of connections that notes damage.
#[derive(Debug)]
pub(super) struct Readers {
    pool: SqlitePool,
    damage: Damage,
}

impl Readers {
    pub(super) fn new(pool: SqlitePool, damage: Damage) -> Self {
        Self { pool, damage }
    }

    /// A connection for several queries. Damage that they meet is for the caller to note.
    pub(super) async fn acquire(&self) -> Result<PoolConnection<Sqlite>, Error> {
        self.pool.acquire().await
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

impl<'p> Executor<'p> for &'p Readers {
    type Database = Sqlite;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<SqliteQueryResult, SqliteRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Sqlite>,
    {
        self.pool
            .fetch_many(query)
            .inspect_err(|e| self.damage.note(e))
            .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<SqliteRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Sqlite>,
    {
        self.pool
            .fetch_optional(query)
            .inspect_err(|e| self.damage.note(e))
            .boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [SqliteTypeInfo],
    ) -> BoxFuture<'e, Result<SqliteStatement, Error>>
    where
        'p: 'e,
    {
        self.pool.prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Sqlite>, Error>>
    where
        'p: 'e,
    {
        self.pool.describe(sql)
    }
}
