//! What each commit changed of what is used, as the processes that serve together tell each other.

use super::changes::{all, change, take_changes};
use super::engine::{Connection, query, query_as, query_scalar};
use super::error::MetaError;
use super::sql::{json, to_sql};
use crate::quota::UsageChange;

/// How far one process has read. It is the number of the last entry, or 0 when there was none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Read(i64);

impl Read {
    /// All there is now; what is used has to be read after this.
    pub(super) async fn to_the_end(c: &mut Connection) -> Result<Self, MetaError> {
        let last = query_scalar("SELECT coalesce(max(id), 0) FROM usage_log");
        Ok(Self(last.fetch_one(c).await?))
    }

    /// What was changed since, in a transaction that writes. The newest entry stays for ever, so
    /// that one that was read before and is not there tells that others are gone with it: then it
    /// is all usage.
    pub(super) async fn on(&mut self, c: &mut Connection) -> Result<Vec<UsageChange>, MetaError> {
        let entries: Vec<(i64, String, i64)> =
            query_as("SELECT id, name, bytes FROM usage_log WHERE id >= ? ORDER BY id")
                .bind(self.0)
                .fetch_all(&mut *c)
                .await?;
        let Some((last, ..)) = entries.last() else {
            return match self.0 {
                0 => Ok(Vec::new()),
                _ => all(c).await,
            };
        };
        let known = entries.first().is_some_and(|(id, ..)| *id == self.0);
        self.0 = *last;
        if !known {
            return all(c).await;
        }
        let new = entries.into_iter().skip(1);
        Ok(new.map(|(_, name, bytes)| change((name, bytes))).collect())
    }
}

/// What this transaction changed, which is told to others with it; and how far that is.
pub(super) async fn tell_changes(
    c: &mut Connection,
    read: Read,
) -> Result<(Vec<UsageChange>, Read), MetaError> {
    let changes = take_changes(c).await?;
    if changes.is_empty() {
        return Ok((changes, read));
    }
    let rows: Vec<(&str, i64)> = changes
        .iter()
        .map(|change| {
            let name = change.repository.as_deref().unwrap_or_default();
            (name, to_sql(change.bytes))
        })
        .collect();
    query(
        "INSERT INTO usage_log (name, bytes)
         SELECT value ->> 0, CAST(value ->> 1 AS BIGINT) FROM json_each(?)",
    )
    .bind(json(&rows)?)
    .execute(&mut *c)
    .await?;
    let read = Read::to_the_end(c).await?;
    Ok((changes, read))
}

/// Forgets what everybody has read, or has to read all usage for.
pub(super) async fn trim(c: &mut Connection) -> Result<(), MetaError> {
    query(
        "DELETE FROM usage_log
         WHERE at < unixepoch() - 600 AND id < (SELECT max(id) FROM usage_log)",
    )
    .execute(c)
    .await?;
    Ok(())
}
