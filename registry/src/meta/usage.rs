//! How much every repository shows, and how much is stored in all. Triggers keep the numbers.

use oci::Digest;
use sqlx::sqlite::SqliteConnection;

use super::{Meta, MetaError, from_sql, to_sql};
use crate::name::RepositoryName;
use crate::quota::{Exceeded, Need, UsageChange};

/// Asked within a transaction, with what it would add; a refusal leaves everything as it is.
pub type Admit = Box<dyn FnOnce(Need) -> Result<(), Exceeded> + Send>;

/// Told of all usage at first, and then of what each commit changed, in order; of nothing when one
/// failed.
pub type Watch = Box<dyn Fn(Vec<UsageChange>) + Send>;

/// What a repository shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryUsage {
    /// The repository.
    pub name: String,
    /// Bytes of its blobs and manifests, each counted once.
    pub bytes: u64,
}

/// A number that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongUsage {
    /// The repository; `None` for everything.
    pub repository: Option<String>,
    /// What is written down.
    pub recorded: i64,
    /// What it should be.
    pub actual: u64,
}

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

/// What each repository should have written down.
const ACTUAL: &str = "
SELECT r.id, r.name, r.bytes AS recorded, coalesce((
    SELECT sum(b.size) FROM blobs b WHERE b.id IN (
        SELECT rb.blob_id FROM repository_blobs rb WHERE rb.repository_id = r.id
        UNION
        SELECT m.blob_id FROM manifests m WHERE m.repository_id = r.id)), 0) AS actual
FROM repositories r";

pub(super) async fn record_changes(c: &mut SqliteConnection) -> Result<(), MetaError> {
    sqlx::raw_sql(RECORD).execute(c).await?;
    Ok(())
}

pub(super) async fn take_changes(c: &mut SqliteConnection) -> Result<Vec<UsageChange>, MetaError> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("DELETE FROM usage_changes RETURNING name, bytes")
            .fetch_all(c)
            .await?;
    Ok(rows.into_iter().map(change).collect())
}

pub(super) async fn all(c: &mut SqliteConnection) -> Result<Vec<UsageChange>, MetaError> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT name, bytes FROM repositories UNION ALL SELECT '', bytes FROM stored_bytes",
    )
    .fetch_all(c)
    .await?;
    Ok(rows.into_iter().map(change).collect())
}

/// No repository has an empty name: that one stands for everything.
fn change((name, bytes): (String, i64)) -> UsageChange {
    UsageChange {
        repository: Some(name).filter(|name| !name.is_empty()),
        bytes: from_sql(bytes),
    }
}

/// What showing a blob or manifest of `size` bytes adds.
pub(super) async fn need(
    c: &mut SqliteConnection,
    repository: &RepositoryName,
    digest: &Digest,
    size: u64,
) -> Result<Need, MetaError> {
    let (shown, stored): (bool, bool) = sqlx::query_as(
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

impl Meta {
    /// What showing a blob or manifest of `size` bytes in `repository` would add now.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn need(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        size: u64,
    ) -> Result<Need, MetaError> {
        let mut connection = self.readers.acquire().await?;
        let need = need(&mut connection, repository, digest, size).await;
        self.noted(need)
    }

    /// What every repository shows, by name, and what is stored in all.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn usage_by_repository(&self) -> Result<(Vec<RepositoryUsage>, u64), MetaError> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT name, bytes FROM repositories ORDER BY name")
                .fetch_all(&self.readers)
                .await?;
        let total: i64 = sqlx::query_scalar("SELECT bytes FROM stored_bytes")
            .fetch_one(&self.readers)
            .await?;
        let repositories = rows
            .into_iter()
            .map(|(name, bytes)| RepositoryUsage {
                name,
                bytes: from_sql(bytes),
            })
            .collect();
        Ok((repositories, from_sql(total)))
    }

    /// The numbers that are wrong: none, unless somebody else wrote to the database.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn wrong_usage(&self) -> Result<Vec<WrongUsage>, MetaError> {
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "SELECT name, recorded, actual FROM ({ACTUAL}) WHERE recorded <> actual
             UNION ALL
             SELECT '', s.bytes, a.bytes FROM stored_bytes s,
                 (SELECT coalesce(sum(size), 0) AS bytes FROM blobs WHERE stored = 1) a
             WHERE s.bytes <> a.bytes"
        )))
        .fetch_all(&self.readers)
        .await?;
        Ok(rows
            .into_iter()
            .map(|(name, recorded, actual)| WrongUsage {
                repository: Some(name).filter(|name| !name.is_empty()),
                recorded,
                actual: from_sql(actual),
            })
            .collect())
    }

    /// Writes a right number down.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn mend_usage(&self, wrong: WrongUsage) -> Result<(), MetaError> {
        self.writer
            .run(
                move |c| {
                    Box::pin(async move {
                        match wrong.repository {
                            Some(name) => {
                                sqlx::query("UPDATE repositories SET bytes = ? WHERE name = ?")
                                    .bind(to_sql(wrong.actual))
                                    .bind(name)
                            }
                            None => sqlx::query("UPDATE stored_bytes SET bytes = ?")
                                .bind(to_sql(wrong.actual)),
                        }
                        .execute(c)
                        .await?;
                        Ok(())
                    })
                },
                |()| {},
            )
            .await
    }
}
