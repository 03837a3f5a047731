//! Queries, put to either database.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use sqlx::{Either, Error, Executor as _};

use tokio::time::timeout;

use super::connection::{Connection, Raw};
use super::readers::Source;
use super::rewrite::statements;
use super::row::{Column, Columns, RowRef};
use super::sql::Sql;
use super::value::{self, Bind, Value};

/// How long a server may be silent. It ends a statement itself before that.
const PATIENCE: Duration = Duration::from_secs(330);

/// A query that changes something.
#[must_use]
#[derive(Debug)]
pub(in crate::meta) struct Query<'q> {
    sql: Sql,
    values: Vec<Value<'q>>,
}

/// A query that answers with rows.
#[must_use]
#[derive(Debug)]
pub(in crate::meta) struct Question<'q, T> {
    query: Query<'q>,
    read: fn(RowRef<'_>) -> Result<T, Error>,
}

/// What a query did.
#[derive(Clone, Copy, Debug)]
pub(in crate::meta) struct Done {
    rows: u64,
}

/// One or more statements that change something.
pub(in crate::meta) fn query<'q>(sql: impl Into<Sql>) -> Query<'q> {
    Query {
        sql: sql.into(),
        values: Vec::new(),
    }
}

/// A statement that answers with rows of several columns.
pub(in crate::meta) fn query_as<'q, T: Columns>(sql: impl Into<Sql>) -> Question<'q, T> {
    Question {
        query: query(sql),
        read: |row| T::read(row, 0),
    }
}

/// A statement that answers with rows of one column.
pub(in crate::meta) fn query_scalar<'q, T: Column>(sql: impl Into<Sql>) -> Question<'q, T> {
    Question {
        query: query(sql),
        read: |row| T::read(row, 0),
    }
}

/// Runs statements without values, each as it is written.
pub(in crate::meta) async fn script(
    connection: &mut Connection,
    sql: impl Into<Sql>,
) -> Result<(), Error> {
    let sql = sql.into();
    match connection.raw() {
        Raw::Sqlite(connection) => {
            sqlx::raw_sql(sql.for_sqlite()).execute(connection).await?;
        }
        Raw::Postgres(connection) => {
            sqlx::raw_sql(sql.for_postgres())
                .execute(connection)
                .await?;
        }
    }
    Ok(())
}

impl Done {
    /// How many rows were changed.
    pub(in crate::meta) fn rows_affected(self) -> u64 {
        self.rows
    }
}

impl<'q> Query<'q> {
    /// The next value.
    pub(in crate::meta) fn bind(mut self, value: impl Bind<'q>) -> Self {
        self.values.push(value.value());
        self
    }

    /// Runs it. What it is put to is told apart at once, and the rest has one type, whatever that
    /// was: else jobs could not be shown to be for connections of any lifetime.
    pub(in crate::meta) fn execute<'a, 'c: 'a>(
        self,
        source: impl Into<Source<'c>>,
    ) -> BoxFuture<'a, Result<Done, Error>>
    where
        'q: 'a,
    {
        let source = source.into();
        Box::pin(async move {
            let mut lent = source.lend().await?;
            let rows = self
                .each(lent.raw(), |_| Ok(ControlFlow::Continue(())))
                .await;
            Ok(Done {
                rows: lent.noted(rows)?,
            })
        })
    }

    /// Shows each row to `see`, until it has seen enough; how many rows were changed.
    async fn each(
        self,
        connection: Raw<'_>,
        mut see: impl FnMut(RowRef<'_>) -> Result<ControlFlow<()>, Error>,
    ) -> Result<u64, Error> {
        let mut changed = 0;
        match connection {
            Raw::Sqlite(connection) => {
                let values = value::for_sqlite(self.values)?;
                let mut steps = connection.fetch_many((self.sql.for_sqlite(), Some(values)));
                while let Some(step) = steps.try_next().await? {
                    match step {
                        Either::Left(done) => changed += done.rows_affected(),
                        Either::Right(row) => {
                            if see(RowRef::Sqlite(&row))?.is_break() {
                                break;
                            }
                        }
                    }
                }
            }
            Raw::Postgres(connection) => {
                for statement in &*statements(self.sql.for_postgres().as_str()) {
                    let values = value::for_postgres(&self.values, &statement.parameters)?;
                    let text = statement.text.clone();
                    let mut steps = connection.fetch_many((text, Some(values)));
                    while let Some(step) = heard(steps.try_next()).await? {
                        match step {
                            Either::Left(done) => changed += done.rows_affected(),
                            Either::Right(row) => {
                                if see(RowRef::Postgres(&row))?.is_break() {
                                    return Ok(changed);
                                }
                            }
                        }
                    }
                }
            }
        }
        Ok(changed)
    }
}

