//! Connections to either database.

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, Postgres};
use sqlx::sqlite::{Sqlite, SqliteConnection};
use sqlx::{Connection as _, Error};

/// A connection to either database, one's own or a pool's.
#[derive(Debug)]
pub(in crate::meta) enum Connection {
    Sqlite(SqliteConnection),
    PooledSqlite(PoolConnection<Sqlite>),
    Postgres(PgConnection),
    PooledPostgres(PoolConnection<Postgres>),
}

/// The connection as sqlx knows it.
#[derive(Debug)]
pub(super) enum Raw<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl Connection {
    pub(super) fn raw(&mut self) -> Raw<'_> {
        match self {
            Self::Sqlite(connection) => Raw::Sqlite(connection),
            Self::PooledSqlite(connection) => Raw::Sqlite(connection),
            Self::Postgres(connection) => Raw::Postgres(connection),
            Self::PooledPostgres(connection) => Raw::Postgres(connection),
        }
    }

    pub(in crate::meta) async fn close(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::PooledSqlite(connection) => connection.close().await,
            Self::Postgres(connection) => connection.close().await,
            Self::PooledPostgres(connection) => connection.close().await,
        }
    }
}
