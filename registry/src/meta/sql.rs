//! Values as SQLite holds them, and as we do.

use serde::Serialize;

use super::error::MetaError;

/// A size as SQLite holds it.
pub(crate) fn to_sql(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// A size as we hold it.
pub(crate) fn from_sql(size: i64) -> u64 {
    u64::try_from(size).unwrap_or(0)
}

/// A list as one bound value, for `json_each`.
pub(super) fn json(list: &[impl Serialize]) -> Result<String, MetaError> {
    serde_json::to_string(list).map_err(|e| MetaError::Corrupt(e.to_string()))
}
