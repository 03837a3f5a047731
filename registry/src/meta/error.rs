//! Why the metadata could not be read or written.

use std::path::PathBuf;

use sqlx::migrate::{MigrateError, Migrator};

use super::damage::is_damage;
use super::engine::is_lost;

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
    /// The server does not answer, or not in time; what was to be done may be done all the same.
    #[error("the database does not answer: {0}")]
    Unreachable(String),
    /// Another process serves the server's database.
    #[error("{0} is served by another rregistry")]
    Taken(String),
    /// The server's database cannot hold this.
    #[error("{0}")]
    Unfit(String),
    /// The URL of the database is none.
    #[error("the database's URL: {0}")]
    Place(String),
    /// The schema could not be brought up to date.
    #[error("metadata schema: {0}")]
    Migrate(MigrateError),
    /// A newer program has been at work here.
    #[error(
        "the database is of a newer rregistry: its schema is {found}, and this one knows {known}. \
         Use that version, or a backup from before"
    )]
    Newer {
        /// The version of its schema.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
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
        if is_damage(&e) {
            Self::Damaged(e.to_string())
        } else if is_lost(&e) {
            Self::Unreachable(e.to_string())
        } else {
            Self::Sql(e)
        }
    }
}

impl MetaError {
    /// Why a schema could not be brought up to date by these migrations.
    pub(super) fn of_migration(e: MigrateError, known: &Migrator) -> Self {
        match e {
            MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _)
                if is_damage(&e) || is_lost(&e) =>
            {
                e.into()
            }
            MigrateError::VersionMissing(found) => Self::Newer {
                found,
                known: known.iter().map(|one| one.version).max().unwrap_or(0),
            },
            e => Self::Migrate(e),
        }
    }
}
