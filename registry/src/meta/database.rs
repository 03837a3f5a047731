//! The database of one registry: opened, asked whether it is well, closed.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use oci::mapped::hold_shared_memory;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _};

use super::changes::{self, Watch};
use super::damage::{Damage, is_damage};
use super::engine::{Connection, Pool, Readers, query};
use super::error::MetaError;
use super::tally::Tally;
use super::writer::Writer;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../migrations/registry");

/// Readers at once; more would only wait for the disk.
const READERS: u32 = 4;

/// The metadata of one registry.
#[derive(Debug)]
pub struct Meta {
    pub(super) path: PathBuf,
    pub(super) commits: Arc<AtomicU64>,
    /// The file that was opened: its device and its number there.
    pub(super) file: (u64, u64),
    pub(super) damage: Damage,
    pub(super) readers: Readers,
    pub(super) writer: Writer,
    pub(super) unsettled: Tally,
    /// Steps of SQLite's machine, a multiple of ten.
    #[cfg(test)]
    pub(crate) steps: Arc<AtomicU64>,
}

impl Meta {
    /// Opens the database at `path`, made and migrated when needed. `watch` is told all usage now,
    /// and then every change of it.
    ///
    /// # Errors
    /// [`MetaError::Damaged`], [`MetaError::Sql`], [`MetaError::Migrate`],
    /// [`MetaError::Newer`].
    pub async fn open(path: &Path, watch: Option<Watch>) -> Result<Self, MetaError> {
        Self::open_file(path, watch).await.map_err(|e| match e {
            MetaError::Migrate(MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _))
                if is_damage(&e) =>
            {
                MetaError::from(e)
            }
            MetaError::Migrate(MigrateError::VersionMissing(found)) => MetaError::Newer {
                found,
                known: MIGRATIONS.iter().map(|one| one.version).max().unwrap_or(0),
            },
            e => e,
        })
    }

    async fn open_file(path: &Path, watch: Option<Watch>) -> Result<Self, MetaError> {
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
        MIGRATIONS
            .run(&mut connection)
            .await
            .map_err(MetaError::Migrate)?;
        connection.ping().await?;
        // It has been read: SQLite holds its memory itself.
        drop(held);
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            // Connections to a file do not go stale.
            .test_before_acquire(false);
        #[cfg(test)]
        let steps = Arc::<AtomicU64>::default();
        #[cfg(test)]
        let readers = {
            count_steps(&mut connection, &steps).await?;
            let steps = Arc::clone(&steps);
            readers.after_connect(move |connection, _| {
                let steps = Arc::clone(&steps);
                Box::pin(async move { count_steps(connection, &steps).await })
            })
        };
        let readers = readers
            .connect_with(options.pragma("query_only", "on"))
            .await?;
        let mut connection = Connection::Sqlite(connection);
        if let Some(watch) = &watch {
            watch(changes::all(&mut connection).await?);
            changes::record_changes(&mut connection).await?;
        }
        let unsettled = Tally::of(&mut connection).await?;
        let commits = Arc::<AtomicU64>::default();
        let damage = Damage::default();
        Ok(Self {
            path: path.to_owned(),
            file: file_at(path).await.ok_or_else(|| replaced(path))?,
            readers: Readers::new(Pool::Sqlite(readers), damage.clone()),
            writer: Writer::start(connection, watch, Arc::clone(&commits), damage.clone()),
            damage,
            commits,
            unsettled,
            #[cfg(test)]
            steps,
        })
    }

    /// Remembers that the database is damaged, if an answer says so.
    pub(super) fn noted<T>(&self, answer: Result<T, MetaError>) -> Result<T, MetaError> {
        if let Err(MetaError::Damaged(what)) = &answer {
            self.damage.say(what);
        }
        answer
    }

    /// Commits what is waiting and closes the database.
    pub async fn close(&self) {
        self.writer.stop().await;
        self.readers.close().await;
    }

    /// Whether the database answers, was never found damaged, and is still the one in its place.
    ///
    /// # Errors
    /// [`MetaError::Sql`], [`MetaError::Damaged`], [`MetaError::Replaced`].
    pub async fn ping(&self) -> Result<(), MetaError> {
        if let Some(what) = self.damage.seen() {
            return Err(MetaError::Damaged(what.to_owned()));
        }
        if file_at(&self.path).await != Some(self.file) {
            return Err(replaced(&self.path));
        }
        query("SELECT 1").execute(&self.readers).await?;
        Ok(())
    }
}

/// Counts what a connection does from now on.
#[cfg(test)]
pub(super) async fn count_steps(
    connection: &mut sqlx::SqliteConnection,
    steps: &Arc<AtomicU64>,
) -> Result<(), sqlx::Error> {
    let steps = Arc::clone(steps);
    let mut handle = connection.lock_handle().await?;
    handle.set_progress_handler(10, move || {
        steps.fetch_add(10, std::sync::atomic::Ordering::Relaxed);
        true
    });
    Ok(())
}

fn replaced(path: &Path) -> MetaError {
    MetaError::Replaced(path.to_owned())
}

/// Which file is at `path`. It is not opened: to close it would drop SQLite's locks on it.
async fn file_at(path: &Path) -> Option<(u64, u64)> {
    let metadata = tokio::fs::metadata(path).await.ok()?;
    Some((metadata.dev(), metadata.ino()))
}
