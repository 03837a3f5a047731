//! A database in a file of SQLite's: opened, and whether it is still the one in its place.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci::mapped::hold_shared_memory;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection};

use super::error::MetaError;

pub(super) static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../migrations/registry");

/// Readers at once; more would only wait for the disk.
const READERS: u32 = 4;

/// A database's file.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: PathBuf,
    /// The file that was opened: its device and its number there.
    id: (u64, u64),
}

/// Opens the database at `path`, made and migrated when needed: a connection that writes, and what
/// makes those that read.
pub(super) async fn open(
    path: &Path,
) -> Result<(SqliteConnection, SqlitePoolOptions, SqliteConnectOptions), MetaError> {
    let database = path.to_owned();
    let held = tokio::task::spawn_blocking(move || hold_shared_memory(&database)).await;
    let held = match held.map_err(io::Error::other).flatten() {
        Err(e) if e.kind() == io::ErrorKind::StorageFull => {
            return Err(MetaError::Sql(sqlx::Error::Io(e)));
        }
        // What else is wrong with the folder SQLite tells better, if it minds.
        held => held.ok(),
    };
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // An acknowledged push is on disk: NORMAL would lose the last commits in a power cut.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(30))
        .pragma("wal_autocheckpoint", "4000")
        .pragma("temp_store", "memory")
        .statement_cache_capacity(256);
    let mut connection = options.connect().await?;
    let migrated = MIGRATIONS.run(&mut connection).await;
    migrated.map_err(|e| MetaError::of_migration(e, &MIGRATIONS))?;
    connection.ping().await?;
    // It has been read: SQLite holds its memory itself.
    drop(held);
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        // Connections to a file do not go stale.
        .test_before_acquire(false);
    Ok((connection, readers, options.pragma("query_only", "on")))
}

impl File {
    /// The file that is at `path` now.
    pub(super) async fn at(path: &Path) -> Result<Self, MetaError> {
        Ok(Self {
            path: path.to_owned(),
            id: id(path).await.ok_or_else(|| replaced(path))?,
        })
    }

    /// Whether it is still there.
    ///
    /// # Errors
    /// [`MetaError::Replaced`].
    pub(super) async fn check(&self) -> Result<(), MetaError> {
        match id(&self.path).await {
            Some(id) if id == self.id => Ok(()),
            _ => Err(replaced(&self.path)),
        }
    }
}

/// A connection that changes nothing, also to a database that is damaged.
pub(super) async fn read_only(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .connect()
        .await
}

fn replaced(path: &Path) -> MetaError {
    MetaError::Replaced(path.to_owned())
}

/// Which file is at `path`. It is not opened: to close it would drop SQLite's locks on it.
async fn id(path: &Path) -> Option<(u64, u64)> {
    let metadata = tokio::fs::metadata(path).await.ok()?;
    Some((metadata.dev(), metadata.ino()))
}
