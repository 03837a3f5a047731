//! Failures of SQLite as the store's: what the user can do something about is told apart.

use super::sqlite::DatabaseError;
use crate::error::Error;

// SQLite's primary result codes.
const SQLITE_BUSY: i32 = 5;
const SQLITE_LOCKED: i32 = 6;
const SQLITE_READONLY: i32 = 8;
const SQLITE_CORRUPT: i32 = 11;
const SQLITE_FULL: i32 = 13;
const SQLITE_NOTADB: i32 = 26;
/// The I/O error, an extended code, that a full disk gives where the log's index grows.
const SQLITE_IOERR_SHMSIZE: i32 = 10 | 19 << 8;

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let code = match &error {
            sqlx::Error::Database(e) => e.code().and_then(|code| code.parse::<i32>().ok()),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Some(SQLITE_CORRUPT),
            _ => None,
        };
        if code == Some(SQLITE_IOERR_SHMSIZE) {
            return Self::DiskFull {
                what: "opening its database".to_owned(),
            };
        }
        match code.map(|code| code & 0xff) {
            Some(SQLITE_READONLY) => Self::ReadOnly,
            Some(SQLITE_BUSY | SQLITE_LOCKED) => Self::Busy,
            Some(SQLITE_FULL) => Self::DiskFull {
                what: "writing its database".to_owned(),
            },
            Some(SQLITE_CORRUPT | SQLITE_NOTADB) => Self::corrupt(error.to_string()),
            _ => Self::Database(DatabaseError(error)),
        }
    }
}
