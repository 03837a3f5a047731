//! The writer's transactions.

use sqlx::Error;

use super::connection::{Connection, Raw};
use super::query::query;

/// One writer at a time, as in SQLite: what a transaction found to be so stays so until it ends,
/// and numbers that are given out become visible in their order. The schema has the lock, so that
/// a database can have several registries.
const BEGIN: &str = "BEGIN;
    SELECT pg_advisory_xact_lock(hashtext('rregistry writes'), hashtext(current_schema()))";

/// Begins a transaction that may write at once.
pub(in crate::meta) async fn begin(connection: &mut Connection) -> Result<(), Error> {
    match connection.raw() {
        Raw::Sqlite(_) => run(connection, "BEGIN IMMEDIATE").await,
        Raw::Postgres(connection) => {
            sqlx::raw_sql(BEGIN).execute(connection).await?;
            Ok(())
        }
    }
}

/// Makes what it did durable.
pub(in crate::meta) async fn commit(connection: &mut Connection) -> Result<(), Error> {
    run(connection, "COMMIT").await
}

/// Takes back what it did.
pub(in crate::meta) async fn rollback(connection: &mut Connection) -> Result<(), Error> {
    run(connection, "ROLLBACK").await
}

async fn run(connection: &mut Connection, sql: &'static str) -> Result<(), Error> {
    match connection.raw() {
        Raw::Sqlite(_) => {
            query(sql).execute(connection).await?;
        }
        Raw::Postgres(connection) => {
            sqlx::raw_sql(sql).execute(connection).await?;
        }
    }
    Ok(())
}