impl<'q, T: Send + 'static> Question<'q, T> {
    /// The next value.
    pub(in crate::meta) fn bind(mut self, value: impl Bind<'q>) -> Self {
        self.query = self.query.bind(value);
        self
    }

    /// All rows.
    pub(in crate::meta) fn fetch_all<'a, 'c: 'a>(
        self,
        source: impl Into<Source<'c>>,
    ) -> BoxFuture<'a, Result<Vec<T>, Error>>
    where
        'q: 'a,
    {
        let source = source.into();
        Box::pin(async move {
            let mut lent = source.lend().await?;
            let mut rows = Vec::new();
            let done = self
                .query
                .each(lent.raw(), |row| {
                    rows.push((self.read)(row)?);
                    Ok(ControlFlow::Continue(()))
                })
                .await;
            lent.noted(done)?;
            Ok(rows)
        })
    }

    /// The first row that `wanted` says yes to; those behind it are not asked for.
    pub(in crate::meta) async fn find(
        self,
        connection: &mut Connection,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, Error> {
        let mut found = None;
        self.query
            .each(connection.raw(), |row| {
                found = Some((self.read)(row)?).filter(&wanted);
                Ok(match found {
                    Some(_) => ControlFlow::Break(()),
                    None => ControlFlow::Continue(()),
                })
            })
            .await?;
        Ok(found)
    }

    /// The first row, if there is any.
    pub(in crate::meta) fn fetch_optional<'a, 'c: 'a>(
        self,
        source: impl Into<Source<'c>>,
    ) -> BoxFuture<'a, Result<Option<T>, Error>>
    where
        'q: 'a,
    {
        let source = source.into();
        Box::pin(async move {
            let mut lent = source.lend().await?;
            let row = self.first(lent.raw()).await;
            lent.noted(row)
        })
    }

    /// The only row.
    pub(in crate::meta) fn fetch_one<'a, 'c: 'a>(
        self,
        source: impl Into<Source<'c>>,
    ) -> BoxFuture<'a, Result<T, Error>>
    where
        'q: 'a,
    {
        let row = self.fetch_optional(source);
        Box::pin(async move { row.await?.ok_or(Error::RowNotFound) })
    }

    async fn first(self, connection: Raw<'_>) -> Result<Option<T>, Error> {
        let (Query { sql, values }, read) = (self.query, self.read);
        match connection {
            Raw::Sqlite(connection) => {
                let values = value::for_sqlite(values)?;
                let row = connection
                    .fetch_optional((sql.for_sqlite(), Some(values)))
                    .await?;
                row.map(|row| read(RowRef::Sqlite(&row))).transpose()
            }
            Raw::Postgres(connection) => {
                let mut found = None;
                for statement in &*statements(sql.for_postgres().as_str()) {
                    let values = value::for_postgres(&values, &statement.parameters)?;
                    let text = statement.text.clone();
                    let row = heard(connection.fetch_optional((text, Some(values)))).await?;
                    found = row.map(|row| read(RowRef::Postgres(&row))).transpose()?;
                }
                Ok(found)
            }
        }
    }
}

/// What a server says, unless it says nothing at all.
async fn heard<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match timeout(PATIENCE, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::Io(io::ErrorKind::TimedOut.into())),
    }
}
