//! Values as SQLite holds them, and as we do.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

/// A size as SQLite holds it.
pub(crate) fn to_sql(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// A size as we hold it.
pub(crate) fn from_sql(size: i64) -> u64 {
    u64::try_from(size).unwrap_or(0)
}
