//! The pool of readers, and what else a query can be put to.

use std::io;
use std::sync::Arc;

use sqlx::Error;
use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;

use super::connection::{Connection, Raw};
use super::standing::Standing;
use crate::meta::damage::Damage;

/// A pool of connections that notes damage.
#[derive(Debug)]
pub(in crate::meta) struct Readers {
    pool: Pool,
    damage: Damage,
}

/// A pool of either database's.
#[derive(Debug)]
pub(in crate::meta) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool, Arc<Standing>),
}

/// What a query can be put to.
#[derive(Debug)]
pub(in crate::meta) enum Source<'c> {
    /// A connection of the caller, who looks at its errors.
    Connection(&'c mut Connection),
    /// Any of the readers.
    Readers(&'c Readers),
}

/// A connection for one query.
#[derive(Debug)]
pub(super) enum Lent<'c> {
    Callers(&'c mut Connection),
    Pools(Connection, &'c Readers),
}

impl Readers {
    pub(in crate::meta) fn new(pool: Pool, damage: Damage) -> Self {
        Self { pool, damage }
    }

    /// A connection for several queries. Damage that they meet is for the caller to note.
    pub(in crate::meta) async fn acquire(&self) -> Result<Connection, Error> {
        Ok(match &self.pool {
            Pool::Sqlite(pool) => Connection::PooledSqlite(pool.acquire().await?),
            Pool::Postgres(pool, standing) => {
                // Who waits for a server that is gone would wait for nothing.
                if let Some(why) = standing.down() {
                    return Err(Error::Io(io::Error::new(io::ErrorKind::NotConnected, why)));
                }
                Connection::PooledPostgres(pool.acquire().await?)
            }
        })
    }

    /// Remembers what an error says of the database.
    fn note(&self, e: &Error) {
        match &self.pool {
            Pool::Sqlite(_) => self.damage.note(e),
            Pool::Postgres(_, standing) => standing.note(e),
        }
    }

    pub(in crate::meta) async fn close(&self) {
        match &self.pool {
            Pool::Sqlite(pool) => pool.close().await,
            Pool::Postgres(pool, _) => pool.close().await,
        }
    }
}

impl<'c> From<&'c mut Connection> for Source<'c> {
    fn from(connection: &'c mut Connection) -> Self {
        Self::Connection(connection)
    }
}

impl<'c> From<&'c Readers> for Source<'c> {
    fn from(readers: &'c Readers) -> Self {
        Self::Readers(readers)
    }
}

impl<'c> Source<'c> {
    /// A connection for one query.
    pub(super) async fn lend(self) -> Result<Lent<'c>, Error> {
        match self {
            Self::Connection(connection) => Ok(Lent::Callers(connection)),
            Self::Readers(readers) => match readers.acquire().await {
                Ok(connection) => Ok(Lent::Pools(connection, readers)),
                Err(e) => {
                    readers.note(&e);
                    Err(e)
                }
            },
        }
    }
}

impl Lent<'_> {
    pub(super) fn raw(&mut self) -> Raw<'_> {
        match self {
            Self::Callers(connection) => connection.raw(),
            Self::Pools(connection, _) => connection.raw(),
        }
    }

    /// Notes what an answer says of the database.
    pub(super) fn noted<T>(&self, answer: Result<T, Error>) -> Result<T, Error> {
        if let (Self::Pools(_, readers), Err(e)) = (self, &answer) {
            readers.note(e);
        }
        answer
    }
}
