//! Tags and manifests that go by rule, and when they were last pulled.

use oci::Digest;

use super::database::Meta;
use super::error::MetaError;
use crate::name::RepositoryName;
use crate::policy::TagAge;

/// A manifest that no tag, no index and no subject keeps. ?1 is the repository, ?2 the time before
/// which it was pushed.
const UNTAGGED: &str = "m.repository_id = (SELECT id FROM repositories WHERE name = ?1)
    AND m.pushed_at < ?2
    AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.manifest_id = m.id)
    AND NOT EXISTS (
        SELECT 1 FROM manifest_children c JOIN manifests p ON p.id = c.manifest_id
        WHERE c.child_digest = m.digest AND p.repository_id = m.repository_id)
    AND NOT EXISTS (
        SELECT 1 FROM manifests s
        WHERE s.repository_id = m.repository_id AND s.digest = m.subject)";

impl Meta {
    /// Every tag of a repository, with its times.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn tag_ages(&self, repository: &RepositoryName) -> Result<Vec<TagAge>, MetaError> {
        let rows: Vec<(String, i64, Option<i64>)> = sqlx::query_as(
            "SELECT t.name, t.updated_at, m.pulled_at FROM repositories r
             JOIN tags t ON t.repository_id = r.id
             JOIN manifests m ON m.id = t.manifest_id
             WHERE r.name = ?",
        )
        .bind(repository.as_str())
        .fetch_all(&self.readers)
        .await?;
        Ok(rows
            .into_iter()
            .map(|(name, pushed_at, pulled_at)| TagAge {
                name,
                pushed_at,
                pulled_at,
            })
            .collect())
    }

    /// Deletes those of `tags` that were not pushed again meanwhile; which went.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn expire_tags(
        &self,
        repository: &RepositoryName,
        tags: Vec<TagAge>,
        effect: impl FnOnce(&Vec<String>) + Send + 'static,
    ) -> Result<Vec<String>, MetaError> {
        let repository = repository.clone();
        self.writer
            .run(
                move |c| {
                    Box::pin(async move {
                        let mut gone = Vec::new();
                        for tag in tags {
                            let deleted: Option<String> = sqlx::query_scalar(
                                "DELETE FROM tags
                                 WHERE repository_id = (SELECT id FROM repositories WHERE name = ?)
                                   AND name = ? AND updated_at = ? RETURNING name",
                            )
                            .bind(repository.as_str())
                            .bind(tag.name)
                            .bind(tag.pushed_at)
                            .fetch_optional(&mut *c)
                            .await?;
                            gone.extend(deleted);
                        }
                        Ok(gone)
                    })
                },
                effect,
            )
            .await
    }

    /// Manifests pushed before `cutoff` that nothing keeps.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn untagged(
        &self,
        repository: &RepositoryName,
        cutoff: i64,
    ) -> Result<Vec<String>, MetaError> {
        Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "SELECT m.digest FROM manifests m WHERE {UNTAGGED} ORDER BY m.digest"
        )))
        .bind(repository.as_str())
        .bind(cutoff)
        .fetch_all(&self.readers)
        .await?)
    }

    /// Deletes those manifests; which went.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn expire_untagged(
        &self,
        repository: &RepositoryName,
        cutoff: i64,
        effect: impl FnOnce(&Vec<String>) + Send + 'static,
    ) -> Result<Vec<String>, MetaError> {
        let repository = repository.clone();
        self.writer
            .run(
                move |c| {
                    Box::pin(async move {
                        Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
                            "DELETE FROM manifests WHERE id IN (
                                 SELECT m.id FROM manifests m WHERE {UNTAGGED})
                             RETURNING digest"
                        )))
                        .bind(repository.as_str())
                        .bind(cutoff)
                        .fetch_all(c)
                        .await?)
                    })
                },
                effect,
            )
            .await
    }

    /// Notes when manifests were last pulled.
    ///
    /// # Errors
    /// [`MetaError`].
    pub async fn mark_pulled(
        &self,
        pulls: Vec<(RepositoryName, Digest, i64)>,
    ) -> Result<(), MetaError> {
        self.writer
            .run(
                move |c| {
                    Box::pin(async move {
                        for (repository, digest, at) in pulls {
                            sqlx::query(
                                "UPDATE manifests SET pulled_at = ?
                                 WHERE digest = ? AND repository_id =
                                     (SELECT id FROM repositories WHERE name = ?)",
                            )
                            .bind(at)
                            .bind(digest.to_string())
                            .bind(repository.as_str())
                            .execute(&mut *c)
                            .await?;
                        }
                        Ok(())
                    })
                },
                |()| {},
            )
            .await
    }
}
