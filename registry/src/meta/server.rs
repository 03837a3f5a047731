//! A database of a PostgreSQL server: connected to, brought up to date, and held.
//!
//! One process serves a database, or several that share an object store (`Company`). It has a lock
//! there, the whole or a part of it, and the connection that has the lock is the
//! one that writes: who loses the lock, because the server or the network lost the connection, has
//! lost the way to write with it.

use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use tokio::time::{sleep, timeout};

use super::engine::{Connection, query, query_as, query_scalar, script};
use super::error::MetaError;
use super::place::{Company, Server};

pub(super) static MIGRATIONS: sqlx::migrate::Migrator =
    sqlx::migrate!("../migrations/registry-postgres");

/// Readers at once. Each is a process of the server's.
const READERS: u32 = 8;

/// How long to wait for a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often, and how long apart, another process's lock is tried: the server may not have noticed
/// yet that it is gone.
const TRIES: u32 = 25;
const APART: Duration = Duration::from_millis(200);

/// The oldest version that will do, and as people call it.
const OLDEST: (i64, &str) = (140_000, "14");

/// Takes the lock of the schema, if it is free; or a part of it, if nobody has all of it.
const HOLD: &str =
    "SELECT pg_try_advisory_lock(hashtext('rregistry serves'), hashtext(current_schema()))";
const SHARE: &str =
    "SELECT pg_try_advisory_lock_shared(hashtext('rregistry serves'), hashtext(current_schema()))";

/// Who a session is to the server: its process, and when that began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Backend {
    process: i64,
    began: String,
}

/// What a session finds out about the server.
type About = (i64, String, bool, i64, String, Option<String>);

const ABOUT: &str = "
    SELECT CAST(pid AS BIGINT), CAST(backend_start AS TEXT), pg_is_in_recovery(),
           CAST(current_setting('server_version_num') AS BIGINT),
           current_setting('server_encoding'), CAST(current_schema() AS TEXT)
    FROM pg_stat_activity WHERE pid = pg_backend_pid()";

impl Server {
    /// A connection that can serve.
    ///
    /// # Errors
    /// [`MetaError::Unreachable`], [`MetaError::Unfit`].
    pub(super) async fn connect(&self) -> Result<(Connection, Backend), MetaError> {
        let connecting = timeout(PATIENCE, self.options.connect()).await;
        let connection: PgConnection = connecting
            .map_err(|_| MetaError::Unreachable(format!("{self} cannot be reached")))??;
        let mut connection = Connection::Postgres(connection);
        let about: About = query_as(ABOUT).fetch_one(&mut connection).await?;
        let (process, began, standby, version, encoding, schema) = about;
        let unfit = |what: String| Err(MetaError::Unfit(format!("{self} {what}")));
        if standby {
            return Err(MetaError::Unreachable(format!("{self} is a standby")));
        }
        if version < OLDEST.0 {
            return unfit(format!("is older than PostgreSQL {}", OLDEST.1));
        }
        if encoding != "UTF8" {
            return unfit(format!("is encoded in {encoding}, and not in UTF8"));
        }
        if schema.is_none() {
            return unfit("has none of the schemas of search_path".to_owned());
        }
        Ok((connection, Backend { process, began }))
    }

    /// The same, with the lock of who serves. `former` is the session that had it before
    /// and was lost: the server may still believe in it.
    ///
    /// # Errors
    /// [`MetaError::Unreachable`], [`MetaError::Unfit`], [`MetaError::Taken`].
    pub(super) async fn hold(
        &self,
        company: Company,
        former: Option<&Backend>,
    ) -> Result<(Connection, Backend), MetaError> {
        let (mut connection, backend) = self.connect().await?;
        if let Some(former) = former {
            query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE pid = ? AND CAST(backend_start AS TEXT) = ?",
            )
            .bind(former.process)
            .bind(former.began.as_str())
            .execute(&mut connection)
            .await?;
        }
        let lock = match company {
            Company::Alone => HOLD,
            Company::Shared => SHARE,
        };
        for attempt in 1..=TRIES {
            if query_scalar(lock).fetch_one(&mut connection).await? {
                return Ok((connection, backend));
            }
            if attempt < TRIES {
                sleep(APART).await;
            }
        }
        Err(MetaError::Taken(self.to_string()))
    }

    /// Brings the schema up to date, on the connection that has the lock.
    ///
    /// # Errors
    /// [`MetaError::Migrate`], [`MetaError::Newer`].
    pub(super) async fn migrate(&self, connection: &mut Connection) -> Result<(), MetaError> {
        // Whatever has to be moved may take its time.
        script(connection, "SET statement_timeout = 0").await?;
        if let Connection::Postgres(connection) = connection {
            let migrated = MIGRATIONS.run(connection).await;
            migrated.map_err(|e| MetaError::of_migration(e, &MIGRATIONS))?;
        }
        Ok(script(connection, "RESET statement_timeout").await?)
    }

    /// Whether there is a schema of ours.
    ///
    /// # Errors
    /// [`MetaError::Unreachable`], [`MetaError::Unfit`].
    pub(super) async fn has_schema(&self) -> Result<bool, MetaError> {
        let (mut connection, _) = self.connect().await?;
        let found = query_scalar("SELECT to_regclass('repositories') IS NOT NULL")
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        Ok(found)
    }

    /// Connections that read. None is made before it is needed.
    pub(super) fn readers(&self) -> PgPool {
        let options = PgConnectOptions::clone(&self.options);
        PgPoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(PATIENCE)
            .connect_lazy_with(options.options([("default_transaction_read_only", "on")]))
    }
}
