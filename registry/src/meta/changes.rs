//! What a change adds to how much is used, asked before it is made and told once it is.

use oci::Digest;

use super::engine::{Connection, Sql, query_as, script};
use super::error::MetaError;
use super::sql::from_sql;
use crate::name::RepositoryName;
use crate::quota::{Exceeded, Need, UsageChange};

/// Asked within a transaction, with what it would add; a refusal leaves everything as it is.
pub type Admit = Box<dyn FnOnce(Need) -> Result<(), Exceeded> + Send>;

/// Told of all usage at first, and then of what each commit changed, in order; of nothing when one
/// failed.
pub type Watch = Box<dyn Fn(Vec<UsageChange>) + Send + Sync>;

/// Changes are gathered in memory, by this connection only, and only where somebody asks for them.
const RECORD: &str = "
CREATE TEMP TABLE usage_changes (name TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TEMP TRIGGER usage_changed AFTER UPDATE OF bytes ON main.repositories BEGIN
    INSERT INTO usage_changes VALUES (NEW.name, NEW.bytes)
    ON CONFLICT DO UPDATE SET bytes = excluded.bytes;
END;
CREATE TEMP TRIGGER usage_gone AFTER DELETE ON main.repositories BEGIN
    INSERT INTO usage_changes VALUES (OLD.name, 0)
    ON CONFLICT DO UPDATE SET bytes = excluded.bytes;
END;
CREATE TEMP TRIGGER usage_total AFTER UPDATE OF bytes ON main.stored_bytes BEGIN
    INSERT INTO usage_changes VALUES ('', NEW.bytes)
    ON CONFLICT DO UPDATE SET bytes = excluded.bytes;
END;
";

/// The same where triggers are everybody's: they look for such a table of the connection.
const RECORD_THERE: &str =
    "CREATE TEMP TABLE usage_changes (name TEXT PRIMARY KEY, bytes BIGINT NOT NULL)";

/// Has what changes gathered on this connection.
pub(super) async fn record_changes(c: &mut Connection) -> Result<(), MetaError> {
    script(c, Sql::each(RECORD, RECORD_THERE)).await?;
    Ok(())
}

/// What was gathered since the last time.
pub(super) async fn take_changes(c: &mut Connection) -> Result<Vec<UsageChange>, MetaError> {
    let rows: Vec<(String, i64)> = query_as("DELETE FROM usage_changes RETURNING name, bytes")
        .fetch_all(c)
        .await?;
    Ok(rows.into_iter().map(change).collect())
}

/// All that is used.
pub(super) async fn all(c: &mut Connection) -> Result<Vec<UsageChange>, MetaError> {
    let rows: Vec<(String, i64)> = query_as(
        "SELECT name, bytes FROM repositories UNION ALL SELECT '', bytes FROM stored_bytes",
    )
    .fetch_all(c)
    .await?;
    Ok(rows.into_iter().map(change).collect())
}

/// No repository has an empty name: that one stands for everything.
pub(super) fn change((name, bytes): (String, i64)) -> UsageChange {
    UsageChange {
        repository: Some(name).filter(|name| !name.is_empty()),
        bytes: from_sql(bytes),
    }
}

/// What showing a blob or manifest of `size` bytes adds.
pub(super) async fn need(
    c: &mut Connection,
    repository: &RepositoryName,
    digest: &Digest,
    size: u64,
) -> Result<Need, MetaError> {
    let (shown, stored): (bool, bool) = query_as(
        "SELECT EXISTS (
                    SELECT 1 FROM repositories r JOIN blobs b ON b.digest = ?2
                    WHERE r.name = ?1 AND (
                        EXISTS (SELECT 1 FROM repository_blobs rb
                                WHERE rb.repository_id = r.id AND rb.blob_id = b.id)
                        OR EXISTS (SELECT 1 FROM manifests m
                                   WHERE m.repository_id = r.id AND m.digest = ?2))),
                EXISTS (SELECT 1 FROM blobs WHERE digest = ?2 AND stored = 1)",
    )
    .bind(repository.as_str())
    .bind(digest.to_string())
    .fetch_one(c)
    .await?;
    Ok(Need {
        repository: if shown { 0 } else { size },
        total: if stored { 0 } else { size },
    })
}
