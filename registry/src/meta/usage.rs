//! How much every repository shows, and how much is stored in all. Triggers keep the numbers.

use oci::Digest;

use super::changes::need;
use super::database::Meta;
use super::engine::{query, query_as, query_scalar};
use super::error::MetaError;
use super::sql::{from_sql, to_sql};
use crate::name::RepositoryName;
use crate::quota::Need;

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

/// What each repository should have written down.
const ACTUAL: &str = "
SELECT r.id, r.name, r.bytes AS recorded, CAST(coalesce((
    SELECT sum(b.size) FROM blobs b WHERE b.id IN (
        SELECT rb.blob_id FROM repository_blobs rb WHERE rb.repository_id = r.id
        UNION
        SELECT m.blob_id FROM manifests m WHERE m.repository_id = r.id)), 0) AS BIGINT) AS actual
FROM repositories r";

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
            query_as("SELECT name, bytes FROM repositories ORDER BY name")
                .fetch_all(&self.readers)
                .await?;
        let total: i64 = query_scalar("SELECT bytes FROM stored_bytes")
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
        let rows: Vec<(String, i64, i64)> = query_as(sqlx::AssertSqlSafe(format!(
            "SELECT name, recorded, actual FROM ({ACTUAL}) AS numbers WHERE recorded <> actual
             UNION ALL
             SELECT '', s.bytes, a.bytes FROM stored_bytes s,
                 (SELECT CAST(coalesce(sum(size), 0) AS BIGINT) AS bytes FROM blobs
                  WHERE stored = 1) a
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
                            Some(name) => query("UPDATE repositories SET bytes = ? WHERE name = ?")
                                .bind(to_sql(wrong.actual))
                                .bind(name),
                            None => query("UPDATE stored_bytes SET bytes = ?")
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
