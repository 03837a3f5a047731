//! What SQLite says, as the rest of the store may name it.

/// An open connection, in a transaction or not.
pub(crate) type Connection = sqlx::sqlite::SqliteConnection;

/// A failure of the database that nobody could do anything about.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct DatabaseError(pub(super) sqlx::Error);
