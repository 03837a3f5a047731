//! All SQL: what the registry knows about its content.
//!
//! SQLite in WAL mode. One [`writer`] commits whatever changes are waiting as one transaction
//! (concurrent pushes share the fsync), readers have a pool of their own. Every change that
//! touches several rows is one job, and so one transaction. This layer calls nobody back.

mod check;
mod collect;
mod events;
mod export;
mod links;
mod listing;
mod manifests;
mod precondition;
mod readers;
mod retention;
mod salvage;
mod usage;
mod writer;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

pub use check::KnownBlob;
pub use collect::{StaleLink, UnusedBlob};
pub use events::QueuedEvent;
pub use export::Exportable;
pub use listing::{Page, Usage};
pub use manifests::{Delete, Deleted, ManifestRow, NewManifest, Put, Referrer};
pub use precondition::{Listed, Precondition};
pub use salvage::{Health, NamedManifest, health, salvage};
pub use usage::{Admit, RepositoryUsage, Watch, WrongUsage};

use readers::{Damage, Readers};
use writer::Writer;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../migrations/registry");

/// Readers at once; more would only wait for the disk.
const READERS: u32 = 4;

/// Why the metadata could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// SQLite failed.
    #[error("metadata: {0}")]
    Sql(sqlx::Error),
    /// The database cannot be used any more.
    #[error(
        "the metadata is damaged ({0}): `rregistry fsck --rebuild` makes it anew from the blobs"
    )]
    Damaged(String),
    /// The database is not the file that was opened.
    #[error(
        "{0} was removed or replaced while the registry was running: stop it, then put the file \
         back, or have it made anew from the blobs with `rregistry fsck --rebuild`"
    )]
    Replaced(PathBuf),
    /// The schema could not be brought up to date, or is newer than this program.
    #[error("metadata schema: {0}")]
    Migrate(MigrateError),
    /// A transaction that this change shared failed; nothing of it was kept.
    #[error("metadata: the transaction failed: {0}")]
    Commit(String),
    /// The writer has stopped: the registry is shutting down.
    #[error("metadata: the registry is shutting down")]
    Closed,
    /// A row holds what this program would never write.
    #[error("metadata: {0}; run `rregistry fsck`")]
    Corrupt(String),
}

impl From<sqlx::Error> for MetaError {
    fn from(e: sqlx::Error) -> Self {
        if salvage::is_damage(&e) {
            Self::Damaged(e.to_string())
        } else {
            Self::Sql(e)
        }
    }
}

/// The metadata of one registry.
#[derive(Debug)]
pub struct Meta {
    path: PathBuf,
    commits: Arc<AtomicU64>,
    /// The file that was opened: its device and its number there.
    file: (u64, u64),
    damage: Damage,
    readers: Readers,
    writer: Writer,
}

impl Meta {
    /// Opens the database at `path`, made and migrated when needed. `watch` is told all usage now,
    /// and then every change of it.
    ///
    /// # Errors
    /// [`MetaError::Damaged`], [`MetaError::Sql`], [`MetaError::Migrate`].
    pub async fn open(path: &Path, watch: Option<Watch>) -> Result<Self, MetaError> {
        Self::open_file(path, watch).await.map_err(|e| match e {
            MetaError::Migrate(MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _))
                if salvage::is_damage(&e) =>
            {
                MetaError::from(e)
            }
            e => e,
        })
    }

    async fn open_file(path: &Path, watch: Option<Watch>) -> Result<Self, MetaError> {
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
        if let Some(watch) = &watch {
            watch(usage::all(&mut connection).await?);
            usage::record_changes(&mut connection).await?;
        }
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            // Connections to a file do not go stale.
            .test_before_acquire(false)
            .connect_with(options.pragma("query_only", "on"))
            .await?;
        let commits = Arc::<AtomicU64>::default();
        let damage = Damage::default();
        Ok(Self {
            path: path.to_owned(),
            file: file_at(path).await.ok_or_else(|| replaced(path))?,
            readers: Readers::new(readers, damage.clone()),
            writer: Writer::start(connection, watch, Arc::clone(&commits), damage.clone()),
            damage,
            commits,
        })
    }

    /// Remembers that the database is damaged, if an answer says so.
    fn noted<T>(&self, answer: Result<T, MetaError>) -> Result<T, MetaError> {
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
        sqlx::query("SELECT 1").execute(&self.readers).await?;
        Ok(())
    }
}

fn replaced(path: &Path) -> MetaError {
    MetaError::Replaced(path.to_owned())
}

/// Which file is at `path`. It is not opened: to close it would drop SQLite's locks on it.
async fn file_at(path: &Path) -> Option<(u64, u64)> {
    let metadata = tokio::fs::metadata(path).await.ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// A size as SQLite holds it.
pub(crate) fn to_sql(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// A size as we hold it.
pub(crate) fn from_sql(size: i64) -> u64 {
    u64::try_from(size).unwrap_or(0)
}
